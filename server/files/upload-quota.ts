import { MillraceError } from '../../protocol/errors.ts'
import type { Principal } from '../actors/principal.ts'

/** What an upload counts at least, so that many small ones are bounded too. */
const LEAST_BYTES = 4_096

/** The most bytes of uploads, complete or under way. */
export type UploadLimits = { readonly maxBytesPerPrincipal: number; readonly maxBytesTotal: number }

/** Counts the bytes that uploads take or have been promised, of each principal and of all. */
export class UploadQuota {
  readonly #limits: UploadLimits
  readonly #bytes = new Map<string, number>()
  #total = 0

  constructor(limits: UploadLimits) {
    this.#limits = limits
  }

  /**
   * Reserves room for an upload. Returns a function that gives it back, once.
   * @throws MillraceError `overloaded` when the principal, or all together, would take more than they may.
   */
  reserve({ id }: Principal, size: number): () => void {
    const { maxBytesPerPrincipal, maxBytesTotal } = this.#limits
    const bytes = Math.max(size, LEAST_BYTES)
    const own = this.#bytes.get(id) ?? 0
    if (own + bytes > maxBytesPerPrincipal)
      throw overloaded(`your uploads may take ${maxBytesPerPrincipal} bytes together, and they take ${own}: remove one`)
    if (this.#total + bytes > maxBytesTotal) throw overloaded('the server has no room for another upload')
    this.#add(id, bytes)
    let isHeld = true
    return () => {
      if (isHeld) this.#add(id, -bytes)
      isHeld = false
    }
  }

  #add(id: string, bytes: number): void {
    const own = (this.#bytes.get(id) ?? 0) + bytes
    if (own > 0) this.#bytes.set(id, own)
    else this.#bytes.delete(id)
    this.#total += bytes
  }
}

function overloaded(why: string): MillraceError {
  return new MillraceError('overloaded', `${why}, or try again later`)
}
