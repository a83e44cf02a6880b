import { MillraceError } from '../../protocol/errors.ts'
import type { Runtime, Timer } from '../../protocol/runtime.ts'
import type { Principal } from '../actors/principal.ts'
import { type UploadLimits, UploadQuota } from './upload-quota.ts'
import type { Upload, UploadStore } from './upload-store.ts'

/** An upload that is kept: what stops its expiry, and what still counts it. */
type Kept = { readonly timer: Timer; readonly release: () => void; holders: number; isForgotten: boolean }

/** The complete uploads, each until it expires or is removed, and the room of those under way. */
export class KeptUploads {
  readonly #store: UploadStore
  readonly #quota: UploadQuota
  readonly #expiryMs: number
  readonly #kept = new Map<string, Kept>()

  constructor(store: UploadStore, { expiryMs, ...limits }: UploadLimits & { readonly expiryMs: number }) {
    this.#store = store
    this.#quota = new UploadQuota(limits)
    this.#expiryMs = expiryMs
  }

  /** Reserves room for an upload. @returns and throws as `UploadQuota.reserve`. */
  reserve(principal: Principal, size: number): () => void {
    return this.#quota.reserve(principal, size)
  }

  /** Keeps an upload. `release` gives its room back when it is forgotten and nobody holds it. */
  keep(upload: Upload, runtime: Pick<Runtime, 'setTimer'>, release: () => void): void {
    this.#store.put(upload)
    const timer = runtime.setTimer(this.#expiryMs, () => this.#forget(upload))
    this.#kept.set(upload.id, { timer, release, holders: 0, isForgotten: false })
  }

  /** @throws MillraceError `not_found`, with the same message whether there is no such upload or it is another's. */
  read(principal: Principal, id: string): Upload {
    const upload = this.#store.get(principal.id, id)
    if (!upload) throw new MillraceError('not_found', 'unknown upload: it has expired, or another principal made it')
    return upload
  }

  /** @throws MillraceError `not_found` as `read` does. */
  remove(principal: Principal, id: string): void {
    this.#forget(this.read(principal, id))
  }

  /** Removes an upload if the principal has it. */
  drop(principal: Pick<Principal, 'id'>, id: string): void {
    const upload = this.#store.get(principal.id, id)
    if (upload) this.#forget(upload)
  }

  /**
   * Reads an upload whose bytes stay in use. They count until the returned function is called, also when the upload is
   * forgotten before. It may be called once.
   * @throws MillraceError `not_found` as `read` does.
   */
  hold(principal: Principal, id: string): { upload: Upload; release: () => void } {
    const upload = this.read(principal, id)
    const kept = this.#kept.get(id)!
    kept.holders++
    return {
      upload,
      release: () => {
        kept.holders--
        this.#settle(kept)
      },
    }
  }

  #forget({ principal, id }: Upload): void {
    this.#store.delete(principal, id)
    const kept = this.#kept.get(id)!
    this.#kept.delete(id)
    kept.timer.clear()
    kept.isForgotten = true
    this.#settle(kept)
  }

  #settle({ isForgotten, holders, release }: Kept): void {
    if (isForgotten && holders === 0) release()
  }
}
