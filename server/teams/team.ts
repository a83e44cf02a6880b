import { z } from 'zod'
import { MillraceError } from '../../protocol/errors.ts'
import { checkOptions, type OptionKind, type OptionKinds } from '../../protocol/options.ts'
import { type Actor, type ActorContext, actor } from '../actors/actor.ts'
import type { Budget } from '../actors/child-run.ts'
import { EMPTY_FLOW } from '../workflows/flow.ts'
import type { FlowNodes } from '../workflows/flow-node.ts'
import { isWorkflowOf, withItsActors } from '../workflows/sub-workflow.ts'
import { keptFor } from '../workflows/workflow.ts'
import { WorkflowRun } from '../workflows/workflow-run.ts'

/** The members of a team by name: agents, or other actors that take `{ prompt }`. */
export type Members = { readonly [name: string]: Actor }

/** What every team is made of. */
export type TeamOptions<M extends Members, Shared> = {
  /** One sentence for people and for inspectors. Default: none. */
  description?: string | undefined
  /** Makes what the members of one run share, such as a list of notes. Default: undefined. */
  shared?: (() => Shared) | undefined
  /** The members, or a function that makes them for each run, of what they share. It is also called once, here. */
  members: M | ((shared: Shared) => M)
  /** What a run may cost, with all members. A run that has spent it ends with `budget_exceeded`. Default: no limit. */
  budget?: Budget | undefined
}

/** What kinds of values the options of every team are. */
export const TEAM_OPTIONS: OptionKinds<TeamOptions<Members, unknown>> = {
  description: 'a string',
  shared: 'a function',
  members: 'anything',
  budget: 'an object',
}

/** The input of a team: a task. */
export type TeamInput = string | { prompt: string }

const task = z.string().min(1)
const PROMPT = z.union([task, z.object({ prompt: task }).transform(({ prompt }) => prompt)], {
  error: 'expected a task: a string or { prompt }',
})

/** A flow whose members are known at run time only. */
export type TeamFlow = { readonly nodes: FlowNodes } & {
  readonly [method in 'step' | 'parallel' | 'route' | 'loop']: (name: string, ...given: unknown[]) => TeamFlow
}

/**
 * Makes the members of one run.
 * @param shared what they share.
 * @throws MillraceError `bad_request` for fewer than `least`.
 */
export function membersOf<M extends Members>({ members }: TeamOptions<M, unknown>, shared: unknown, least: number): M {
  const made: M = typeof members === 'function' ? members(shared) : members
  const names = Object.keys(Object(made) as object)
  if (names.length >= least) return made
  throw new MillraceError('bad_request', `a team needs at least ${least} members, not ${names.length}`)
}

/**
 * Makes a team that works in steps.
 * @param of whose options they are.
 * @param steps adds the steps to an empty flow.
 */
export function teamOf<M extends Members>(
  of: string,
  options: TeamOptions<M, unknown>,
  kinds: { readonly [name: string]: OptionKind },
  least: number,
  steps: (flow: TeamFlow, members: M) => TeamFlow,
): Actor {
  checkOptions(of, options, { ...TEAM_OPTIONS, ...kinds })
  const nodes = (): FlowNodes => {
    const members = membersOf(options, options.shared?.(), least)
    return steps(EMPTY_FLOW as unknown as TeamFlow, members).nodes
  }
  const { description, budget } = options
  const made = actor({
    description,
    input: PROMPT,
    async *stream(prompt: string, context: ActorContext) {
      yield* []
      limitOnce(budget, context)
      return new WorkflowRun(prompt, await keptFor(context)).run(nodes(), context)
    },
  } as Parameters<typeof actor>[0]) as Actor
  // Whatever is wrong with the definition is known now.
  const example = nodes()
  isWorkflowOf(made, example, typeof options.members !== 'function' && !budget)
  return withItsActors(made, example)
}

/** Sets the budget of a run that begins. Behind a restart, it has what clients have made of it since. */
export function limitOnce(budget: Budget | undefined, { restored, govern }: ActorContext): void {
  if (budget !== undefined && restored === undefined) govern({ budget })
}

/** The name of a member. @throws MillraceError `bad_request` for a name that no member has. */
export function memberNamed(of: string, role: string, name: string, members: Members): string {
  if (Object.hasOwn(members, name)) return name
  throw new MillraceError(
    'bad_request',
    `${role} of ${of} must be one of its members: ${Object.keys(members).join(', ')}`,
  )
}

/** An answer of a member as text for another one. */
export function textOf(answer: unknown): string {
  return typeof answer === 'string' ? answer : JSON.stringify(answer)
}
