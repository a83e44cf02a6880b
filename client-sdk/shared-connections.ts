import { type LinkParts, SharedLink } from './shared-link.ts'
import type { Port, SocketRequest } from './shared-messages.ts'
import { SharedPage } from './shared-page.ts'

/** What the shared worker takes from its browser. */
export type SharedParts = LinkParts & {
  /** Resolves when the page that holds a lock is gone. Rejects when `signal` is aborted. */
  gone(lock: string, signal: AbortSignal): Promise<unknown>
}

/** All connections of a shared worker: one for each user and address. */
export class SharedConnections {
  readonly #parts: SharedParts
  readonly #links = new Map<string, SharedLink>()

  constructor(parts: SharedParts) {
    this.#parts = parts
  }

  /** A page opens a socket. What is no request is closed. */
  open(request: unknown, port: Port): void {
    const { url, user, lock } = Object(request) as Partial<SocketRequest>
    if (typeof url !== 'string' || typeof user !== 'string' || typeof lock !== 'string') return port.close()
    const key = JSON.stringify([url, user])
    const link = this.#links.get(key) ?? new SharedLink(url, this.#parts, () => this.#links.delete(key))
    this.#links.set(key, link)
    const left = new AbortController()
    const page = new SharedPage(link, port, () => left.abort())
    this.#parts.gone(lock, left.signal).then(
      () => page.leave(),
      // It has left, and the wait with it.
      () => {},
    )
  }
}
