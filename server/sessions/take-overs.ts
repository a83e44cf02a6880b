import { MillraceError } from '../../protocol/errors.ts'
import type { Limits } from '../../protocol/limits.ts'
import type { CancelCause } from '../../protocol/receipt.ts'
import type { Runtime, Timer } from '../../protocol/runtime.ts'
import type { Principal } from '../actors/principal.ts'
import { errorData } from '../log/error-data.ts'
import { Log } from '../log/log.ts'
import { packPayload } from '../log/payload.ts'
import type { ServerLog } from '../logging/logger.ts'
import type { RunNotices } from '../notices/notices.ts'
import { unpackParked } from '../runs/parked-run.ts'
import type { RunStorage as StorageOfRun } from '../runs/run-options.ts'
import { receiptOfNone } from '../runs/stop-cause.ts'
import { unpackUsage } from '../runs/usage-tally.ts'
import type { Lease, RunStore, StoredEnd, StoredInput, StoredRun, Taker } from '../stores/run-store.ts'
import { type StorableRun, unpackFacts } from './packed-facts.ts'
import type { StoreHealth } from './store-health.ts'

/** Runs that are taken over at once. */
const AT_ONCE = 256
/** Bytes of a log that are read from the store at once. */
const PAGE_BYTES = 1_048_576

/** What take-overs take from the registry. */
export type TakeOverCallbacks = {
  readonly runtime: Runtime
  readonly limits: Limits
  readonly log: ServerLog
  readonly notices: RunNotices | undefined
  /** Lets a run go on that only waited when its process died. Returns false when it cannot. */
  restore(run: RestoredRun): boolean
  /** Begins a run that a worker has taken from its pool. Returns false when it has no such actor. */
  beginTaken(run: TakenRun): boolean
}

/** A run that a worker has taken from its pool. `actor` is its name where it was started, `remote` that in the worker. */
export type TakenRun = StorableRun & { readonly id: string; readonly remote: string; readonly storage: StorageOfRun }

/** A run that only waited when its process died, with all that it goes on from. `remote`: its name in this process. */
export type RestoredRun = TakenRun & {
  /** What it accepted while it waited. */
  readonly inputs: readonly StoredInput[]
}

/** What take-overs take from the storage of the node. */
export type TakeOverParts = TakeOverCallbacks & {
  readonly store: RunStore
  readonly health: StoreHealth
  /** What a run needs that is stored. */
  storageOf(id: string, principal: Principal, lease: Lease): StorageOfRun
}

/**
 * Takes over the runs that nobody holds: those that the last process left, or another node, and those that wait in a
 * pool. Each is let go on, begun, or ended.
 */
export class TakeOvers {
  readonly #parts: TakeOverParts
  /** Runs that are being taken over. */
  readonly #taking = new Map<string, Promise<unknown>>()
  #sweep: Timer | undefined
  #isClosed = false

  constructor(parts: TakeOverParts) {
    this.#parts = parts
  }

  /**
   * Where the store has failed, no holder could confirm its lease. Once it works again, the holders come first: most of
   * them go on as if nothing had been.
   */
  get mayTakeOver(): boolean {
    const { store, health } = this.#parts
    return health.hasWorkedFor((store.shared?.leaseMs ?? 0) / 2)
  }

  /** Takes over all runs that are left. @throws MillraceError `store_unavailable`. */
  async all(): Promise<void> {
    const { store } = this.#parts
    while (!this.#isClosed) {
      const ids = await store.abandoned(AT_ONCE)
      if (ids.length === 0) return
      await Promise.all(ids.map((id) => this.one(id)))
    }
  }

  /** Takes over what is left now and then: other nodes may die while this one goes on. */
  sweepLater(): void {
    const { store, runtime, health } = this.#parts
    const { shared } = store
    if (!shared || this.#isClosed) return
    this.#sweep = runtime.setTimer((shared.leaseMs / 3) * (0.8 + 0.4 * runtime.random()), () => {
      // A call that fails tells that the store does.
      const swept = (this.mayTakeOver ? this.all() : store.abandoned(1)).then(health.succeeded, health.failed)
      void swept.then(() => this.sweepLater())
    })
  }

  /** Takes a run over, if nobody holds it. @throws MillraceError `store_unavailable`. */
  async one(id: string): Promise<void> {
    const under = this.#taking.get(id)
    if (under) await under
    else if (!this.#isClosed) await this.#take(id, undefined, (lease, run) => this.#settle(lease, run))
  }

  /** Takes a run from its pool. Resolves with whether this node has it now. @throws MillraceError `store_unavailable`. */
  fromPool(id: string, pool: string): Promise<boolean> {
    return this.#take(id, { worker: pool }, (lease, run) =>
      run.pool?.isNew ? this.#begin(lease, run) : this.#settle(lease, run),
    )
  }

  /** Ends a run that waits in its pool. Resolves with whether it did. @throws MillraceError `store_unavailable`. */
  withdraw(id: string, why: CancelCause): Promise<boolean> {
    return this.#take(id, 'canceller', async (lease, run) => {
      if (run.pool?.waitMs === undefined && !run.parked) return this.#settle(lease, run)
      const { limits, log } = this.#parts
      const { usage } = unpackUsage(run.usage)
      const spent = usage && { ...usage, exact: usage.exact ?? true }
      const packed = packPayload(receiptOfNone(why, run.next - 1, spent), limits)
      await this.#end(lease, run, { outcome: 'cancelled', packed })
      log.write('run.withdrawn', aboutStored(run))
    })
  }

  /** Takes over nothing that is left any more: this node goes away. */
  close(): void {
    this.#isClosed = true
    this.#sweep?.clear()
  }

  /** Resolves when nothing is being taken over. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#taking.values())
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
    const taken = await this.#parts.store.takeOver(id, by)
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
  async #begin(lease: Lease, run: StoredRun): Promise<void> {
    // It was taken just when this node began to go away.
    if (this.#isClosed) return lease.shared?.putBack()
    const { id, facts } = run
    const { actor, startedAt } = facts
    const { principal, options, input, remote = actor } = unpackFacts(facts)
    const parts = this.#parts
    const log = Log.behind(parts.limits, run.next, run.lives)
    const storage = { ...parts.storageOf(id, principal, lease), log, readersCome: true }
    if (parts.beginTaken({ id, actor, remote, principal, input, options, startedAt, storage })) return
    const message = `the worker that took the run has no actor ${remote}: all workers of a pool need it`
    await this.#fail(lease, run, new MillraceError('not_found', message))
  }

  /** Lets a run go on that was taken over, or ends it. */
  async #settle(lease: Lease, run: StoredRun): Promise<void> {
    if (run.parked && (await this.#goesOn(lease, run, run.parked))) return
    const { log } = this.#parts
    const { pool } = run
    if (pool?.waitMs !== undefined) {
      const message = `no worker of the pool ${pool.name} took the run in time; start it again`
      await this.#fail(lease, run, new MillraceError('unavailable', message))
      log.write('run.untaken', { ...aboutStored(run), pool: pool.name })
      return
    }
    const message = 'the server ended before the run was finished; start it again'
    await this.#fail(lease, run, new MillraceError('interrupted', message))
    log.write('run.interrupted', aboutStored(run))
  }

  /** Ends a run that this node has taken over, and cannot go on with. */
  async #fail(lease: Lease, run: StoredRun, error: MillraceError): Promise<void> {
    const { limits } = this.#parts
    const packed = packPayload(errorData(error, limits, unpackUsage(run.usage)), limits)
    await this.#end(lease, run, { outcome: 'error', packed })
  }

  async #end(lease: Lease, run: StoredRun, end: Omit<StoredEnd, 'seq'>): Promise<void> {
    const { notices } = this.#parts
    const { actor, principal, startedAt } = run.facts
    const told = notices?.ended({ id: run.id, actor, principal, startedAt }, end) ?? []
    const areStored = notices?.areStored === true
    const refusal = await lease.append({ end: { seq: run.next, ...end }, ...(areStored && { notices: told }) })
    if (refusal !== undefined) return
    if (areStored) notices.stored()
    else notices?.add(told)
  }

  /** Whether a run that waited goes on. One that cannot, whatever the reason, must not keep the server from starting. */
  async #goesOn(lease: Lease, run: StoredRun, parked: Uint8Array): Promise<boolean> {
    try {
      return await this.#goOn(lease, run, parked)
    } catch (err) {
      if (MillraceError.is(err, 'store_unavailable')) throw err
      this.#parts.log.write('run.failed', { run: run.id, actor: run.facts.actor, err })
      return false
    }
  }

  async #goOn(lease: Lease, stored: StoredRun, parked: Uint8Array): Promise<boolean> {
    const parts = this.#parts
    const { store, limits, runtime } = parts
    const { id, inputs } = stored
    const { actor, startedAt } = stored.facts
    const { principal, options, input, remote = actor } = unpackFacts(stored.facts)
    const log = Log.behind(limits, Math.max(stored.first, stored.next - limits.retainEvents), stored.lives)
    while (log.next < stored.next) {
      const from = log.next
      const { batches } = await store.read(stored.id, from, PAGE_BYTES)
      for (const batch of batches) log.add(batch)
      // A store that does not have what it says must not keep the server from starting.
      if (log.next === from) return false
      log.trim(log.next)
    }
    const elapsedMs = Math.max(0, runtime.wallClock() - startedAt)
    const from = { log, parked: unpackParked(parked), bytes: parked.length, elapsedMs }
    const storage = { ...parts.storageOf(id, principal, lease), from }
    if (!parts.restore({ id, actor, remote, principal, input, options, startedAt, storage, inputs })) return false
    parts.log.write('run.restored', { run: id, actor, principal: principal.id })
    return true
  }
}

/** The run, its actor and its owner, as the log has them. */
export function aboutStored({ id, facts }: StoredRun): { readonly [name: string]: unknown } {
  return { run: id, actor: facts.actor, principal: facts.principal }
}
