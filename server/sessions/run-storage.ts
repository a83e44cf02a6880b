import { MillraceError } from '../../protocol/errors.ts'
import type { Limits } from '../../protocol/limits.ts'
import { CANCEL_CODES, type CancelCause } from '../../protocol/receipt.ts'
import type { Runtime, Timer } from '../../protocol/runtime.ts'
import { Writer } from '../../protocol/writer.ts'
import type { RemoteActor } from '../actors/actor.ts'
import type { Principal } from '../actors/principal.ts'
import { errorData } from '../log/error-data.ts'
import { Log } from '../log/log.ts'
import { packPayload, unpackPayload } from '../log/payload.ts'
import type { ServerLog } from '../logging/logger.ts'
import type { Durability } from '../runs/journal.ts'
import { JournalQueue } from '../runs/journal-queue.ts'
import { PagedRun } from '../runs/paged-run.ts'
import { unpackParked } from '../runs/parked-run.ts'
import type { ReadableRun } from '../runs/readable-run.ts'
import type { RunOptions, RunStorage as StorageOfRun } from '../runs/run-options.ts'
import { receiptOfNone } from '../runs/stop-cause.ts'
import { StoredRunView } from '../runs/stored-run.ts'
import { unpackUsage } from '../runs/usage-tally.ts'
import type {
  Lease,
  ListPosition,
  NewRun,
  PoolRuns,
  RunFacts,
  RunStore,
  StoredInput,
  StoredKey,
  StoredRun,
  StoredRunSummary,
  Taker,
} from '../stores/run-store.ts'
import { PoolStarts } from './pool-starts.ts'
import { PoolWorker } from './pool-worker.ts'
import { RemoteRuns } from './remote-runs.ts'

/** Runs that are taken over at once when a server begins. */
const TAKE_OVER = 256
/** Runs that are listed at once. */
const LIST_PAGE = 500
/** Bytes of a log that are read from the store at once. */
const PAGE_BYTES = 1_048_576

/** How a server stores its runs. */
export type StorageOptions = { readonly store: RunStore; readonly durability: Durability }

/** What the registry knows of a run that is to be stored. */
export type StorableRun = {
  readonly actor: string
  readonly principal: Principal
  readonly input: unknown
  readonly options: RunOptions
  /** In epoch milliseconds. */
  readonly startedAt: number
}

/** What storage takes from the registry. */
export type RunStorageCallbacks = {
  readonly runtime: Runtime
  readonly limits: Limits
  readonly log: ServerLog
  /** Lets a run go on that only waited when its process died. Returns false when it cannot. */
  restore(run: RestoredRun): boolean
  /** Begins a run that a worker has taken from its pool. Returns false when it has no such actor. */
  beginTaken(run: TakenRun): boolean
  /** Another node has taken a run over: nothing of it is here any more. */
  movedAway(id: string): void
}

/** A run that a worker has taken from its pool. `actor` is its name where it was started, `remote` that in the worker. */
export type TakenRun = StorableRun & { readonly id: string; readonly remote: string; readonly storage: StorageOfRun }

/** A run that only waited when its process died, with all that it goes on from. `remote`: its name in this process. */
export type RestoredRun = TakenRun & {
  /** What it accepted while it waited. */
  readonly inputs: readonly StoredInput[]
}

/** A run that is not executed here: it has ended, or another node holds it. */
export type RunElsewhere = {
  readonly id: string
  readonly actorName: string
  readonly principal: Principal
  /** Nothing more is added to its log. */
  readonly hasEnded: boolean
  /** A view for one reader, behind item `after`; null: behind the last one. */
  view(after: number | null): Promise<ReadableRun>
}

/** The runs of a node in its store: how they get there, and how they come back. */
export class RunStorage {
  readonly #options: StorageOptions
  readonly #registry: RunStorageCallbacks
  readonly #queue: JournalQueue
  /** Those of other nodes, where the store is shared. */
  readonly #remote: RemoteRuns | undefined
  /** Runs that are being taken over. */
  readonly #taking = new Map<string, Promise<unknown>>()
  /** Those of pools that began here. */
  readonly #poolStarts: PoolStarts | undefined
  #worker: PoolWorker | undefined
  #sweep: Timer | undefined
  #opening: Promise<void> | undefined
  #isOpen = false
  /** The store has failed, and has taken nothing since. */
  #isDown = false
  /** Since when it works again, if it has failed. */
  #upSince = Number.NEGATIVE_INFINITY
  #isClosed = false
  #isLeaving = false

  constructor(options: StorageOptions, registry: RunStorageCallbacks) {
    this.#options = options
    this.#registry = registry
    const { store } = options
    const { runtime, limits } = registry
    this.#queue = new JournalQueue(runtime, store.caps.flushMs, options.durability === 'logged' ? 1 : 4)
    this.#poolStarts = store.shared && new PoolStarts(store, store.shared)
    this.#remote =
      store.shared &&
      new RemoteRuns({
        store,
        shared: store.shared,
        runtime,
        limits,
        changed: (id) => {
          if (this.#mayTakeOver) this.#takeOverOnce(id).catch((error: unknown) => this.#failed(error))
        },
        failed: (error) => this.#failed(error),
        withdraw: (id, why) => this.#withdraw(id, why),
      })
  }

  /** The store is open, and the runs of the last process have ended or go on. */
  get isOpen(): boolean {
    return this.#isOpen
  }

  /**
   * Opens the store, ends the runs that the last process left, and lets those go on that only waited. Calling it again
   * waits for the same.
   * @throws MillraceError `store_unavailable` when the store cannot be opened.
   */
  open(): Promise<void> {
    this.#opening ??= this.#open().catch((error: unknown) => {
      // Whoever asks next tries again.
      this.#opening = undefined
      throw error
    })
    return this.#opening
  }

  async #open(): Promise<void> {
    await this.#options.store.open()
    await this.#takeOverAll()
    this.#isOpen = true
    this.#sweepLater()
  }

  async #takeOverAll(): Promise<void> {
    const { store } = this.#options
    while (!this.#isLeaving && !this.#isClosed) {
      const ids = await store.abandoned(TAKE_OVER)
      if (ids.length === 0) return
      await Promise.all(ids.map((id) => this.#takeOverOnce(id)))
    }
  }

  /**
   * Where the store has failed, no holder could confirm its lease. Once it works again, the holders come first: most of
   * them go on as if nothing had been.
   */
  get #mayTakeOver(): boolean {
    const { shared } = this.#options.store
    return !this.#isDown && this.#registry.runtime.now() - this.#upSince >= (shared?.leaseMs ?? 0) / 2
  }

  /** Other nodes may die while this one goes on. */
  #sweepLater(): void {
    const { shared } = this.#options.store
    const { runtime } = this.#registry
    if (!shared || this.#isLeaving || this.#isClosed) return
    this.#sweep = runtime.setTimer((shared.leaseMs / 3) * (0.8 + 0.4 * runtime.random()), () => {
      // A call that fails tells that the store does.
      const swept = (this.#mayTakeOver ? this.#takeOverAll() : this.#options.store.abandoned(1)).then(
        () => this.#succeeded(),
        (error: unknown) => this.#failed(error),
      )
      void swept.then(() => this.#sweepLater())
    })
  }

  /** Why no run can be stored now. Undefined: it can. */
  get fault(): MillraceError | undefined {
    if (this.#isOpen && !this.#isDown) return undefined
    return unavailable()
  }

  /** @throws MillraceError `store_unavailable` while the store fails: a run could begin, and nobody would find it again. */
  checkRoom(): void {
    if (this.#isDown) throw unavailable()
  }

  /**
   * Begins a run in the store.
   * @param key of its START. The run that has it already is given then.
   */
  begin(id: string, run: StorableRun, key: NewRun['key']): Promise<Lease | StoredKey> {
    return this.#options.store.begin(id, { facts: this.#factsOf(run), key })
  }

  /**
   * Begins a run that the workers of a pool execute, and gives it, or the run of its key that is in the store already.
   * @param ended called once it has ended, or is in the store no more; not if this throws.
   * @throws MillraceError `overloaded`, `bad_request`, `store_unavailable`.
   */
  async beginInPool(
    id: string,
    run: StorableRun,
    remote: RemoteActor,
    key: NewRun['key'],
    ended: () => void,
  ): Promise<{ run: ReadableRun; key: StoredKey | undefined }> {
    const facts = this.#factsOf(run, remote.actor)
    // Until the store has answered, a run of this id may be another one that has the key.
    let isOurs = key === undefined
    try {
      const begun = await this.#pools.begin(id, { facts, key }, remote)
      if (begun === 'full') {
        isOurs = false
        const message = `${remote.maxWaiting} runs wait in the pool ${remote.pool}, the maximum (maxWaiting); try again later`
        throw new MillraceError('overloaded', message, { details: { afterMs: FULL_MS } })
      }
      const taken = typeof begun === 'string' ? undefined : begun
      isOurs = taken === undefined
      const found = await this.#options.store.find(taken?.run ?? id)
      if (!found) throw unavailable()
      const view = await this.#elsewhere(found).view(0)
      if (isOurs) {
        this.#poolStarts?.watch(id, ended)
        this.#registry.log.write('run.waiting', { ...aboutStored(found), pool: remote.pool })
      }
      return { run: view, key: taken }
    } catch (error) {
      // Whoever started it does not learn of it: it would be executed for nobody.
      if (isOurs) this.#withdraw(id, { by: 'server', code: CANCEL_CODES.unspecified }).catch(() => {})
      throw error
    }
  }

  /**
   * Takes runs of a pool from now on. It is told of each slot that is free again.
   * @param free the number of further runs for which there is room.
   * @throws MillraceError `store_unavailable`
   */
  async work(pool: string, free: () => number): Promise<PoolWorker> {
    await this.open()
    if (this.#isLeaving || this.#isClosed) throw new MillraceError('draining', 'this server is going away')
    const worker = new PoolWorker(pool, this.#registry.runtime, this.#pools, {
      free,
      take: (id) => this.#takeFromPool(id, pool),
      failed: (error) => this.#failed(error),
      succeeded: () => this.#succeeded(),
    })
    this.#worker = worker
    await worker.begin()
    return worker
  }

  get #pools(): PoolRuns {
    const pools = this.#options.store.shared?.pools
    if (!pools) throw new MillraceError('internal', 'the store has no pools')
    return pools
  }

  /** What a run needs that is stored. Without a lease it begins in the store by itself. */
  of(id: string, run: StorableRun, lease?: Lease): StorageOfRun {
    return this.#storage(id, lease ?? this.#beginLater(id, run))
  }

  /** The id of the run of a key, if keys decide it. */
  idOf(key: string): string | undefined {
    return this.#options.store.shared?.idOf(key)
  }

  /**
   * The run of this id, if it has ended and its log is stored, or if another node has it. One that nobody holds any more
   * is taken over first: it may be one of this node then.
   */
  async find(id: string): Promise<RunElsewhere | undefined> {
    const { store } = this.#options
    const found = await store.find(id)
    if (!found || (!found.end && !this.#remote)) return undefined
    if (!found.end && this.#mayTakeOver) await this.#takeOverOnce(id)
    const stored = found.end ? found : await store.find(id)
    return stored && this.#elsewhere(stored)
  }

  #elsewhere(stored: StoredRun): RunElsewhere {
    const { store } = this.#options
    const { limits } = this.#registry
    const { principal, options } = unpackPayload(stored.facts.packed) as PackedFacts
    const owned = { principal, meta: options.meta }
    const failed = (error: unknown): void => this.#failed(error)
    return {
      id: stored.id,
      actorName: stored.facts.actor,
      principal,
      hasEnded: stored.end !== undefined,
      view: async (after) =>
        stored.end || !this.#remote
          ? await new StoredRunView(store, stored, owned, after, limits, failed).open()
          : await this.#remote.view(stored, principal, after),
    }
  }

  /** Whether other nodes have runs in it. */
  get isShared(): boolean {
    return this.#remote !== undefined
  }

  /** Calls back when a run of another node may have ended. */
  async follow(id: string, changed: () => void): Promise<() => void> {
    const stop = await this.#options.store.shared?.follow(id, (batch) => {
      if (!batch) changed()
    })
    return stop ?? (() => {})
  }

  /** A run of this process for one reader that begins with item `from`, which is not in memory any more. */
  async paged(run: ReadableRun, from: number): Promise<ReadableRun> {
    const { store } = this.#options
    const stored = await store.find(run.id)
    if (!stored) return run
    const failed = (error: unknown): void => this.#failed(error)
    return new PagedRun(run, store, Math.max(from, stored.first), this.#registry.limits, failed).open()
  }

  /** The runs of a principal behind a place of its list, the newest first, at most `most` of them. */
  async list(principal: string, before: ListPosition | undefined, most: number): Promise<StoredRunSummary[]> {
    await this.open()
    const { store } = this.#options
    const listed: StoredRunSummary[] = []
    for (;;) {
      const page = await store.list(principal, listed.at(-1) ?? before, Math.min(LIST_PAGE, most - listed.length))
      listed.push(...page)
      if (page.length < LIST_PAGE || listed.length >= most) return listed
    }
  }

  /** What is going on in another node is on no list here, where nobody would say when it changes. */
  isListed({ outcome, isParked }: StoredRunSummary): boolean {
    return !this.#options.store.shared || outcome !== undefined || isParked
  }

  /** A run by its id, as a list has it. */
  async summary(id: string): Promise<StoredRunSummary | undefined> {
    await this.open()
    const found = await this.#options.store.find(id)
    if (!found) return undefined
    const { facts, gen, next, end, parked } = found
    const { packed: _, ...rest } = facts
    return { ...rest, id, gen, next, ...(end && { outcome: end.outcome }), isParked: parked !== undefined }
  }

  /** The run did not begin after all. */
  async remove(id: string): Promise<void> {
    await this.#options.store.remove(id)
  }

  /** Takes nothing over any more: this node goes away. */
  drain(): void {
    this.#isLeaving = true
    this.#sweep?.clear()
    this.#worker?.close()
  }

  /** Lets go of the store, once it has all that it was given. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#sweep?.clear()
    this.#worker?.close()
    this.#poolStarts?.close()
    this.#queue.close()
    await this.#remote?.close()
    // What is being taken over has to be ended, or given back.
    await Promise.allSettled(this.#taking.values())
    if (this.#opening) await this.#opening.then(() => this.#options.store.close()).catch(() => {})
  }

  // --- what the last process left, or another node

  async #takeOverOnce(id: string): Promise<void> {
    const under = this.#taking.get(id)
    if (under) await under
    else if (!this.#isLeaving && !this.#isClosed)
      await this.#take(id, undefined, (lease, run) => this.#settle(lease, run))
  }

  /** Takes a run from its pool. Resolves with whether this node has it now. */
  #takeFromPool(id: string, pool: string): Promise<boolean> {
    return this.#take(id, { worker: pool }, (lease, run) =>
      run.pool?.isNew ? this.#beginTaken(lease, run) : this.#settle(lease, run),
    )
  }

  /** Ends a run that waits in its pool. Resolves with whether it did. */
  #withdraw(id: string, why: CancelCause): Promise<boolean> {
    return this.#take(id, 'canceller', async (lease, run) => {
      if (run.pool?.waitMs === undefined && !run.parked) return this.#settle(lease, run)
      const { limits, log } = this.#registry
      const { usage } = unpackUsage(run.usage)
      const spent = usage && { ...usage, exact: usage.exact ?? true }
      const packed = packPayload(receiptOfNone(why, run.next - 1, spent), limits)
      await lease.append({ end: { seq: run.next, outcome: 'cancelled', packed } })
      log.write('run.withdrawn', aboutStored(run))
    })
  }

  /** Takes a run over, and does with it what has to be done. Resolves with whether it could be taken. */
  async #take(
    id: string,
    by: Taker | undefined,
    then: (lease: Lease, run: StoredRun) => Promise<void>,
  ): Promise<boolean> {
    // One after the other: for the store, all of this process are one.
    for (let under = this.#taking.get(id); under; under = this.#taking.get(id)) await under.catch(() => {})
    const taken = this.#takeOver(id, by, then).finally(() => this.#taking.delete(id))
    this.#taking.set(id, taken)
    return taken
  }

  async #takeOver(
    id: string,
    by: Taker | undefined,
    then: (lease: Lease, run: StoredRun) => Promise<void>,
  ): Promise<boolean> {
    const taken = await this.#options.store.takeOver(id, by)
    if (typeof taken === 'string') return false
    const { lease, run } = taken
    try {
      await then(lease, run)
      return true
    } catch (error) {
      // Held on, it would be found by nobody, and never end.
      lease.release().catch(() => {})
      throw error
    }
  }

  /** Begins a run that this node has taken from its pool. */
  async #beginTaken(lease: Lease, run: StoredRun): Promise<void> {
    // It was taken just when this node began to go away.
    if (this.#isLeaving || this.#isClosed) return lease.shared?.putBack()
    const { id, facts } = run
    const { principal, options, input, remote = facts.actor } = unpackPayload(facts.packed) as PackedFacts
    const { actor, startedAt } = facts
    const storage = { ...this.#storage(id, lease), log: Log.behind(this.#registry.limits, run.next, run.lives) }
    if (this.#registry.beginTaken({ id, actor, remote, principal, input, options, startedAt, storage })) return
    const message = `the worker that took the run has no actor ${remote}: all workers of a pool need it`
    await this.#fail(lease, run, new MillraceError('not_found', message))
  }

  /** Lets a run go on that was taken over, or ends it. */
  async #settle(lease: Lease, run: StoredRun): Promise<void> {
    if (run.parked && (await this.#goesOn(lease, run, run.parked))) return
    const { pool } = run
    if (pool?.waitMs !== undefined) {
      const message = `no worker of the pool ${pool.name} took the run in time; start it again`
      await this.#fail(lease, run, new MillraceError('unavailable', message))
      this.#registry.log.write('run.untaken', { ...aboutStored(run), pool: pool.name })
      return
    }
    const message = 'the server ended before the run was finished; start it again'
    await this.#fail(lease, run, new MillraceError('interrupted', message))
    this.#registry.log.write('run.interrupted', aboutStored(run))
  }

  /** Ends a run that this node has taken over, and cannot go on with. */
  async #fail(lease: Lease, run: StoredRun, error: MillraceError): Promise<void> {
    const data = errorData(error, this.#registry.limits, unpackUsage(run.usage))
    const packed = packPayload(data, this.#registry.limits)
    await lease.append({ end: { seq: run.next, outcome: 'error', packed } })
  }

  /** Whether a run that waited goes on. One that cannot, whatever the reason, must not keep the server from starting. */
  async #goesOn(lease: Lease, run: StoredRun, parked: Uint8Array): Promise<boolean> {
    try {
      return await this.#goOn(lease, run, parked)
    } catch (err) {
      if (MillraceError.is(err, 'store_unavailable')) throw err
      this.#registry.log.write('run.failed', { run: run.id, actor: run.facts.actor, err })
      return false
    }
  }

  async #goOn(lease: Lease, stored: StoredRun, parked: Uint8Array): Promise<boolean> {
    const { principal, options, input, remote } = unpackPayload(stored.facts.packed) as PackedFacts
    const { id, inputs } = stored
    const { actor, startedAt } = stored.facts
    const { limits, runtime } = this.#registry
    const log = Log.behind(limits, Math.max(stored.first, stored.next - limits.retainEvents), stored.lives)
    while (log.next < stored.next) {
      const from = log.next
      const { batches } = await this.#options.store.read(stored.id, from, PAGE_BYTES)
      for (const batch of batches) log.add(batch)
      // A store that does not have what it says must not keep the server from starting.
      if (log.next === from) return false
      log.trim(log.next)
    }
    const elapsedMs = Math.max(0, runtime.wallClock() - startedAt)
    const storage = { ...this.#storage(id, lease), from: { log, parked: unpackParked(parked), elapsedMs } }
    const restored = { id, actor, remote: remote ?? actor, principal, input, options, startedAt, storage, inputs }
    if (!this.#registry.restore(restored)) return false
    this.#registry.log.write('run.restored', { run: id, actor, principal: principal.id })
    return true
  }

  // --- journals

  #storage(id: string, lease: StorageOfRun['lease']): StorageOfRun {
    const { store, durability } = this.#options
    return {
      runtime: this.#registry.runtime,
      queue: this.#queue,
      durability,
      maxBatchBytes: store.caps.maxBatchBytes,
      lease,
      failed: (error) => this.#failed(error),
      succeeded: () => this.#succeeded(),
      ...(store.shared && { movedAway: () => this.#registry.movedAway(id) }),
    }
  }

  /** Begins a run that goes on meanwhile. Its journal waits, and paces it. */
  async #beginLater(id: string, run: StorableRun): Promise<Lease | undefined> {
    while (!this.#isClosed) {
      try {
        const begun = await this.begin(id, run, undefined)
        this.#succeeded()
        return 'run' in begun ? undefined : begun
      } catch (error) {
        this.#failed(error)
        await new Promise<void>((resolve) => this.#registry.runtime.setTimer(RETRY_MS, resolve))
      }
    }
    return undefined
  }

  #failed(error: unknown): void {
    if (!this.#isDown) this.#registry.log.write('store.failed', { err: error })
    this.#isDown = true
  }

  #succeeded(): void {
    if (!this.#isDown) return
    this.#registry.log.write('store.recovered')
    this.#isDown = false
    this.#upSince = this.#registry.runtime.now()
  }

  /** @param remote the name of the actor in the workers that execute it. They need all of the input. */
  #factsOf({ actor, principal, input, options, startedAt }: StorableRun, remote?: string): RunFacts {
    const meta = options.meta && { meta: pack(options.meta) }
    const facts: PackedFacts = { principal, options, input }
    const all = remote === undefined ? packed(facts) : this.#packedForWorker({ ...facts, remote })
    return { actor, principal: principal.id, startedAt, ...meta, packed: all }
  }

  #packedForWorker(facts: PackedFacts): Uint8Array {
    const { maxMessage } = this.#registry.limits
    let size: number
    try {
      size = pack(facts.input).length
    } catch (error) {
      const cause = MillraceError.from(error, 'bad_request', 'it is not plain data')
      throw new MillraceError('bad_request', `the input of a remote actor cannot be sent: ${cause.message}`, { cause })
    }
    if (size > maxMessage)
      throw new MillraceError(
        'bad_request',
        `the input of a remote actor has ${size} bytes, more than maxMessage (${maxMessage}): send a reference`,
      )
    return pack(facts)
  }
}

/** The run, its actor and its owner, as the log has them. */
function aboutStored({ id, facts }: StoredRun): { readonly [name: string]: unknown } {
  return { run: id, actor: facts.actor, principal: facts.principal }
}

function unavailable(): MillraceError {
  return new MillraceError('store_unavailable', 'the server cannot store runs now; try again later')
}

/** How long after a failure a begin is repeated, in milliseconds. */
const RETRY_MS = 250

/** After which time a client may try again for which there was no room in a pool, in milliseconds. */
const FULL_MS = 1_000

/** `remote`: the name of the actor in the workers of its pool. */
type PackedFacts = { principal: Principal; options: RunOptions; input?: unknown; remote?: string }

/** An input of this process may be anything. What cannot be packed is left out: that run is not restored. */
function packed(facts: PackedFacts): Uint8Array {
  try {
    return pack(facts)
  } catch {
    const { input: _, ...rest } = facts
    return pack(rest)
  }
}

function pack(value: unknown): Uint8Array {
  const writer = new Writer()
  writer.value(value, PACKED_DEPTH)
  return writer.take()
}

/** An input may nest as deep as a frame allows, inside the facts. */
const PACKED_DEPTH = 64
