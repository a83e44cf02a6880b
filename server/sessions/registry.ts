import { MillraceError } from '../../protocol/errors.ts'
import type { StreamEvent } from '../../protocol/events.ts'
import type { Start, WireMap } from '../../protocol/frames.ts'
import type { Limits } from '../../protocol/limits.ts'
import type { Runtime } from '../../protocol/runtime.ts'
import type { Actor, EarlierRun, Principal, RemoteActor } from '../actors/actor.ts'
import type { Action } from '../actors/authorize.ts'
import type { ChildrenView, LiveRunView } from '../actors/server-view.ts'
import { validate } from '../actors/standard-schema.ts'
import { BEGINNING, nextItem, type StartPosition } from '../log/cursor.ts'
import type { Log } from '../log/log.ts'
import type { ServerLog } from '../logging/logger.ts'
import type { Model } from '../models/model.ts'
import type { RunNotices } from '../notices/notices.ts'
import type { ChildLabels } from '../runs/children.ts'
import { invalidInput } from '../runs/invalid-input.ts'
import { LocalReader } from '../runs/local-reader.ts'
import type { ReadableRun } from '../runs/readable-run.ts'
import { type ParentLink, Run, type RunCallbacks } from '../runs/run.ts'
import type { RunOptions, RunStorage as StorageOfRun } from '../runs/run-options.ts'
import { endFields, runFields } from '../runs/run-records.ts'
import { Scheduler } from '../runs/scheduler.ts'
import { wallClockAt } from '../runtime.ts'
import type { Lease } from '../stores/run-store.ts'
import { excerpt } from '../text.ts'
import type { Tracing } from '../tracing/tracing.ts'
import { type Quota, Quotas } from './admission.ts'
import { packedChildren } from './children-of-nodes.ts'
import { EndedRuns } from './ended-runs.ts'
import { newId } from './ids.ts'
import { NodeBudget } from './node-budget.ts'
import type { StorableRun } from './packed-facts.ts'
import { type Permissions, targetOf } from './permissions.ts'
import type { PoolWorker } from './pool-worker.ts'
import { keyName, nameOfInput, RunKeys } from './run-keys.ts'
import { RunLists } from './run-lists.ts'
import { liveRunView, RunStorage, type StorageOptions } from './run-storage.ts'
import type { RestoredRun, TakenRun } from './take-overs.ts'

/** The most characters of an unknown actor's name that a message quotes. */
const QUOTED_CHARACTERS = 64

export type RegistryOptions = {
  readonly runtime: Runtime
  readonly limits: Limits
  readonly log: ServerLog
  readonly actors: ReadonlyMap<string, Actor>
  readonly permissions: Permissions
  /** Tells somebody outside what becomes of runs. Default: nobody. */
  readonly notices?: RunNotices | undefined
  /** Traces runs. Default: nothing is traced. */
  readonly tracing?: Tracing | undefined
  /** Where runs are kept beyond this process. Default: nowhere. */
  readonly storage?: StorageOptions | undefined
  findModel(which: string | Model | undefined): Model
  /** Whether the process has no room for more runs. */
  overloaded(): boolean
  /** Reports an error of an actor that clients must not see. */
  actorFailed(run: Run, error: unknown): void
  /** Reports that a run has ended or has settled. */
  runChanged(): void
  /** Reports that a run has ended. */
  ended(run: ReadableRun): void
}

/** The run of a START, and whether it is one that its key named already. */
export type Started = { readonly run: ReadableRun; readonly reused: boolean }

/** A START as the registry takes it. */
type StartOf = Pick<Start, 'actor' | 'input' | 'options'>

/** A run that may begin now: its actor exists, its principal may start it, and its input fits. */
type CheckedStart = {
  readonly name: string
  readonly actor: Actor
  readonly principal: Principal
  readonly input: unknown
  readonly checked: ReturnType<typeof validated>
  readonly options: RunOptions
  /** In epoch milliseconds. */
  readonly startedAt: number
}

/** A run, and whether it belongs to the principal that asked. */
export type FoundRun = { readonly run: ReadableRun; readonly own: boolean }

/** The runs that a node keeps by name, and the keys that name executions. In front of a store, it also finds those there. */
export class Registry {
  readonly #options: RegistryOptions
  readonly #callbacks: RunCallbacks
  readonly #runs = new Map<string, Run>()
  readonly #keys = new RunKeys()
  readonly #unsettled = new Set<Run>()
  /** Children that another process left, each with the run that is about to begin it again. */
  readonly #coming = new Map<string, Run>()
  /** Runs that the store is about to have: each settles when it does, or does not. */
  readonly #beginning = new Map<string, Promise<void>>()
  readonly #quotas: Quotas
  readonly #ended: EndedRuns<Run>
  readonly #budget: NodeBudget
  /** The runs of each principal, as its clients may list and watch them. */
  readonly lists: RunLists
  readonly #storage: RunStorage | undefined
  /** Live runs that are to be forgotten once they have ended. */
  readonly #unwanted = new Set<Run>()
  /** Runs that the store keeps no longer than memory does. */
  readonly #unstored = new WeakSet<Run>()
  /** The leases of stored runs that began here, once the store gives them. */
  readonly #leases = new WeakMap<Run, StorageOfRun['lease']>()
  /** Starts that wait for the store, by their key. */
  readonly #starting = new Map<string, Promise<unknown>>()
  #draining = false
  /** Takes runs from a pool, if this node works for one. */
  #worker: PoolWorker | undefined

  constructor(options: RegistryOptions) {
    this.#options = options
    const { runtime, limits } = options
    this.#quotas = new Quotas(runtime, limits)
    this.#ended = new EndedRuns(runtime, limits, {
      evict: (run) => this.#evict(run),
      forget: (run) => this.#forget(run),
      forgetKey: (key) => this.#keys.forgetKey(key),
    })
    this.#budget = new NodeBudget(runtime, limits, {
      live: this.#unsettled,
      endedBytes: () => this.#ended.bytes,
      shrinkEnded: (bytes) => this.#ended.shrinkTo(bytes),
    })
    this.#storage =
      options.storage &&
      new RunStorage(options.storage, {
        runtime,
        limits,
        log: options.log,
        notices: options.notices,
        restore: (run) => this.#restore(run),
        beginTaken: (run) => this.#beginTaken(run),
        movedAway: (id) => this.#movedAway(id),
        parks: (id, principal, bytes, before) => this.#parks(id, principal, bytes, before),
        children: (question) => packedChildren(question, this.#unsettled, (id) => this.#runs.get(id), runtime),
      })
    this.lists = new RunLists(runtime, this.#storage)
    this.#callbacks = {
      runtime,
      limits,
      scheduler: new Scheduler(runtime),
      notices: options.notices,
      tracing: options.tracing,
      findModel: (which) => options.findModel(which),
      spawn: (parentLink, actor, input, labels, id) => this.#spawn(parentLink, actor, input, labels, id),
      nameOf: (actor) => this.#nameOf(actor),
      earlierRun: (principal, id) => this.#earlierRun(principal, id),
      changed: (run) => {
        this.lists.changed(run)
        if (run.isParked) this.#worker?.look()
        if (this.#draining) options.runChanged()
      },
      letGo: (run) => this.lists.add(run, wallClockAt(runtime, run.startedAt)),
      ended: (run) => this.#runEnded(run),
      settled: (run) => this.#runSettled(run),
      failed: (run, error) => options.actorFailed(run, error),
    }
  }

  /** Returns the quota of a principal. */
  quota(principal: Principal): Quota {
    return this.#quotas.of(principal)
  }

  /**
   * Opens the store, if there is one: the runs of the last process have ended then, or go on.
   * @throws MillraceError `store_unavailable` when it cannot be opened.
   */
  async open(): Promise<void> {
    await this.#storage?.open()
  }

  /**
   * Opens the store, and tries again now and then if it cannot be opened now. Resolves after the first attempt, or with
   * `isNeeded` once it is open.
   * @throws MillraceError `store_unavailable`, where no waiting helps.
   */
  async openInTime(isNeeded: boolean): Promise<void> {
    const storage = this.#storage
    if (!storage) return
    await new Promise<void>((resolve, reject) => {
      storage.openInTime(isNeeded ? () => {} : resolve).then(resolve, reject)
    })
  }

  /** Why no run can begin now, whoever asks for it. Undefined: one can. */
  get notReady(): MillraceError | undefined {
    return this.#draining ? goingAway() : this.#storage?.fault
  }

  /**
   * Begins the run that a START asks for, or finds the run that its key names. It takes time only where a store has to
   * answer.
   * @param inputBytes The input as received. The key is bound to it.
   * @throws MillraceError The reason of a refusal. A refused START takes no key.
   */
  start(principal: Principal, start: StartOf, inputBytes: Uint8Array): Started | Promise<Started> {
    const storage = this.#storage
    // What is never stored, such as an inspector, shows what goes on while the store is away.
    const waits = storage && !storage.isOpen && this.#options.actors.get(start.actor)?.stored !== false
    if (waits) return storage.open().then(() => this.start(principal, start, inputBytes))
    const key = start.options.key === undefined ? undefined : keyName(principal, start.actor, start.options.key)
    const remote = this.#options.actors.get(start.actor)?.remote
    if (remote && storage) return this.#startRemote(storage, principal, start, remote, key, inputBytes)
    if (key === undefined) return { run: this.#launch(this.#check(principal, start)), reused: false }
    const inputName = nameOfInput(inputBytes)
    const known = this.#keys.get(key)
    if (known?.run || (known && !storage)) return this.#reused(principal, known, inputName)
    if (storage && this.#isStored(start.actor, start.input))
      return this.#startStored(storage, principal, start, key, inputName)
    const run = this.#launch(this.#check(principal, start))
    this.#keys.keep(key, inputName, run)
    return { run, reused: false }
  }

  #reused(
    principal: Principal,
    { inputName, run }: { inputName: string; run: ReadableRun | undefined },
    asked: string,
  ): Started {
    if (inputName !== asked)
      throw new MillraceError('key_conflict', 'this key was used with another input; take a new key')
    if (!run || !this.permits(principal, 'attach', run))
      throw new MillraceError('not_found', 'the run of this key has ended, and its log was dropped to make room')
    return { run, reused: true }
  }

  /** Asks the store who has the key. Of several starts at once, one after the other. */
  async #startStored(
    storage: RunStorage,
    principal: Principal,
    start: StartOf,
    key: string,
    inputName: string,
  ): Promise<Started> {
    const before = this.#starting.get(key)
    const started = (before ?? Promise.resolve()).then(() => this.#startOnce(storage, principal, start, key, inputName))
    const settled = started.then(
      () => {},
      () => {},
    )
    this.#starting.set(key, settled)
    void settled.then(() => {
      if (this.#starting.get(key) === settled) this.#starting.delete(key)
    })
    return started
  }

  async #startOnce(
    storage: RunStorage,
    principal: Principal,
    start: StartOf,
    key: string,
    input: string,
  ): Promise<Started> {
    const known = this.#keys.get(key)
    if (known?.run) return this.#reused(principal, known, input)
    const checked = this.#check(principal, start)
    const id = storage.idOf(key) ?? newId('r', this.#options.runtime)
    const beginning = storage.begin(id, storable(checked), { name: key, input })
    // The store lists it from now on.
    const settled = beginning.then(
      () => {},
      () => {},
    )
    this.#beginning.set(id, settled)
    void settled.then(() => this.#beginning.delete(id))
    const begun = await beginning
    if ('run' in begun) {
      const elsewhere = this.#runs.get(begun.run) ? undefined : await storage.find(begun.run)
      const run = this.#runs.get(begun.run) ?? (await elsewhere?.view(BEGINNING))
      return this.#reused(principal, { inputName: begun.input, run }, input)
    }
    try {
      // Meanwhile others may have begun.
      const { startedAt } = checked
      const run = this.#launch({ ...this.#check(principal, start), startedAt }, { id, lease: begun })
      this.#keys.keep(key, input, run)
      return { run, reused: false }
    } catch (error) {
      await storage.remove(id)
      throw error
    }
  }

  /** Begins a run that the workers of a pool execute. Until it has ended, it is one of the runs of its principal here. */
  async #startRemote(
    storage: RunStorage,
    principal: Principal,
    start: StartOf,
    remote: RemoteActor,
    key: string | undefined,
    inputBytes: Uint8Array,
  ): Promise<Started> {
    const { checked, ...rest } = this.#check(principal, start)
    const quota = this.quota(principal)
    // What follows takes time: others count it meanwhile.
    quota.runBegins()
    let isOver = false
    const over = (): void => {
      if (!isOver) quota.runSettled()
      isOver = true
    }
    try {
      const input = await checked
      if (input.issues) throw invalidInput(input.issues)
      const id = (key !== undefined && storage.idOf(key)) || newId('r', this.#options.runtime)
      const named = key === undefined ? undefined : { name: key, input: nameOfInput(inputBytes) }
      const { run, key: taken } = await storage.beginInPool(id, storable({ ...rest, checked }), remote, named, over)
      if (!taken || !named) return { run, reused: false }
      over()
      return this.#reused(principal, { inputName: taken.input, run }, named.input)
    } catch (error) {
      over()
      throw error
    }
  }

  /** @throws MillraceError The reason for which this run may not begin now. */
  #check(principal: Principal, { actor: name, input, options }: StartOf): CheckedStart {
    const { actors } = this.#options
    if (this.#draining) throw goingAway()
    const actor = actors.get(name)
    if (!actor) {
      const asked = excerpt(name, QUOTED_CHARACTERS)
      const known = [...actors.keys()].join(', ')
      this.#options.log.write('actor.unknown', { actor: asked, known, principal: principal.id })
      throw new MillraceError('not_found', `unknown actor ${JSON.stringify(asked)}; the server's log lists its actors`)
    }
    if (!this.#options.permissions.allows(principal, 'start', { type: 'actor', actor: name }))
      throw new MillraceError('forbidden', `this principal may not start the actor ${name}`)
    if (this.#isStored(name, input)) this.#storage?.checkRoom()
    return this.#checkRun(principal, name, actor, input, {
      onDetach: options.onDetach ?? 'pause',
      detachMs: options.detachMs,
      timeoutMs: options.timeoutMs,
      meta: options.meta,
      ask: options.ask ?? false,
    })
  }

  /** Whether a run of this actor, with this input, is stored. */
  #isStored(name: string, input: unknown): boolean {
    if (!this.#storage) return false
    return isOf(this.#options.actors.get(name)?.stored, input)
  }

  /** Begins a child of a run. It begins even while the server is going away, because its parent exists already. */
  #spawn(
    parentLink: ParentLink,
    actor: Actor,
    input: unknown,
    { name, meta }: ChildLabels,
    id: string | undefined,
  ): Run {
    const { principal, options: parents } = parentLink.parent
    const options: RunOptions = {
      onDetach: 'pause',
      detachMs: undefined,
      timeoutMs: undefined,
      meta: meta ?? inherited(parents.meta),
      ask: false,
    }
    if (actor.remote)
      throw new MillraceError(
        'bad_request',
        `the actor ${actor.remote.actor} is remote: a run cannot have it as a child`,
      )
    const itsName = name ?? this.#nameOf(actor)
    if (id === undefined) return this.#launch(this.#checkRun(principal, itsName, actor, input, options), { parentLink })
    // It goes on from another process, which had room for it.
    const start = { name: itsName, actor, principal, input, options, checked: validated(actor, input) }
    const run = this.#launch({ ...start, startedAt: this.#wallClock() }, { id, parentLink })
    this.#coming.delete(id)
    return run
  }

  #nameOf(actor: Actor): string {
    for (const [name, registered] of this.#options.actors) if (registered === actor) return name
    return 'agent'
  }

  #checkRun(principal: Principal, name: string, actor: Actor, input: unknown, options: RunOptions): CheckedStart {
    this.quota(principal).checkRuns()
    this.#budget.checkRoom()
    if (this.#options.overloaded())
      throw new MillraceError('overloaded', 'the server has too little memory for another run; try again later')
    const checked = validated(actor, input)
    if (!(checked instanceof Promise) && checked.issues) throw invalidInput(checked.issues)
    return { name, actor, principal, input, checked, options, startedAt: this.#wallClock() }
  }

  #launch(
    start: CheckedStart,
    {
      id = newId('r', this.#options.runtime),
      lease,
      parentLink,
    }: { id?: string; lease?: Lease; parentLink?: ParentLink } = {},
  ): Run {
    const { name, actor, principal, options, checked } = start
    const isStored = !parentLink && this.#isStored(name, start.input)
    const storage = isStored ? this.#storage?.of(id, storable(start), lease) : undefined
    const run = new Run(this.#callbacks, id, name, actor, principal, options, parentLink, storage)
    if (storage) this.#leases.set(run, storage.lease)
    this.#add(run)
    if (!parentLink && isOf(actor.listed, start.input)) this.lists.add(run, start.startedAt)
    // The caller must subscribe before the first item.
    const begin = (): void => run.begin(checked)
    if (lease) this.#options.runtime.nextTurn(begin)
    else queueMicrotask(begin)
    return run
  }

  #wallClock(): number {
    return Math.floor(this.#options.runtime.wallClock())
  }

  #add(run: Run): void {
    this.#runs.set(run.id, run)
    this.#unsettled.add(run)
    this.quota(run.principal).runBegins()
    this.#options.log.write('run.started', runFields(run))
  }

  /** A run that only waited when its process died waits again. Its actor may be gone. */
  #restore(restored: RestoredRun): boolean {
    return this.#addTaken(restored, (run, actor) => {
      for (const child of run.leftChildren) this.#coming.set(child, run)
      run.begin(validated(actor, restored.input))
      run.takeStored(restored.inputs)
    })
  }

  /** Begins a run that this node has taken from its pool. Where it was started, it was checked that it may begin. */
  #beginTaken(taken: TakenRun): boolean {
    return this.#addTaken(taken, (run, actor) => {
      // A schema that throws fails the run.
      run.begin(Promise.resolve().then(() => validated(actor, taken.input)))
    })
  }

  /** Adds a run that another process began, unless this one does not have its actor. Returns whether it does. */
  #addTaken(taken: TakenRun, begin: (run: Run, actor: Actor) => void): boolean {
    const { id, actor: name, remote, principal, options, startedAt, storage } = taken
    const actor = this.#options.actors.get(remote)
    if (!actor || actor.remote) return false
    const run = new Run(this.#callbacks, id, name, actor, principal, options, undefined, storage)
    this.#add(run)
    this.lists.add(run, startedAt)
    begin(run, actor)
    return true
  }

  /**
   * Takes runs of a pool from now on, until this node goes away.
   * @param slots the most of them at a time. Those that only wait for people do not count.
   * @throws MillraceError `bad_request`, `store_unavailable`.
   */
  async work(pool: string, slots: number): Promise<void> {
    if (!this.#storage) throw new MillraceError('internal', 'there is no store')
    this.#worker = await this.#storage.work(pool, () => this.#freeSlots(slots))
  }

  #freeSlots(slots: number): number {
    try {
      this.#budget.checkRoom()
    } catch {
      return 0
    }
    if (this.#draining || this.#options.overloaded()) return 0
    let busy = 0
    for (const run of this.#unsettled) if (!run.parent && !run.isParked) busy++
    return slots - busy
  }

  /** Whether `principal` may do something with a run. */
  permits(principal: Principal, action: Action, run: Parameters<typeof targetOf>[0]): boolean {
    return this.#options.permissions.allows(principal, action, targetOf(run))
  }

  /**
   * Returns the run with this id, if `principal` may read it. `own`: whether the run belongs to the principal. It takes
   * time only where there is a store: for what is not in memory.
   * @param from where its reader begins.
   * @param isWhole whether the reader wants every item from there on and the run does not wait for it. Items that are not
   *   in memory any more come from the store then. Default false.
   * @throws MillraceError `not_found`, with the same message for a run of another principal as for none.
   */
  find(principal: Principal, id: string, from: StartPosition, isWhole = false): FoundRun | Promise<FoundRun> {
    const storage = this.#storage
    const run = this.#runs.get(id)
    if (!storage) return this.#readable(principal, run)
    const again = (): FoundRun | Promise<FoundRun> => this.find(principal, id, from, isWhole)
    if (run) {
      const found = this.#readable(principal, run)
      const view = this.#viewOf(storage, run, from, isWhole)
      if (!view) return found
      // Meanwhile another node may have taken it over.
      return view.then((read) => (this.#runs.get(id) === run ? { ...found, run: read } : again()))
    }
    const restored = this.#coming.get(id)?.restored ?? this.#beginning.get(id)
    if (restored) return restored.then(again)
    // It may be one that was left to the next process. The client asks there, once this connection closes.
    if (this.#draining) return new Promise(() => {})
    return storage.open().then(async () => {
      if (this.#runs.has(id)) return again()
      const elsewhere = await storage.find(id)
      // Nobody held it, and it waits on here.
      if (this.#runs.has(id)) return again()
      const { run: found, own } = this.#readable(principal, elsewhere)
      return { run: await found.view(from), own }
    })
  }

  /** What a reader reads of a run of this process that does not find in memory what it wants. Undefined: it does. */
  #viewOf(storage: RunStorage, run: Run, from: StartPosition, isWhole: boolean): Promise<ReadableRun> | undefined {
    const { id, log, isStored } = run
    const { after, gen } = from
    if (!isStored || after === null) return undefined
    // Another node may have the run since, and this one has not heard of it.
    if (storage.isShared && isBeyond(log, after, gen))
      return storage.findLater(id, log.gen).then((later) => later?.view(from) ?? run)
    const first = isWhole ? nextItem(log.lives, after, gen) : log.first
    return first < log.first ? storage.paged(run, first) : undefined
  }

  /** @throws MillraceError `not_found`, or `bad_request` for a run that has not ended. */
  async #earlierRun(principal: Principal, id: string): Promise<EarlierRun> {
    const { run: found } = await this.find(principal, id, BEGINNING)
    const isHere = this.#runs.has(id)
    // The file keeps more of a log than memory does.
    const elsewhere = isHere && found.log.first === 1 ? undefined : await this.#storage?.find(id)
    if (isHere ? !found.end : elsewhere?.hasEnded === false)
      throw new MillraceError('bad_request', 'this run has not ended: wait for its end, or cancel it')
    const run = (await elsewhere?.view(BEGINNING)) ?? found
    if (run.log.first > 1)
      throw new MillraceError('not_found', 'the beginning of the log of this run is no longer kept')
    return { actor: run.actorName, meta: run.meta, events: readAll(run, this.#options.limits) }
  }

  /** @throws MillraceError `not_found` */
  #readable<Run extends Parameters<typeof targetOf>[0]>(
    principal: Principal,
    run: Run | undefined,
  ): { run: Run; own: boolean } {
    const own = run?.principal.id === principal.id
    if (!run || !this.permits(principal, own ? 'attach' : 'observe', run))
      throw new MillraceError(
        'not_found',
        'there is no such run; it may have ended long ago, or the server was restarted',
      )
    return { run, own }
  }

  /**
   * Removes a run from the store, if there is one. A run that goes on is removed once memory lets go of it, too: until
   * then, its readers may come back for its end.
   * @throws MillraceError `store_unavailable`.
   */
  async removeStored(id: string): Promise<void> {
    if (!this.#storage) return
    const run = this.#runs.get(id)
    if (run) this.#unstored.add(run)
    if (run && !run.end) return
    await this.#storage.open()
    await this.#storage.remove(id)
  }

  /**
   * Whether a run of this node or of another one has not ended.
   * @throws MillraceError `store_unavailable`.
   */
  async goesOn(id: string): Promise<boolean> {
    const storage = this.#storage
    if (!this.#runs.has(id) && storage?.isShared) {
      await storage.open()
      const elsewhere = await storage.find(id)
      // Nobody held it, and it waits on here.
      if (!this.#runs.has(id)) return elsewhere?.hasEnded === false
    }
    const run = this.#runs.get(id)
    return run !== undefined && run.end === undefined
  }

  /** Live runs of all nodes, as the store has them, at most `most`. @throws MillraceError `store_unavailable`. */
  async liveElsewhere(most: number): Promise<LiveRunView[]> {
    return (await this.#storage?.live(most)) ?? []
  }

  /** A run of any node, as the store has it. @throws MillraceError `store_unavailable`. */
  async summaryElsewhere(id: string): Promise<LiveRunView | undefined> {
    const summary = await this.#storage?.summary(id)
    return summary && liveRunView({ ...summary, holder: undefined, isHere: this.#runs.has(id) })
  }

  /** The children that another node executes; undefined if it does not say. @throws MillraceError `store_unavailable`. */
  async childrenElsewhere(
    node: string,
    known: readonly string[],
    signal: AbortSignal,
  ): Promise<ChildrenView | undefined> {
    return this.#storage?.children(node, known, signal)
  }

  /** Resolves when the store has the run. */
  async whenStored(id: string): Promise<void> {
    const run = this.#runs.get(id)
    if (run) await this.#leases.get(run)
  }

  /**
   * Calls back when a run of another node may have ended.
   * @throws MillraceError `store_unavailable`.
   */
  async follow(id: string, changed: () => void): Promise<() => void> {
    return (await this.#storage?.follow(id, changed)) ?? (() => {})
  }

  /** Returns the run with this id, live or ended, if it is kept. */
  run(id: string): Run | undefined {
    return this.#runs.get(id)
  }

  /** Forgets runs once they have ended and nobody reads them. */
  forget(ids: Iterable<string>): void {
    const ended = new Set<Run>()
    for (const id of ids) {
      const run = this.#runs.get(id)
      if (run) (run.end ? ended : this.#unwanted).add(run)
    }
    this.#ended.drop(ended)
  }

  /** The runs that have not settled. Each takes a slot. */
  get live(): ReadonlySet<Run> {
    return this.#unsettled
  }

  /** From now on, no new execution begins. Existing runs and their children go on. */
  drain(): void {
    this.#draining = true
    this.#storage?.drain()
  }

  /** Leaves the runs that are parked to another process. */
  leaveParked(): void {
    for (const run of [...this.#unsettled]) {
      if (!run.isParked) continue
      // Its children go with it.
      if (!run.parent) run.leaveParked()
      this.#runSettled(run)
      this.#runs.delete(run.id)
      this.#unwanted.delete(run)
      this.lists.remove(run)
    }
  }

  /** Counts what the store keeps of a waiting run. Returns false when its principal has no room for it. */
  #parks(run: string, principal: Principal, bytes: number, before: number): boolean {
    if (this.quota(principal).takeParked(bytes, before)) return true
    const { maxParkedBytes } = this.#options.limits
    const reason = `a restart ends it: the waiting runs of its principal have all of maxParkedBytes (${maxParkedBytes})`
    this.#options.log.write('limit.met', { run, principal: principal.id, reason })
    return false
  }

  /** Another node has taken a run over, with the runs below it. Their slots are free, whatever their actors do. */
  #movedAway(id: string): void {
    for (const run of [...this.#unsettled]) {
      if (!isWithin(run, id)) continue
      this.#runSettled(run)
      this.#unwanted.delete(run)
      // A child that has its end keeps it.
      if (run.end) continue
      this.#options.log.write('run.moved', { ...runFields(run), ...run.logged })
      this.#forget(run)
    }
  }

  /** Stops all timers, and lets go of the store. */
  async close(): Promise<void> {
    this.#ended.clear()
    this.lists.close()
    await this.#storage?.close()
  }

  /** What is kept of ended runs. */
  get ended(): Pick<EndedRuns<Run>, 'size' | 'bytes'> {
    return this.#ended
  }

  #runEnded(run: Run): void {
    this.#ended.add(run)
    if (this.#unwanted.delete(run)) this.#ended.drop(new Set([run]))
    this.#options.log.write('run.ended', { ...runFields(run), ...endFields(run, this.#options.runtime) })
    this.#options.runChanged()
    this.#options.ended(run)
  }

  /**
   * Frees the slots of a run that has ended and does not settle, and of its children that have not either. Their code may
   * go on. Returns what has not finished.
   * @throws MillraceError `not_found` when no run of this id takes a slot; `bad_request` when it has not ended.
   */
  release(id: string): string[] {
    const stuck = [...this.#unsettled].filter((run) => isWithin(run, id))
    const run = stuck.find((one) => one.id === id)
    if (!run) throw new MillraceError('not_found', 'no run of this id takes a slot')
    if (!run.end) throw new MillraceError('bad_request', 'the run has not ended; cancel it first')
    const { unsettled } = run
    for (const one of stuck) this.#runSettled(one)
    return unsettled
  }

  #runSettled(run: Run): void {
    if (!this.#unsettled.delete(run)) return
    for (const [child, above] of this.#coming) if (above === run) this.#coming.delete(child)
    this.quota(run.principal).runSettled()
    this.#options.runChanged()
    this.#worker?.look()
  }

  /** Memory has let go of a run: the store does, too, if it has it only for that long. */
  async #forgetStored(run: Run): Promise<void> {
    if (!this.#unstored.delete(run)) return
    await this.#storage?.remove(run.id).catch((err: unknown) => this.#options.log.write('store.failed', { err }))
  }

  #evict(run: Run): string | undefined {
    this.#letGoOf(run)
    run.evict()
    this.#options.log.write('run.dropped', runFields(run))
    return this.#keys.drop(run)
  }

  #forget(run: Run): void {
    this.#letGoOf(run)
    this.#keys.forget(run)
  }

  /** Memory has a run no more. */
  #letGoOf(run: Run): void {
    this.#runs.delete(run.id)
    this.lists.remove(run, run.isStored && !this.#unstored.has(run))
    void this.#forgetStored(run)
  }
}

/** The events of an ended run, however it ended. */
async function* readAll(run: ReadableRun, limits: Limits): AsyncGenerator<StreamEvent, void> {
  const reader = new LocalReader(run, limits, limits.initialCredit)
  try {
    for (let event = await reader.next(); event; event = await reader.next()) yield event
  } finally {
    reader.leave()
  }
}

/** Whether a position is behind all that a log has: in a later life, or behind the last item where its life is not named. */
function isBeyond(log: Log, after: number, gen: number | undefined): boolean {
  return gen === undefined ? after > log.written : gen > log.gen
}

/** What a child has of the `meta` of its parent. The run that its parent does again is none of its own. */
function inherited(meta: WireMap | undefined): WireMap | undefined {
  if (meta?.['retryOf'] === undefined) return meta
  const { retryOf: _, ...rest } = meta
  return rest
}

function storable({ name, principal, input, options, startedAt }: CheckedStart): StorableRun {
  return { actor: name, principal, input, options, startedAt }
}

/** Whether a run has this id, or is a child, at any depth, of one that has. */
function isWithin(run: { readonly id: string; readonly parent?: unknown }, id: string): boolean {
  for (let at: typeof run | undefined = run; at; at = at.parent as typeof run | undefined) if (at.id === id) return true
  return false
}

/** What an actor declares of its runs, for one with this input. */
function isOf(declared: Actor['stored' | 'listed'], input: unknown): boolean {
  return typeof declared === 'function' ? declared(input) : (declared ?? true)
}

function goingAway(): MillraceError {
  return new MillraceError('draining', 'this server is going away; connect again and start there')
}

function validated(actor: Actor, input: unknown): ReturnType<typeof validate<unknown>> {
  if (!actor.input) return { value: input }
  try {
    return validate(actor.input, input)
  } catch (cause) {
    throw new MillraceError('internal', 'the schema of this actor threw an error for the input', { cause })
  }
}
