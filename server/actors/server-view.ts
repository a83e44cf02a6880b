import type { Policy, RunState } from '../../protocol/frames.ts'
import type { RunFacts } from '../../protocol/inspector.ts'
import type { Limits } from '../../protocol/limits.ts'
import type { Runtime } from '../../protocol/runtime.ts'
import type { Model } from '../models/model.ts'
import type { Action, Target } from './authorize.ts'
import type { Principal } from './principal.ts'

/** A reader of a run, at this moment. */
export interface ReaderView {
  /** How it reads. */
  readonly policy: Policy
  /** Whether the reader belongs to the principal of the run. */
  readonly own: boolean
  /** The rate that it asked for, in items per second; 0 is a pause. Undefined: no limit. */
  readonly perSec?: number | undefined
  /** Where it stands in the log. */
  readonly cursor: {
    /** The number of the last item that it was sent. */
    readonly last: number
    /** The remaining credit. */
    readonly balance: number
  }
}

/** A run, at this moment. */
export interface RunView {
  /** The id of the run. */
  readonly id: string
  /** The name of its actor. */
  readonly actorName: string
  /** Its owner. */
  readonly principal: Principal
  /** Milliseconds of the runtime's monotonic clock. */
  readonly startedAt: number
  /** Where it is between its beginning and its end. */
  readonly state: RunFacts['state']
  /** Undefined until the run has ended. */
  readonly end: { readonly outcome: NonNullable<RunFacts['outcome']> } | undefined
  /** Whether the actor waits for its readers. */
  readonly gated: boolean
  /** Whether no reader of its own principal follows it. */
  readonly detached: boolean
  /** The run that started it, if it is a child. */
  readonly parent?: { readonly id: string } | undefined
  /** What it has said. */
  readonly log: {
    /** The number of the last item. */
    readonly last: number
    /** The number of bytes logged from the beginning of the run through item `seq`. */
    bytesThrough(seq: number): number
  }
  /** The number of readers. */
  readonly readers: number
  /** Its readers. */
  readonly followers: Iterable<ReaderView>
}

/** A session, at this moment. */
export interface SessionView {
  /** The id of the session. */
  readonly id: string
  /** Its owner. */
  readonly principal: Principal
  /** Its present connection. Undefined while it has none. */
  readonly socket: object | undefined
  /** Runs that it opened and that have not ended. */
  readonly runs: ReadonlySet<Pick<RunView, 'id' | 'principal'>>
}

/** A run of any server, as the store has it. */
export interface LiveRunView {
  /** The id of the run. */
  readonly id: string
  /** The name of its actor. */
  readonly actorName: string
  /** The id of its owner. */
  readonly principal: string
  /** In epoch milliseconds. */
  readonly startedAt: number
  /** The number of the last item that is stored. */
  readonly last: number
  /** How far it is. */
  readonly state: RunState
  /** How it ended. Undefined: it goes on. */
  readonly outcome: RunFacts['outcome'] | undefined
  /** The name of the server that has it, which changes when that starts again. Undefined: none, or that is not known. */
  readonly holder: string | undefined
  /** This server has it. */
  readonly isHere: boolean
}

/** A child of a run of another server, as that server says. */
export interface ChildView extends Omit<LiveRunView, 'holder' | 'isHere'> {
  /** The run that started it. Undefined: that has let it go. */
  readonly parent: string | undefined
}

/** The children that a server executes, as it says. */
export interface ChildrenView {
  /** Those that have not settled, at most 1,000 of them. */
  readonly live: readonly ChildView[]
  /** Those that it was asked for and that have, as far as it still knows them. */
  readonly gone: readonly ChildView[]
}

/** The runs of all servers that share a store. */
export interface SharedRunsView {
  /** The store. */
  readonly store: object
  /**
   * Whether a run of any of the servers has not ended.
   * @throws MillraceError `store_unavailable`.
   */
  goesOn(run: string): Promise<boolean>
  /**
   * Live runs of all servers, at most `most` of them: those first that no server has, then those of others.
   * @throws MillraceError `store_unavailable`.
   */
  live(most: number): Promise<readonly LiveRunView[]>
  /** A run of any server. @throws MillraceError `store_unavailable`. */
  summary(run: string): Promise<LiveRunView | undefined>
  /**
   * Asks another server for the children of its runs.
   * @param server its name, as `LiveRunView.holder` gives it.
   * @param known ids of children of which it says also that they have settled.
   * @returns undefined when it has not answered until `signal` aborts.
   * @throws MillraceError `store_unavailable`.
   */
  children(server: string, known: readonly string[], signal: AbortSignal): Promise<ChildrenView | undefined>
  /** Resolves when the other servers find a run of this one. At once for a run that is not stored. */
  whenStored(run: string): Promise<void>
  /**
   * Calls back when a run of another server may have ended, until the returned function is called. A call may be late.
   * @throws MillraceError `store_unavailable`.
   */
  follow(run: string, changed: () => void): Promise<() => void>
}

/**
 * Access of an actor to the server that registered it. The objects are the server's own. The actor reads them, changes
 * none of them, and keeps no reference: a kept reference would hold a run in memory after its end.
 */
export interface ServerView {
  /** The clock, timers and randomness of the server. */
  readonly runtime: Runtime
  /** The limits that apply to events and inputs. */
  readonly limits: Pick<Limits, 'maxEvent' | 'maxValues' | 'maxMessage' | 'maxInputs' | 'maxInputBytes'>
  /** Whether the server is shutting down: it stops when its runs have ended. */
  readonly leaving: boolean
  /**
   * Finds a model of the server, as `context.model` does.
   * @param which Default: the default model.
   * @throws MillraceError `not_found` for an unknown id, and for a missing default model.
   */
  findModel(which?: string | Model): Model
  /** Whether a principal may do something, as the server decides it. */
  permits(principal: Principal, action: Action, target: Target): boolean
  /** The runs that have not settled: each keeps its slot. */
  runs(): Iterable<RunView>
  /** The run with this id, settled or not, while the server keeps it. Undefined for an unknown id. */
  run(id: string): RunView | undefined
  /**
   * Forgets runs that said what nobody may read any more: the log, the end and the key of each. A run that goes on, or
   * that somebody still reads, is forgotten as soon as it has ended and nobody does. Runs in a store stay there.
   * @param runs Their ids. Unknown ones are passed over.
   */
  forget(runs: Iterable<string>): void
  /**
   * Removes a run from the store of the server, with its log and its key. One that goes on is removed once it has ended
   * and is not kept in memory any more. Does nothing without a store.
   * @throws MillraceError `store_unavailable`.
   */
  removeStored(run: string): Promise<void>
  /** Present where the server shares its store of runs with other servers. */
  readonly shared?: SharedRunsView | undefined
  /** The sessions that the server still keeps. */
  sessions(): Iterable<SessionView>
}
