import { z } from 'zod'
import { MillraceError } from '../../protocol/errors.ts'
import { MEDIA_TYPE } from '../files/file-types.ts'
import type { Message } from '../models/model.ts'
import type { ModelSettings } from '../models/model-settings.ts'
import type { AgentSettings } from './agent-settings.ts'
import { type ClientMessage, type ClientPart, ConversationFiles, type FileRules } from './client-files.ts'
import { validConversation } from './conversation.ts'

/**
 * The input of an agent: a prompt, or the messages of a conversation, such as those that `onFinish` received. The model
 * answers the last message. A plain string is a prompt. A prompt with images or files is a list of parts. `settings` may
 * have those that the agent allows clients to set.
 */
export type AgentInput =
  | string
  | { prompt: string | readonly ClientPart[]; settings?: ModelSettings | undefined }
  | { messages: readonly ClientMessage[]; settings?: ModelSettings | undefined }

/** What an agent makes of its input. Its uploads are not read yet. */
export type Asked = { messages: readonly ClientMessage[]; settings: ModelSettings }

const text = z.string().min(1)
const extra = z.record(z.string(), z.unknown()).exactOptional()
const call = z.strictObject({ call: text, name: text, args: z.unknown(), extra })
const mediaType = z.string().regex(MEDIA_TYPE, 'expected a media type such as image/png')
const data = z.instanceof(Uint8Array)
const name = z.string().min(1).max(256).exactOptional()

const PART_FORM =
  'a part is { type: "text", text }, or of type image or file with { mediaType, data } or { upload }; an image may have { url }'

/** The parts of a message of a client. */
export const clientParts: z.ZodType<ClientPart[], ClientPart[]> = z
  .array(
    z.union(
      [
        z.strictObject({ type: z.literal('text'), text: z.string() }),
        z.strictObject({ type: z.literal('image'), mediaType, data }),
        z.strictObject({ type: z.literal('image'), url: z.string() }),
        z.strictObject({ type: z.literal('image'), upload: text }),
        z.strictObject({ type: z.literal('file'), mediaType, data, name }),
        z.strictObject({ type: z.literal('file'), upload: text, name }),
      ],
      { error: PART_FORM },
    ),
  )
  .min(1)
const message = z.discriminatedUnion('role', [
  z.strictObject({ role: z.literal('system'), content: z.string() }),
  z.strictObject({ role: z.literal('user'), content: z.union([z.string(), clientParts]) }),
  z.strictObject({
    role: z.literal('assistant'),
    content: z.string(),
    thinking: z.string().exactOptional(),
    calls: z.array(call).exactOptional(),
    extra,
  }),
  z.strictObject({ role: z.literal('tool'), call: text, name: text, content: z.string() }),
])

// `AgentSettings` checks each of them: in a union, zod would report the failure of a member only as that of the whole.
const settings = z.record(z.string(), z.unknown()).exactOptional()

const asked = z
  .union(
    [
      text,
      z.strictObject({ prompt: z.union([text, clientParts]), settings }),
      z.strictObject({ messages: z.array(message).min(1), settings }),
    ],
    { error: 'an agent takes a prompt (a string or { prompt }) or { messages: [{ role, content }, ...] }' },
  )
  .transform((input): Asked => {
    if (typeof input === 'string') return { messages: [{ role: 'user', content: input }], settings: {} }
    const messages = 'prompt' in input ? [{ role: 'user' as const, content: input.prompt }] : input.messages
    return { messages, settings: input.settings ?? {} }
  })

/**
 * Makes the schema of an agent's input.
 * @param allowSystem whether it may have messages of role `system`.
 * @param allowed the settings that it may have.
 * @param files the images and files that it may have.
 */
export const agentInput = (
  allowSystem: boolean,
  allowed: AgentSettings,
  files: FileRules,
): z.ZodType<Asked, AgentInput> =>
  asked.check(({ value, issues }) => {
    const problem = problemIn(value.messages, allowSystem, files) ?? allowed.problemOfClient(value.settings)
    if (problem !== undefined) issues.push({ code: 'custom', input: value, message: problem })
  })

/**
 * What is wrong with a conversation of a client, if anything: a system message, two calls of one id, the result of a tool
 * that nobody called, or nothing to answer.
 */
function problemIn(given: readonly ClientMessage[], allowSystem: boolean, files: FileRules): string | undefined {
  let messages: Message[]
  try {
    messages = new ConversationFiles(files).accept(given)
  } catch (error) {
    if (MillraceError.is(error)) return error.message
    throw error
  }
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
