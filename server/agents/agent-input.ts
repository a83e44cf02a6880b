import { z } from 'zod'
import type { Message } from '../models/model.ts'
import { validConversation } from './conversation.ts'

/**
 * The input of an agent: a prompt, or the messages of a conversation, such as those that `onFinish` received. The model
 * answers the last message. A plain string is a prompt.
 */
export type AgentInput = string | { prompt: string } | { messages: Message[] }

const text = z.string().min(1)
const extra = z.record(z.string(), z.unknown()).exactOptional()
const call = z.strictObject({ call: text, name: text, args: z.unknown(), extra })
const message = z.discriminatedUnion('role', [
  z.strictObject({ role: z.enum(['system', 'user']), content: z.string() }),
  z.strictObject({
    role: z.literal('assistant'),
    content: z.string(),
    thinking: z.string().exactOptional(),
    calls: z.array(call).exactOptional(),
    extra,
  }),
  z.strictObject({ role: z.literal('tool'), call: text, name: text, content: z.string() }),
])

/**
 * Makes the schema of an agent's input. Its output is the conversation.
 * @param allowSystem whether it may have messages of role `system`.
 */
export const agentInput = (allowSystem: boolean): z.ZodType<Message[], AgentInput> =>
  z
    .union([text, z.strictObject({ prompt: text }), z.strictObject({ messages: z.array(message).min(1) })], {
      error: 'an agent takes a prompt (a string or { prompt }) or { messages: [{ role, content }, ...] }',
    })
    .transform((asked): Message[] => {
      if (typeof asked === 'string') return [{ role: 'user', content: asked }]
      return 'prompt' in asked ? [{ role: 'user', content: asked.prompt }] : asked.messages
    })
    .check(({ value, issues }) => {
      const problem = problemIn(value, allowSystem)
      if (problem !== undefined) issues.push({ code: 'custom', input: value, message: problem })
    })

/**
 * What is wrong with a conversation of a client, if anything: a system message, two calls of one id, the result of a tool
 * that nobody called, or nothing to answer.
 */
function problemIn(messages: readonly Message[], allowSystem: boolean): string | undefined {
  let open = new Set<string>()
  for (const message of messages) {
    if (message.role === 'system' && !allowSystem) return 'this agent takes no messages of role system'
    if (message.role === 'tool') {
      if (!open.delete(message.call)) return `the tool result ${message.call} answers no open call`
      continue
    }
    open = new Set()
    for (const { call } of message.role === 'assistant' ? (message.calls ?? []) : []) {
      if (open.has(call)) return `two calls of one message have the id ${call}`
      open.add(call)
    }
  }
  return validConversation(messages).length === 0
    ? 'the messages say nothing: the model has nothing to answer'
    : undefined
}
