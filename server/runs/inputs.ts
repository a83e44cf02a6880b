import { MillraceError } from '../../protocol/errors.ts'
import type { RunEvent } from '../../protocol/events.ts'
import type { WireMap } from '../../protocol/frames.ts'
import type { Limits } from '../../protocol/limits.ts'
import type { Runtime } from '../../protocol/runtime.ts'
import type { Question, RunInput } from '../actors/actor.ts'
import type { Principal } from '../actors/principal.ts'
import { countValues, unpackPayload } from '../log/payload.ts'
import { Channel } from '../streams/channel.ts'
import type { CallIds } from './call-ids.ts'
import type { Answering, InputAnswer, InputSender } from './input-answer.ts'
import type { Member } from './open-ids.ts'
import type { Orders } from './orders.ts'

/** Message ids kept per run. Older ones are no longer recognised as duplicates. */
const MAX_MIDS = 1_024
/** Answered requests kept per run. */
const MAX_ANSWERED = 64
/** The bytes that one of them takes, approximately. */
const MID_BYTES = 200

/** Room that something takes, or may take, in an OPENED. */
export type Room = { readonly bytes: number; readonly values: number }

type Pending = {
  taken: Room
  data: WireMap
  seq: number
  fail: (reason: unknown) => void
  /** Removes its timer and its listener. */
  over: () => void
}

type InputLimits = Pick<Limits, 'maxInputs' | 'maxInputBytes' | 'maxEvent' | 'maxDepth' | 'maxValues'>

/** What the inputs of a run take from it. */
export type InputsCallbacks = {
  readonly runtime: Runtime
  readonly limits: InputLimits
  readonly run: Member
  /** The ids of the tree of runs: a request may be answered wherever it was forwarded to. */
  readonly ids: CallIds
  /** Why nothing more is accepted, once that is so. */
  stopReason(): MillraceError
  waitingChanged(): void
  /** Takes an input that is for tools of clients. Undefined: it is not. */
  toClientTools(input: RunInput, client: string | undefined): InputAnswer | undefined
  readonly orders: Orders
  /** Reports an error that clients must not see. */
  failed(error: unknown): void
}

type RequestEvent = Extract<RunEvent, { type: 'request' }>

/**
 * The inputs of a run, each taken once. Answers go to the requests that wait for them, all others into the queue of the
 * actor, in order.
 */
export class Inputs {
  readonly #runtime: Runtime
  readonly #limits: InputLimits
  readonly #interactive: boolean
  readonly #callbacks: InputsCallbacks
  readonly #queue: Channel<{ input: RunInput; bytes: number }>
  readonly #answers = new Map<string, InputAnswer>()
  readonly #pending = new Map<string, Pending>()
  /** The latest requests that were answered here, for the words of a second answer. */
  readonly #answered = new Set<string>()
  /** Called for each input that goes into the queue. */
  onAccepted: ((input: RunInput) => void) | undefined
  /** Room in an OPENED of the requests that wait for their answer, or to be logged. */
  #taken: Room = { bytes: 0, values: 0 }
  #bytes = 0
  #reading = false
  #isClosed = false
  #isRefusing = false

  /** @param callbacks `waitingChanged`: the run began or stopped waiting for an input. */
  constructor(callbacks: InputsCallbacks, interactive: boolean) {
    const { runtime, limits } = callbacks
    this.#callbacks = callbacks
    this.#runtime = runtime
    this.#limits = limits
    this.#interactive = interactive
    this.#queue = new Channel(limits.maxInputs)
    this.#queue.onWaiting = (reading) => {
      this.#reading = reading
      callbacks.waitingChanged()
    }
  }

  /** The bytes that the kept message ids take, approximately. */
  get retainedBytes(): number {
    return (this.#answers.size + this.#answered.size) * MID_BYTES
  }

  /** Inputs accepted and not yet taken. */
  get size(): number {
    return this.#queue.size
  }

  /**
   * Takes an input, once per `mid`. The first answer is kept and repeated, an accepted one as `duplicate`.
   * @param bytes its size as encoded.
   * @param from the client that sends it. Questions may be for some only.
   */
  take(mid: string, input: RunInput, bytes: number, from?: InputSender): InputAnswer {
    const known = this.#answers.get(mid)
    if (known) return known.status === 'accepted' ? { status: 'duplicate' } : known
    const answer = this.#accept(input, bytes, from)
    // Another principal may have chosen the same name.
    if (answer.status === 'forbidden') return answer
    this.#answers.set(mid, answer)
    if (this.#answers.size > MAX_MIDS) {
      const [oldest] = this.#answers.keys()
      if (oldest !== undefined) this.#answers.delete(oldest)
    }
    return answer
  }

  #accept(input: RunInput, bytes: number, from: InputSender | undefined): InputAnswer {
    if (this.#answered.has(nameOf(input))) return { status: 'unwanted', note: 'somebody has answered before' }
    if (this.#isClosed) return { status: 'unwanted', note: 'the run is over' }
    if (input.type === 'answer' || input.type === 'approve') return this.#answer(input, from?.principal)
    const taken = this.#callbacks.toClientTools(input, from?.instance) ?? this.#callbacks.orders.take(input)
    if (taken) return taken
    if (!this.#interactive)
      return { status: 'invalid', note: 'this actor takes no inputs; declare it `interactive: true`' }
    if (this.#isRefusing) return { status: 'unwanted', note: 'the run is ending and takes no more inputs' }
    if (this.#bytes + bytes > this.#limits.maxInputBytes)
      return { status: 'busy', note: 'the inputs that wait are too large together; try again later' }
    if (!this.#queue.push({ input, bytes }))
      return { status: 'busy', note: `${this.#queue.capacity} inputs wait already; try again later` }
    this.#bytes += bytes
    try {
      this.onAccepted?.(input)
    } catch (error) {
      this.#callbacks.failed(error)
    }
    return { status: 'accepted' }
  }

  /** Answers the request that this is for, if one waits for it. An invalid answer leaves it open. */
  #answer(input: RunInput, by: Principal | undefined): InputAnswer {
    const data = isMap(input.data) ? input.data : {}
    const isPlain = input.type === 'answer'
    const id = isPlain ? data['request'] : data['call']
    const { ids, run } = this.#callbacks
    const [asked] = typeof id === 'string' ? ids.open.of(isPlain ? 'request' : 'requestOfCall', id, run) : []
    if (!asked) return { status: 'unwanted', note: 'nothing waits for this answer' }
    const value = isPlain ? data['value'] : approvalIn(data)
    const refusal = !isPlain && !isDecision(value) ? NO_DECISION : asked.answer(value, by)
    if (refusal) return refusal
    for (const [known] of this.#answered.size < MAX_ANSWERED ? [] : this.#answered.entries()) {
      this.#answered.delete(known)
      break
    }
    this.#answered.add(nameOf(input))
    return { status: 'accepted' }
  }

  /** Takes all inputs that wait, without waiting for more. */
  takeAll(): RunInput[] {
    const taken: RunInput[] = []
    for (let item = this.#queue.take(); item; item = this.#queue.take()) {
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
        const step = await this.#queue.next()
        if (step.done) return { done: true, value: undefined }
        this.#bytes -= step.value.bytes
        return { done: false, value: step.value.input }
      },
      return: () => Promise.resolve({ done: true, value: undefined }),
      [Symbol.asyncIterator]: () => reader,
    }
    return reader
  }

  /** The event that asks `question`, under a new id. */
  requestEvent(question: Question): RequestEvent {
    const { expiresMs, signal: _, who: __, ...rest } = question
    const event: RequestEvent = { type: 'request', id: this.#callbacks.ids.newRequest(), ...rest }
    if (expiresMs !== undefined) event.expiresAt = this.#runtime.wallClock() + expiresMs
    return event
  }

  /**
   * Reserves room for a request while it waits to be logged. All requests that wait may have half of what an OPENED may
   * hold. Returns a function that releases the room, or undefined when there is none.
   */
  reserve(packed: Uint8Array): (() => void) | undefined {
    const asked = { bytes: packed.length, values: countValues(packed, this.#limits) }
    const { bytes, values } = this.room
    if (asked.bytes > bytes || asked.values > values) return undefined
    this.#takeRoom(asked, 1)
    return () => this.#takeRoom(asked, -1)
  }

  /** The run logged an item: a loop over the queue that runs at the same time does not make it wait. */
  said(): void {
    if (!this.#reading) return
    this.#reading = false
    this.#callbacks.waitingChanged()
  }

  /** Waits for the answer to request `id`, whose `packed` data was logged as item `seq`. */
  answerTo(id: string, packed: Uint8Array, seq: number, { expiresMs, signal, who }: Question): Promise<unknown> {
    return new Promise((answer, fail) => {
      if (this.#isClosed) return fail(this.#callbacks.stopReason())
      if (signal?.aborted) return fail(signal.reason)
      const expire = (): void => {
        this.#forget(id)
        fail(new MillraceError('timeout', `nobody answered within ${String(expiresMs)} ms`))
      }
      const withdraw = (): void => {
        this.#forget(id)
        fail(signal?.reason)
      }
      signal?.addEventListener('abort', withdraw, { once: true })
      const timer = expiresMs === undefined ? undefined : this.#runtime.setTimer(expiresMs, expire)
      // A copy: the actor may change its object later.
      const data = unpackPayload(packed) as WireMap
      const taken = { bytes: packed.length, values: countValues(packed, this.#limits) }
      const found = this.#open(id, data['call'], (value, by) => {
        if (who && !this.#may(who, by))
          return { status: 'forbidden', note: 'this principal may not answer this request' }
        // A question is answered once: a typing mistake must not use it up.
        if (data['kind'] === 'approve' && !isDecision(value)) return NO_DECISION
        this.#forget(id)
        answer(value)
        return undefined
      })
      this.#pending.set(id, {
        taken,
        data,
        seq,
        fail,
        over: () => {
          found()
          timer?.clear()
          signal?.removeEventListener('abort', withdraw)
        },
      })
      this.#takeRoom(taken, 1)
      this.#callbacks.waitingChanged()
    })
  }

  /** Whether a question is for this principal. */
  #may(who: (principal: Principal) => boolean, by: Principal | undefined): boolean {
    try {
      return by !== undefined && who(by)
    } catch (error) {
      this.#callbacks.failed(error)
      return false
    }
  }

  /** Lets clients answer a request, until the function that this returns is called. */
  #open(id: string, call: unknown, answer: Answering): () => void {
    const { ids, run } = this.#callbacks
    const request = { run, answer }
    const found = ids.open.add('request', id, request)
    if (typeof call !== 'string') return found
    const foundByCall = ids.open.add('requestOfCall', call, request)
    return () => {
      found()
      foundByCall()
    }
  }

  /** Whether something waits for an input. */
  get waiting(): boolean {
    return this.#reading || this.#pending.size > 0
  }

  /** Room in an OPENED that requests of children may take, in addition to those that wait here. */
  get room(): Room {
    const { maxEvent, maxValues } = this.#limits
    const { bytes, values } = this.#taken
    return { bytes: maxEvent / 2 - bytes, values: maxValues / 2 - values }
  }

  /** Data of the requests logged before item `seq` and not yet answered. */
  pendingAt(seq: number): WireMap[] {
    return [...this.#pending.values()].filter((pending) => pending.seq < seq).map((pending) => pending.data)
  }

  /** The run is over: nothing more is accepted, the queue ends, and requests fail. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#queue.close()
    for (const [id, pending] of [...this.#pending]) {
      this.#forget(id)
      pending.fail(this.#callbacks.stopReason())
    }
  }

  /** The run has settled: the actor takes none of the inputs that are left. */
  release(): void {
    this.takeAll()
    this.onAccepted = undefined
  }

  #forget(id: string): void {
    const pending = this.#pending.get(id)
    if (!pending) return
    this.#pending.delete(id)
    this.#takeRoom(pending.taken, -1)
    pending.over()
    this.#callbacks.waitingChanged()
  }

  #takeRoom({ bytes, values }: Room, times: 1 | -1): void {
    this.#taken = { bytes: this.#taken.bytes + times * bytes, values: this.#taken.values + times * values }
  }
}

/** The request that an input answers, by its type. Other inputs have no such name. */
function nameOf({ type, data }: RunInput): string {
  if (type !== 'answer' && type !== 'approve') return ''
  const { request, call } = isMap(data) ? data : {}
  const id = type === 'answer' ? request : call
  return typeof id === 'string' ? `${type} ${id}` : ''
}

const NO_DECISION: InputAnswer = { status: 'invalid', note: 'an approval needs `ok`: true or false' }

/** The members of an approval that it has. */
function approvalIn(data: WireMap): WireMap {
  const names = ['ok', 'note', 'args', 'remember'].filter((name) => data[name] !== undefined)
  return Object.fromEntries(names.map((name) => [name, data[name]]))
}

/** Whether a value says yes or no, as it is or under `ok`. */
function isDecision(value: unknown): boolean {
  return typeof (isMap(value) ? value['ok'] : value) === 'boolean'
}

function isMap(value: unknown): value is WireMap {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
