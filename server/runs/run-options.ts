import type { OnDetach, WireMap } from '../../protocol/frames.ts'
import type { Log } from '../log/log.ts'
import type { Lease } from '../stores/run-store.ts'
import type { JournalCallbacks } from './journal.ts'
import type { ParkedRun } from './parked-run.ts'

/** What a client, or the actor of its parent, says about a run besides its input. */
export type RunOptions = {
  onDetach: OnDetach
  detachMs: number | undefined
  timeoutMs: number | undefined
  meta: WireMap | undefined
  /** Whether to run the actor's `ask`, if it has one. */
  ask: boolean
}

/** From where a run goes on that another process began. */
export type RestoredFrom = {
  /** Its log, which writes on in a new life. */
  readonly log: Log
  readonly parked: ParkedRun
  /** How long ago it began, in milliseconds. */
  readonly elapsedMs: number
}

/** What a run that is stored has in addition: its log, and the right to append to it. */
export type RunStorage = Omit<JournalCallbacks, 'usage' | 'stored' | 'parked' | 'held' | 'lost' | 'creditUnit'> & {
  /** Of a run that goes on after a restart, and the bytes that the store has of that. Absent: a new one. */
  readonly from?: (RestoredFrom & { readonly bytes: number }) | undefined
  /** Its log, if that does not begin in its first life. */
  readonly log?: Log | undefined
  /** It was started on another server, whose readers have still to be heard of. Default: false. */
  readonly readersCome?: boolean | undefined
  /** It never rejects. Undefined: somebody else has the run, or it could not begin. */
  readonly lease: Lease | Promise<Lease | undefined>
  /** Another process has the run, and readers go on there. Absent: the run ends here then. */
  readonly movedAway?: (() => void) | undefined
}
