import { isWellFormed } from '../text.ts'
import { OpenIds } from './open-ids.ts'

/** The longest id of a tool call that is passed on. */
const MAX_ID_CHARACTERS = 128

/**
 * Ids of tool calls and requests, each given once in a run, its children and its parents: what one of them says is
 * passed on by another, and is answered or cancelled there.
 */
export class CallIds {
  /** What is open under these ids and those of agents. */
  readonly open: OpenIds = new OpenIds()
  /** Ids that were given, each with the last number that was put behind it. */
  readonly #calls = new Map<string, number>()
  #requests = 0

  /** The id of a tool call as the model gave it, where it can be used and is new: some providers count anew in every answer. */
  claimCall(given: string): string {
    const usable = given !== '' && given.length <= MAX_ID_CHARACTERS && isWellFormed(given)
    const base = usable ? given : 'call'
    let id = base
    let n = this.#calls.get(base) ?? 1
    while (this.#calls.has(id)) id = `${base}_${++n}`
    this.#calls.set(id, 1).set(base, n)
    return id
  }

  newRequest(): string {
    return `q${++this.#requests}`
  }
}
