import type { Curve } from './stage/curves.ts'
import type { Stage } from './stage/stage.ts'
import type { Table } from './stage/table.ts'

/** How much is measured: for figures to be kept, for a quick look, or only whether it runs at all. */
export type Scale = 'full' | 'quick' | 'smoke'

/** What a question is asked with. */
export type Bench = {
  readonly scale: Scale
  /** Where processes are started. They end when the question is answered. */
  readonly stage: Stage
  /** The one of these that the scale has. */
  readonly counts: <Counts>(of: Record<Scale, Counts>) => Counts
  /** Says what is being done. */
  readonly say: (words: string) => void
  /** A file that outlives the bench, for what takes long to fill. Undefined: it makes its own. */
  readonly file: string | undefined
}

/** A line of the summary: what was measured, of us and of others. */
export type SummaryLine = { goal: string; ws: string; uws: string; others: string }

/** A figure that has a goal. */
export type Goal = {
  /** The same in every run: by it `--regress` finds the figure of the last time. */
  name: string
  /** `x` is a ratio to a peer of the same round. */
  unit: 'x' | 'us' | 'ms' | 'kB'
  /** At most so much on `ws`, and on µWebSockets unless that has a goal of its own. */
  atMost: number
  atMostOnUws?: number
  /** The medians of the rounds. Not a number where it was not measured. */
  ws: number
  uws: number
}

export type BenchAnswer = {
  tables: readonly Table[]
  summary: readonly SummaryLine[]
  /** Figures that have a goal. */
  goals?: readonly Goal[]
  /** What is drawn of it, for `--curves`. */
  curves?: readonly Curve[]
  /** What failed: it has no figures. Each is among the notes of a table as well. */
  failures: readonly string[]
  /** What was measured, round by round, for `--json`. */
  figures: unknown
}

/** One measurement: a file of its own, listed in `questions.ts`. */
export type BenchQuestion = {
  /** By which it is asked for on the command line; the name of its file. */
  readonly name: string
  readonly ask: (bench: Bench) => Promise<BenchAnswer>
}
