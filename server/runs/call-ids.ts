import { isWellFormed } from '../text.ts'
import { OpenIds } from './open-ids.ts'

/** The longest id of a tool call that is kept as the model gave it. */
const MAX_ID_CHARACTERS = 128

/**
 * Ids of tool calls and requests. Each is given once in a run, its children and its parents, because one of them
 * forwards the events of another, and clients answer and cancel there.
 */
export class CallIds {
  /** What is open under these ids and those of agents. */
  readonly open: OpenIds = new OpenIds()
  /** The ids given so far, each with the last number that was appended to it. */
  #calls: Map<string, number> | undefined
  #requests = 0
  /** The runs that no other one began, or that were let go, and that give ids from here. */
  #trees = 1

  /** The id of a tool call as the model gave it, if it is usable and new. Some providers start to count again in each answer. */
  claimCall(given: string): string {
    const usable = given !== '' && given.length <= MAX_ID_CHARACTERS && isWellFormed(given)
    const base = usable ? given : 'call'
    let id = base
    const calls = (this.#calls ??= new Map<string, number>())
    let n = calls.get(base) ?? 1
    while (calls.has(id)) id = `${base}_${++n}`
    calls.set(id, 1).set(base, n)
    return id
  }

  /** These ids were given in another process, and `requests` as the number of the last request. */
  restore(calls: readonly string[], requests: number): void {
    if (calls.length > 0) this.#calls ??= new Map()
    for (const call of calls) this.#calls?.set(call, 1)
    this.#requests = requests
  }

  /** The number of the last request. */
  get requests(): number {
    return this.#requests
  }

  /** A run below is let go: it gives ids from here, also when the tree has settled that it belonged to. */
  share(): void {
    this.#trees++
  }

  /** The tree of runs has settled. Behind the last one, no id is given any more. */
  release(): void {
    if (--this.#trees === 0) this.#calls = undefined
  }

  newRequest(): string {
    return `q${++this.#requests}`
  }
}
