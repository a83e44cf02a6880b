import { MillraceError } from '../../protocol/errors.ts'
import { type RunEvent, toWire } from '../../protocol/events.ts'
import type { WireMap } from '../../protocol/frames.ts'
import type { Limits } from '../../protocol/limits.ts'
import { isMap } from '../../protocol/map.ts'
import type { Runtime } from '../../protocol/runtime.ts'
import type { Question, RunInput } from '../actors/actor.ts'
import type { Principal } from '../actors/principal.ts'
import { countValues, packPayload, unpackPayload } from '../log/payload.ts'
import type { PendingRequest } from './ask.ts'
import type { CallIds } from './call-ids.ts'
import { type Answering, type InputAnswer, OVER } from './input-answer.ts'
import type { Member } from './open-ids.ts'

/** Answered requests kept per run. */
const MAX_ANSWERED = 64
/** The bytes that one of them takes, approximately. */
const ANSWERED_BYTES = 200

/** Room that something takes, or may take, in an OPENED. */
export type Room = { readonly bytes: number; readonly values: number }

/** A request as another process asks it again: its id, its data, and the item that it was logged as. */
export type AskedRequest = { readonly id: string; readonly packed: Uint8Array; readonly seq: number }

type Pending = {
  readonly packed: Uint8Array
  taken: Room
  data: WireMap
  seq: number
  fail: (reason: unknown) => void
  /** Removes its timer and its listener. */
  over: () => void
}

/** Room in an OPENED for all requests that wait, of a run and its children. */
export function roomFor({ maxEvent, maxValues }: Pick<Limits, 'maxEvent' | 'maxValues'>): Room {
  return { bytes: maxEvent / 2, values: maxValues / 2 }
}

type RequestEvent = Extract<RunEvent, { type: 'request' }>

/** What requests take from their run. */
export type RequestsCallbacks = {
  readonly runtime: Runtime
  readonly limits: Pick<Limits, 'maxEvent' | 'maxDepth' | 'maxValues'>
  readonly run: Member
  /** The ids of the tree of runs: a request may be answered wherever it was forwarded to. */
  readonly ids: CallIds
  /** Why nothing more is accepted, once that is so. */
  stopReason(): MillraceError
  /** A request of another process is open again. */
  askedAgain(id: string): void
  /** The run began or stopped waiting for an answer. */
  waitingChanged(): void
  /** Logs an event. Resolves with its item number; rejects when the run is over. */
  emit(event: RunEvent): Promise<number>
  /** A request was logged, and waits for its answer. */
  asked(request: RequestEvent): void
  /** Reports an error that clients must not see. */
  failed(error: unknown): void
}

/** The questions of an actor that wait for the answer of a client. */
export class Requests {
  readonly #run: RequestsCallbacks
  readonly #pending = new Map<string, Pending>()
  /** The latest requests that were answered here, for the words of a second answer. */
  readonly #answered = new Set<string>()
  /** Room in an OPENED of the requests that wait for their answer, or to be logged. */
  #taken: Room = { bytes: 0, values: 0 }
  #isClosed = false
  /** Requests of another process that the actor has not asked again. */
  #restored: AskedRequest[] = []

  constructor(run: RequestsCallbacks) {
    this.#run = run
  }

  /** The bytes that the kept names take, approximately. */
  get retainedBytes(): number {
    return this.#answered.size * ANSWERED_BYTES
  }

  /** A question waits for its answer. */
  get waiting(): boolean {
    return this.#pending.size > 0 || this.#restored.length > 0
  }

  /** The requests that wait. */
  get asked(): AskedRequest[] {
    const asked = Array.from(this.#pending, ([id, { packed, seq }]) => ({ id, packed, seq }))
    return [...this.#restored, ...asked]
  }

  /** Goes on with the requests of another process: the actor asks them again. */
  restore(asked: readonly AskedRequest[]): void {
    this.#restored = [...asked]
  }

  /** Room in an OPENED that requests of children may take, in addition to those that wait here. */
  get room(): Room {
    const all = roomFor(this.#run.limits)
    const { bytes, values } = this.#taken
    return { bytes: all.bytes - bytes, values: all.values - values }
  }

  /** The requests that are logged and not yet answered. */
  get pending(): PendingRequest[] {
    const restored = this.#restored.map(({ packed, seq }) => ({ seq, data: unpackPayload(packed) as WireMap }))
    return [...restored, ...Array.from(this.#pending.values(), ({ seq, data }) => ({ seq, data }))]
  }

  /** Asks a question, and waits for the answer. */
  ask(question: Question): Promise<unknown> {
    const answer = this.#ask(question)
    // The actor may stop waiting for the answer before it rejects: that must not be an unhandled rejection.
    answer.catch(() => {})
    return answer
  }

  async #ask(question: Question): Promise<unknown> {
    const restored = this.#takeRestored(question)
    if (restored) {
      const answer = this.answerTo(restored.id, restored.packed, restored.seq, question, this.#leftMs(restored))
      this.#run.askedAgain(restored.id)
      return answer
    }
    const event = this.#eventOf(question)
    const packed = packPayload(toWire(event).data, this.#run.limits)
    const release = this.#reserve(packed)
    if (!release)
      throw new MillraceError(
        'bad_event',
        'the requests that wait for an answer are too large together; ask one after the other',
      )
    const seq = await this.#run.emit(event).finally(release)
    this.#run.asked(event)
    return this.answerTo(event.id, packed, seq, question)
  }

  /** The request of another process that asks the same. Its time goes on from when it was asked first. */
  #takeRestored({ kind, prompt, call }: Question): AskedRequest | undefined {
    const i = this.#restored.findIndex(({ packed }) => {
      const asked = unpackPayload(packed) as WireMap
      return call === undefined
        ? asked['call'] === undefined && asked['kind'] === kind && asked['prompt'] === prompt
        : asked['call'] === call
    })
    return i < 0 ? undefined : this.#restored.splice(i, 1)[0]
  }

  /** What is left of the time of a request of another process. */
  #leftMs({ packed }: AskedRequest): number | undefined {
    const { expiresAt } = unpackPayload(packed) as WireMap
    return typeof expiresAt === 'number' ? Math.max(0, expiresAt - this.#run.runtime.wallClock()) : undefined
  }

  /** Takes an answer, of type `answer` or `approve`, for the request that it names. An invalid one leaves that open. */
  take(input: RunInput, by: Principal | undefined): InputAnswer {
    if (this.#answered.has(nameOf(input))) return { status: 'unwanted', note: 'somebody has answered before' }
    if (this.#isClosed) return OVER
    const data = isMap(input.data) ? input.data : {}
    const isPlain = input.type === 'answer'
    const id = isPlain ? data['request'] : data['call']
    const { ids, run } = this.#run
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

  /** The run goes on elsewhere: nothing is answered here any more, nor expires. */
  freeze(): void {
    this.#isClosed = true
    for (const { over } of this.#pending.values()) over()
    this.#pending.clear()
  }

  /** The run is over: the requests fail. */
  close(): void {
    this.#isClosed = true
    this.#restored = []
    for (const [id, pending] of [...this.#pending]) {
      this.#forget(id)
      pending.fail(this.#run.stopReason())
    }
  }

  /** The event that asks `question`, under a new id. */
  #eventOf(question: Question): RequestEvent {
    const { expiresMs, signal: _, who: __, ...rest } = question
    const event: RequestEvent = { type: 'request', id: this.#run.ids.newRequest(), ...rest }
    if (expiresMs !== undefined) event.expiresAt = this.#run.runtime.wallClock() + expiresMs
    return event
  }

  /**
   * Reserves room for a request while it waits to be logged. All requests that wait may have half of what an OPENED may
   * hold. Returns a function that releases the room, or undefined when there is none.
   */
  #reserve(packed: Uint8Array): (() => void) | undefined {
    const asked = { bytes: packed.length, values: countValues(packed, this.#run.limits) }
    const { bytes, values } = this.room
    if (asked.bytes > bytes || asked.values > values) return undefined
    this.#takeRoom(asked, 1)
    return () => this.#takeRoom(asked, -1)
  }

  /** Waits for the answer to request `id`, whose `packed` data was logged as item `seq`. */
  answerTo(
    id: string,
    packed: Uint8Array,
    seq: number,
    { expiresMs, signal, who }: Question,
    leftMs: number | undefined = expiresMs,
  ): Promise<unknown> {
    return new Promise((answer, fail) => {
      if (this.#isClosed) return fail(this.#run.stopReason())
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
      // A copy: the actor may change its object later.
      const data = unpackPayload(packed) as WireMap
      const timer = leftMs === undefined ? undefined : this.#run.runtime.setTimer(leftMs, expire)
      const taken = { bytes: packed.length, values: countValues(packed, this.#run.limits) }
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
        packed,
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
      this.#run.waitingChanged()
    })
  }

  /**
   * Follows a recorded run: a request of it is open until its call goes on. An answer is taken, and changes nothing. One
   * for which there is no room is not open.
   */
  replay(event: RunEvent, seq: number): void {
    if (event.type === 'tool.progress' || event.type === 'tool.result')
      for (const [id, { data }] of this.#pending) if (data['call'] === event.call) this.#forget(id)
    if (event.type !== 'request') return
    const packed = packPayload(toWire(event).data, this.#run.limits)
    const release = this.#reserve(packed)
    release?.()
    if (release) this.answerTo(event.id, packed, seq, { kind: event.kind }).catch(() => {})
  }

  /** Whether a question is for this principal. */
  #may(who: (principal: Principal) => boolean, by: Principal | undefined): boolean {
    try {
      return by !== undefined && who(by)
    } catch (error) {
      this.#run.failed(error)
      return false
    }
  }

  /** Lets clients answer a request, until the function that this returns is called. */
  #open(id: string, call: unknown, answer: Answering): () => void {
    const { ids, run } = this.#run
    const request = { run, answer }
    const found = ids.open.add('request', id, request)
    if (typeof call !== 'string') return found
    const foundByCall = ids.open.add('requestOfCall', call, request)
    return () => {
      found()
      foundByCall()
    }
  }

  #forget(id: string): void {
    const pending = this.#pending.get(id)
    if (!pending) return
    this.#pending.delete(id)
    this.#takeRoom(pending.taken, -1)
    pending.over()
    this.#run.waitingChanged()
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
