import type { RunEvent } from '../../protocol/events.ts'
import type { Usage } from '../../protocol/receipt.ts'
import type { ModelEvent } from '../models/model.ts'

/** A run that begins, as a trace has it. */
export type TracedRun = {
  /** Its id. */
  readonly id: string
  /** The name of its actor. That of a child may come of data. */
  readonly actor: string
  /** The trace of the run that began it, and the tool call for which that did. */
  readonly parent: { readonly trace: RunTrace; readonly call: string | undefined } | undefined
  /** `traceparent` in the `meta` of its start, whatever the client has put there. */
  readonly traceparent: unknown
}

/** How a run ended here: `moved` and `parked` go on in another process. */
export type TracedEnd = {
  /** Its outcome. */
  readonly outcome: 'done' | 'error' | 'cancelled' | 'moved' | 'parked'
  /** With the outcome `error`: the code. */
  readonly code?: string | undefined
  /** What it has cost, with its children. */
  readonly usage?: Usage | undefined
}

/** The trace of one run. No method throws. */
export interface RunTrace {
  /** It has logged an event of its own, and not of a child. */
  logged(event: RunEvent): void
  /** It asks a model. */
  asks(model: { readonly id: string; readonly provider: string }): ModelTrace
  /** It has ended. */
  ended(end: TracedEnd): void
}

/** The trace of one request to a model. No method throws. */
export interface ModelTrace {
  /** The model has said something. */
  said(event: ModelEvent): void
  /** The request is over. @param how `cut` when nobody wanted the rest; `error` with the code of an error. */
  ended(how: { readonly outcome: 'done' | 'cut' | 'error'; readonly code?: string | undefined }): void
}

/** Traces of a server, for some tracing system. `openTelemetry()` makes them. */
export interface Tracing {
  /** A run begins, or goes on that another process had. It must not throw. */
  begin(run: TracedRun): RunTrace
}
