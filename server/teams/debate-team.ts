import type { AnswerOf } from '../../protocol/actors.ts'
import { MillraceError } from '../../protocol/errors.ts'
import type { OptionKind } from '../../protocol/options.ts'
import type { Actor } from '../actors/actor.ts'
import { type Members, memberNamed, type TeamFlow, type TeamInput, type TeamOptions, teamOf, textOf } from './team.ts'

/** What was said in a debate so far. */
export type DebateTurn = {
  /** The name of the member. */
  readonly member: string
  /** What it said. */
  readonly text: string
}

/** The argument of `debateTeam()`. */
export type DebateOptions<M extends Members, Judge extends keyof M & string, Shared> = TeamOptions<M, Shared> & {
  /** The member that decides at the end. All others debate, in the order of their names. */
  judge: Judge
  /** How often each of them speaks. Default 2. */
  rounds?: number | undefined
  /** What a member is asked. */
  prompt?: ((member: keyof M & string, question: string, said: readonly DebateTurn[]) => string) | undefined
}

/**
 * Makes a team whose members speak in turn, each with all that was said before. Then the judge gets it all, and its
 * answer is that of the team.
 * @throws MillraceError `bad_request` for an unknown or invalid option, for fewer than two sides and a judge, and for
 * `rounds` below 1.
 */
export function debateTeam<M extends Members, Judge extends keyof M & string, Shared = undefined>(
  options: DebateOptions<M, Judge, Shared>,
): Actor<TeamInput, AnswerOf<M[Judge]>, never> {
  const { judge, rounds = 2, prompt = defaultPrompt } = options
  if (!Number.isSafeInteger(rounds) || rounds < 1)
    throw new MillraceError('bad_request', `rounds must be a whole number above 0, not ${String(rounds)}`)
  const kinds: { readonly [name: string]: OptionKind } = { judge: 'a string', rounds: 'a number', prompt: 'a function' }
  return teamOf('debateTeam()', options as never, kinds, 3, (flow, members) => {
    memberNamed('debateTeam()', 'judge', judge, members)
    const sides = Object.entries(members).filter(([name]) => name !== judge)
    const asked = (name: string) => ({
      input: (said: readonly DebateTurn[], question: string) => ({ prompt: prompt(name, question, said) }),
    })
    const round = (turn: TeamFlow): TeamFlow =>
      sides.reduce(
        (steps, [name, member]) =>
          steps.step(name, member, {
            ...asked(name),
            output: (answer: unknown, said: readonly DebateTurn[]) => [...said, { member: name, text: textOf(answer) }],
          }),
        turn,
      )
    return flow
      .step('open', () => [])
      .loop('round', round, { until: (_: unknown, n: number) => n >= rounds, max: rounds })
      .step(judge, members[judge], asked(judge))
  }) as never
}

function defaultPrompt(member: string, question: string, said: readonly DebateTurn[]): string {
  const before = said.map(({ member: who, text }) => `${who}: ${text}`).join('\n\n')
  return `The question: ${question}\n\nYou are ${member}.${before === '' ? '' : `\n\nSaid so far:\n${before}`}`
}
