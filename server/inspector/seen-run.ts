import type { RunFacts, RunFigures } from '../../protocol/inspector.ts'
import type { RunTarget } from '../actors/authorize.ts'
import { wellFormed } from '../text.ts'

/** Maximum length of a shown name, in UTF-16 units. */
const MAX_NAME = 256

/** The counts of a run at one time, from which its rates are computed. */
export type Mark = { readonly at: number; readonly items: number; readonly bytes: number }

/**
 * A run in the latest sample. `facts` and `figures` are replaced only when they change: a watcher that was sent the
 * same object is up to date.
 */
export type SeenRun = {
  /** The run as somebody asks to see it. */
  readonly target: RunTarget
  facts: RunFacts
  figures: RunFigures
  /** The run has settled, and is no longer on the list. */
  gone: boolean
  /** The number of the sample in which the run was last seen. */
  seenIn: number
  /** The beginning of the time over which the rates are measured. */
  older: Mark
  /** The next beginning. */
  newer: Mark
}

/** A whole number, or with one decimal below 10. */
export function rounded(rate: number): number {
  return rate < 10 ? Math.round(rate * 10) / 10 : Math.round(rate)
}

/** The shown name of a principal. The id of an anonymous principal has the secret of its client instance: it is cut. */
export function principalName(id: string): string {
  return shownName(id.replaceAll(/(?<![0-9a-z])([0-9a-f]{8})[0-9a-f]{24}(?![0-9a-z])/gi, '$1…'))
}

/** A name that can be encoded, cut to the maximum length. */
export function shownName(text: string): string {
  const whole = text.length <= MAX_NAME ? text : `${text.slice(0, MAX_NAME)}…`
  return wellFormed(whole)
}
