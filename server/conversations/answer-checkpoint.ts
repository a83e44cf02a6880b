import { MillraceError } from '../../protocol/errors.ts'
import type { ActorContext, RunInput } from '../actors/actor.ts'
import type { AgentState } from '../agents/agent-loop.ts'
import type { Message } from '../models/model.ts'
import type { Answer, KeptAnswer } from './answer.ts'
import type { OpenConversation } from './open-conversation.ts'

/** From what the run of an answer goes on in another process: its agent, its answer, and which messages are of clients. */
export type AnswerCheckpoint = {
  readonly agent: AgentState
  readonly answer: KeptAnswer
  /** The number of messages that its agent began with. */
  readonly known: number
  /** The ids of messages in the conversation of its agent, by their place. */
  readonly ids: readonly (readonly [at: number, id: string])[]
  /** The ids of those that wait for the end of the answer, in their order. */
  readonly after: readonly string[]
}

/** What it needs to say so. */
type Kept = {
  readonly answer: Answer
  readonly known: number
  idOf(input: RunInput): string
}

/** The `checkpoint` of the agent of an answer: the answer goes on with it. */
export function answerCheckpoint(context: ActorContext, kept: Kept): ActorContext['checkpoint'] {
  const { answer, known } = kept
  return (state) =>
    context.checkpoint((waiting): AnswerCheckpoint | undefined => {
      const agent = state(waiting) as AgentState | undefined
      const written = answer.kept
      if (!agent || !written) return undefined
      const after = agent.after.map((input) => kept.idOf(input))
      return { agent, answer: written, known, ids: idsIn(agent.conversation, answer), after }
    })
}

function idsIn(messages: readonly Message[], answer: Answer): [number, string][] {
  return messages.flatMap((message, at): [number, string][] => {
    const id = answer.idOf(message)
    return id === undefined ? [] : [[at, id]]
  })
}

/**
 * From where the run of an answer goes on. Undefined: it begins.
 * @throws MillraceError `interrupted` when the conversation has no such answer: it was kept in memory, or was removed.
 */
export function restoredAnswer(
  { restored, run }: ActorContext,
  { tree }: OpenConversation,
): AnswerCheckpoint | undefined {
  if (restored === undefined) return undefined
  const checkpoint = restored as AnswerCheckpoint
  const last = checkpoint.answer.parts.findLast(({ role }) => role === 'assistant')
  const message = last && tree.get(last.id)
  if (message?.run === run.id && message.status === 'streaming') return checkpoint
  throw new MillraceError('interrupted', 'the conversation of this answer is not there any more')
}
