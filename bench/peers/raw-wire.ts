import { pack, unpack } from 'msgpackr'
import { type TokenRequest, tokens } from '../processes/token-source.ts'

/** Up: a stream's number, then its request, null to cancel it, or `join` to hear what is broadcast. */
type Up = [sid: number, request: TokenRequest | null | 'join']

/** Down: numbers and what comes of the stream: a token, several, or null at its end. */
export type Down = (number | string | string[] | null)[]

/** Sends one message. */
type Send = (message: Buffer) => void

/** What goes into one message: each token alone, what one turn of the event loop makes, or what `HOLD_MS` make. */
export type Joining = 'token' | 'turn' | 'hold'

/** As long as our own server holds text by default, its `flushMs`. */
const HOLD_MS = 6

/** One connection of a server that takes an afternoon to write: one small msgpack frame for each token. */
export class RawConnection {
  readonly #send: Send
  readonly #running = new Map<number, AbortController>()
  readonly #joining: Joining
  readonly #joined: () => void
  #pending = new Map<number, string[]>()
  #isDue = false

  /** @param joining what goes into one message. @param joined the client wants to hear what is broadcast. */
  constructor(send: Send, joining: Joining, joined: () => void) {
    this.#send = send
    this.#joining = joining
    this.#joined = joined
  }

  received(message: Uint8Array): void {
    const [sid, request] = unpack(message) as Up
    if (request === 'join') this.#joined()
    else if (request === null) this.#running.get(sid)?.abort()
    else void this.#run(sid, request)
  }

  closed(): void {
    for (const controller of this.#running.values()) controller.abort()
  }

  /** One token of a stream. */
  token(sid: number, text: string): void {
    if (this.#joining === 'token') return this.#send(pack([sid, text]))
    const texts = this.#pending.get(sid)
    if (texts) texts.push(text)
    else this.#pending.set(sid, [text])
    if (this.#isDue) return
    this.#isDue = true
    if (this.#joining === 'turn') setImmediate(() => this.#flush())
    else setTimeout(() => this.#flush(), HOLD_MS)
  }

  async #run(sid: number, request: TokenRequest): Promise<void> {
    const controller = new AbortController()
    this.#running.set(sid, controller)
    for await (const text of tokens(request, controller.signal)) {
      if (controller.signal.aborted) break
      this.token(sid, text)
    }
    this.#running.delete(sid)
    this.#flush()
    this.#send(pack([sid, null]))
  }

  #flush(): void {
    this.#isDue = false
    if (this.#pending.size === 0) return
    const message = [...this.#pending].flat(1)
    this.#pending = new Map()
    this.#send(pack(message))
  }
}
