import { type ClientRuntime, MillraceError, type Timer } from '../client-sdk/index.ts'
import { type ChunkProcessor, chunkProcessor } from './chunk-processor.ts'
import { type AskEvent, type AskTarget, type DoneEvent, type ErrorEvent, streamAsk } from './stream-ask.ts'

/** The options of a session. */
export type SessionOptions = {
  /** Its id. Default: a random one. */
  id?: string | undefined
  /** The name of the actor that it speaks to. */
  address: string
  /** `ask` for one answer, `stream` for events. Default `stream`. */
  type?: 'ask' | 'stream' | undefined
  /**
   * true: the actor is one of `conversation()`, which keeps what is said under the id of the session. A payload is then
   * the content of a message. Default false: each payload is the input of a run.
   */
  conversation?: boolean | undefined
  /**
   * With `conversation`, the model of the session, such as `openai:gpt-5-mini` or `@(openai:gpt-5-mini)`. The actor must
   * allow it. Default: that of its agent.
   */
  defaultModel?: string | undefined
  /** Called with the events of every message: texts in pieces, and each message ends with `done` or `error`. */
  onChunk?: ((event: AskEvent) => void | Promise<void>) | undefined
}

/** `active` until it is ended; `refused` if the service had no place for it. */
export type SessionState = 'active' | 'ended' | 'timed_out' | 'refused'

/** What a session counts. */
export type SessionStats = {
  /** Texts and other events that have arrived. */
  readonly totalChunks: number
  /** Bytes of these texts, in UTF-8. */
  readonly totalBytes: number
}

/** The options of one message of a session. */
export type SendOptions = {
  /** Called with the events of this message, behind the `onChunk` of the session. Default: none. */
  onChunk?: ((event: AskEvent) => void | Promise<void>) | undefined
}

/** One session of a streaming service. Made by `createSession`. */
export interface StreamingSession extends SessionStats {
  /** Its id. */
  readonly id: string
  /** The name of its actor. */
  readonly address: string
  /** Whether it takes messages, and why not. */
  readonly state: SessionState
  /** In epoch milliseconds. */
  readonly startedAt: number
  /** In epoch milliseconds. Undefined while it is active. */
  readonly endedAt: number | undefined
  /** The messages that are being answered. */
  readonly streams: number
  /** Sends a message. Resolves with the last event of its answer, and never rejects. */
  stream(payload: unknown, options?: SendOptions): Promise<DoneEvent | ErrorEvent>
  /** Ends it: what is being answered is cancelled. Resolves when that has ended. */
  end(): Promise<void>
}

/** What a session takes from its service. */
export type SessionCallbacks = {
  readonly target: AskTarget
  readonly runtime: ClientRuntime
  readonly timeoutMs: number
  readonly debounceMs: number
  readonly maxBytes: number
  /** It has ended. */
  ended(): void
}

const utf8 = new TextEncoder()

/** A session: what it has said, and the runs of it that go on. */
export class Session implements StreamingSession {
  readonly id: string
  readonly address: string
  readonly startedAt: number
  readonly #options: SessionOptions
  readonly #service: SessionCallbacks
  readonly #open = new Map<AbortController, Promise<unknown>>()
  #state: SessionState = 'active'
  #endedAt: number | undefined
  #totalChunks = 0
  #totalBytes = 0
  #failure: MillraceError | undefined
  /** Runs while nothing arrives. Events that are being taken hold it. */
  #idle: Timer | undefined
  #taking = 0

  constructor(id: string, options: SessionOptions, service: SessionCallbacks) {
    this.id = id
    this.address = options.address
    this.#options = options
    this.#service = service
    this.startedAt = service.runtime.wallClock()
    this.#watch()
  }

  get state(): SessionState {
    return this.#state
  }

  get endedAt(): number | undefined {
    return this.#endedAt
  }

  get totalChunks(): number {
    return this.#totalChunks
  }

  get totalBytes(): number {
    return this.#totalBytes
  }

  get streams(): number {
    return this.#open.size
  }

  /** There is no place for it: each message of it fails with this. */
  refuse(error: MillraceError): void {
    this.#stop('refused', error)
  }

  async stream(payload: unknown, { onChunk }: SendOptions = {}): Promise<DoneEvent | ErrorEvent> {
    const give = async (event: AskEvent): Promise<void> => {
      await this.#options.onChunk?.(event)
      await onChunk?.(event)
    }
    const controller = new AbortController()
    if (this.#failure) controller.abort()
    else this.#watch()
    const answered = this.#answer(payload, controller.signal, give)
    this.#open.set(controller, answered)
    const last = await answered
    this.#open.delete(controller)
    if (this.#state === 'active') this.#watch()
    return last
  }

  async end(): Promise<void> {
    this.#stop('ended', new MillraceError('not_found', `session ${this.id} has ended: create another one`))
    await Promise.all(this.#open.values())
  }

  async #answer(
    payload: unknown,
    signal: AbortSignal,
    give: (event: AskEvent) => Promise<void>,
  ): Promise<DoneEvent | ErrorEvent> {
    const { target, debounceMs, maxBytes, runtime } = this.#service
    const { address, type = 'stream' } = this.#options
    /** When the text that is handed on was logged, and what its taker threw. */
    let like: Extract<AskEvent, { type: 'token' }> | undefined
    let thrown: { error: unknown } | undefined
    const texts: ChunkProcessor = chunkProcessor({
      onChunk: (text) => this.#take(() => give({ ...like!, text })),
      onError: (error) => (thrown ??= { error }),
      debounceMs,
      maxBytes,
      runtime,
    })
    const onChunk = (event: AskEvent): Promise<void> =>
      this.#take(async () => {
        if (event.type !== 'done' && event.type !== 'error') this.#count(event)
        if (event.type === 'token' && event.agent === undefined) {
          like = event
          await texts.process(event.text)
        } else {
          await texts.flush()
          await give(this.#explained(event))
        }
        if (thrown) throw thrown.error
      })
    return this.#explained(await streamAsk(target, address, type, this.#inputOf(payload), { onChunk, signal }))
  }

  /** Somebody is at work on what has come: the session is not idle. */
  async #take(work: () => Promise<void>): Promise<void> {
    this.#taking++
    this.#idle?.clear()
    try {
      await work()
    } finally {
      this.#taking--
      if (this.#state === 'active') this.#watch()
    }
  }

  /** A cancel by the session says why. */
  #explained<Event extends AskEvent>(event: Event): Event {
    if (event.type !== 'error' || !this.#failure || event.error.code !== 'cancelled') return event
    return { ...event, error: this.#failure.toJSON() }
  }

  #count(event: AskEvent): void {
    this.#totalChunks++
    if ('text' in event) this.#totalBytes += utf8.encode(event.text).length
  }

  #inputOf(payload: unknown): unknown {
    const { conversation, defaultModel } = this.#options
    if (!conversation) return payload
    const id = Array.from(this.#service.runtime.randomBytes(12), (byte) => byte.toString(16).padStart(2, '0')).join('')
    const model = defaultModel === undefined ? {} : { model: defaultModel }
    return { type: 'send', conversation: this.id, id, content: payload, ...model }
  }

  #watch(): void {
    this.#idle?.clear()
    if (this.#taking > 0) return
    const { runtime, timeoutMs } = this.#service
    this.#idle = runtime.setTimer(timeoutMs, () =>
      this.#stop('timed_out', new MillraceError('timeout', `nothing has come for ${timeoutMs} ms`)),
    )
  }

  #stop(state: SessionState, failure: MillraceError): void {
    if (this.#state !== 'active') return
    this.#state = state
    this.#failure = failure
    this.#endedAt = this.#service.runtime.wallClock()
    this.#idle?.clear()
    const reason = state === 'timed_out' ? 'timeout' : 'user'
    for (const controller of this.#open.keys()) controller.abort(reason)
    this.#service.ended()
  }
}
