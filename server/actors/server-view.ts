import type { Policy } from '../../protocol/frames.ts'
import type { RunFacts } from '../../protocol/inspector.ts'
import type { Limits } from '../../protocol/limits.ts'
import type { Runtime } from '../../protocol/runtime.ts'
import type { Principal } from './principal.ts'

/** One who follows a run, as it is at this moment. */
export interface ReaderView {
  readonly policy: Policy
  readonly own: boolean
  /** Items a second that it asked for; 0 is a pause. */
  readonly perSec?: number | undefined
  readonly cursor: {
    /** The last item that it was sent. */
    readonly last: number
    /** What is left of its credit. */
    readonly balance: number
  }
}

/** A run, as it is at this moment. */
export interface RunView {
  readonly id: string
  readonly actorName: string
  readonly principal: Principal
  /** By the runtime's monotonic clock. */
  readonly startedAt: number
  readonly state: RunFacts['state']
  readonly end: { readonly outcome: NonNullable<RunFacts['outcome']> } | undefined
  readonly gated: boolean
  readonly detached: boolean
  /** The run that it is a part of. */
  readonly parent?: { readonly id: string } | undefined
  readonly log: {
    /** The number of its last item. */
    readonly last: number
    /** Bytes logged up to and with item `seq`, over the whole run. */
    bytesThrough(seq: number): number
  }
  /** How many follow it. */
  readonly readers: number
  readonly followers: Iterable<ReaderView>
}

/** A session, as it is at this moment. */
export interface SessionView {
  readonly id: string
  readonly principal: Principal
  /** The connection it has now. */
  readonly socket: object | undefined
  /** Runs that it opened and that have not ended. */
  readonly runs: ReadonlySet<Pick<RunView, 'id' | 'principal'>>
}

/**
 * From where an actor sees the server it is registered at. What it sees there is the server's own: it reads it, changes
 * nothing and keeps nothing of it, lest it outlive the run.
 */
export interface ServerView {
  readonly runtime: Runtime
  readonly limits: Pick<Limits, 'maxEvent' | 'maxValues'>
  /** The server goes away, once its runs have ended. */
  readonly leaving: boolean
  /** The runs that have not settled: each takes up a place. */
  runs(): Iterable<RunView>
  /** A run that has settled too, as long as the server keeps it. */
  run(id: string): RunView | undefined
  /** All sessions that are not forgotten. */
  sessions(): Iterable<SessionView>
}
