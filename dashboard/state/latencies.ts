import { Series } from './series.ts'

/** How long a latency is kept for the plots, in milliseconds. */
const SPAN_MS = 600_000

/** How long runs took, of those that the page has seen begin or stop. Of others only the server knows. */
export class Latencies {
  /** From the beginning of a run to its first text, in milliseconds. */
  readonly firstText: Series = new Series(SPAN_MS)
  /** From a cancel to the end that its receipt reports, in milliseconds. */
  readonly cancel: Series = new Series(SPAN_MS)
}
