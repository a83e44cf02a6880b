import { Refusal, retryAfterMs } from './refusal.ts'

/** Most that is read of a refusal's text, which only decides its code. */
const REFUSAL_BYTES = 16_384
/** How long a refusal's text may take. */
const REFUSAL_MS = 1_000
/** How long the end of a response may take that has said all it has to say. */
const REST_MS = 100
const REST_BYTES = 65_536

/**
 * One request to a provider and its response, made for exactly one `fetch` of a provider's package.
 *
 * The package's own signal is not used. The caller's signal closes the socket whatever the package is doing, also while
 * nobody reads. Node destroys the socket before it fails the response's body, so a failed body is a closed socket.
 */
export class Exchange {
  /** Aborts when the caller's signal does, or at `close`. */
  readonly #controller: AbortController = new AbortController()
  readonly #caller: AbortSignal
  readonly #stop: () => void
  #request: Promise<Response> | undefined
  #reader: ReadableStreamDefaultReader<Uint8Array> | undefined
  #ended = false

  constructor(caller: AbortSignal) {
    this.#caller = caller
    this.#stop = () => this.#controller.abort(caller.reason)
    if (caller.aborted) this.#stop()
    else caller.addEventListener('abort', this.#stop, { once: true })
  }

  /** Whether the response came to its end by itself. */
  get ended(): boolean {
    return this.#ended
  }

  /**
   * The `fetch` to hand to the provider's package. It throws a `Refusal` for a response that is not a success. The body
   * it gives reads the socket when it is read itself, and leaving it unread or cancelling it leaves the socket open.
   */
  readonly fetch = async (input: string | URL | Request, init?: RequestInit): Promise<Response> => {
    this.#request = fetch(input, { ...init, signal: this.#controller.signal })
    const response = await this.#request
    const { status, headers } = response
    const reader = response.body?.getReader()
    this.#reader = reader
    // It fails with every closed socket; whoever reads is told.
    reader?.closed.catch(() => {})
    if (!response.ok) throw new Refusal(status, await this.#text(), retryAfterMs(headers))
    return new Response(reader ? this.#body(reader) : '', { status: 200, headers })
  }

  /** After the answer's last word: reads what is left, so that the connection can serve another request. */
  async finish(): Promise<void> {
    await this.#readRest(REST_BYTES, REST_MS)
  }

  /** Closes the socket unless the response has ended; resolves when it is closed. */
  async close(): Promise<void> {
    this.#caller.removeEventListener('abort', this.#stop)
    if (this.#request === undefined) return
    if (!this.#ended) this.#controller.abort()
    // Cancelled as well: a response that had arrived whole is not failed by the abort, and nobody will read it.
    await Promise.allSettled([this.#request, this.#reader?.cancel()])
  }

  #body(reader: ReadableStreamDefaultReader<Uint8Array>): ReadableStream<Uint8Array> {
    return new ReadableStream(
      {
        pull: async (controller) => {
          const { done, value } = await reader.read()
          if (!done) {
            controller.enqueue(value)
            return
          }
          this.#ended = true
          controller.close()
        },
      },
      { highWaterMark: 0 },
    )
  }

  async #text(): Promise<string> {
    const decoder = new TextDecoder()
    let text = ''
    await this.#readRest(REFUSAL_BYTES, REFUSAL_MS, (chunk) => {
      text += decoder.decode(chunk, { stream: true })
    })
    return text
  }

  /** Reads to the end, or until `maxBytes` or `maxMs` are over. Never throws. */
  async #readRest(maxBytes: number, maxMs: number, take: (chunk: Uint8Array) => void = () => {}): Promise<void> {
    const timer = setTimeout(() => this.#controller.abort(), maxMs)
    try {
      for (let bytes = 0; bytes < maxBytes && !this.#ended; ) {
        const result = await this.#reader?.read()
        if (result === undefined || result.done) {
          this.#ended = true
        } else {
          bytes += result.value.length
          take(result.value)
        }
      }
    } catch {
      // The socket closed instead; `close` sees to the rest.
    } finally {
      clearTimeout(timer)
    }
  }
}
