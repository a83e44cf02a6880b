import { MillraceError } from '../../protocol/errors.ts'
import type { Limits } from '../../protocol/limits.ts'
import type { Runtime, Timer } from '../../protocol/runtime.ts'
import { Writer } from '../../protocol/writer.ts'
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
import { StoredRunView } from '../runs/stored-run.ts'
import { unpackUsage } from '../runs/usage-tally.ts'
import type {
  Lease,
  ListPosition,
  NewRun,
  RunFacts,
  RunStore,
  StoredInput,
  StoredKey,
  StoredRun,
  StoredRunSummary,
} from '../stores/run-store.ts'
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
  /** Another node has taken a run over: nothing of it is here any more. */
  movedAway(id: string): void
}

/** A run that only waited when its process died, with all that it goes on from. */
export type RestoredRun = StorableRun & {
  readonly id: string
  readonly storage: StorageOfRun
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
  readonly #taking = new Map<string, Promise<void>>()
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
    if (!stored) return undefined
    const { limits } = this.#registry
    const { principal, options } = unpackPayload(stored.facts.packed) as PackedFacts
    const owned = { principal, meta: options.meta }
    const failed = (error: unknown): void => this.#failed(error)
    return {
      id,
      actorName: stored.facts.actor,
      principal,
      hasEnded: stored.end !== undefined,
      view: async (after) =>
        stored.end || !this.#remote
          ? await new StoredRunView(store, stored, owned, after, limits, failed).open()
          : await this.#remote.view(stored, principal, after),
    }
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
  }

  /** Lets go of the store, once it has all that it was given. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#sweep?.clear()
    this.#remote?.close()
    this.#queue.close()
    if (this.#opening) await this.#opening.then(() => this.#options.store.close()).catch(() => {})
  }

  // --- what the last process left, or another node

  #takeOverOnce(id: string): Promise<void> {
    const under = this.#taking.get(id)
    if (under) return under
    if (this.#isLeaving || this.#isClosed) return Promise.resolve()
    const taken = this.#takeOver(id).finally(() => this.#taking.delete(id))
    this.#taking.set(id, taken)
    return taken
  }

  async #takeOver(id: string): Promise<void> {
    const taken = await this.#options.store.takeOver(id)
    if (typeof taken === 'string') return
    const { lease, run } = taken
    try {
      await this.#settle(lease, run)
    } catch (error) {
      // Held on, it would be found by nobody, and never end.
      lease.release().catch(() => {})
      throw error
    }
  }

  /** Lets a run go on that was taken over, or ends it. */
  async #settle(lease: Lease, run: StoredRun): Promise<void> {
    if (run.parked && (await this.#goesOn(lease, run, run.parked))) return
    const message = 'the server ended before the run was finished; start it again'
    const data = errorData(new MillraceError('interrupted', message), this.#registry.limits, unpackUsage(run.usage))
    const packed = packPayload(data, this.#registry.limits)
    await lease.append({ end: { seq: run.next, outcome: 'error', packed } })
    const { actor, principal } = run.facts
    this.#registry.log.write('run.interrupted', { run: run.id, actor, principal })
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
    const { principal, options, input } = unpackPayload(stored.facts.packed) as PackedFacts
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
    if (!this.#registry.restore({ id, actor, principal, input, options, startedAt, storage, inputs })) return false
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

  #factsOf({ actor, principal, input, options, startedAt }: StorableRun): RunFacts {
    const meta = options.meta && { meta: pack(options.meta) }
    return { actor, principal: principal.id, startedAt, ...meta, packed: packed({ principal, options, input }) }
  }
}

function unavailable(): MillraceError {
  return new MillraceError('store_unavailable', 'the server cannot store runs now; try again later')
}

/** How long after a failure a begin is repeated, in milliseconds. */
const RETRY_MS = 250

type PackedFacts = { principal: Principal; options: RunOptions; input?: unknown }

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
