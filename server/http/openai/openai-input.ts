import { z } from 'zod'
import { type ConversationMessage, contentOf, type UserPart } from '../../../formats/conversation.ts'
import { readCallId } from '../../../formats/openai-calls.ts'
import { textOf } from '../../../formats/plain-text.ts'
import { MillraceError } from '../../../protocol/errors.ts'

/** A tool of the client, as a run's client declares it. */
export type OfferedTool = { readonly name: string; readonly description: string; readonly parameters: unknown }

/** The output of a tool that the client ran, for a run that waits for it. */
export type ToolOutput = { readonly run: string; readonly call: string; readonly output: string }

/** What a request to OpenAI's API asks for, apart from its form. */
export type OpenAiRequest = {
  readonly messages: readonly ConversationMessage[]
  readonly tools: readonly OfferedTool[]
  /** Those behind the last message of the model. */
  readonly outputs: readonly ToolOutput[]
}

type Loose = { readonly [name: string]: unknown }

/** What is used of the body of `POST /v1/chat/completions`. */
export type ChatBody = {
  model: string
  messages: {
    role: 'system' | 'developer' | 'user' | 'assistant' | 'tool'
    content?: string | Loose[] | null | undefined
    tool_calls?: { id: string; function: { name: string; arguments: string } }[] | null | undefined
    tool_call_id?: string | null | undefined
  }[]
  stream?: boolean | null | undefined
  stream_options?: { include_usage?: boolean | null | undefined } | null | undefined
  metadata?: { [name: string]: string } | null | undefined
  tools?: { type: string; function: Loose & { name: string } }[] | null | undefined
}

/** What is used of the body of `POST /v1/responses`. */
export type ResponseBody = {
  model: string
  input: string | Loose[]
  instructions?: string | null | undefined
  stream?: boolean | null | undefined
  background?: boolean | null | undefined
  metadata?: { [name: string]: string } | null | undefined
  previous_response_id?: string | null | undefined
  tools?: (Loose & { type: string })[] | null | undefined
}

const text = z.string()
const parts = z.array(z.looseObject({ type: text }))
const content = z.union([text, parts])
const call = z.looseObject({ id: text, function: z.looseObject({ name: text, arguments: text }) })

/** The body of `POST /v1/chat/completions`. What it does not name is not used. */
export const chatBody: z.ZodType<ChatBody> = z.looseObject({
  model: text,
  messages: z
    .array(
      z.looseObject({
        role: z.enum(['system', 'developer', 'user', 'assistant', 'tool']),
        content: content.nullish(),
        tool_calls: z.array(call).nullish(),
        tool_call_id: text.nullish(),
      }),
    )
    .min(1),
  stream: z.boolean().nullish(),
  stream_options: z.looseObject({ include_usage: z.boolean().nullish() }).nullish(),
  metadata: z.record(text, text).nullish(),
  n: z.literal(1, { error: 'an actor gives one answer: leave n out' }).nullish(),
  tools: z.array(z.looseObject({ type: text, function: z.looseObject({ name: text }) })).nullish(),
})

/** The body of `POST /v1/responses`. What it does not name is not used. */
export const responseBody: z.ZodType<ResponseBody> = z.looseObject({
  model: text,
  input: z.union([text, z.array(z.looseObject({ type: text.optional() })).min(1)]),
  instructions: text.nullish(),
  stream: z.boolean().nullish(),
  background: z.boolean().nullish(),
  metadata: z.record(text, text).nullish(),
  previous_response_id: text.nullish(),
  tools: z.array(z.looseObject({ type: text })).nullish(),
})

/** Reads what a chat completion asks for. @throws MillraceError `bad_request`. */
export function readChat({ messages, tools }: ChatBody): OpenAiRequest {
  const names = new Map<string, string>()
  const read = messages.map(({ role, content, tool_calls: calls, tool_call_id: id }): ConversationMessage => {
    switch (role) {
      case 'system':
      case 'developer':
        return { role: 'system', content: plainText(content) }
      case 'user':
        return { role: 'user', content: userContent(content) }
      case 'assistant': {
        const made = (calls ?? []).map(({ id, function: { name, arguments: args } }) => {
          names.set(id, name)
          return { call: id, name, args: parsed(args) }
        })
        return { role, content: plainText(content), ...(made.length > 0 && { calls: made }) }
      }
      case 'tool':
        return { role, call: id ?? '', name: names.get(id ?? '') ?? 'tool', content: plainText(content) }
    }
  })
  return { messages: read, tools: (tools ?? []).map(({ function: f }) => offered(f)), outputs: outputsOf(read) }
}

/** Reads what a response asks for. @throws MillraceError `bad_request`. */
export function readResponse({ input, instructions, tools }: ResponseBody): OpenAiRequest {
  const messages: ConversationMessage[] = instructions ? [{ role: 'system', content: instructions }] : []
  const names = new Map<string, string>()
  const items = typeof input === 'string' ? [{ role: 'user', content: input }] : input
  for (const item of items as { [name: string]: unknown }[]) {
    const { type = 'message', role, content, call_id: id, name, arguments: args, output } = item
    if (type === 'message' && (role === 'system' || role === 'developer'))
      messages.push({ role: 'system', content: plainText(content) })
    else if (type === 'message' && role === 'assistant') messages.push({ role, content: plainText(content) })
    else if (type === 'message') messages.push({ role: 'user', content: userContent(content) })
    else if (type === 'function_call') {
      names.set(textOf(id), textOf(name))
      const made = { call: textOf(id), name: textOf(name), args: parsed(textOf(args)) }
      const last = messages.at(-1)
      // The calls of one turn come one after another, behind its text.
      if (last?.role === 'assistant') last.calls = [...(last.calls ?? []), made]
      else messages.push({ role: 'assistant', content: '', calls: [made] })
    } else if (type === 'function_call_output') {
      const content = typeof output === 'string' ? output : plainText(output)
      messages.push({ role: 'tool', call: textOf(id), name: names.get(textOf(id)) ?? 'tool', content })
    }
  }
  const offers = (tools ?? []).map((tool) => {
    if (tool.type !== 'function') throw refuse(`tools of the type ${tool.type.slice(0, 64)} are not supported`)
    return offered(tool)
  })
  return { messages, tools: offers, outputs: outputsOf(messages) }
}

/** The text of the last message of the user, for an actor that takes no conversation. */
export function lastText(messages: readonly ConversationMessage[]): string {
  const last = messages.findLast(({ role }) => role === 'user')
  if (!last) throw refuse('the messages have none of the user')
  return plainText(last.content)
}

function outputsOf(messages: readonly ConversationMessage[]): ToolOutput[] {
  const outputs: ToolOutput[] = []
  for (let at = messages.length - 1; at >= 0; at--) {
    const message = messages[at]
    if (message?.role !== 'tool') break
    const id = readCallId(message.call)
    if (id) outputs.unshift({ ...id, output: message.content })
  }
  return outputs
}

function offered(tool: { [name: string]: unknown }): OfferedTool {
  const { name, description, parameters } = tool
  return {
    name: textOf(name),
    description: typeof description === 'string' ? description : '',
    parameters: parameters ?? { type: 'object', properties: {} },
  }
}

/** The text of a content: of parts, that of the texts among them. */
function plainText(content: unknown): string {
  if (typeof content === 'string') return content
  if (!Array.isArray(content)) return ''
  return (content as { text?: unknown }[]).map(({ text }) => (typeof text === 'string' ? text : '')).join('')
}

function userContent(content: unknown): string | UserPart[] {
  if (!Array.isArray(content)) return plainText(content)
  return contentOf((content as { [name: string]: unknown }[]).map(userPart))
}

function userPart(part: { [name: string]: unknown }): UserPart {
  const { type, text, image_url: image, file, file_data: data } = part
  switch (type) {
    case 'text':
    case 'input_text':
    case 'output_text':
      return { type: 'text', text: textOf(text) }
    case 'image_url':
    case 'input_image': {
      const url = textOf(typeof image === 'string' ? image : (Object(image) as { url?: unknown }).url)
      return url.startsWith('data:') ? inlinePart('image', url) : { type: 'image', url }
    }
    case 'file':
    case 'input_file': {
      const inline = data ?? (Object(file) as { file_data?: unknown }).file_data
      if (typeof inline === 'string') return inlinePart('file', inline)
      throw refuse('a file of a message must be inline, as a data URL in base64')
    }
    default:
      throw refuse(`parts of the type ${textOf(type).slice(0, 64)} are not supported`)
  }
}

function inlinePart(type: 'image' | 'file', url: string): UserPart {
  const [, mediaType, base64] = /^data:([^;,]+)[^,]*;base64,([A-Za-z0-9+/=\s]*)$/s.exec(url) ?? []
  if (mediaType === undefined || base64 === undefined) throw refuse('a data URL must have a media type, and base64')
  const data = new Uint8Array(Buffer.from(base64, 'base64'))
  return type === 'image' ? { type, mediaType, data } : { type, mediaType, data }
}

/** The arguments of a call, which the client sends back as it got them. */
function parsed(args: string): unknown {
  try {
    return JSON.parse(args)
  } catch {
    return args
  }
}

function refuse(message: string): MillraceError {
  return new MillraceError('bad_request', message)
}
