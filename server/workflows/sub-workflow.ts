import { MillraceError } from '../../protocol/errors.ts'
import type { Actor } from '../actors/actor.ts'
import { issueWords } from '../actors/issue-words.ts'
import type { ServerView } from '../actors/server-view.ts'
import { validate } from '../actors/standard-schema.ts'
import type { FlowNodes } from './flow-node.ts'

/** The steps of each workflow, and whether they are the same in each of its runs. */
const NODES = new WeakMap<object, { readonly nodes: FlowNodes; readonly isFixed: boolean }>()

/**
 * Remembers that an actor is a workflow.
 * @param isFixed whether each run has these very steps. Otherwise they only show what a run looks like.
 */
export function isWorkflowOf(actor: object, nodes: FlowNodes, isFixed = true): void {
  NODES.set(actor, { nodes, isFixed })
}

/** The steps of a workflow, to show them. Undefined for any other actor. */
export function nodesOf(actor: object): FlowNodes | undefined {
  return NODES.get(actor)?.nodes
}

/**
 * A workflow as a step of another one: its steps, and its input. Undefined for any other actor.
 * @throws MillraceError `invalid_input` for what its schema refuses.
 */
export async function inlined(actor: Actor, given: unknown): Promise<{ nodes: FlowNodes; input: unknown } | undefined> {
  const { nodes, isFixed } = NODES.get(actor) ?? {}
  if (!nodes || !isFixed) return undefined
  if (!actor.input) return { nodes, input: given }
  const checked = await validate(actor.input, given)
  if (!checked.issues) return { nodes, input: checked.value }
  throw new MillraceError('invalid_input', `invalid input: ${issueWords(checked.issues).join('; ')}`)
}

/** The actors among some steps, however deep. */
function* actorsIn(nodes: FlowNodes): Generator<Actor, void> {
  for (const node of nodes) {
    if (node.type === 'step' && 'actor' in node.body) yield node.body.actor
    else if (node.type === 'parallel') for (const steps of Object.values(node.branches)) yield* actorsIn(steps)
    else if (node.type === 'route') for (const steps of Object.values(node.cases)) yield* actorsIn(steps)
    else if (node.type === 'loop') yield* actorsIn(node.steps)
    else if (node.type === 'map' && Array.isArray(node.each)) yield* actorsIn(node.each as FlowNodes)
  }
}

/**
 * Lets a server treat the actors of a workflow as if it had registered them: it is refused when a model of theirs is
 * missing, and what they keep open is closed with it.
 */
export function withItsActors(made: Actor, nodes: FlowNodes): Actor {
  const actors = [...new Set(actorsIn(nodes))]
  return Object.assign(made, {
    onRegister(view: ServerView): Actor {
      for (const actor of actors) actor.onRegister?.(view)
      return made
    },
    async close(): Promise<void> {
      await Promise.all(actors.map(async (actor) => actor.close?.()))
    },
  })
}
