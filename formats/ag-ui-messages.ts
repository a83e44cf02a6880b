import { MillraceError } from '../protocol/errors.ts'
import { type ConversationMessage, contentOf, filePart, type RunAnswer, type UserPart } from './conversation.ts'
import { jsonOf, textOf } from './plain-text.ts'

/** A message of AG-UI. Which fields it has depends on its role. */
export type AgUiMessage = { readonly id: string; readonly role: string; readonly [field: string]: unknown }

/** A tool of the page, as AG-UI declares it. */
export type AgUiTool = { readonly name: string; readonly description: string; readonly parameters?: unknown }

/** The answer to one interrupt. */
export type AgUiResume = {
  readonly interruptId: string
  readonly status: 'resolved' | 'cancelled'
  readonly payload?: unknown
}

/** What a client of AG-UI sends to begin a run, as far as it is read here. Both generations send it. */
export type AgUiInput = {
  readonly threadId: string
  readonly runId: string
  readonly messages: readonly AgUiMessage[]
  readonly tools: readonly AgUiTool[]
  readonly context: readonly unknown[]
  readonly state?: unknown
  readonly forwardedProps?: unknown
  readonly resume?: readonly AgUiResume[] | undefined
}

/**
 * Returns an input of anybody as one of AG-UI.
 * @throws MillraceError `invalid_input` that names the first field that is wrong.
 */
export function checkedAgUiInput(input: unknown): AgUiInput {
  const given = Object(input) as { [field: string]: unknown }
  for (const name of ['threadId', 'runId'])
    if (typeof given[name] !== 'string' || given[name] === '') throw invalid(`${name} must be a non-empty string`)
  const lists = { messages: given['messages'], tools: given['tools'] ?? [], context: given['context'] ?? [] }
  for (const [name, list] of Object.entries(lists)) if (!Array.isArray(list)) throw invalid(`${name} must be a list`)
  const has = (thing: unknown, ...fields: string[]): boolean =>
    fields.every((field) => typeof (Object(thing) as { [name: string]: unknown })[field] === 'string')
  const { messages, tools } = lists as unknown as { messages: unknown[]; tools: unknown[] }
  const wrong = messages.findIndex((message) => !has(message, 'id', 'role'))
  if (wrong >= 0) throw invalid(`messages[${wrong}] must have an id and a role`)
  if (!tools.every((tool) => has(tool, 'name', 'description'))) throw invalid('a tool needs a name and a description')
  const { resume } = given
  const isAnswer = (entry: unknown): boolean => has(entry, 'interruptId', 'status')
  if (resume !== undefined && !(Array.isArray(resume) && resume.every(isAnswer)))
    throw invalid('resume must be a list of answers, each with an interruptId and a status')
  return { ...given, ...lists } as unknown as AgUiInput
}

/**
 * Returns the conversation that messages of AG-UI show, as agents take it. What sub-agents said, reasoning and
 * activities are left out.
 * @throws MillraceError `invalid_input` for a file that agents cannot take.
 */
export function conversationOfAgUi(messages: readonly AgUiMessage[]): ConversationMessage[] {
  const names = new Map<string, string>()
  return messages.flatMap((message): ConversationMessage[] => {
    const { role, content, subagentRunId, toolCallId, error } = message
    if (subagentRunId !== undefined) return []
    switch (role) {
      case 'system':
      case 'developer':
        return [{ role: 'system', content: textOf(content ?? '') }]
      case 'user':
        return userMessage(content)
      case 'assistant': {
        const calls = callsOf(message)
        for (const { call, name } of calls) names.set(call, name)
        const text = textOf(content ?? '')
        if (text === '' && calls.length === 0) return []
        return [{ role, content: text, ...(calls.length > 0 && { calls }) }]
      }
      case 'tool': {
        const call = textOf(toolCallId)
        const name = names.get(call)
        const said = typeof error === 'string' && error !== '' ? `Error: ${error}` : textOf(content ?? '')
        return name === undefined ? [] : [{ role, call, name, content: said }]
      }
      default:
        return []
    }
  })
}

/**
 * Returns what an input answers, if it is for a run that waits: the interrupts, and the outputs of the page's tools at
 * the end of the messages. Empty: it asks for a new run.
 */
export function answersOfAgUi({ resume = [], messages }: AgUiInput): RunAnswer[] {
  const answers = resume.map(
    ({ interruptId, status, payload }): RunAnswer => ({
      type: 'answer',
      data: { request: interruptId, value: status === 'cancelled' ? false : (payload ?? true) },
    }),
  )
  const first = messages.findLastIndex(({ role }) => role !== 'tool') + 1
  const outputs = messages.slice(first).map(({ toolCallId, content, error }): RunAnswer => {
    const call = textOf(toolCallId)
    const isError = typeof error === 'string' && error !== ''
    return { type: 'tool.result', data: isError ? { call, error } : { call, output: content ?? null } }
  })
  return [...answers, ...outputs]
}

/** The ids that answers are for: those of requests, and those of calls. */
export function answeredIds(answers: readonly RunAnswer[]): Set<string> {
  return new Set(answers.map(({ type, data }) => (type === 'answer' ? data.request : data.call)))
}

function callsOf({ toolCalls }: AgUiMessage): { call: string; name: string; args: unknown }[] {
  if (!Array.isArray(toolCalls)) return []
  return toolCalls.map((call: unknown) => {
    const { id, function: called } = Object(call) as { id?: unknown; function?: unknown }
    const { name, arguments: args } = Object(called) as { name?: unknown; arguments?: unknown }
    return { call: textOf(id), name: textOf(name), args: parsed(args) }
  })
}

/** Arguments as the model wrote them. It may have been cut off. */
function parsed(args: unknown): unknown {
  try {
    return JSON.parse(textOf(args)) as unknown
  } catch {
    return {}
  }
}

function userMessage(content: unknown): ConversationMessage[] {
  if (!Array.isArray(content)) return [{ role: 'user', content: textOf(content ?? '') }]
  const parts = content.flatMap((part: unknown) => userPart(Object(part) as { [field: string]: unknown }))
  return parts.length > 0 ? [{ role: 'user', content: contentOf(parts) }] : []
}

function userPart({ type, text, source, data, url, mimeType }: { [field: string]: unknown }): UserPart[] {
  if (type === 'text') return [{ type, text: textOf(text ?? '') }]
  const given = Object(source) as { type?: unknown; value?: unknown; mimeType?: unknown }
  const media = textOf(given.mimeType ?? mimeType ?? '')
  const isImage = type === 'image' || media.startsWith('image/')
  const address = given.type === 'url' ? given.value : url
  if (typeof address === 'string' && isImage) return [{ type: 'image', url: address }]
  const base64 = given.type === 'data' ? given.value : data
  if (typeof base64 !== 'string' || media === '')
    throw invalid(`content of type ${jsonOf(type)} must be inline data with a mimeType, or an image with a url`)
  try {
    return [filePart(isImage, media, base64)]
  } catch {
    throw invalid('the data of a file is not base64')
  }
}

function invalid(message: string): MillraceError {
  return new MillraceError('invalid_input', message)
}
