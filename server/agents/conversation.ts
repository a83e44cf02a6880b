import type { Message, ToolCall } from '../models/model.ts'

type ToolMessage = Extract<Message, { role: 'tool' }>

/** What a model is told of a call that was never answered. */
const UNANSWERED = 'Error: stopped before it was finished'

/**
 * The conversation as every provider takes it: each tool call has exactly one answer, right behind the message that
 * called, in the order of the calls. Missing answers are made up (`unanswered` is what they say); answers to nothing,
 * second answers and assistant messages that say nothing are left out.
 */
export function validConversation(messages: readonly Message[], unanswered: string = UNANSWERED): Message[] {
  const valid: Message[] = []
  messages.forEach((message, at) => {
    if (message.role === 'tool') return
    if (message.role !== 'assistant') {
      valid.push(message)
      return
    }
    const { content, calls = [] } = message
    if (content === '' && calls.length === 0) return
    valid.push(message, ...answersTo(calls, messages, at + 1, unanswered))
  })
  return valid
}

/** The answers to `calls`, from the tool messages that stand from `at` on. */
function answersTo(
  calls: readonly ToolCall[],
  messages: readonly Message[],
  at: number,
  unanswered: string,
): ToolMessage[] {
  const given = new Map<string, ToolMessage>()
  for (let i = at; messages[i]?.role === 'tool'; i++) {
    const answer = messages[i] as ToolMessage
    if (!given.has(answer.call)) given.set(answer.call, answer)
  }
  return calls.map(({ call, name }) => given.get(call) ?? { role: 'tool', call, name, content: unanswered })
}
