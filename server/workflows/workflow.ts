import { MillraceError } from '../../protocol/errors.ts'
import { checkOptions, type OptionKinds } from '../../protocol/options.ts'
import { type Actor, type ActorContext, actor } from '../actors/actor.ts'
import type { InferInput, InferOutput, StandardSchema } from '../actors/standard-schema.ts'
import { learnFrom } from './earlier-results.ts'
import { type Flow, nodesFrom, type Steps } from './flow.ts'
import type { FlowNodes } from './flow-node.ts'
import { KeptResults } from './kept-results.ts'
import { isWorkflowOf, withItsActors } from './sub-workflow.ts'
import { WorkflowRun } from './workflow-run.ts'

/** The most runs that are retries of each other. */
const MAX_RETRIES = 100

/** The argument of `workflow()`. */
export type WorkflowDefinition<Schema extends StandardSchema | undefined, Out> = {
  /** One sentence for people and for inspectors. Default: none. */
  description?: string | undefined
  /** Checks and transforms the input; any Standard Schema. Default: the input is `unknown`. */
  input?: Schema | undefined
  /** Adds the steps to an empty flow, and returns them. It is called once, here. */
  steps: (flow: Flow<InferOutput<Schema>, InferOutput<Schema>>) => Steps<Out>
  /** Whether a server with a store keeps its runs there. Default true. */
  stored?: boolean | undefined
}

const OPTIONS: OptionKinds<WorkflowDefinition<undefined, unknown>> = {
  description: 'a string',
  input: 'anything',
  steps: 'a function',
  stored: 'true or false',
}

/** What a workflow returns at its end. */
type ResultOf<Out> = Out extends void ? undefined : Out

/**
 * Makes an actor of steps. Each step says with events how it begins and ends, and the result of the run is what the last
 * one gives. A step that fails ends the run; the error names it, in its message and as `details.step`.
 *
 * A run that is started with `meta: { retryOf: id }` begins where the run `id` of the same workflow failed: steps that
 * were done there are `skipped`, with their results. Give it the same input. On a server with a store, a run that only
 * waits goes on after a restart.
 * @throws MillraceError `bad_request` for an unknown or invalid option, and for steps without a valid name.
 */
export function workflow<const Schema extends StandardSchema | undefined = undefined, Out = unknown>(
  definition: WorkflowDefinition<Schema, Out>,
): Actor<InferInput<Schema>, ResultOf<Out>, never> {
  checkOptions('workflow()', definition, OPTIONS)
  const { description, input, steps, stored } = definition
  if (typeof steps !== 'function')
    throw new MillraceError('bad_request', 'a workflow needs `steps`, a function: (flow) => flow.step(...)')
  return workflowOf(nodesFrom('a workflow', steps), { description, input, stored }) as never
}

/** Makes the actor of steps that are data already. */
export function workflowOf(
  nodes: FlowNodes,
  options: { description?: string | undefined; input?: StandardSchema | undefined; stored?: boolean | undefined },
): Actor {
  const made = actor({
    ...options,
    async *stream(input: unknown, context: ActorContext) {
      yield* []
      return new WorkflowRun(input, await keptFor(context)).run(nodes, context)
    },
  })
  isWorkflowOf(made, nodes)
  return withItsActors(made, nodes)
}

/** What a run goes on from: its own steps before a restart, or those of the run that it begins again. */
export async function keptFor(context: ActorContext): Promise<KeptResults> {
  const kept = new KeptResults()
  const { restored, run } = context
  if (restored !== undefined) {
    kept.restore(restored as Parameters<KeptResults['restore']>[0])
    return kept
  }
  await learnFromRun(context, run.meta, kept)
  return kept
}

/**
 * Takes what the steps of the run have given that `meta` names. That one may be a retry, too, and may have been stopped
 * before it came to all that it knew.
 */
async function learnFromRun(
  context: ActorContext,
  meta: ActorContext['run']['meta'],
  kept: KeptResults,
  depth = 0,
): Promise<void> {
  const retryOf = meta?.['retryOf']
  if (retryOf === undefined) return
  if (typeof retryOf !== 'string') throw new MillraceError('bad_request', 'meta.retryOf must be the id of a run')
  if (depth >= MAX_RETRIES)
    throw new MillraceError('bad_request', `this is retry ${MAX_RETRIES} of a run: start it anew, without retryOf`)
  const { actor, meta: before, events } = await context.earlierRun(retryOf)
  if (actor !== context.run.actor)
    throw new MillraceError(
      'bad_request',
      `run ${retryOf} is one of ${actor}, not of ${context.run.actor}: its steps are others`,
    )
  await learnFromRun(context, before, kept, depth + 1)
  await learnFrom(events, kept)
}
