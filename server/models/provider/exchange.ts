import { untilAborted } from '../../streams/until-aborted.ts'
import { Refusal, retryAfterMs } from './refusal.ts'
import { ProviderTimeout, type TimeoutName, type Timeouts } from './timeouts.ts'

/** Maximum number of bytes read of an error response. Its text only decides the error code. */
const REFUSAL_BYTES = 16_384
/** Time limit for reading an error response, in milliseconds. */
const REFUSAL_MS = 1_000
/** Limits for reading the rest of a response after its last event: milliseconds and bytes. */
const REST_MS = 100
const REST_BYTES = 65_536
/** Maximum number of redirects that one request follows. */
const MAX_REDIRECTS = 3
/** The longest timer that Node has, in milliseconds: a longer one would fire at once. */
const MAX_TIMER_MS = 2 ** 31 - 1

type ReadResult<Item> = Awaited<ReturnType<ReadableStreamDefaultReader<Item>['read']>>

/** How the requests of one model are sent. */
export type ExchangeOptions = {
  readonly fetch: typeof fetch
  readonly timeouts: Timeouts
}

/**
 * One HTTP request to a provider and its response. It serves exactly one `fetch` of a provider's package.
 *
 * The package's own signal is not used. The caller's signal closes the socket in every state of the package, even while
 * the body is not read. Node destroys the socket before it fails the response's body, so a failed body means a closed
 * socket.
 */
export class Exchange {
  /** Aborts with the caller's signal, and at `close`. */
  readonly #controller: AbortController = new AbortController()
  readonly #caller: AbortSignal
  readonly #options: ExchangeOptions
  readonly #stop: () => void
  #request: Promise<unknown> | undefined
  #reader: ReadableStreamDefaultReader<unknown> | undefined
  #ended = false
  #failure: unknown
  /** Stops the clock of the first event. */
  #heard: (() => void) | undefined
  #isAnswering = false

  constructor(caller: AbortSignal, options: ExchangeOptions) {
    this.#caller = caller
    this.#options = options
    this.#stop = () => this.#controller.abort(caller.reason)
    if (caller.aborted) this.#stop()
    else caller.addEventListener('abort', this.#stop, { once: true })
  }

  /** Whether the provider has sent the whole response. */
  get ended(): boolean {
    return this.#ended
  }

  /** Why the request failed, if it did. A provider's package may throw another error in its place. */
  get failure(): unknown {
    return this.#failure
  }

  /** The first event of the answer has arrived. */
  answering(): void {
    this.#isAnswering = true
    this.#heard?.()
  }

  /**
   * The `fetch` for the provider's package. The body that it returns reads the socket only when it is read itself. An
   * unread or cancelled body leaves the socket open.
   * @throws Refusal for a response whose status is not a success.
   */
  readonly fetch = async (input: string | URL | Request, init?: RequestInit): Promise<Response> => {
    const response = await this.#inTime('headersMs', this.#send(input, init))
    const { status, headers } = response
    const reader = response.body?.getReader()
    this.#reader = reader
    // It rejects with every closed socket. The pending read reports that failure.
    reader?.closed.catch(() => {})
    if (!response.ok) {
      const text = await this.#text()
      const said = status >= 300 && status < 400 ? `to ${originOf(headers)}: ${text}` : text
      throw (this.#failure = new Refusal(status, said, retryAfterMs(headers)))
    }
    this.#heard = this.#limit('firstTokenMs')
    return new Response(reader ? this.#body(reader) : '', { status: 200, headers })
  }

  /**
   * Yields what a package gives in place of a response, under the same limits. It reads the stream on demand.
   * @param start sends the request with this signal, and returns the stream.
   */
  async *open<Item>(
    start: (signal: AbortSignal) => Promise<ReadableStream<Item>>,
  ): AsyncGenerator<Item, void, undefined> {
    const { signal } = this.#controller
    const starting = start(signal)
    const started = untilAborted(starting, signal)
    this.#request = started
    // A package may ignore its signal.
    signal.addEventListener('abort', () => void starting.then((stream) => stream.cancel()).catch(() => {}), {
      once: true,
    })
    const reader = (await this.#inTime('headersMs', started)).getReader()
    this.#reader = reader
    reader.closed.catch(() => {})
    this.#heard = this.#limit('firstTokenMs')
    for (;;) {
      const { done, value } = await this.#inTime(this.#isAnswering ? 'betweenTokensMs' : undefined, this.#read(reader))
      if (done) break
      yield value
    }
    this.#ended = true
  }

  /** The next item of a stream, or the reason of an abort: a package may ignore its signal. */
  #read<Item>(reader: ReadableStreamDefaultReader<Item>): Promise<ReadResult<Item>> {
    return untilAborted(reader.read(), this.#controller.signal)
  }

  /** Reads the rest of the response after its last event, so that the connection can serve another request. */
  async finish(): Promise<void> {
    await this.#readRest(REST_BYTES, REST_MS)
  }

  /** Closes the socket unless the response has ended. Resolves when it is closed. */
  async close(): Promise<void> {
    this.#caller.removeEventListener('abort', this.#stop)
    this.#heard?.()
    if (this.#request === undefined) return
    if (!this.#ended) this.#controller.abort()
    // The reader is cancelled as well: the abort does not fail a response that has arrived completely.
    await Promise.allSettled([this.#request, this.#reader?.cancel()])
  }

  #body(reader: ReadableStreamDefaultReader<Uint8Array>): ReadableStream<Uint8Array> {
    return new ReadableStream(
      {
        pull: async (controller) => {
          const { done, value } = await this.#inTime(this.#isAnswering ? 'betweenTokensMs' : undefined, reader.read())
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

  #send(input: string | URL | Request, init?: RequestInit): Promise<Response> {
    const sent = this.#follow(input, { ...init, redirect: 'manual', signal: this.#controller.signal })
    this.#request = sent
    return sent
  }

  /**
   * Follows redirects within one origin that repeat the request. A key or prompt never goes to an address that the
   * configuration does not name, and a redirect that turns the request into a GET has no answer.
   */
  async #follow(input: string | URL | Request, init: RequestInit): Promise<Response> {
    let url = new URL(input instanceof Request ? input.url : input)
    let response = await this.#options.fetch(input, init)
    for (let n = 0; n < MAX_REDIRECTS && (response.status === 307 || response.status === 308); n++) {
      const location = response.headers.get('location') ?? ''
      if (!URL.canParse(location, url.href) || new URL(location, url).origin !== url.origin) break
      url = new URL(location, url)
      await response.body?.cancel()
      response = await this.#options.fetch(url.href, init)
    }
    return response
  }

  async #inTime<T>(limit: TimeoutName | undefined, step: Promise<T>): Promise<T> {
    const clear = limit && this.#limit(limit)
    try {
      return await step
    } catch (error) {
      this.#failure ??= error
      throw error
    } finally {
      clear?.()
    }
  }

  /** Closes the socket when the limit is exceeded, unless the function that this returns is called before. */
  #limit(limit: TimeoutName): () => void {
    const ms = this.#options.timeouts[limit]
    if (ms > MAX_TIMER_MS) return () => {}
    const timer = setTimeout(() => {
      this.#failure ??= new ProviderTimeout(limit, ms)
      this.#controller.abort(this.#failure)
    }, ms)
    return () => clearTimeout(timer)
  }

  async #text(): Promise<string> {
    const decoder = new TextDecoder()
    let text = ''
    await this.#readRest(REFUSAL_BYTES, REFUSAL_MS, (chunk) => {
      text += decoder.decode(chunk, { stream: true })
    })
    return text
  }

  /** Reads to the end of the response, at most `maxBytes` bytes and `maxMs` milliseconds. Never throws. */
  async #readRest(maxBytes: number, maxMs: number, take: (chunk: Uint8Array) => void = () => {}): Promise<void> {
    const timer = setTimeout(() => this.#controller.abort(), maxMs)
    try {
      for (let bytes = 0; bytes < maxBytes && !this.#ended; ) {
        const result = await this.#reader?.read()
        if (result === undefined || result.done) {
          this.#ended = true
        } else {
          const { value } = result
          // An item of a package has no size that we know.
          bytes += value instanceof Uint8Array ? value.length : 1
          if (value instanceof Uint8Array) take(value)
        }
      }
    } catch {
      // The socket was closed; `close` does the rest.
    } finally {
      clearTimeout(timer)
    }
  }
}

/** Where a redirect leads, for the operator. */
function originOf(headers: Headers): string {
  const location = headers.get('location') ?? ''
  return URL.canParse(location) ? new URL(location).origin : 'another path'
}
