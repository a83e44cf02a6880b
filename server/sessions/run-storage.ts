import { MillraceError } from '../../protocol/errors.ts'
import { CANCEL_CODES } from '../../protocol/receipt.ts'
import type { Timer } from '../../protocol/runtime.ts'
import type { RemoteActor } from '../actors/actor.ts'
import type { Principal } from '../actors/principal.ts'
import type { ChildrenView, LiveRunView } from '../actors/server-view.ts'
import { BEGINNING, nextItem, type StartPosition } from '../log/cursor.ts'
import type { Durability } from '../runs/journal.ts'
import { JournalQueue } from '../runs/journal-queue.ts'
import { PagedRun } from '../runs/paged-run.ts'
import type { ReadableRun } from '../runs/readable-run.ts'
import type { RunStorage as StorageOfRun } from '../runs/run-options.ts'
import { StoredRunView } from '../runs/stored-run.ts'
import type {
  Lease,
  ListPosition,
  LiveRun,
  NewRun,
  PoolRuns,
  RunFacts,
  RunStore,
  StoredKey,
  StoredRun,
  StoredRunSummary,
} from '../stores/run-store.ts'
import { packQuestion, unpackChildren } from './children-of-nodes.ts'
import { storedState } from './listed-run.ts'
import { packFacts, packFactsForWorker, packMeta, type StorableRun, unpackFacts } from './packed-facts.ts'
import { PoolStarts } from './pool-starts.ts'
import { PoolWorker } from './pool-worker.ts'
import { RemoteRuns } from './remote-runs.ts'
import { StoreHealth } from './store-health.ts'
import { aboutStored, type TakeOverCallbacks, TakeOvers } from './take-overs.ts'

/** How long after a failure the store is opened again, in milliseconds. */
const OPEN_AGAIN_MS = 1_000
/** How far apart text may come that goes to the store together, where readers wait for it, in milliseconds. */
const MOMENT_MS = 5

/**
 * How often as long as the store took for the last text the next one waits. Readers wait for it with `logged`, and those of
 * other servers where the store is shared. Else nobody does.
 */
const REST = { awaited: 1, own: 8 } as const

/** Runs that are listed at once. */
const LIST_PAGE = 500

/** How a server stores its runs. */
export type StorageOptions = { readonly store: RunStore; readonly durability: Durability }

/** What storage takes from the registry. */
export type RunStorageCallbacks = TakeOverCallbacks & {
  /** As `JournalCallbacks.parks`, of a run of `principal`. */
  parks(id: string, principal: Principal, bytes: number, before: number): boolean
  /** Another node has taken a run over: nothing of it is here any more. */
  movedAway(id: string): void
  /** The children that are executed here, packed, in answer to a question of another node. */
  children(question: Uint8Array): Uint8Array | undefined
}

/** A run that is not executed here: it has ended, or another node holds it. */
export type RunElsewhere = {
  readonly id: string
  readonly actorName: string
  readonly principal: Principal
  /** Nothing more is added to its log. */
  readonly hasEnded: boolean
  /** A view for one reader that begins there. */
  view(from: StartPosition): Promise<ReadableRun>
}

/** The runs of a node in its store: how they get there, and how they come back. */
export class RunStorage {
  readonly #options: StorageOptions
  readonly #registry: RunStorageCallbacks
  readonly #queue: JournalQueue
  /** Those of other nodes, where the store is shared. */
  readonly #remote: RemoteRuns | undefined
  readonly #health: StoreHealth
  readonly #takeOvers: TakeOvers
  /** Those of pools that began here. */
  readonly #poolStarts: PoolStarts | undefined
  #worker: PoolWorker | undefined
  #opening: Promise<void> | undefined
  /** Until the store is opened again, which could not be opened. */
  #nextOpening: Timer | undefined
  #isOpen = false
  #isClosed = false
  #isLeaving = false

  constructor(options: StorageOptions, registry: RunStorageCallbacks) {
    this.#options = options
    this.#registry = registry
    const { store } = options
    const { runtime, limits } = registry
    const { flushMs, shared } = store.caps
    const isAwaited = options.durability === 'logged' || shared
    const rest = REST[isAwaited ? 'awaited' : 'own']
    this.#queue = new JournalQueue(runtime, flushMs, rest, ...(isAwaited ? [MOMENT_MS] : []))
    this.#health = new StoreHealth(runtime, registry.log)
    this.#takeOvers = new TakeOvers({
      ...registry,
      store,
      health: this.#health,
      storageOf: (id, principal, lease) => this.#storage(id, principal, lease),
    })
    store.shared?.peers?.answerWith((question) => registry.children(question))
    this.#poolStarts = store.shared && new PoolStarts(store, store.shared)
    this.#remote =
      store.shared &&
      new RemoteRuns({
        store,
        shared: store.shared,
        runtime,
        limits,
        changed: (id) => {
          if (this.#takeOvers.mayTakeOver) this.#takeOvers.one(id).catch(this.#health.failed)
        },
        failed: this.#health.failed,
        withdraw: (id, why) => this.#takeOvers.withdraw(id, why),
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
    // Whoever asks meanwhile does not wait for what has just failed.
    if (this.#nextOpening) return Promise.reject(unavailable())
    this.#opening ??= this.#open().catch((error: unknown) => {
      // Whoever asks next tries again.
      this.#opening = undefined
      throw error
    })
    return this.#opening
  }

  /**
   * Opens the store as `open` does, and tries again now and then if it cannot be opened now.
   * @returns a promise that resolves once it is open. `tried` resolves after the first attempt.
   * @throws MillraceError `store_unavailable`, where no waiting helps at the first attempt.
   */
  async openInTime(tried: () => void): Promise<void> {
    for (let isFirst = true; ; isFirst = false) {
      try {
        await this.open()
        this.#health.succeeded()
        return
      } catch (error) {
        if (isFirst && !(MillraceError.is(error, 'store_unavailable') && error.retryable)) throw error
        this.#health.failed(error)
        tried()
      }
      if (this.#isClosed) return
      const { runtime } = this.#registry
      const ms = OPEN_AGAIN_MS * (0.5 + runtime.random())
      await new Promise<void>((resolve) => {
        this.#nextOpening = runtime.setTimer(ms, resolve)
      })
      this.#nextOpening = undefined
    }
  }

  async #open(): Promise<void> {
    await this.#options.store.open()
    await this.#takeOvers.all()
    this.#isOpen = true
    this.#takeOvers.sweepLater()
  }

  /** Why no run can be stored now. Undefined: it can. */
  get fault(): MillraceError | undefined {
    return this.#isOpen && !this.#health.isDown ? undefined : unavailable()
  }

  /** @throws MillraceError `store_unavailable` while the store fails: a run could begin, and nobody would find it again. */
  checkRoom(): void {
    if (this.#health.isDown) throw unavailable()
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
      const view = await this.#elsewhere(found).view(BEGINNING)
      if (isOurs) {
        this.#poolStarts?.watch(id, ended)
        this.#registry.log.write('run.waiting', { ...aboutStored(found), pool: remote.pool })
      }
      return { run: view, key: taken }
    } catch (error) {
      // Whoever started it does not learn of it: it would be executed for nobody.
      if (isOurs) this.#takeOvers.withdraw(id, { by: 'server', code: CANCEL_CODES.unspecified }).catch(() => {})
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
      take: (id) => this.#takeOvers.fromPool(id, pool),
      failed: this.#health.failed,
      succeeded: this.#health.succeeded,
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
    return this.#storage(id, run.principal, lease ?? this.#beginLater(id, run))
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
    if (!found.end && this.#takeOvers.mayTakeOver) await this.#takeOvers.one(id)
    const stored = found.end ? found : await store.find(id)
    return stored && this.#elsewhere(stored)
  }

  /** As `find`, of a run that this node has in life `gen`. Undefined, unless another one has begun a later life. */
  async findLater(id: string, gen: number): Promise<RunElsewhere | undefined> {
    const stored = await this.#options.store.find(id)
    return stored && stored.gen > gen ? this.find(id) : undefined
  }

  #elsewhere(stored: StoredRun): RunElsewhere {
    const { store } = this.#options
    const { limits } = this.#registry
    const { principal, options } = unpackFacts(stored.facts)
    const owned = { principal, meta: options.meta }
    const { failed } = this.#health
    return {
      id: stored.id,
      actorName: stored.facts.actor,
      principal,
      hasEnded: stored.end !== undefined,
      view: async ({ after: last, gen }) => {
        const after = last === null ? null : nextItem(stored.lives, last, gen) - 1
        return stored.end || !this.#remote
          ? await new StoredRunView(store, stored, owned, after, limits, failed).open()
          : await this.#remote.view(stored, principal, after)
      },
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
    const { failed } = this.#health
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

  /**
   * Calls back when a run of a principal may have changed in another node: with its id, or without, when it may be any.
   * Undefined: no other node has runs.
   */
  get followList(): ((principal: string, heard: (id?: string) => void) => Promise<() => void>) | undefined {
    const { shared } = this.#options.store
    return shared && ((principal, heard) => shared.followList(principal, heard))
  }

  /** A run by its id, as a list has it. */
  async summary(id: string): Promise<StoredRunSummary | undefined> {
    await this.open()
    const { store } = this.#options
    if (store.shared) return store.shared.summary(id)
    const found = await store.find(id)
    if (!found) return undefined
    const { facts, gen, next, end, parked } = found
    const { packed: _, ...rest } = facts
    return { ...rest, id, gen, next, ...(end && { outcome: end.outcome }), isParked: parked !== undefined }
  }

  /** Live runs of all nodes, at most `most`. None where no other node has runs. */
  async live(most: number): Promise<LiveRunView[]> {
    await this.open()
    const runs = await this.#options.store.shared?.live(most)
    return (runs ?? []).map(liveRunView)
  }

  /** The children that another node executes. Undefined: it does not say. */
  async children(node: string, known: readonly string[], signal: AbortSignal): Promise<ChildrenView | undefined> {
    await this.open()
    const answer = await this.#options.store.shared?.peers?.ask(node, packQuestion(known), signal)
    return answer && unpackChildren(answer)
  }

  /** The run did not begin after all. */
  async remove(id: string): Promise<void> {
    await this.#options.store.remove(id)
  }

  /** Takes nothing over any more: this node goes away. */
  drain(): void {
    this.#isLeaving = true
    this.#takeOvers.close()
    this.#worker?.close()
  }

  /** Lets go of the store, once it has all that it was given. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#nextOpening?.clear()
    this.#takeOvers.close()
    this.#worker?.close()
    this.#poolStarts?.close()
    this.#queue.close()
    await this.#remote?.close()
    // What is being taken over has to be ended, or given back.
    await this.#takeOvers.settled()
    if (this.#opening) await this.#opening.then(() => this.#options.store.close()).catch(() => {})
  }

  // --- journals

  #storage(id: string, principal: Principal, lease: StorageOfRun['lease']): StorageOfRun {
    const { store, durability } = this.#options
    return {
      parks: (bytes, before) => this.#registry.parks(id, principal, bytes, before),
      runtime: this.#registry.runtime,
      queue: this.#queue,
      durability,
      maxBatchBytes: store.caps.maxBatchBytes,
      lease,
      failed: this.#health.failed,
      succeeded: this.#health.succeeded,
      ...(store.shared && { movedAway: () => this.#registry.movedAway(id) }),
    }
  }

  /** Begins a run that goes on meanwhile. Its journal waits, and paces it. */
  async #beginLater(id: string, run: StorableRun): Promise<Lease | undefined> {
    while (!this.#isClosed) {
      try {
        const begun = await this.begin(id, run, undefined)
        this.#health.succeeded()
        return 'run' in begun ? undefined : begun
      } catch (error) {
        this.#health.failed(error)
        await new Promise<void>((resolve) => this.#registry.runtime.setTimer(RETRY_MS, resolve))
      }
    }
    return undefined
  }

  /** @param remote the name of the actor in the workers that execute it. They need all of the input. */
  #factsOf({ actor, principal, input, options, startedAt }: StorableRun, remote?: string): RunFacts {
    const facts = { principal, options, input }
    const { maxMessage } = this.#registry.limits
    const packed = remote === undefined ? packFacts(facts) : packFactsForWorker({ ...facts, remote }, maxMessage)
    return { actor, principal: principal.id, startedAt, ...packMeta(options.meta), packed }
  }
}

/** A run of the store as an actor of the server sees it. */
export function liveRunView(run: LiveRun): LiveRunView {
  const { id, actor, principal, startedAt, next, outcome, holder, isHere } = run
  const state = storedState(run)
  return { id, actorName: actor, principal, startedAt, last: next - 1, state, outcome, holder, isHere }
}

function unavailable(): MillraceError {
  return new MillraceError('store_unavailable', 'the server cannot store runs now; try again later')
}

/** How long after a failure a begin is repeated, in milliseconds. */
const RETRY_MS = 250

/** After which time a client may try again for which there was no room in a pool, in milliseconds. */
const FULL_MS = 1_000
