import type { Feature } from '../protocol/features.ts'

/** How much of the protocol is judged. Each level has those before it. */
export const LEVELS = ['minimal', 'cancel', 'resume', 'full'] as const
/** One of `LEVELS`. */
export type Level = (typeof LEVELS)[number]

/** One rule of the protocol, and the experiment that shows whether a subject keeps it. */
export type Check<Bench> = {
  /** Names it on the command line and in reports. In kebab-case. */
  readonly name: string
  readonly level: Level
  /** The heading of PROTOCOL.md that has the rule. */
  readonly section: string
  /** The rule as a sentence. */
  readonly rule: string
  /** What to look at when it fails. */
  readonly hint: string
  /** The feature that the rule belongs to. Default: release 0.1.0. */
  readonly feature?: Feature
  /** Nothing else can be judged when it fails. Default false. */
  readonly isEssential?: boolean
  /** It leaves the subject in a state that others would suffer from: it is made alone, when all others are over. Default false. */
  readonly isAlone?: boolean
  /**
   * Makes the experiment.
   * @throws Mismatch when the rule is broken, NotJudged when it cannot be judged.
   */
  run(bench: Bench): Promise<void>
}

/** The address of the section of a check, in PROTOCOL.md. */
export function anchorOf(section: string): string {
  const anchor = section
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-')
  return `PROTOCOL.md#${anchor}`
}
