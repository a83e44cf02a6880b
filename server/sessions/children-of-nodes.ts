import type { Runtime } from '../../protocol/runtime.ts'
import { Writer } from '../../protocol/writer.ts'
import type { ChildrenView, ChildView, RunView } from '../actors/server-view.ts'
import { unpackPayload } from '../log/payload.ts'
import { wallClockAt } from '../runtime.ts'

/** The most children of which a node tells at once: those that have gone on longest. */
const MOST = 1_000
/** A list of maps in a map. */
const DEPTH = 4

/** A run of this node. */
export type RunHere = RunView & {
  /** It began as the child of another run. */
  readonly isChild: boolean
  /** A store has it. */
  readonly isStored: boolean
}

/** What a node asks another one. */
type Question = { readonly type: 'children'; readonly known: readonly string[] }

export function packQuestion(known: readonly string[]): Uint8Array {
  return pack({ type: 'children', known } satisfies Question)
}

export function unpackChildren(answer: Uint8Array): ChildrenView {
  return unpackPayload(answer) as ChildrenView
}

/**
 * The children that a node executes, in answer to a question of another one. Undefined: it asks what this release does not
 * know.
 * @param live The runs that have not settled.
 * @param find Finds a run that is kept, settled or not.
 */
export function packedChildren(
  question: Uint8Array,
  live: ReadonlySet<RunHere>,
  find: (id: string) => RunHere | undefined,
  runtime: Runtime,
): Uint8Array | undefined {
  const { type, known } = unpackPayload(question) as Question
  if (type !== 'children') return undefined
  const seen = (run: RunHere): ChildView => view(run, runtime)
  const children: ChildView[] = []
  for (const run of live) {
    if (children.length === MOST) break
    if (isShown(run, find)) children.push(seen(run))
  }
  const gone = known.map(find).filter((run) => run !== undefined && !live.has(run)) as RunHere[]
  return pack({ live: children, gone: gone.map(seen) } satisfies ChildrenView)
}

/** Whether it is a child below a run that other nodes see, or one that was let go. */
function isShown(run: RunHere, find: (id: string) => RunHere | undefined): boolean {
  if (!run.isChild) return false
  let top: RunHere | undefined = run
  for (let above: RunHere | undefined = run; above; above = above.parent && find(above.parent.id)) top = above
  return top.isStored || (top.isChild && !top.parent)
}

function view(run: RunHere, runtime: Runtime): ChildView {
  const { id, actorName, principal, parent, startedAt, state, log, end } = run
  return {
    ...{ id, actorName, principal: principal.id, startedAt: wallClockAt(runtime, startedAt), last: log.last, state },
    outcome: end?.outcome,
    parent: parent?.id,
  }
}

function pack(value: unknown): Uint8Array {
  const writer = new Writer()
  writer.value(value, DEPTH)
  return writer.take()
}
