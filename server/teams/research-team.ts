import type { AnswerOf } from '../../protocol/actors.ts'
import type { MillraceError } from '../../protocol/errors.ts'
import type { OptionKind } from '../../protocol/options.ts'
import type { Actor } from '../actors/actor.ts'
import { type Members, memberNamed, type TeamFlow, type TeamInput, type TeamOptions, teamOf, textOf } from './team.ts'

/** The argument of `researchTeam()`. */
export type ResearchOptions<M extends Members, Writer extends keyof M & string, Shared> = TeamOptions<M, Shared> & {
  /** The member that makes one answer of all that was found. All others search at the same time. */
  writer: Writer
  /** What a member that searches is asked. Default: the task. */
  question?: ((member: keyof M & string, task: string) => string) | undefined
  /** What the writer is asked. `found`: the answers by member, without those that failed or were cancelled. */
  prompt?: ((task: string, found: { readonly [member: string]: string }) => string) | undefined
}

/**
 * Makes a team whose members work on a task at the same time, each as a branch that clients can stop, pause or slow down
 * alone. One that fails or is cancelled is left out. The answer of the writer is that of the team.
 * @throws MillraceError `bad_request` for an unknown or invalid option, and without a writer and another member.
 */
export function researchTeam<M extends Members, Writer extends keyof M & string, Shared = undefined>(
  options: ResearchOptions<M, Writer, Shared>,
): Actor<TeamInput, AnswerOf<M[Writer]>, never> {
  const { writer, question = (_: string, task: string) => task, prompt = defaultPrompt } = options
  const kinds: { readonly [name: string]: OptionKind } = {
    writer: 'a string',
    question: 'a function',
    prompt: 'a function',
  }
  return teamOf('researchTeam()', options as never, kinds, 2, (flow, members) => {
    memberNamed('researchTeam()', 'writer', writer, members)
    const searching = Object.entries(members).filter(([name]) => name !== writer)
    const branches = (branch: TeamFlow): object =>
      Object.fromEntries(
        searching.map(([name, member]) => [
          name,
          branch.step('search', member, {
            input: (_: unknown, task: string) => ({ prompt: question(name, task) }),
            output: textOf,
          }),
        ]),
      )
    // What is null was not found.
    const recover = (_error: MillraceError): null => null
    return flow.parallel('research', branches, { recover }).step(writer, members[writer], {
      input: (found: { readonly [member: string]: string | null }, task: string) => ({
        prompt: prompt(task, present(found)),
      }),
    })
  }) as never
}

function present(found: { readonly [member: string]: string | null }): { readonly [member: string]: string } {
  return Object.fromEntries(Object.entries(found).filter((entry): entry is [string, string] => entry[1] !== null))
}

function defaultPrompt(task: string, found: { readonly [member: string]: string }): string {
  const all = Object.entries(found).map(([member, text]) => `From ${member}:\n${text}`)
  return `The task: ${task}\n\n${all.length === 0 ? 'Nothing was found.' : all.join('\n\n')}`
}
