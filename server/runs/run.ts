import { setMaxListeners } from 'node:events'
import { MillraceError } from '../../protocol/errors.ts'
import { type RunEvent, toWire } from '../../protocol/events.ts'
import type { OnDetach, WireMap } from '../../protocol/frames.ts'
import type { Limits } from '../../protocol/limits.ts'
import { CANCEL_CODES, type CancelCause, type Receipt, type Usage } from '../../protocol/receipt.ts'
import type { Runtime, Timer } from '../../protocol/runtime.ts'
import type { Actor, Principal, Question, RunInput } from '../actors/actor.ts'
import type { ChildRun } from '../actors/child-run.ts'
import type { ValidationResult } from '../actors/standard-schema.ts'
import { Log } from '../log/log.ts'
import type { LoggedEnd } from '../log/logged-end.ts'
import { packPayload } from '../log/payload.ts'
import { type Reader, Readers } from '../log/readers.ts'
import type { Model } from '../models/model.ts'
import { GuardedRuntime } from '../runtime.ts'
import { isThenable } from '../streams/thenable.ts'
import { CallIds } from './call-ids.ts'
import { type ChildEvents, Children, NO_CHILDREN } from './children.ts'
import { type ContextCallbacks, createContext } from './context.ts'
import { Deadline } from './deadline.ts'
import { type InputAnswer, Inputs } from './inputs.ts'
import { invalidInput } from './invalid-input.ts'
import { OpenWork, type OpenWorkSnapshot } from './open-work.ts'
import { Producer, type ProducerCallbacks } from './producer.ts'
import type { ReadableRun } from './readable-run.ts'
import type { Scheduler } from './scheduler.ts'
import { UsageTally } from './usage-tally.ts'

/** How long a run with `onDetach: 'cancel'` outlives its last connection, unless it says otherwise. */
const CANCEL_DETACHED_MS = 10_000
/** What a run takes beside its log and inputs: 6.1 to 6.7 KB of heap, measured on runs that said two words. */
const RUN_BYTES = 7_168
/** What it takes to say whose an event is that is passed on. */
const WHOSE = { bytes: 64, values: 2 }
/** What a list takes for an id beside its text, at most. */
const ID_HEADER_BYTES = 5

export type RunState = 'opening' | 'running' | 'waiting_input' | 'settling' | 'ended'

export type RunOptions = {
  onDetach: OnDetach
  detachMs: number | undefined
  timeoutMs: number | undefined
  meta: WireMap | undefined
  /** Run the actor's `ask`, where it has one. */
  ask: boolean
}

/** What a run takes from the place it runs in. */
export type RunCallbacks = {
  readonly runtime: Runtime
  readonly limits: Limits
  readonly scheduler: Scheduler
  findModel(which: string | Model | undefined): Model
  /** Makes the run of a child. @throws MillraceError the reason of the refusal. */
  spawn(parentLink: ParentLink, actor: Actor, input: unknown, name: string | undefined): Run
  /** The end is logged. */
  ended(run: Run): void
  /** The actor, its tools and its provider requests have finished: the slot is free. After `ended`. */
  settled(run: Run): void
  /** An actor threw something that clients must not see. */
  failed(run: Run, error: unknown): void
}

/** What makes a run the child of another, which is told of it. */
export type ParentLink = ChildEvents & { readonly parent: Run }

/** Why a run stops before its actor is finished. */
type Stop = {
  outcome: 'cancelled' | 'error'
  error: MillraceError
  by: Receipt['by']
  code: number
  note: string | undefined
  at: number
  open: OpenWorkSnapshot
  /** Whether a provider of its own, not of a child, was cut off. */
  cutOff: boolean
}

/**
 * One execution of an actor: it pulls the actor's iterator while its gate is open, logs what comes, and ends once.
 */
export class Run implements ReadableRun {
  readonly log: Log
  #end: LoggedEnd | undefined
  readonly id: string
  readonly actorName: string
  readonly principal: Principal
  readonly options: RunOptions
  readonly startedAt: number
  readonly #callbacks: RunCallbacks
  /** Every entry from outside: a timer, a later turn, a promise, a step of the actor that failed. */
  readonly #guarded: GuardedRuntime
  /** How much it may say at once. */
  readonly #limits: Limits
  readonly #actor: Actor
  /** Made when somebody takes its signal. */
  #controller: AbortController | undefined
  readonly #usage = new UsageTally()
  readonly #openWork: OpenWork
  #children = NO_CHILDREN
  /** The run that began this one. */
  readonly parent: Run | undefined
  /** Who in it is told, until there is nothing more to tell. */
  #parentLink: ParentLink | undefined
  readonly #ids: CallIds
  readonly #readers: Readers
  readonly #producer: Producer
  #state: RunState = 'opening'
  #stop: Stop | undefined
  #settled = false

  readonly #inputs: Inputs

  #grace: Timer | undefined
  readonly #deadline: Deadline
  #detachClock: Timer | undefined

  /** @param parentLink absent for a run that stands for itself. */
  constructor(
    callbacks: RunCallbacks,
    id: string,
    actorName: string,
    actor: Actor,
    principal: Principal,
    options: RunOptions,
    parentLink?: ParentLink,
  ) {
    this.#callbacks = callbacks
    this.#guarded = new GuardedRuntime(callbacks.runtime, (error) => this.#broke(error))
    this.parent = parentLink?.parent
    this.#parentLink = parentLink
    this.#limits = parentLink ? forChild(parentLink.parent.#limits) : callbacks.limits
    this.#ids = parentLink ? parentLink.parent.#ids : new CallIds()
    this.#actor = actor
    this.id = id
    this.actorName = actorName
    this.principal = principal
    this.options = options
    this.startedAt = callbacks.runtime.now()
    this.log = new Log(callbacks.limits)
    this.#readers = new Readers(this.log, callbacks.limits, options.onDetach)
    this.#producer = new Producer(this.#producerCallbacks(), this.log, this.#readers, callbacks.scheduler, this.#limits)
    this.#openWork = new OpenWork(() => this.#checkSettled())
    this.#inputs = new Inputs(
      {
        runtime: this.#guarded,
        limits: callbacks.limits,
        stopReason: this.#stopReason,
        newRequestId: () => this.#ids.newRequest(),
        answerElsewhere: (input) => this.#children.answer(input),
        waitingChanged: () => this.#waitingChanged(),
      },
      actor.interactive,
    )
    const timeoutMs = Math.min(options.timeoutMs ?? callbacks.limits.timeoutMs, callbacks.limits.timeoutMs)
    this.#deadline = new Deadline(this.#guarded, timeoutMs, () => {
      this.#stopWith(
        'error',
        new MillraceError('timeout', `the run took longer than ${timeoutMs} ms`),
        'server',
        CANCEL_CODES.unspecified,
      )
    })
  }

  get state(): RunState {
    return this.#state
  }

  /** The gate is closed: the actor waits for its readers. */
  get gated(): boolean {
    return this.#producer.gated
  }

  /** No reader of its principal is there. */
  get detached(): boolean {
    return this.#readers.detached
  }

  get end(): LoggedEnd | undefined {
    return this.#end
  }

  /** What is told to who would have it go on. Only then is it made: to know where it was made is dear. */
  readonly #stopReason = (): MillraceError => this.#stop?.error ?? new MillraceError('bad_request', 'the run has ended')

  /** It is stopping, or has ended: nothing more is said. */
  get #isOver(): boolean {
    return this.#stop !== undefined || this.#end !== undefined
  }

  /** Everything has finished, not only the end been announced. */
  get settled(): boolean {
    return this.#settled
  }

  /** Bytes that it takes once it has ended, about. */
  get retainedBytes(): number {
    return RUN_BYTES + this.log.size + this.#inputs.retainedBytes
  }

  /** How many follow it. */
  get readers(): number {
    return this.#readers.size
  }

  /** Those who follow it. */
  get followers(): Iterable<Reader> {
    return this.#readers
  }

  /** Begins, with the input as its schema made it, or with the promise of that. */
  begin(input: ValidationResult<unknown> | Promise<ValidationResult<unknown>>): void {
    if (!(input instanceof Promise)) return this.#guarded.enter(() => this.#open(input))
    input.then(
      (result) => this.#guarded.enter(() => this.#open(result)),
      (error: unknown) => this.#guarded.enter(() => this.#fail(error)),
    )
  }

  #open(input: ValidationResult<unknown>): void {
    if (this.#isOver) return this.#checkSettled()
    if (input.issues) return this.#endWith('error', invalidInput(input.issues).toJSON())
    this.#state = 'running'
    let iterator: AsyncIterator<string | RunEvent, unknown>
    try {
      const stream = this.#execute(input.value)
      // An async function in place of a generator: its promise must not be rejected with nobody listening.
      if (isThenable(stream)) Promise.resolve(stream).catch(() => {})
      iterator = stream[Symbol.asyncIterator]()
    } catch (error) {
      return this.#fail(error)
    }
    this.#producer.begin(iterator)
  }

  #execute(input: unknown): AsyncIterable<string | RunEvent, unknown> {
    const { ask, stream } = this.#actor
    const context = createContext(this.#contextCallbacks())
    if (stream && !(ask && this.options.ask)) return stream(input as never, context)
    if (!ask) throw new MillraceError('internal', `actor ${this.actorName} has neither ask nor stream`)
    return answerOnce(() => ask(input as never, context), this.options.ask)
  }

  #contextCallbacks(): ContextCallbacks {
    const signal = (): AbortSignal => this.#signal()
    const inputs = (): AsyncIterable<RunInput> => this.#inputs.queue
    return {
      id: this.id,
      actorName: this.actorName,
      meta: this.options.meta,
      principal: this.principal,
      get signal() {
        return signal()
      },
      gen: () => this.log.gen,
      get inputs() {
        return inputs()
      },
      takeInputs: () => this.#inputs.takeAll(),
      runtime: this.#guarded,
      limits: this.#limits,
      emit: (event) => this.#emit(event),
      request: (question) => {
        const answer = this.#request(question)
        // An actor that stops waiting for the answer before it fails must not bring the process down.
        answer.catch(() => {})
        return answer
      },
      findModel: (which) => this.#callbacks.findModel(which),
      openProvider: () => this.#openWork.openProvider(),
      openTool: (call, stop) => this.#openWork.openTool(call, stop),
      claimCall: (given) => this.#ids.claimCall(given),
      spawn: (actor, input, options) => {
        if (this.#children === NO_CHILDREN) this.#children = this.#makeChildren()
        return this.#children.spawn(actor as object as Actor, input, options) as ChildRun<never, never>
      },
      canSay: (event) => this.#producer.accepts(event),
      failed: (error) => this.#callbacks.failed(this, error),
      answered: (stop) => this.#usage.answered(stop),
    }
  }

  /** Aborts when the run is over. */
  #signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController()
      // An actor may have any number of requests and tools under way, each with this signal.
      setMaxListeners(0, this.#controller.signal)
      if (this.#isOver) this.#controller.abort(this.#stopReason())
    }
    return this.#controller.signal
  }

  // --- what the actor says

  #producerCallbacks(): ProducerCallbacks {
    return {
      stopReason: this.#stopReason,
      logged: (event, seq) => {
        if (this.#children.passed(event, seq)) return false
        if ('text' in event) return true
        this.#usage.note(event, this.#producer.texts)
        return false
      },
      said: () => this.#inputs.said(),
      gateMoved: () => this.#holdDeadline(),
      finished: (result) => this.#guarded.enter(() => this.#finish(result)),
      failed: (error) => this.#guarded.enter(() => this.#fail(error)),
      steppedAfterClose: (error) => this.#guarded.enter(() => this.#cleanedUp(error)),
    }
  }

  /** Goes on where it can: called when the gate may have opened. */
  reconsider(): void {
    this.#producer.reconsider()
  }

  /** Logs an event once the gate is open. Resolves with the number of the last item it became. */
  #emit(event: string | RunEvent): Promise<number> {
    if (!this.#isOver) return this.#producer.emit(event)
    const refused = Promise.reject(this.#stopReason())
    refused.catch(() => {})
    return refused
  }

  // --- readers

  /** A reader begins to follow. */
  join(reader: Reader): void {
    this.#readers.join(reader)
    if (reader.own) {
      this.#detachClock?.clear()
      this.#detachClock = undefined
      this.#holdDeadline()
    }
    this.reconsider()
  }

  /** A reader has all there is and wants to be woken. */
  rest(reader: Reader): void {
    this.#readers.rest(reader)
  }

  /** A reader leaves; the run goes on as its `onDetach` says. */
  leave(reader: Reader): void {
    if (!this.#readers.leave(reader) || this.#isOver) return
    if (this.detached) {
      this.#startDetachClock()
      this.#holdDeadline()
    }
    this.reconsider()
  }

  #startDetachClock(): void {
    if (this.#detachClock) return
    const { onDetach, detachMs } = this.options
    if (onDetach === 'continue') return
    const { resumeMs } = this.#callbacks.limits
    const ms = Math.min(detachMs ?? (onDetach === 'cancel' ? CANCEL_DETACHED_MS : resumeMs), resumeMs)
    this.#detachClock = this.#guarded.setTimer(ms, () => {
      this.#detachClock = undefined
      this.cancel({ by: 'server', code: CANCEL_CODES.detached, note: 'nobody came back to it' })
    })
  }

  /** Gives up the log of an ended run: who still reads it is sent away. */
  evict(): void {
    this.log.clear()
    this.#readers.dismiss('overloaded', 'this ended run was given up to make room; its remaining items are lost')
  }

  /** The log began a new life at `first`: readers beyond it are told, and count from there for the gate. */
  newLife(first: number): void {
    this.log.newLife(first)
    this.#readers.newLife(first)
    this.reconsider()
  }

  // --- inputs and requests

  /** Takes an input of a client, once per `mid`. `bytes` is its encoded size. */
  input(mid: string, input: RunInput, bytes: number): InputAnswer {
    return this.#inputs.take(mid, input, bytes)
  }

  /** Data of the requests logged before item `seq` and not yet answered. */
  pendingAt(seq: number): WireMap[] {
    return [...this.#inputs.pendingAt(seq), ...this.#children.pendingAt(seq, this.#inputs.room)]
  }

  async #request(question: Question): Promise<unknown> {
    const event = this.#inputs.requestEvent(question)
    const packed = packPayload(toWire(event).data, this.#limits)
    const release = this.#inputs.reserve(packed)
    if (!release)
      throw new MillraceError(
        'bad_event',
        'the requests that wait for an answer are too large together; ask one after the other',
      )
    const seq = await this.#emit(event).finally(release)
    return this.#inputs.answerTo(event.id, packed, seq, question)
  }

  #waitingChanged(): void {
    if (this.#state !== 'running' && this.#state !== 'waiting_input') return
    this.#state = this.#inputs.waiting || this.#children.waiting ? 'waiting_input' : 'running'
    if (this.#inputs.waiting) this.#producer.tellNext()
    this.#holdDeadline()
    this.#parentLink?.waitingChanged()
  }

  // --- children

  #makeChildren(): Children {
    const callbacks = this.#callbacks
    return new Children({
      limits: callbacks.limits,
      stopReason: () => (this.#isOver ? this.#stopReason() : undefined),
      create: (actor, input, name, events) => callbacks.spawn({ parent: this, ...events }, actor, input, name),
      emit: (event) => this.#emit(event),
      nextTurn: (callback) => this.#guarded.nextTurn(callback),
      spent: (usage) => this.#usage.childSpent(usage),
      waitingChanged: () => this.#waitingChanged(),
      idle: () => this.#checkSettled(),
    })
  }

  /** What is open beside the actor, here and in the children. */
  get openWork(): OpenWorkSnapshot {
    return this.#children.openWith(this.#openWork.snapshot())
  }

  /** What it and its children have cost so far, if anything. */
  get spent(): Usage | undefined {
    return this.#spent(this.#stop?.cutOff ?? this.#openWork.snapshot().provider).usage
  }

  #spent(cutOff: boolean): Pick<Receipt, 'usage'> {
    return this.#usage.receiptUsage(cutOff, this.#producer.texts, this.#children.spent)
  }

  /** Whether it, or a child of it, waits for the answer to that request. */
  asks(request: string): boolean {
    return this.#inputs.asks(request) || this.#children.asks(request)
  }

  /** Answers a request that it or a child of it asks; undefined when none of them does. */
  answer(input: RunInput): InputAnswer | undefined {
    return this.#inputs.answer(input) ?? this.#children.answer(input)
  }

  // --- the end

  /** Stops the run at once, whatever its actor waits for. On a run that is stopping or has ended it changes nothing. */
  cancel(why: CancelCause): void {
    const message =
      why.note === undefined || why.note === ''
        ? `cancelled by the ${why.by}`
        : `cancelled by the ${why.by}: ${why.note}`
    this.#stopWith('cancelled', new MillraceError('cancelled', message), why.by, why.code, why.note)
  }

  /** Stops one tool call, its own or of a child, at once; the run goes on. False when none of that id has its result to come. */
  cancelCall(call: string, why: CancelCause): boolean {
    if (this.#isOver) return false
    if (this.#openWork.stopTool(call, why) || this.#children.cancelCall(call, why)) return true
    return this.#passesOn((event) => event.type === 'tool.result' && event.call === call)
  }

  /** Stops one child, or a child of one, at once; the run goes on. False when none of that id has its end to come. */
  cancelAgent(agent: string, why: CancelCause): boolean {
    if (this.#isOver) return false
    if (this.#children.cancelAgent(agent, why)) return true
    return this.#passesOn((event) => event.type === 'agent.end' && event.agent === agent)
  }

  /** Whether an event of a child for which `holds` is on its way into this log. */
  #passesOn(holds: (event: RunEvent) => boolean): boolean {
    return this.#producer.awaits(holds) || this.#children.expects(holds)
  }

  /** The server goes away before the run is finished. */
  interrupt(message: string): void {
    this.#stopWith('error', new MillraceError('interrupted', message), 'server', CANCEL_CODES.unspecified)
  }

  #stopWith(outcome: Stop['outcome'], error: MillraceError, by: Receipt['by'], code: number, note?: string): void {
    if (this.#isOver) return
    const { limits } = this.#callbacks
    const runtime = this.#guarded
    const cutOff = this.#openWork.snapshot().provider
    this.#stop = { outcome, error, by, code, note, at: runtime.now(), open: this.openWork, cutOff }
    this.#state = 'settling'
    this.#clearClocks()
    this.#grace = runtime.setTimer(limits.cancelGraceMs, () => {
      this.#grace = undefined
      this.endNow()
    })
    this.#controller?.abort(error)
    this.#quiet()
    this.#children.stop()
    this.#producer.close()
  }

  /** The actor has finished after its run was over; what failed in its clean-up, and is not the stop itself, is reported. */
  #cleanedUp(error: unknown): void {
    if (error !== undefined && !isAbort(error)) this.#callbacks.failed(this, error)
    this.#checkSettled()
  }

  #checkSettled(): void {
    if (this.#settled || !this.#isOver || !this.#producer.finished || !this.#openWork.idle || !this.#children.idle)
      return
    // Which comes back here.
    if (!this.#end) return this.endNow()
    this.#settled = true
    this.#callbacks.settled(this)
    const parentLink = this.#parentLink
    // This run is kept, and would keep with it who read it.
    this.#parentLink = undefined
    parentLink?.settled()
  }

  /** Tells the end of a run that is stopped, whatever of it has not finished. */
  endNow(): void {
    const stop = this.#stop
    if (!stop || this.#end) return
    // Their grace is over as well, and what they cost belongs to this end.
    this.#children.endNow()
    if (stop.outcome === 'error') return this.#endWithError(stop.error)
    const open = this.openWork
    const unsettled = [
      ...(this.#producer.finished ? [] : ['actor']),
      ...(open.provider ? ['provider'] : []),
      ...open.tools,
      ...this.#children.ids,
    ]
    const goingOn = new Set(open.tools)
    const stopped = stop.open.tools.filter((call) => !goingOn.has(call))
    const receipt: Receipt = {
      code: stop.code,
      by: stop.by,
      settled: unsettled.length === 0,
      unsettled: asManyAsFit(unsettled, this.#callbacks.limits),
      provider: open.provider ? 'open' : stop.open.provider ? 'closed' : 'none',
      tools: asManyAsFit(stopped, this.#callbacks.limits),
      kept: this.log.last,
      ms: Math.round((this.#callbacks.runtime.now() - stop.at) * 1000) / 1000,
      ...this.#spent(stop.cutOff),
    }
    if (stop.note !== undefined) receipt.note = stop.note
    this.#endWith('cancelled', receipt)
  }

  #finish(result: unknown): void {
    const unread = this.#inputs.size
    if (unread > 0)
      this.#producer.say({
        type: 'warning',
        code: 'inputs_unread',
        message: `the actor ended before it took ${unread} of its inputs`,
      })
    const data: WireMap = {
      ms: Math.round(this.#callbacks.runtime.now() - this.startedAt),
      ...this.#usage.summary(this.#children.spent),
    }
    if (result !== undefined) data['result'] = result
    this.#endWith('done', data)
  }

  #fail(error: unknown): void {
    if (this.#isOver) return this.#checkSettled()
    if (!MillraceError.is(error)) this.#callbacks.failed(this, error)
    // Its own stop would be no failure: a child of it was stopped.
    const stopped = MillraceError.is(error, 'cancelled')
    const ours = stopped
      ? new MillraceError('actor_failed', 'a child of this run was cancelled, and its actor did not go on without it')
      : MillraceError.from(error, 'actor_failed', `actor ${this.actorName} failed; the server's log says why`)
    this.#endWithError(ours)
  }

  /** The core itself failed, in what was called from outside: that ends this run, and nothing else. */
  #broke(error: unknown): void {
    this.#callbacks.failed(this, error)
    if (!this.#end) this.#endWithError(new MillraceError('internal', 'the server failed in this run; its log says why'))
  }

  #endWithError(error: MillraceError): void {
    this.#endWith('error', { ...error.toJSON(), ...this.#usage.usage(this.#children.spent) })
  }

  #endWith(outcome: LoggedEnd['outcome'], data: WireMap): void {
    if (this.#end) return
    let packed: Uint8Array
    try {
      packed = packPayload(data, this.#callbacks.limits)
    } catch (error) {
      const cause = MillraceError.from(error, 'bad_event')
      const shape = new MillraceError('bad_event', `the end of the run cannot be sent: ${cause.message}`).toJSON()
      return this.#endWith('error', shape)
    }
    this.log.flushAllHeld(this.#callbacks.runtime.wallClock())
    // A receipt counts what was kept, and half a character that was held back has just become an item.
    if (outcome === 'cancelled' && data['kept'] !== this.log.last)
      packed = packPayload({ ...data, kept: this.log.last }, this.#callbacks.limits)
    this.#end = { seq: this.log.next, outcome, data, packed }
    this.#state = 'ended'
    this.#grace?.clear()
    this.#clearClocks()
    this.#quiet()
    this.#readers.wakeAll()
    this.#callbacks.ended(this)
    this.#parentLink?.ended()
    // What still goes on must hear of it: an actor that waits for its signal would keep its slot for ever.
    if (!this.#stop && !(this.#producer.finished && this.#openWork.idle)) this.#controller?.abort(this.#stopReason())
    if (!this.#stop) {
      this.#children.stop()
      this.#producer.close()
    }
    this.#checkSettled()
  }

  /** Nobody will be heard any more: inputs end, requests and waiting events fail. */
  #quiet(): void {
    this.#inputs.close()
    this.#producer.quiet()
  }

  /** The deadline stands still while the run waits for its reader, or for what somebody who is there may say. */
  #holdDeadline(): void {
    if (this.gated || (this.#state === 'waiting_input' && !this.detached)) this.#deadline.hold()
    else this.#deadline.release()
  }

  #clearClocks(): void {
    this.#deadline.clear()
    this.#detachClock?.clear()
    this.#detachClock = undefined
  }
}

/** Whether something was thrown because of an abort: our reason handed on, or a library's own name for it. */
function isAbort(error: unknown): boolean {
  if (MillraceError.is(error)) return true
  try {
    return error instanceof Error && /abort/i.test(`${error.name} ${error.constructor.name}`)
  } catch {
    // Anything can be thrown, also what cannot be looked at.
    return false
  }
}

/** Limits for what a child says: there is room left for whose it is, where it is passed on. */
function forChild(limits: Limits): Limits {
  return { ...limits, maxEvent: limits.maxEvent - WHOSE.bytes, maxValues: limits.maxValues - WHOSE.values }
}

/** The first of some ids: neither of the two lists of a receipt leaves too little room for the rest of it. */
function asManyAsFit(ids: readonly string[], { maxEvent, maxValues }: Limits): string[] {
  const first: string[] = []
  let room = maxEvent / 4
  for (const id of ids) {
    room -= Buffer.byteLength(id) + ID_HEADER_BYTES
    if (room < 0 || first.length >= maxValues / 8) break
    first.push(id)
  }
  return first
}

/** An actor without `stream` yields its one answer; text becomes the run's text, anything else its result. */
async function* answerOnce(ask: () => unknown, resultOnly: boolean): AsyncGenerator<string | RunEvent, unknown> {
  const answer = await ask()
  if (typeof answer === 'string') {
    yield answer
    return undefined
  }
  if (!resultOnly && answer !== undefined) yield { type: 'data', name: 'result', value: answer }
  return answer
}
