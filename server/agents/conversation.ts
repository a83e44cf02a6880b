import type { Message, ToolCall } from '../models/model.ts'
import { validCall } from '../models/valid-call.ts'

type ToolMessage = Extract<Message, { role: 'tool' }>

/** The answer that the model sees to a call without one. */
const UNANSWERED = 'Error: stopped before it was finished'

/**
 * Returns a conversation that every provider accepts: each tool call has exactly one answer, directly after the message
 * with the call, in the order of the calls. It adds missing answers. It removes second answers, answers without a call,
 * second calls of one id in one message, and assistant messages with neither text nor calls. Arguments that are no object become `{}`, and invalid characters
 * of tool names `_`.
 * @param unanswered The content of an added answer. Default: `Error: stopped before it was finished`.
 */
export function validConversation(messages: readonly Message[], unanswered: string = UNANSWERED): Message[] {
  const valid: Message[] = []
  messages.forEach((message, at) => {
    if (message.role === 'tool') return
    if (message.role !== 'assistant') {
      valid.push(message)
      return
    }
    const { content } = message
    const calls = distinct(message.calls ?? []).map(validCall)
    if (content === '' && calls.length === 0) return
    valid.push(calls.length === 0 ? message : { ...message, calls }, ...answersTo(calls, messages, at + 1, unanswered))
  })
  return valid
}

/** The first call of each id: an answer could not say which of two it is for. */
function distinct(calls: readonly ToolCall[]): ToolCall[] {
  const ids = new Set<string>()
  return calls.filter(({ call }) => !ids.has(call) && ids.add(call))
}

/** The answers to `calls`, from the tool messages at index `at` and after it. */
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
  return calls.map(({ call, name }) => {
    const { content = unanswered, shown } = given.get(call) ?? {}
    return { role: 'tool', call, name, content, ...(shown !== undefined && { shown }) }
  })
}
