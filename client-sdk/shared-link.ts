import * as CLOSE from '../protocol/close-code.ts'
import type { Goaway, Hello, Notice, UpFrame, Welcome } from '../protocol/frames.ts'
import type { ClientRuntime } from '../protocol/runtime.ts'
import { WIRE_LIMITS, type WireLimits } from '../protocol/wire-limits.ts'
import type { PageLink, SharedPage } from './shared-page.ts'
import { type ConnectedStream, createSocket, type Socket, type SocketOwner, type WebSocketClass } from './socket.ts'

/** What a connection takes from its browser. */
export type LinkParts = { readonly WebSocket: WebSocketClass; readonly runtime: ClientRuntime }

/**
 * The connection that pages share. It is opened for the first page that says HELLO, with the credentials of that page,
 * and closed when the last one leaves. When it is lost, every page gets the close as its own, and its client decides:
 * the first one that comes back opens it again.
 */
export class SharedLink implements SocketOwner, PageLink {
  readonly runtime: ClientRuntime
  limits: WireLimits = WIRE_LIMITS
  /** The streams of all pages. */
  readonly streams: Set<ConnectedStream> = new Set()
  readonly #parts: LinkParts
  readonly #url: string
  readonly #empty: () => void
  readonly #pages = new Set<SharedPage>()
  /** Those that have said HELLO. */
  readonly #greeted = new Set<SharedPage>()
  /** One client instance for all pages: a new socket takes the place of the one before. */
  readonly #client: Uint8Array
  #attempt = 0
  #socket: Socket | undefined
  #welcome: Welcome | undefined
  #welcomedAt = 0

  /** @param empty Called when no page is left. */
  constructor(url: string, parts: LinkParts, empty: () => void) {
    this.runtime = parts.runtime
    this.#client = parts.runtime.randomBytes(16)
    this.#url = url
    this.#parts = parts
    this.#empty = empty
  }

  // --- for its pages

  enter(page: SharedPage): void {
    this.#pages.add(page)
  }

  leave(page: SharedPage): void {
    // One whose connection was lost may come back: what is known here is kept for it.
    if (!this.#pages.delete(page)) return
    this.#greeted.delete(page)
    if (this.#greeted.size === 0) this.#drop(CLOSE.done)
    if (this.#pages.size === 0) this.#empty()
  }

  greet(page: SharedPage, hello: Hello, isEager: boolean): void {
    this.#greeted.add(page)
    if (this.#welcome) return page.take(this.#now(this.#welcome))
    if (this.#socket) return
    const own = { ...hello, client: this.#client, attempt: ++this.#attempt }
    try {
      this.#socket = createSocket(this, this.#parts.WebSocket, this.#url, own, isEager)
    } catch (error) {
      // An address of which no WebSocket can be made: another try would fail in the same way.
      this.#end(1002, (error as Error).message)
    }
  }

  send(frame?: UpFrame): void {
    this.#socket?.send(frame)
  }

  probe(): void {
    if (this.#welcome) this.#socket?.probe()
  }

  // --- for its socket

  status(): string {
    return this.#welcome ? 'open' : 'connecting'
  }

  welcome(frame: Welcome): void {
    this.#welcome = frame
    this.#welcomedAt = this.runtime.now()
    this.limits = { ...WIRE_LIMITS, ...frame.limits }
    for (const page of this.#greeted) page.take(frame)
  }

  goaway(frame: Goaway): void {
    for (const page of this.#greeted) page.take(frame)
  }

  notice(frame: Notice): void {
    for (const page of this.#greeted) page.take(frame)
  }

  malformed(): void {
    this.#drop(CLOSE.malformed)
    this.#end(CLOSE.malformed, 'the server broke the protocol')
  }

  closed(code: number, reason: string): void {
    this.#drop()
    this.#end(code, reason)
  }

  /** The clock of the server has gone on since its WELCOME. */
  #now(welcome: Welcome): Welcome {
    return { ...welcome, now: welcome.now + Math.round(this.runtime.now() - this.#welcomedAt) }
  }

  /** There is no socket any more. */
  #drop(closeCode?: number): void {
    this.#socket?.close(closeCode)
    this.#socket = undefined
    this.#welcome = undefined
    this.limits = WIRE_LIMITS
  }

  /** Closes the sockets of all pages that used this one. */
  #end(code: number, reason: string): void {
    const pages = [...this.#greeted]
    this.#greeted.clear()
    for (const page of pages) {
      this.#pages.delete(page)
      page.close(code, reason)
    }
  }
}
