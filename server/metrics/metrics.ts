import type { RunView, ServerView } from '../actors/server-view.ts'
import type { LogEvent } from '../logging/logger.ts'

/** A run as it is measured. */
export interface MeasuredRun extends RunView {
  /** The name under which its actor is registered. `agent` for a child whose actor is not: its own name may be data. */
  readonly registeredName: string
  /** What it has logged in this process. */
  readonly logged: { readonly items: number; readonly bytes: number }
}

/** What the metrics of a server read at a scrape. */
export interface MetricsView extends Pick<ServerView, 'sessions' | 'runtime'> {
  /** The runs that have not settled: each keeps its slot. */
  runs(): Iterable<MeasuredRun>
  /** Open connections. */
  readonly connections: number
  /** Open event streams and sockets over plain HTTP. */
  readonly streams: number
  /** Notices that wait to be sent. */
  readonly pendingNotices: number
  /** The bytes of the logs of ended runs. */
  readonly endedBytes: number
  /** Ended runs that are kept. */
  readonly endedRuns: number
  /** Whether the process has too little memory for another run. */
  readonly isShort: boolean
  /** The limits in force, by name. */
  readonly limits: { readonly [name: string]: number }
}

/** The fields of a record: names, ids and numbers. A metric takes the numbers, and names that the server chose. */
export type RecordFields = { readonly [name: string]: unknown }

/** Metrics of one server, in the format of some monitoring system. `prometheus()` makes them. */
export interface Metrics {
  /**
   * A server takes these metrics for its own. Called once.
   * @throws MillraceError `bad_request` when another server has them.
   */
  begin(view: MetricsView): void
  /** Something happened. Called for every record, also for those that no logger is given. It must not throw. */
  record(event: LogEvent, fields: RecordFields): void
  /** All metrics, as they are now. */
  text(): Promise<MetricsText>
}

/** A scrape's answer. */
export type MetricsText = {
  /** The media type of the text. */
  readonly contentType: string
  /** The metrics. */
  readonly text: string
}
