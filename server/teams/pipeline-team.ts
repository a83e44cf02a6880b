import type { AnswerOf } from '../../protocol/actors.ts'
import type { Actor } from '../actors/actor.ts'
import { type Members, type TeamInput, type TeamOptions, teamOf, textOf } from './team.ts'

/** The argument of `pipelineTeam()`. */
export type PipelineOptions<M extends Members, Shared> = TeamOptions<M, Shared> & {
  /**
   * What a member is asked.
   * @param work what the member before it answered; undefined for the first one.
   */
  prompt?: ((member: keyof M & string, task: string, work: string | undefined) => string) | undefined
}

/**
 * Makes a team whose members work one after the other, in the order of their names. Each gets the task and the answer of
 * the one before it. The answer of the last one is that of the team.
 * @throws MillraceError `bad_request` for an unknown or invalid option, and without members.
 */
export function pipelineTeam<M extends Members, Shared = undefined>(
  options: PipelineOptions<M, Shared>,
): Actor<TeamInput, AnswerOf<M[keyof M]>, never> {
  const { prompt = defaultPrompt } = options
  return teamOf('pipelineTeam()', options as never, { prompt: 'a function' }, 1, (flow, members) =>
    Object.entries(members).reduce(
      (steps, [name, member], at) =>
        steps.step(name, member, {
          input: (work: unknown, task: string) => ({ prompt: prompt(name, task, at === 0 ? undefined : textOf(work)) }),
        }),
      flow,
    ),
  ) as never
}

function defaultPrompt(_: string, task: string, work: string | undefined): string {
  return work === undefined ? task : `The task: ${task}\n\nThe work so far:\n${work}`
}
