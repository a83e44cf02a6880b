import type { Limits } from '../../protocol/limits.ts'
import type { RunInput } from '../actors/actor.ts'
import type { Principal } from '../actors/principal.ts'
import { Channel } from '../streams/channel.ts'
import { type InputAnswer, type InputSender, OVER } from './input-answer.ts'

/** Message ids kept per run. Older ones are no longer recognised as duplicates. */
const MAX_MIDS = 1_024
/** The bytes that one of them takes, approximately. */
const MID_BYTES = 200

type InputLimits = Pick<Limits, 'maxInputs' | 'maxInputBytes'>

/** The inputs that wait, and the names of those that were accepted, as another process goes on with them. */
export type KeptInputs = {
  readonly waiting: readonly { readonly input: RunInput; readonly bytes: number }[]
  readonly accepted: readonly string[]
}

/** What the inputs of a run take from it. */
export type InputsCallbacks = {
  readonly limits: InputLimits
  /** The actor began or stopped waiting for an input. */
  waitingChanged(): void
  /** Takes an answer to a request. */
  answer(input: RunInput, by: Principal | undefined): InputAnswer
  /** Takes an input that is for tools of clients. Undefined: it is not. */
  toClientTools(input: RunInput, client: string | undefined): InputAnswer | undefined
  /** Takes an order for the run. Undefined: it is none. */
  order(input: RunInput): InputAnswer | undefined
  /** Reports an error that clients must not see. */
  failed(error: unknown): void
}

/** The inputs of a run, each taken once. Answers go to the requests, all others into the queue of the actor, in order. */
export class Inputs {
  readonly #limits: InputLimits
  readonly #interactive: boolean
  readonly #callbacks: InputsCallbacks
  #queue: Channel<{ input: RunInput; bytes: number }> | undefined
  /** Made for the first input, as the queue is: most runs get none. */
  #answers: Map<string, InputAnswer> | undefined
  /** Called for each input that goes into the queue. */
  onAccepted: ((input: RunInput) => void) | undefined
  #bytes = 0
  #reading = false
  #isClosed = false
  #isRefusing = false

  constructor(callbacks: InputsCallbacks, interactive: boolean) {
    const { limits } = callbacks
    this.#callbacks = callbacks
    this.#limits = limits
    this.#interactive = interactive
  }

  #made(): Channel<{ input: RunInput; bytes: number }> {
    if (this.#queue) return this.#queue
    const queue = new Channel<{ input: RunInput; bytes: number }>(this.#limits.maxInputs)
    queue.onWaiting = (reading) => {
      this.#reading = reading
      this.#callbacks.waitingChanged()
    }
    if (this.#isClosed) queue.close()
    this.#queue = queue
    return queue
  }

  /** The bytes that the kept message ids take, approximately. */
  get retainedBytes(): number {
    return (this.#answers?.size ?? 0) * MID_BYTES
  }

  /** Inputs accepted and not yet taken. */
  get size(): number {
    return this.#queue?.size ?? 0
  }

  /**
   * Takes an input, once per `mid`. The first answer is kept and repeated, an accepted one as `duplicate`.
   * @param bytes its size as encoded.
   * @param from the client that sends it. Questions may be for some only.
   */
  take(mid: string, input: RunInput, bytes: number, from?: InputSender): InputAnswer {
    const answers = (this.#answers ??= new Map<string, InputAnswer>())
    const known = answers.get(mid)
    if (known) return known.status === 'accepted' ? { status: 'duplicate' } : known
    const answer = this.#accept(input, bytes, from)
    // Another principal may have chosen the same name.
    if (answer.status === 'forbidden') return answer
    answers.set(mid, answer)
    if (answers.size > MAX_MIDS) {
      const [oldest] = answers.keys()
      if (oldest !== undefined) answers.delete(oldest)
    }
    return answer
  }

  /** It was too early for this input: it is taken once more. */
  forget(mid: string): void {
    this.#answers?.delete(mid)
  }

  #accept(input: RunInput, bytes: number, from: InputSender | undefined): InputAnswer {
    if (input.type === 'answer' || input.type === 'approve') return this.#callbacks.answer(input, from?.principal)
    if (this.#isClosed) return OVER
    const taken = this.#callbacks.toClientTools(input, from?.instance) ?? this.#callbacks.order(input)
    if (taken) return taken
    if (!this.#interactive)
      return { status: 'invalid', note: 'this actor takes no inputs; declare it `interactive: true`' }
    if (this.#isRefusing) return { status: 'unwanted', note: 'the run is ending and takes no more inputs' }
    const { maxInputBytes } = this.#limits
    if (bytes > maxInputBytes)
      return {
        status: 'invalid',
        note: `an input of ${bytes} bytes is larger than the ${maxInputBytes} bytes that this server takes (limits.maxInputBytes)`,
      }
    if (this.#bytes + bytes > maxInputBytes)
      return { status: 'busy', note: 'the inputs that wait are too large together; try again later' }
    const queue = this.#made()
    if (!queue.push({ input, bytes }))
      return { status: 'busy', note: `${queue.capacity} inputs wait already; try again later` }
    this.#bytes += bytes
    try {
      this.onAccepted?.(input)
    } catch (error) {
      this.#callbacks.failed(error)
    }
    return { status: 'accepted' }
  }

  /** What another process needs to go on with them. */
  get kept(): KeptInputs {
    const waiting = [...(this.#queue?.items ?? [])]
    const accepted = [...(this.#answers ?? [])].filter(([, { status }]) => status === 'accepted').map(([mid]) => mid)
    return { waiting, accepted }
  }

  restore({ waiting, accepted }: KeptInputs): void {
    if (accepted.length > 0) this.#answers ??= new Map()
    for (const mid of accepted) this.#answers?.set(mid, { status: 'accepted' })
    for (const item of waiting) {
      this.#made().push(item)
      this.#bytes += item.bytes
    }
  }

  /** Takes all inputs that wait, without waiting for more. */
  takeAll(): RunInput[] {
    const taken: RunInput[] = []
    for (let item = this.#queue?.take(); item; item = this.#queue?.take()) {
      this.#bytes -= item.bytes
      taken.push(item.input)
    }
    return taken
  }

  /** Refuses all inputs from now on, except answers to requests. */
  refuse(): void {
    this.#isRefusing = true
  }

  /** The queue, for the actor. Ends when the run does. */
  get queue(): AsyncIterable<RunInput> {
    const reader: AsyncIterator<RunInput> & AsyncIterable<RunInput> = {
      next: async () => {
        const step = await this.#made().next()
        if (step.done) return { done: true, value: undefined }
        this.#bytes -= step.value.bytes
        return { done: false, value: step.value.input }
      },
      return: () => Promise.resolve({ done: true, value: undefined }),
      [Symbol.asyncIterator]: () => reader,
    }
    return reader
  }

  /** The run logged an item: a loop over the queue that runs at the same time does not make it wait. */
  said(): void {
    if (!this.#reading) return
    this.#reading = false
    this.#callbacks.waitingChanged()
  }

  /** The actor waits for an input. */
  get waiting(): boolean {
    return this.#reading
  }

  /** The run is over: nothing more is accepted, and the queue ends. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#queue?.close()
  }

  /** The run has settled: the actor takes none of the inputs that are left. */
  release(): void {
    this.takeAll()
    this.onAccepted = undefined
  }
}
