import type { CancelCause } from '../../protocol/receipt.ts'
import type { Answering } from './input-answer.ts'

/** The members of a run that say where it stands in a tree of runs. */
export type Member = {
  /** The run that began it. */
  readonly parent: Member | undefined
  /** Nothing more is logged in it. */
  readonly isOver: boolean
  /** The actor of its parent only waits for its result: what it logs does not come into the log of its parent. */
  readonly isHidden: boolean
}

/** A tool call or an agent whose end is still to come in the log of `run`. */
type Target = {
  readonly run: Member
  /** Stops it, unless its end is on its way. Returns false when no end will come. */
  stop(why: CancelCause): boolean
}

/** A request of `run` that waits for its answer. */
type Request = { readonly run: Member; readonly answer: Answering }

/** What can be open, by the type of its id. A request is found by its own id and by that of the call it asks about. */
type Open = {
  readonly call: Target
  readonly agent: Target
  readonly request: Request
  readonly requestOfCall: Request
}

/**
 * What a tree of runs has open, by the ids that clients name. A look-up costs the same however many runs the tree has,
 * and however many of their items nobody has read.
 */
export class OpenIds {
  /** Made for the first entry: most runs have none. */
  #open: Map<string, Set<Open[keyof Open]>> | undefined

  /** Adds an entry. Call the function it returns once that is no longer open; calling it again does nothing. */
  add<Kind extends keyof Open>(kind: Kind, id: string, open: Open[Kind]): () => void {
    this.#open ??= new Map()
    const all = this.#open
    const key = keyOf(kind, id)
    const same = all.get(key) ?? new Set()
    all.set(key, same.add(open))
    return () => {
      if (same.delete(open) && same.size === 0) all.delete(key)
    }
  }

  /** The entries of this id in `run` and in the runs below it, its own first. Runs that are over have none. */
  of<Kind extends keyof Open>(kind: Kind, id: string, run: Member): Open[Kind][] {
    const same = this.#open?.get(keyOf(kind, id)) as Set<Open[Kind]> | undefined
    if (!same) return []
    const found = [...same].filter((open) => !open.run.isOver && isWithin(open.run, run))
    return found.sort((a, b) => Number(b.run === run) - Number(a.run === run))
  }
}

function keyOf(kind: keyof Open, id: string): string {
  return `${kind} ${id}`
}

/** Whether what `run` logs comes into the log of `whole`, or may still. */
export function isShownIn(run: Member, whole: Member): boolean {
  for (let at: Member | undefined = run; at && at !== whole; at = at.parent) if (at.isHidden) return false
  return true
}

/** Whether `run` is `whole` or stands below it. */
function isWithin(run: Member, whole: Member): boolean {
  for (let at: Member | undefined = run; at; at = at.parent) if (at === whole) return true
  return false
}
