import type { Outcome } from '../../protocol/frames.ts'
import type { Batch } from '../log/log-batch.ts'

export type { Batch }

/** One life of a stored log: its number, and its first item. Items of earlier lives from there on are void. */
export type StoredLife = {
  /** Its number. It only grows. */
  readonly gen: number
  /** The number of its first item. */
  readonly first: number
}

/** The end of a run. It is the last entry of its log, and never changes. */
export type StoredEnd = {
  /** Its number: that of the item after the last. */
  readonly seq: number
  /** How the run ended. */
  readonly outcome: Exclude<Outcome, 'unsubscribed'>
  /** Its data, as clients receive it. */
  readonly packed: Uint8Array
}

/** An input of a client that a run has accepted. */
export type StoredInput = {
  /** The client's name for it, as the key of a Map. */
  readonly mid: string
  /** Its type, as the client gave it. */
  readonly type: string
  /** Its id and data, and the principal that sent it. */
  readonly packed: Uint8Array
}

/** What never changes of a run. */
export type RunFacts = {
  /** The name of the actor. */
  readonly actor: string
  /** The id of the principal that the run belongs to. */
  readonly principal: string
  /** In epoch milliseconds. */
  readonly startedAt: number
  /** What a list shows of it besides. Small: `list` reads it, and leaves `packed` alone. */
  readonly meta?: Uint8Array | undefined
  /** The input, and the options of the start. */
  readonly packed: Uint8Array
}

/** A run as it is stored. */
export type StoredRun = {
  /** The id of the run. */
  readonly id: string
  /** What never changes of it. */
  readonly facts: RunFacts
  /** The last life that was begun. */
  readonly gen: number
  /** The lives of its log, the oldest first. */
  readonly lives: readonly StoredLife[]
  /** The oldest item that is kept; equal to `next` when none is. */
  readonly first: number
  /** The number of the next item. */
  readonly next: number
  /** Its end, once it has one. */
  readonly end?: StoredEnd | undefined
  /** Present while the run only waits: what its actor needs to wait again in another process. */
  readonly parked?: Uint8Array | undefined
  /** Inputs that were accepted since the run was parked, in order. */
  readonly inputs: readonly StoredInput[]
  /** What the run had cost with its last append. */
  readonly usage?: Uint8Array | undefined
  /** The pool whose workers execute it. Absent: the process that begins it does. */
  readonly pool?: StoredPool | undefined
}

/** The pool of a stored run. */
export type StoredPool = {
  /** The name of the pool. */
  readonly name: string
  /** How long the run may still wait for a worker, in milliseconds; 0: it has waited too long. Absent: one has begun it. */
  readonly waitMs?: number | undefined
  /** The present holder is the worker that begins it. */
  readonly isNew: boolean
}

/** The pool of a run that begins, and how it waits there. */
export type PoolPlace = {
  /** The name of the pool. */
  readonly pool: string
  /** How long the run may wait for a worker, in milliseconds. */
  readonly waitMs: number
  /** The most runs that may wait in the pool. Of several Redis, each takes its share of them. */
  readonly maxWaiting: number
}

/** Who takes a run over besides those that look after abandoned ones: a worker of a pool, or somebody who cancels it. */
export type Taker = { readonly worker: string } | 'canceller'

/** A run as a list has it: without its input, and without what it waits with. */
export type StoredRunSummary = Omit<RunFacts, 'packed'> & {
  readonly id: string
  readonly gen: number
  /** The number of the next item. */
  readonly next: number
  readonly outcome?: StoredEnd['outcome'] | undefined
  /** Whether it only waits for people. */
  readonly isParked: boolean
  /** Whether no worker of its pool has taken it yet. Default: false. */
  readonly waitsForWorker?: boolean | undefined
}

/** A run without an end, as other processes see it. */
export type LiveRun = StoredRunSummary & {
  /** The name of the process that holds it. Undefined: nobody does now. */
  readonly holder: string | undefined
  /** This process holds it. */
  readonly isHere: boolean
}

/** A place in the list of a principal: the run that has it need not exist any more. */
export type ListPosition = Pick<StoredRunSummary, 'startedAt' | 'id'>

/** A run that begins. */
export type NewRun = {
  /** What never changes of it. */
  readonly facts: RunFacts
  /** The key of its START. Its `name` is unique among all runs that are stored; `input` says to what the key is bound. */
  readonly key?: { readonly name: string; readonly input: string } | undefined
}

/** Who takes a key first has the run: for everyone else it is that run, whatever became of it. */
export type StoredKey = {
  /** The id of the run that has the key. */
  readonly run: string
  /** To what the key is bound. */
  readonly input: string
}

/** Something that somebody outside is to learn of: bytes for them, and the name by which they know a repeated one. */
export type StoredNotice = {
  /** Its name. One that is in the outbox already is not added again. */
  readonly id: string
  /** What is sent. A store never reads it. */
  readonly body: Uint8Array
}

/** A notice that is to be sent now. */
export type DueNotice = StoredNotice & {
  /** How often it was given out, this time included. */
  readonly attempt: number
  /** How long ago it was stored, in milliseconds. */
  readonly ageMs: number
}

/** The longest that a notice is put off, in milliseconds. */
export const LONGEST_PUT_OFF_MS = 3_600_000

/**
 * Notices that wait to be sent. Each is given to one process at a time, and stays until somebody removes it: what a
 * process has taken when it dies is given to another one.
 *
 * Every method throws MillraceError `store_unavailable` when the store cannot be reached or cannot write.
 */
export interface Outbox {
  /** Adds notices that belong to no append. They are due at once. */
  add(notices: readonly StoredNotice[]): Promise<void>
  /**
   * Gives out at most `most` notices that are due, those first that have been due longest. None of them is given out again
   * for `forMs` milliseconds, unless its process ends before that. After an error, some may be due again only then.
   */
  take(most: number, forMs: number): Promise<DueNotice[]>
  /** Removes a notice: it was sent, or nobody wants it any more. */
  remove(id: string): Promise<void>
  /** A notice is due again in `ms` milliseconds, at most `LONGEST_PUT_OFF_MS`. Does nothing for one that was removed. */
  putOff(id: string, ms: number): Promise<void>
  /**
   * Removes notices until at most `most` are left, those first that were stored first. A store that is divided gives each
   * part its share.
   * @returns how many were removed, and how many are left.
   */
  trim(most: number): Promise<{ readonly removed: number; readonly left: number }>
}

/** What one append adds to a run. All of it is stored, or nothing. */
export type Append = {
  /** Items that follow those that are stored. */
  readonly batch?: Batch | undefined
  /** The end, behind the batch. The run is not parked any more, and takes no further append. */
  readonly end?: StoredEnd | undefined
  /**
   * The run only waits now, and goes on from this; null: it goes on. Both drop the inputs that were stored, because
   * the run has taken them. Without it, nothing changes.
   */
  readonly parked?: Uint8Array | null | undefined
  /** Inputs that were accepted. One whose `mid` is stored already is left out. */
  readonly inputs?: readonly StoredInput[] | undefined
  /** What the run has cost so far. Without it, nothing changes. */
  readonly usage?: Uint8Array | undefined
  /** Notices for the outbox, where the store has one. */
  readonly notices?: readonly StoredNotice[] | undefined
}

/** Why an append was not stored. */
export type AppendRefusal =
  /** Another holder has taken the run over, or it was removed. This holder must stop. */
  | 'fenced'
  /** The run has its end. */
  | 'ended'
  /** Its first item does not follow the last that is stored. */
  | 'gap'

/** What another process has asked of a run. */
export type Ask = {
  /** Its number. Asks are heard in order. */
  readonly n: number
  /** What was asked. A store never reads it. */
  readonly packed: Uint8Array
}

/** Hears what concerns a run that this process holds. No method throws, and none is called after `lost`. */
export interface Holder {
  /** Somebody else has the run, or it was removed: nothing of it may be done here any more. */
  lost(): void
  /** The store has not confirmed the lease for so long that another process may soon take over; or it has again. */
  doubted(): void
  /** Another process asks something. Each ask comes once, and again in the next process if it was not answered. */
  asked(ask: Ask): void
  /** Who reads the run in other processes now: what each of them attends with, by its name. */
  attended(readers: ReadonlyMap<string, Uint8Array>): void
}

/** A lease of a store in which other processes take part. */
export interface SharedLease {
  /** Whether another process may have the run: the lease was not confirmed for four fifths of its time. */
  readonly isDoubtful: boolean
  /** Tells `holder` from now on what concerns the run. */
  heldBy(holder: Holder): void
  /** Stores the answer to an ask, and lets the process that asked hear it. Repeats it until the store takes it. */
  answer(n: number, packed: Uint8Array): Promise<void>
  /** Gives up a run of a pool that was not begun in this life: it waits for a worker as before, and comes first. */
  putBack(): Promise<void>
}

/** The right to append to one run. There is one holder at a time. */
export interface Lease {
  /** The life of the log that this holder writes. */
  readonly gen: number
  /**
   * Stores what one append adds, all or nothing, and resolves when it would survive the death of this process. A repeated
   * append, of the same life and items, changes nothing and succeeds: after an error, send the same again, before any
   * other. Appends are stored in the order of the calls.
   * @returns undefined once it is stored, or why it never will be.
   * @throws MillraceError `store_unavailable` when the store failed. It may or may not have stored it.
   */
  append(what: Append): Promise<AppendRefusal | undefined>
  /** Gives the run up: somebody else may take it over at once. Does nothing when that has happened already. */
  release(): Promise<void>
  /** What a lease has in addition in a store that is shared. */
  readonly shared?: SharedLease | undefined
}

/** Batches of a log, in order, and none is missing between two of them. */
export type Page = {
  /** The first has the item that was asked for, which need not be its first; or, if that was dropped, the oldest kept. */
  readonly batches: readonly Batch[]
  /** Whether more items were stored behind them. */
  readonly more: boolean
}

/** What a store can do. */
export type StoreCaps = {
  /** Its runs outlive the process. */
  readonly durable: boolean
  /** Other processes can take part. */
  readonly shared: boolean
  /** The most bytes of one batch. A single item may exceed it. */
  readonly maxBatchBytes: number
  /** How long text may wait for others before it is appended, in milliseconds. */
  readonly flushMs: number
}

/** Why an ask has no answer. `busy`: too much is asked of this run already. */
export type AskRefusal = 'ended' | 'missing' | 'busy'

/** What processes that share a store ask each other. Nothing of it is stored, and whoever wants to know asks again. */
export interface Peers {
  /**
   * Asks another process, by its name. Resolves with its answer, or with undefined when `signal` aborts: it is gone, is
   * busy, does not know what it is asked, or has not heard it.
   */
  ask(holder: string, question: Uint8Array, signal: AbortSignal): Promise<Uint8Array | undefined>
  /** Answers from now on what others ask this process. Undefined: to what this one does not know, nothing is said. */
  answerWith(answer: (question: Uint8Array) => Uint8Array | undefined): void
}

/** What a store does for processes that share it. */
export interface SharedRuns {
  /** How long a holder keeps a run without confirming it, in milliseconds. */
  readonly leaseMs: number
  /** The id of the run of a key: the same in each process, and nobody can guess it. */
  idOf(key: string): string
  /**
   * Calls `heard` whenever a run may have changed: with the items that it has in addition, or without. Calls may be late,
   * repeated or in any order, but one comes after every change. The run can be read once this resolves.
   * @returns a function that ends it.
   */
  follow(id: string, heard: (batch?: Batch) => void): Promise<() => void>
  /**
   * Asks something of the holder of a run, or of the next one if it is gone. Resolves with its answer, as bytes, once that
   * is stored. Nobody waits for it any more when `signal` aborts; the ask is heard all the same.
   * @param isStop Whether it stops something: there is room for it where other asks are refused as `busy`. Default false.
   */
  ask(id: string, packed: Uint8Array, signal: AbortSignal, isStop?: boolean): Promise<Uint8Array | AskRefusal>
  /**
   * States who reads a run in this process, for its holder; undefined: nobody. It holds for `leaseMs`, and must be
   * repeated until then.
   */
  attend(id: string, readers: Uint8Array | undefined): Promise<void>
  /**
   * Calls `heard` whenever a run of a principal may have begun, ended, begun to wait, gone on or been removed: with its id,
   * or without, when it may be any. Calls may be late or repeated, but one comes after every change. The list can be read
   * once this resolves.
   * @returns a function that ends it.
   */
  followList(principal: string, heard: (id?: string) => void): Promise<() => void>
  /** A run as a list has it. */
  summary(id: string): Promise<StoredRunSummary | undefined>
  /**
   * Runs of all processes that have no end, at most `most` of them: those first that nobody holds, then those of other
   * processes.
   */
  live(most: number): Promise<LiveRun[]>
  /** Present where workers take runs from a pool. */
  readonly pools?: PoolRuns | undefined
  /** Present where processes can ask each other. They have the names that `LiveRun.holder` gives. */
  readonly peers?: Peers | undefined
}

/** Runs that wait in pools until a worker takes them. */
export interface PoolRuns {
  /**
   * Begins a run that has no holder. It waits in its pool until a worker takes it over. Nobody else can, except to cancel
   * it, and anybody once it has waited too long. Repeated with the same `id`, it gives the same.
   * @returns `full` when too many wait there; or the run that has its key.
   */
  begin(id: string, run: NewRun, place: PoolPlace): Promise<'waits' | 'full' | StoredKey>
  /**
   * Ids of runs that wait in a pool, at most `most` of them: those first that have waited longest. A store that is divided
   * fails only when the parts that it can reach have none.
   */
  waiting(pool: string, most: number): Promise<string[]>
  /** Calls `heard` when a run comes to a pool. Some calls may be missing. Returns a function that ends it. */
  listen(pool: string, heard: () => void): Promise<() => void>
}

/**
 * Where runs are kept when memory is not enough: their logs, ends, keys and inputs, and what a waiting run goes on from.
 * All effects of one call are in one run, so that a store may be divided by run.
 *
 * Every method throws MillraceError `store_unavailable` when the store cannot be reached or cannot write.
 */
export interface RunStore {
  /** What the store can do. */
  readonly caps: StoreCaps
  /** Present in a store that other processes share. The runs of a key have the id that it gives. */
  readonly shared?: SharedRuns | undefined
  /** Where notices wait that appends add. Absent in a store that keeps none: they are lost with the process then. */
  readonly outbox?: Outbox | undefined
  /** Connects, or opens the file. @throws MillraceError `store_unavailable` with what to do. */
  open(): Promise<void>
  /**
   * Finishes what was begun, and lets go of everything. Opened again, the store has the same runs, and none of them has
   * a holder.
   */
  close(): Promise<void>

  /**
   * Begins a run, which then has its first holder. A key that is taken begins nothing: it gives the run that has it.
   * Repeated with the same `id`, it gives the same.
   */
  begin(id: string, run: NewRun): Promise<Lease | StoredKey>
  /**
   * Takes over a run whose holder is gone, in a new life that begins behind the last stored item. The number of a life
   * only grows, also when the store was restored from an older copy: a durable store takes the wall clock if it is larger.
   * @param by A run that waits in a pool is taken over by a worker of that pool, or by a canceller. Default: by somebody
   *   who looks after abandoned runs. A run of a pool that only waits for people then goes back to its pool.
   * @returns `busy` while its holder lives, or while it waits for others; `ended`; `missing`.
   */
  takeOver(id: string, by?: Taker): Promise<{ lease: Lease; run: StoredRun } | 'busy' | 'ended' | 'missing'>
  /**
   * Ids of runs that have no end and whose holder is gone, at most `most` of them. A store that is divided fails only when
   * the parts that it can reach have none.
   */
  abandoned(most: number): Promise<string[]>

  /** Finds a run by its id. */
  find(id: string): Promise<StoredRun | undefined>
  /** Finds the run that has a key. */
  findKey(name: string): Promise<StoredKey | undefined>
  /**
   * The runs of a principal, the newest first; of those that began in the same millisecond, the one with the larger id.
   * @param before Only runs behind this place of the list. Undefined: from the newest.
   */
  list(principal: string, before: ListPosition | undefined, most: number): Promise<StoredRunSummary[]>
  /**
   * Reads the items from `from` on. Items of void lives are left out. Beyond the last item, and for a
   * run that is not stored, the page is empty.
   * @param maxBytes At least one batch is given, however large; no further one that would exceed this.
   */
  read(id: string, from: number, maxBytes: number): Promise<Page>

  /** Removes a run with all that belongs to it, its key too. Its holder, if it has one, is fenced. */
  remove(id: string): Promise<void>
  /** Removes all runs of a principal. Returns how many. */
  removeAll(principal: string): Promise<number>
}
