import { setMaxListeners } from 'node:events'
import type { AnswerOf, DataOf } from '../../protocol/actors.ts'
import { MillraceError } from '../../protocol/errors.ts'
import type { RunEvent } from '../../protocol/events.ts'
import type { RunState, WireMap } from '../../protocol/frames.ts'
import type { Limits } from '../../protocol/limits.ts'
import type { CancelCause, Receipt } from '../../protocol/receipt.ts'
import type { Runtime } from '../../protocol/runtime.ts'
import type { Actor, ActorContext, EarlierRun, Principal, RunInput } from '../actors/actor.ts'
import type { ChildRun } from '../actors/child-run.ts'
import type { ValidationResult } from '../actors/standard-schema.ts'
import { Log } from '../log/log.ts'
import { endData, type LoggedEnd } from '../log/logged-end.ts'
import { type Reader, Readers } from '../log/readers.ts'
import { RecordedEnd, RecordedItem } from '../log/recorded.ts'
import type { Model } from '../models/model.ts'
import type { NoticedRequest, NoticedRun, RunNotices } from '../notices/notices.ts'
import { GuardedRuntime, wallClockAt } from '../runtime.ts'
import type { StoredInput } from '../stores/run-store.ts'
import { ClientTools, refusedTools } from '../tools/client-tools.ts'
import type { OpenTool } from '../tools/tool-runner.ts'
import type { RunTrace, Tracing } from '../tracing/tracing.ts'
import { actorFailure, isAbort } from './actor-failure.ts'
import { actorStream } from './actor-stream.ts'
import type { PendingRequest } from './ask.ts'
import { CallIds } from './call-ids.ts'
import type { ChildRunHandle } from './child.ts'
import { type ChildEvents, type ChildLabels, Children, childLimits, NO_CHILDREN } from './children.ts'
import { Clocks } from './clocks.ts'
import { ComingReaders } from './coming-readers.ts'
import { type ContextCallbacks, createContext } from './context.ts'
import { Ending, type EndingCallbacks } from './ending.ts'
import { Holding } from './holding.ts'
import { type InputAnswer, type InputSender, OVER } from './input-answer.ts'
import { Inputs } from './inputs.ts'
import { invalidInput } from './invalid-input.ts'
import { Journal } from './journal.ts'
import type { Member } from './open-ids.ts'
import { OpenWork, type OpenWorkSnapshot } from './open-work.ts'
import { Orders, type OrdersCallbacks } from './orders.ts'
import { type ParkedChild, type ParkedRun, packInput, unpackInput, unpackParked } from './parked-run.ts'
import { Parking } from './parking.ts'
import { Producer, type ProducerCallbacks } from './producer.ts'
import type { ReadableRun } from './readable-run.ts'
import { Requests, roomFor } from './requests.ts'
import { Restoration, takeKept } from './restoration.ts'
import { retainedBytes } from './retained-bytes.ts'
import type { RestoredFrom, RunOptions, RunStorage } from './run-options.ts'
import type { Scheduler } from './scheduler.ts'
import { cancelledBy, stoppedWith } from './stop-cause.ts'
import { cancelTarget, expectEnd, openTarget } from './targets.ts'
import { packUsage, UsageTally } from './usage-tally.ts'

/** What a run takes from the registry that made it. */
export type RunCallbacks = {
  readonly runtime: Runtime
  readonly limits: Limits
  readonly scheduler: Scheduler
  /** Tells somebody outside. Absent: nobody wants to know. */
  readonly notices?: RunNotices | undefined
  /** Traces runs. Absent: nothing is traced. */
  readonly tracing?: Tracing | undefined
  findModel(which: string | Model | undefined): Model
  /**
   * Makes the run of a child.
   * @param id that of a child that goes on from another process.
   * @throws MillraceError the reason of the refusal.
   */
  spawn(parentLink: ParentLink, actor: Actor, input: unknown, labels: ChildLabels, id: string | undefined): Run
  /** The name under which an actor is registered, or `agent`. */
  nameOf(actor: Actor): string
  /** Finds a run that has ended, for a principal that may read it. */
  earlierRun(principal: Principal, id: string): Promise<EarlierRun>
  /** Its state has changed. */
  changed(run: Run): void
  /** The run that began it is over, and it goes on. */
  letGo(run: Run): void
  /** The end is logged. */
  ended(run: Run): void
  /** The actor, its tools and its provider requests have finished: the slot is free. After `ended`. */
  settled(run: Run): void
  /** An actor threw something that clients must not see. */
  failed(run: Run, error: unknown): void
}

/** What makes a run the child of another, and the events that it reports to its parent. */
export type ParentLink = ChildEvents & { readonly parent: Run; readonly from?: RestoredFrom | undefined }

/**
 * One execution of an actor: it pulls the actor's iterator while its gate is open, logs what comes, and ends once.
 */
export class Run implements ReadableRun {
  // What a reader needs for every item comes first, as in `Producer`.
  readonly log: Log
  readonly #ending: Ending
  readonly #readers: Readers
  readonly id: string
  readonly actorName: string
  readonly principal: Principal
  readonly options: RunOptions
  readonly startedAt: number
  /** What was logged before it came into this process. */
  readonly #earlier: { readonly items: number; readonly bytes: number }
  readonly #callbacks: RunCallbacks
  /** The guard of every entry from outside: a timer, a later loop turn, a promise, a failed step of the actor. */
  readonly #guarded: GuardedRuntime
  /** The limits of one item of this run. */
  readonly #limits: Limits
  readonly #actor: Actor
  /** Made when the signal is first read. */
  #controller: AbortController | undefined
  readonly #usage = new UsageTally()
  readonly #openWork: OpenWork
  #children = NO_CHILDREN
  /** It began as the child of another run. */
  readonly isChild: boolean
  /** The run that began this one, unless that let it go; only its id once this one has settled. */
  parent: (Member & { readonly id: string }) | undefined
  /** What it had cost when its parent let it go, which is in the usage of that. */
  #costAtParent: Receipt['usage']
  /** What of the parent is notified, until there is nothing more to report. */
  #parentLink: ParentLink | undefined
  readonly #ids: CallIds
  readonly #producer: Producer
  /** How far it is while it is not over. */
  #phase: 'opening' | 'running' | 'waiting_input' = 'opening'

  readonly #inputs: Inputs
  /** Made for the first question or answer: most runs have neither. */
  #requests: Requests | undefined
  /** The tools of its clients, if its actor takes any. */
  #clientTools: ClientTools | undefined
  /** Made when something asks for them: most runs get no orders. */
  #orders: Orders | undefined

  readonly #clocks: Clocks
  /** Absent for a run that is not stored. */
  readonly #journal: Journal | undefined
  /** Made when it first waits, or its actor says from what it can go on. */
  #parking: Parking | undefined
  /** Absent: nothing is traced. */
  #trace: RunTrace | undefined
  /** What it does for other processes, where they share the store. */
  #holding: Holding | undefined
  /** Absent: the process that began it knows its readers. */
  #comingReaders: ComingReaders | undefined
  /** Another process has taken it over, with all runs below it. Only the run above all says so. */
  #isElsewhere = false
  /** What it goes on from, if another process began it. */
  #restored: ParkedRun | undefined
  /** The run that began it has let it go: until this resolves, the store does not know that it goes on. */
  #leaving: Promise<boolean> | undefined
  /** What it and the runs below it have still to do again then. Only the run above all has one. */
  #restoration: Restoration | undefined

  /**
   * @param parentLink absent for a run that is not a child.
   * @param storage absent for a run that is not stored.
   */
  constructor(
    callbacks: RunCallbacks,
    id: string,
    actorName: string,
    actor: Actor,
    principal: Principal,
    options: RunOptions,
    parentLink?: ParentLink,
    storage?: RunStorage,
  ) {
    this.#callbacks = callbacks
    this.#guarded = new GuardedRuntime(callbacks.runtime, (error) => this.#broke(error))
    this.parent = parentLink?.parent
    this.#parentLink = parentLink
    this.isChild = parentLink !== undefined
    this.#limits = parentLink ? childLimits(parentLink.parent.#limits) : callbacks.limits
    this.#ids = parentLink ? parentLink.parent.#ids : new CallIds()
    this.#actor = actor
    this.id = id
    this.actorName = actorName
    this.principal = principal
    this.options = options
    const from = storage?.from ?? parentLink?.from
    this.startedAt = callbacks.runtime.now() - (from?.elapsedMs ?? 0)
    this.log = from?.log ?? storage?.log ?? new Log(callbacks.limits)
    this.#earlier = { items: this.log.last, bytes: this.log.bytesThrough(this.log.last) }
    this.#readers = new Readers(this.log, callbacks.limits, options.onDetach)
    this.#producer = new Producer(this.#producerCallbacks(), this.log, this.#readers, callbacks.scheduler, this.#limits)
    this.#openWork = new OpenWork(() => this.#ending.check())
    this.#journal = storage && this.#makeJournal(storage)
    this.#restored = from?.parked
    this.#clientTools = this.#makeClientTools()
    this.#inputs = new Inputs(
      {
        limits: callbacks.limits,
        waitingChanged: () => this.#waitingChanged(),
        answer: (input, by) => (this.isOver && !this.#requests ? OVER : this.#asked().take(input, by)),
        toClientTools: (input, client) =>
          this.#clientTools?.take(input, client) ?? refusedTools(actor.clientTools, input),
        order: (input) => this.orders.take(input),
        failed: (error) => callbacks.failed(this, error),
      },
      actor.interactive,
    )
    this.#ending = new Ending(this.#endingCallbacks())
    const timeoutMs = from?.parked.leftMs ?? options.timeoutMs
    this.#clocks = new Clocks(
      this.#guarded,
      callbacks.limits,
      { ...options, timeoutMs },
      {
        failed: (error) => this.#ending.stop(stoppedWith(error)),
        left: (why) => this.cancel(why),
      },
    )
    if (from) this.#restore(from.parked)
    this.#trace = callbacks.tracing && this.#traced(callbacks.tracing, parentLink)
  }

  #traced(tracing: Tracing, parentLink: ParentLink | undefined): RunTrace {
    const above = parentLink && parentLink.parent.#trace
    const parent = above && { trace: above, call: parentLink.call }
    return tracing.begin({ id: this.id, actor: this.actorName, parent, traceparent: this.meta?.['traceparent'] })
  }

  get meta(): WireMap | undefined {
    return this.options.meta
  }

  /** What it has logged in this process. */
  get logged(): { readonly items: number; readonly bytes: number } {
    const { items, bytes } = this.#earlier
    return { items: this.log.last - items, bytes: this.log.bytesThrough(this.log.last) - bytes }
  }

  /** The name under which its actor is registered. `agent` for a child whose actor is not: its own name may be data. */
  get registeredName(): string {
    return this.isChild ? this.#callbacks.nameOf(this.#actor) : this.actorName
  }

  get state(): RunState {
    if (this.#ending.end) return 'ended'
    return this.#ending.isOver ? 'settling' : this.#phase
  }

  /** The gate is closed: the actor waits for its readers. */
  get gated(): boolean {
    return this.#producer.gated
  }

  /** Its principal has no reader of it. */
  get detached(): boolean {
    return this.#readers.detached
  }

  get end(): LoggedEnd | undefined {
    return this.#ending.end
  }

  /** It is stopping, or has ended: nothing more is logged. */
  get isOver(): boolean {
    return this.#ending.isOver
  }

  /** Everything has finished: the end is logged, and no work is open. */
  get settled(): boolean {
    return this.#ending.isSettled
  }

  /** What clients have ordered. */
  get orders(): Orders {
    return (this.#orders ??= new Orders(this.#ordersCallbacks(), this.#parentLink?.parent.orders))
  }

  /** An order to it, or to a run above it, pauses it. */
  get isPaused(): boolean {
    return this.#orders?.isPaused ?? this.#parentLink?.parent.isPaused ?? false
  }

  /** It waits for an answer, for the tool of a client, or for the end of a pause. */
  get waitsForPeople(): boolean {
    if (this.isOver) return false
    const own = this.isPaused || this.#parking?.isWaiting === true || this.#requests?.waiting === true
    return own || this.#children.waitsForPeople
  }

  /** The actor of its parent only waits for its result. */
  get isHidden(): boolean {
    return this.#parentLink?.isHidden() ?? false
  }

  /** The bytes that it takes once it has ended, approximately. */
  get retainedBytes(): number {
    const { log, end, options } = this
    const inputs = this.#inputs.retainedBytes + (this.#requests?.retainedBytes ?? 0)
    return inputs + retainedBytes(log, end, options.meta, this.#callbacks.limits)
  }

  /** The number of its readers. */
  get readers(): number {
    return this.#readers.size
  }

  /** Its readers. */
  get followers(): Iterable<Reader> {
    return this.#readers
  }

  /** Begins, with the input as its schema made it, or with the promise of that. */
  begin(input: ValidationResult<unknown> | Promise<ValidationResult<unknown>>): void {
    // A new child of a run that was parked: that goes on.
    const goesOn = this.#parentLink && !this.#restored ? this.#goOn() : undefined
    if (goesOn) return void goesOn.then(() => this.#begin(input))
    this.#begin(input)
  }

  #begin(input: ValidationResult<unknown> | Promise<ValidationResult<unknown>>): void {
    if (!(input instanceof Promise)) return this.#guarded.enter(() => this.#open(input))
    input.then(
      (result) => this.#guarded.enter(() => this.#open(result)),
      (error: unknown) => this.#guarded.enter(() => this.#fail(error)),
    )
  }

  #open(input: ValidationResult<unknown>): void {
    if (this.#ending.isOver) return this.#ending.check()
    if (input.issues) return this.#ending.fail(invalidInput(input.issues))
    this.#phase = 'running'
    this.#callbacks.changed(this)
    // Who started it was gone before it began.
    if (this.detached && !this.parent) this.#clocks.detached()
    const ours = { name: this.actorName, actor: this.#actor }
    const context = (): ActorContext => createContext(this.#contextCallbacks())
    this.#producer.begin(() => actorStream(ours, this.options.ask, input.value, context))
  }

  #contextCallbacks(): ContextCallbacks {
    return {
      id: this.id,
      actorName: this.actorName,
      meta: this.options.meta,
      principal: this.principal,
      signal: () => this.#signal(),
      gen: () => this.log.gen,
      inputs: this.#inputs,
      producer: this.#producer,
      openWork: this.#openWork,
      usage: this.#usage,
      orders: () => this.orders,
      trace: (model) => this.#trace?.asks(model),
      runtime: this.#guarded,
      limits: this.#limits,
      clientTools: this.#clientTools,
      checkpoint: (state) => {
        if (this.#treeJournal) this.#parked().checkpoint(state)
      },
      goOn: () => this.#goOnHere(),
      restored: this.#restored?.actor,
      wait: (what) => this.#parked().wait(what),
      restoredCall: (call) => this.#restored?.calls.find(({ id }) => id === call),
      emit: (event) => this.#emit(event),
      request: (question) => this.#asked().ask(question),
      findModel: (which) => this.#callbacks.findModel(which),
      earlierRun: (id) => this.#callbacks.earlierRun(this.principal, id),
      openTool: (call, stop) => this.#openTool(call, stop),
      claimCall: (given) => this.#ids.claimCall(given),
      spawnFor: (call) => (actor, input, options) => {
        const child: object = this.#ownChildren().spawn(actor as object as Actor, input, options, call)
        return child as ChildRun<DataOf<typeof actor>, AnswerOf<typeof actor>>
      },
      canSay: (event) => this.#producer.accepts(event),
      failed: (error) => this.#callbacks.failed(this, error),
      spent: () => this.#ending.spent,
    }
  }

  #openTool(call: string, stop: (cause: CancelCause) => void): OpenTool {
    const { finished, waits } = this.#openWork.openTool(call)
    let children = 0
    return {
      finished: () => {
        finished()
        this.#parking?.review()
      },
      reported: openTarget(this.#ids.open, this, 'call', call, stop),
      wait: (why, what) => {
        waits(why)
        return this.#parked().wait(what.finally(() => waits(undefined)))
      },
      waitForChild: (args, over) => {
        children++
        waits({ for: 'child', args })
        void over.then(() => {
          if (--children === 0) waits(undefined)
        })
      },
    }
  }

  #parked(): Parking {
    this.#parking ??= new Parking({
      runtime: this.#guarded,
      journal: () => this.#treeJournal,
      goOn: () => this.#goOn(),
      above: () => this.#parentLink && this.#parentLink.parent.#parked(),
      waitingChanged: () => {
        this.#holdDeadline()
        this.#parentLink?.waitingChanged()
      },
      waitingWork: () => {
        // It first does again what it did in another process.
        if (this.#producer.holdsEvents || this.#ending.isOver || this.#restoring) return undefined
        const calls = this.#openWork.waiting
        const below = calls && this.#children.parked
        return below && { calls, ...below }
      },
      failed: (error) => this.#callbacks.failed(this, error),
      state: (actor, { calls, children, agents, passed }) => ({
        actor,
        requests: this.#requests?.asked ?? [],
        asked: this.#ids.requests,
        calls,
        inputs: this.#inputs.kept,
        usage: this.#usage.tally,
        texts: this.#producer.texts,
        lane: this.#producer.nextLane,
        orders: this.#orders?.kept,
        clientTools: this.#clientTools?.declared ?? [],
        leftMs: this.#clocks.leftMs,
        children,
        agents,
        passed,
      }),
    })
    return this.#parking
  }

  /** From what another process goes on with it as a child. Undefined: it does not only wait. */
  get parkedState(): Pick<ParkedChild, 'startedAt' | 'next' | 'lives' | 'packed'> | undefined {
    const packed = this.#parking?.packed
    if (!packed) return undefined
    const startedAt = wallClockAt(this.#callbacks.runtime, this.startedAt)
    return { startedAt, next: this.log.next, lives: this.log.lives, packed }
  }

  /** The journal of the run above all. */
  get #treeJournal(): Journal | undefined {
    return this.#parentLink ? this.#parentLink.parent.#treeJournal : this.#journal
  }

  /** As `#goOn`, before a step. Never resolves if another process goes on with the run: that takes the step. */
  #goOnHere(): Promise<void> | undefined {
    return this.#goOn()?.then((isHere) => (isHere ? undefined : new Promise<never>(() => {})))
  }

  /**
   * The store learns that the tree of runs goes on. Nothing new may be done before that. Undefined: it knows. Resolves with
   * false if another process goes on with it.
   */
  #goOn(): Promise<boolean> | undefined {
    return this.#parentLink ? this.#parentLink.parent.#goOn() : (this.#journal?.goOn() ?? this.#leaving)
  }

  /** The run that no other one began. */
  get #root(): Run {
    return this.#parentLink ? this.#parentLink.parent.#root : this
  }

  /** What the tree of runs has still to do again. Undefined: it stands where another process left it. */
  get #restoring(): Restoration | undefined {
    const restoration = this.#root.#restoration
    return restoration?.isOver ? undefined : restoration
  }

  /** Resolves once it stands where another process left it. Undefined: it does. */
  get restored(): Promise<void> | undefined {
    return this.#restoring?.over
  }

  /** The runs below it that another process left. */
  get leftChildren(): readonly string[] {
    return this.#restoration?.children ?? []
  }

  /** Goes on from where another process left it. Its actor begins next. */
  #restore(parked: ParkedRun): void {
    if (!this.parent) {
      this.#restoration = new Restoration(parked, () => this.#parking?.review())
      this.#ids.restore(this.#restoration.calls, parked.asked)
    }
    this.#usage.restore(parked.usage)
    this.#producer.restore(parked.texts, parked.lane, parked.agents)
    this.#inputs.restore(parked.inputs)
    if (parked.requests.length > 0) this.#asked().restore(parked.requests)
    if (parked.orders) this.orders.restore(parked.orders)
    this.#clientTools?.restore(parked.clientTools)
    if (parked.children.length > 0) this.#ownChildren().restore(parked)
  }

  #makeClientTools(): ClientTools | undefined {
    const { clientTools } = this.#actor
    if (!clientTools) return undefined
    const isPresent = (client: string): boolean => this.#readers.isPresent(client)
    const emit = (event: RunEvent): Promise<number> => this.#emit(event)
    const isAttended = (): boolean => !this.#readers.detached
    const opened = (call: string): void => this.#restoring?.reached('call', call)
    return new ClientTools({ runtime: this.#guarded, isPresent, isAttended, emit, opened }, clientTools.reserved)
  }

  #makeJournal(storage: RunStorage): Journal {
    const { limits } = this.#callbacks
    const { creditUnit } = limits
    const { runtime } = storage
    const journal = new Journal(
      {
        ...storage,
        creditUnit,
        runtime: new GuardedRuntime(runtime, (error) => this.#broke(error)),
        usage: () => packUsage(this.#ending.spent),
        stored: () => {
          if (storage.durability === 'logged') this.#readers.wakeAll()
          this.reconsider()
        },
        parked: () => this.#callbacks.changed(this),
        held: ({ shared }) => {
          if (!shared) return
          this.#holding = new Holding(this, shared, limits, {
            lost: () => this.#journal?.lose(),
            attended: () => this.#comingReaders?.came(),
          })
          shared.heldBy(this.#holding)
        },
        lost: () => {
          if (storage.movedAway) this.#moveAway(storage.movedAway)
          else this.interrupt('another server has this run')
        },
      },
      this.log,
      storage.lease,
      storage.from?.bytes,
    )
    this.#readers.pacedBy(journal)
    if (storage.readersCome) {
      this.#comingReaders = new ComingReaders(this.log, limits, this.#guarded, () => this.reconsider())
      this.#readers.pacedBy(this.#comingReaders)
    }
    this.#producer.storedBy(journal)
    return journal
  }

  /** A store has it, also once it is forgotten here. */
  get isStored(): boolean {
    return this.#journal !== undefined
  }

  /** Aborts when the run is over. */
  #signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController()
      // An actor may have any number of requests and tools under way, each with this signal.
      setMaxListeners(0, this.#controller.signal)
      if (this.#ending.isOver) this.#controller.abort(this.#ending.stopReason())
    }
    return this.#controller.signal
  }

  // --- what the actor produces

  #producerCallbacks(): ProducerCallbacks {
    return {
      stopReason: () => this.#ending.stopReason(),
      logged: (event, seq) => {
        const isText = 'text' in event
        if (!isText) this.#parentLink?.logged(event, seq)
        if (this.#children.passed(event, seq)) return false
        if (isText) return true
        this.#trace?.logged(event)
        if (event.type === 'iteration') this.orders.turnBegan(seq)
        this.#usage.note(event, this.#producer.texts)
        return false
      },
      replayed: (event, seq) => {
        if (!('text' in event)) this.#parentLink?.logged(event, seq)
        if (event.agent === undefined) this.#usage.note(event, this.#producer.texts)
        // Who answers is told that it is taken, as by the recorded run.
        if (event.type === 'request') this.#asked().replay(event, seq)
        else this.#requests?.replay(event, seq)
        return event.type === 'token' && event.agent === undefined
      },
      said: () => this.#inputs.said(),
      waits: (event) =>
        event instanceof RecordedItem ? undefined : expectEnd(this.#ids.open, this, event, () => true),
      holdsNone: () => this.#parking?.review(),
      gateMoved: () => {
        this.#holdDeadline()
        this.#watchStall()
      },
      finishing: () => this.#inputs.refuse(),
      finished: (result) =>
        this.#guarded.enter(() => {
          if (result instanceof RecordedEnd) this.#ending.replay(result)
          else this.#ending.done(result)
        }),
      failed: (error) => this.#guarded.enter(() => this.#fail(error)),
      steppedAfterClose: (error) => this.#guarded.enter(() => this.#cleanedUp(error)),
    }
  }

  /** Goes on if it can: the gate may have opened, because a reader has moved. Without a reader all of them are asked. */
  reconsider(moved?: Reader): void {
    this.#producer.reconsider(moved)
    if (moved && this.gated) this.#watchStall()
  }

  /** Logs an event once the gate is open. Resolves with the number of the last item it became. */
  #emit(event: string | RunEvent, isEndOfChild = false): Promise<number> {
    if (!this.#ending.isOver) return this.#producer.emit(event, isEndOfChild)
    const refused = Promise.reject(this.#ending.stopReason())
    refused.catch(() => {})
    return refused
  }

  // --- readers

  /** A reader begins to follow. */
  join(reader: Reader): void {
    this.#readers.join(reader)
    this.#comingReaders?.came()
    if (reader.own) {
      this.#clocks.attached()
      this.#presenceChanged()
    }
    this.#clientTools?.presenceChanged()
    this.reconsider(reader)
  }

  /** A reader has sent all there is, and wants to be woken for more. */
  rest(reader: Reader): void {
    this.#readers.rest(reader)
  }

  /** A reader leaves. `onDetach` decides how the run goes on. */
  leave(reader: Reader): void {
    if (!this.#readers.leave(reader) || this.#ending.isOver) return
    if (this.detached) this.#clocks.detached()
    this.#presenceChanged()
    this.#clientTools?.presenceChanged()
    this.reconsider(reader)
  }

  /** Somebody who may answer it, and resume it, has come or gone. */
  #presenceChanged(): void {
    if (this.isPaused) this.pauseMoved()
    else this.#holdDeadline()
  }

  /** Drops the log of an ended run, and dismisses its readers. */
  evict(): void {
    this.log.clear()
    this.#readers.dismiss('overloaded', 'this ended run was given up to make room; its remaining items are lost')
  }

  /** Begins a new life of the log at `first`. Readers beyond it get a GAP, and count from there for the gate. */
  newLife(first: number): void {
    this.log.newLife(first)
    this.#readers.newLife(first)
    this.reconsider()
  }

  // --- inputs and requests

  /**
   * Takes an input of a client, once per `mid`. `bytes` is its encoded size. If another process could go on with the run
   * from where it waited, the answer waits for the store: what was accepted must not be lost. It rejects with
   * `store_unavailable` if the input is void, because another process has the run.
   */
  input(mid: string, input: RunInput, bytes: number, from?: InputSender): InputAnswer | Promise<InputAnswer> {
    const journal = this.#treeJournal
    const wasParked = journal?.isParked
    const answer = this.#inputs.take(mid, input, bytes, from)
    const { restored } = this
    if (restored && answer.status === 'unwanted') {
      // What it is for may not be there again yet.
      this.#inputs.forget(mid)
      return restored.then(() => this.input(mid, input, bytes, from))
    }
    if (wasParked && answer.status === 'accepted') {
      const child = this.parent && this.id
      const stored = { mid: child === undefined ? mid : `${child} ${mid}`, type: input.type }
      journal.keep({ ...stored, packed: packInput(input, bytes, from, child) })
    }
    // Also one that is sent again: what was said of it the first time may still wait.
    const isTaken = answer.status === 'accepted' || answer.status === 'duplicate'
    const keeping = isTaken ? journal?.keeping : undefined
    if (!keeping) return answer
    return keeping.then((isKept) => {
      if (isKept) return answer
      throw new MillraceError('store_unavailable', 'another server has this run; send the input again')
    })
  }

  /** Inputs that were accepted while it was parked in another process, in order. Those for a child wait for that. */
  takeStored(inputs: readonly StoredInput[]): void {
    for (const { mid, packed } of inputs) {
      const { input, bytes, from, child } = unpackInput(packed)
      if (child === undefined) takeKept(this, [mid, input, bytes, from])
      else this.#restoration?.keepInput(child, [mid.slice(child.length + 1), input, bytes, from])
    }
  }

  /** A restart would go on with it where it waits. */
  get isParked(): boolean {
    return this.#treeJournal?.isSafelyParked === true
  }

  /** The process ends, and another one goes on with it: nothing of it happens here any more. */
  leaveParked(): void {
    this.#trace?.ended({ outcome: 'parked' })
    this.#holding?.leave()
    this.#journal?.leave()
    this.#parking?.close()
    this.#requests?.freeze()
    this.#orders?.freeze()
    this.#clocks.clear()
    this.#comingReaders?.close()
    this.#clientTools?.freeze()
    this.#children.leaveParked()
    this.#readers.drop(false)
  }

  /**
   * Another process has it and the runs below it: their actors are stopped, and nobody here hears of that. Its readers
   * read on over there, where it has its one end.
   */
  #moveAway(moved: () => void): void {
    this.#isElsewhere = true
    this.#holding?.leave()
    this.dropReaders()
    this.interrupt('another server has this run')
    this.#trace?.ended({ outcome: 'moved' })
    this.#trace = undefined
    moved()
  }

  /** Another process has it: lets its readers go, and those of the runs below it. */
  dropReaders(): void {
    this.#readers.drop(true)
    this.#children.dropReaders()
  }

  /** The requests that are logged and not yet answered. */
  get pending(): PendingRequest[] {
    const room = this.#requests?.room ?? roomFor(this.#callbacks.limits)
    return [...(this.#requests?.pending ?? []), ...this.#children.pending(room)]
  }

  pendingAt(before: number): WireMap[] {
    return this.pending.filter(({ seq }) => seq < before).map(({ data }) => data)
  }

  #asked(): Requests {
    if (this.#requests) return this.#requests
    const callbacks = this.#callbacks
    const requests = new Requests({
      runtime: this.#guarded,
      limits: callbacks.limits,
      run: this,
      ids: this.#ids,
      stopReason: () => this.#ending.stopReason(),
      askedAgain: (id) => this.#restoring?.reached('request', id),
      waitingChanged: () => this.#waitingChanged(),
      emit: (event) => this.#emit(event),
      asked: (request) => this.#root.#needsPeople(request),
      failed: (error) => callbacks.failed(this, error),
    })
    if (this.isOver) requests.close()
    this.#requests = requests
    return requests
  }

  /** A request of it, or of a run below it, waits for an answer. */
  #needsPeople(request: NoticedRequest): void {
    const { notices } = this.#callbacks
    if (!notices || this.isOver) return
    const told = notices.asked(this.#noticed, request, !this.detached)
    if (told.length === 0) return
    if (!this.#journal || !notices.areStored) return notices.add(told)
    void this.#journal.notify(told).then(() => notices.stored())
  }

  /** The run, as its notices have it. */
  get #noticed(): NoticedRun {
    const { id, registeredName, principal, startedAt } = this
    const { runtime } = this.#callbacks
    return { id, actor: registeredName, principal: principal.id, startedAt: wallClockAt(runtime, startedAt) }
  }

  #waitingChanged(): void {
    if (this.#ending.isOver || this.#phase === 'opening') return
    const waits = this.#inputs.waiting || this.#requests?.waiting === true || this.#children.waiting
    const phase = waits ? 'waiting_input' : 'running'
    if (phase !== this.#phase) {
      this.#phase = phase
      this.#callbacks.changed(this)
    }
    if (this.#inputs.waiting) this.#producer.tellNext()
    this.#holdDeadline()
    this.#parking?.review()
    this.#parentLink?.waitingChanged()
  }

  // --- children

  /** A run below this one that goes on. */
  descendant(id: string): ChildRunHandle | undefined {
    return this.#children.find(id)
  }

  /** The run that began it is over, and it goes on as a run of its own, also while nobody reads it. */
  letGo(): void {
    this.#costAtParent = this.spent
    if (this.#restored) this.#restoration = this.#restoring?.handOver(this.#restored, () => this.#parking?.review())
    // Where the store has the tree waiting, another process would go on with this one, too, until it knows better.
    this.#leaving = this.#goOn()
    void this.#leaving?.then(() => (this.#leaving = undefined))
    this.parent = undefined
    this.#parentLink = undefined
    this.#ids.share()
    this.#orders?.letGo()
    this.#readers.continueDetached()
    this.#clocks.continueDetached()
    this.#callbacks.letGo(this)
    this.pauseMoved()
  }

  /** It, or a run above it, was paused or resumed. */
  pauseMoved(): void {
    this.#holdDeadline()
    this.#children.pauseMoved()
    this.#parentLink?.pauseMoved()
  }

  #ordersCallbacks(): OrdersCallbacks {
    return {
      runtime: this.#guarded,
      startedAt: this.startedAt,
      isOver: () => this.isOver,
      spent: () => this.#ending.spent,
      exceeded: (error) => this.#ending.stop(stoppedWith(error)),
      cancel: (why) => this.cancel(why),
      emit: (event) => this.#emit(event),
      below: (agent) => this.descendant(agent)?.orders,
      pauseMoved: () => this.pauseMoved(),
    }
  }

  #ownChildren(): Children {
    if (this.#children === NO_CHILDREN) this.#children = this.#makeChildren()
    return this.#children
  }

  #spawn(actor: Actor, input: unknown, labels: ChildLabels, events: ChildEvents, left: ParkedChild | undefined): Run {
    const { runtime, limits } = this.#callbacks
    let from: RestoredFrom | undefined
    if (left) {
      // This process writes it in the same life as the log of its parent: no other process ever wrote that.
      const lives = [...left.lives, { gen: this.log.gen, first: left.next }]
      const log = Log.behind(limits, left.next, lives)
      const elapsedMs = Math.max(0, runtime.wallClock() - left.startedAt)
      from = { log, parked: unpackParked(left.packed), elapsedMs }
    }
    const child = this.#callbacks.spawn({ parent: this, from, ...events }, actor, input, labels, left?.id)
    if (left) this.#root.#restoration?.begun(child)
    return child
  }

  #makeChildren(): Children {
    const callbacks = this.#callbacks
    return new Children({
      limits: callbacks.limits,
      stopReason: () => (this.#ending.isOver || this.#producer.finishing ? this.#ending.stopReason() : undefined),
      create: (actor, input, labels, events, left) => this.#spawn(actor, input, labels, events, left),
      read: () => this.#parking?.review(),
      began: (event) => void this.#emit(event),
      ended: (event) => this.#emit(event, true),
      openAgent: (id, stop) => openTarget(this.#ids.open, this, 'agent', id, stop),
      expect: (event, isComing) => expectEnd(this.#ids.open, this, event, isComing),
      asks: (request) =>
        this.#ids.open.of('request', request, this).length > 0 || this.#restoring?.expects('request', request) === true,
      nextTurn: (callback) => this.#guarded.nextTurn(callback),
      spent: (usage) => {
        this.#usage.childSpent(usage)
        // What a child that was cut off has cost is estimated when it ends.
        this.#orders?.spentMore()
      },
      waitingChanged: () => this.#waitingChanged(),
      pauseMoved: () => this.#parentLink?.pauseMoved(),
      idle: () => this.#ending.check(),
    })
  }

  /** What is open besides the actor, here and in the children. */
  get openWork(): OpenWorkSnapshot {
    return this.#ending.openWork
  }

  /** What of it has not finished: `actor`, `provider`, and ids of tool calls and children. */
  get unsettled(): string[] {
    return this.#ending.unsettled
  }

  /** What it and its children have cost so far, if anything. */
  get spent(): Receipt['usage'] {
    return this.#ending.spent
  }

  /** What of that is in the usage of the run that began it and let it go. */
  get costAtParent(): Receipt['usage'] {
    return this.#costAtParent
  }

  // --- what clients name by id

  /** Stops one tool call of this run or of a child at once. Returns false when no call of this id has its result to come. */
  cancelCall(call: string, why: CancelCause): boolean | Promise<boolean> {
    return this.#cancelTarget('call', call, why)
  }

  /** Stops one descendant at once. Returns false when no agent of this id has its end to come. */
  cancelAgent(agent: string, why: CancelCause): boolean | Promise<boolean> {
    return this.#cancelTarget('agent', agent, why)
  }

  #cancelTarget(type: 'call' | 'agent', id: string, why: CancelCause): boolean | Promise<boolean> {
    const isFound = cancelTarget(this.#ids.open, this, type, id, why)
    const { restored } = this
    return isFound || !restored ? isFound : restored.then(() => this.#cancelTarget(type, id, why))
  }

  // --- the end

  /** It, or a run above it, is stopped because the server goes away or another one has it. */
  get #isInterrupted(): boolean {
    const above = this.#parentLink?.parent
    return this.#ending.isInterrupted || (above !== undefined && above.#isInterrupted)
  }

  /** Stops the run at once, whatever its actor waits for. It has no effect on a run that is stopping or has ended. */
  cancel(why: CancelCause): void {
    if (this.isOver) return
    this.#ending.stop(cancelledBy(why))
  }

  /** The server goes away before the run is finished. */
  interrupt(message: string): void {
    this.#ending.stop(stoppedWith(new MillraceError('interrupted', message)))
  }

  /** Logs the end of a run that is stopped, whatever of it has not finished. */
  endNow(): void {
    this.#ending.endNow()
  }

  #traceEnd(): void {
    const { end } = this
    if (!this.#trace || !end) return
    const { code } = end.outcome === 'error' ? endData(end) : {}
    this.#trace.ended({ outcome: end.outcome, code: typeof code === 'string' ? code : undefined, usage: this.spent })
  }

  #endingCallbacks(): EndingCallbacks {
    const { limits } = this.#callbacks
    return {
      runtime: this.#guarded,
      limits,
      startedAt: this.startedAt,
      log: this.log,
      producer: this.#producer,
      inputs: this.#inputs,
      requests: () => this.#requests,
      openWork: this.#openWork,
      usage: this.#usage,
      children: () => this.#children,
      isInterrupted: () => this.#isInterrupted,
      over: () => {
        this.#parking?.close()
        if (this.#restored) this.#restoring?.giveUp(this.#restored)
        this.#clocks.clear()
        this.#comingReaders?.close()
        this.#orders?.clear()
        this.#callbacks.changed(this)
      },
      abort: (reason) => this.#controller?.abort(reason),
      store: (end, publish) => {
        const notices = this.#callbacks.notices
        // A child is its parent's affair.
        const told = (!this.parent && notices?.ended(this.#noticed, end)) || []
        const areStored = this.#journal !== undefined && notices?.areStored === true
        const publishHere = (): void => {
          if (this.#root.#isElsewhere) return
          if (areStored) notices.stored()
          else notices?.add(told)
          publish()
        }
        // What ends below a run that is stored as waiting must not wait again in another process.
        const above = this.#parentLink?.parent
        const stored = this.#journal
          ? this.#journal.end(end, areStored ? told : [])
          : above && !above.isOver
            ? this.#goOn()
            : this.#leaving
        if (stored) void stored.then(() => this.#guarded.enter(publishHere))
        else publishHere()
      },
      ended: () => {
        this.#readers.wakeAll()
        this.#traceEnd()
        this.#callbacks.ended(this)
        this.#parentLink?.ended()
      },
      settled: () => {
        this.#callbacks.settled(this)
        const parentLink = this.#parentLink
        this.#release()
        parentLink?.settled()
      },
    }
  }

  /**
   * Lets go of all that only a live run needs. The registry keeps this run after its end. Its actor's iterator, input,
   * signal and inputs would weigh many times what its log does, and its parent may be forgotten before it.
   */
  #release(): void {
    this.#producer.release()
    this.#inputs.release()
    this.#controller = undefined
    this.#children = NO_CHILDREN
    this.#parentLink = undefined
    this.#orders = undefined
    this.#clientTools = undefined
    this.#parking = undefined
    this.#restored = undefined
    this.#restoration = undefined
    this.#trace = undefined
    if (this.parent) this.parent = { id: this.parent.id, parent: undefined, isOver: true, isHidden: false }
    else this.#ids.release()
  }

  #fail(error: unknown): void {
    if (this.#ending.isOver) return this.#ending.check()
    if (!MillraceError.is(error)) this.#callbacks.failed(this, error)
    this.#ending.fail(actorFailure(error, this.actorName))
  }

  /** The actor has finished after its run was over. An error of its clean-up is reported, unless it is the stop itself. */
  #cleanedUp(error: unknown): void {
    if (error !== undefined && !isAbort(error)) this.#callbacks.failed(this, error)
    this.#ending.check()
  }

  /** The core itself failed in an entry from outside. That ends this run, and nothing else. */
  #broke(error: unknown): void {
    this.#callbacks.failed(this, error)
    this.#ending.fail(new MillraceError('internal', 'the server failed in this run; its log says why'))
  }

  /** Its clocks stand still while it waits for its readers or for people. */
  #holdDeadline(): void {
    // A loop over its inputs waits for whoever is there.
    const isForReaders = this.gated || (this.#phase === 'waiting_input' && this.#readers.canAnswer)
    // Somebody answers, or may come back to do so.
    const isAnswerable = this.#readers.canAnswer || this.detached || this.parent !== undefined
    this.#clocks.waits({ isForReaders, isForPeople: isAnswerable && this.waitsForPeople })
  }

  /** A child waits for what its parent waits for, which stops both. */
  #watchStall(): void {
    this.#clocks.watchStall(this.gated && this.parent === undefined)
  }
}
