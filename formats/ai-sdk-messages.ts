import { MillraceError } from '../protocol/errors.ts'
import type { MessageFacts } from './ai-sdk-chunk.ts'
import { type ConversationMessage, contentOf, filePart, type RunAnswer, type UserPart } from './conversation.ts'
import type { KnownCall } from './open-calls.ts'
import { textOf } from './plain-text.ts'

/** A UI message of the AI SDK, as far as it is read here. Both majors of `ai` have such messages. */
export type UiMessage = {
  readonly id: string
  readonly role: 'system' | 'user' | 'assistant'
  readonly parts: readonly UiPart[]
  readonly metadata?: unknown
}

/** A part of a UI message. Which fields it has depends on its type. */
type UiPart = { readonly type: string; readonly [field: string]: unknown }

/** A tool part, whatever its type. */
type ToolPart = UiPart & {
  readonly toolCallId: string
  readonly state: string
  readonly approval?: { readonly id?: unknown; readonly approved?: unknown; readonly reason?: unknown }
}

/** The answers of a page to a run that waits, and what its message has of that run. */
export type Continuation = MessageFacts & {
  seq: number
  known: KnownCall[]
  /** Calls that were refused. */
  refused: ReadonlySet<string>
  answers: RunAnswer[]
}

/**
 * Returns messages of anybody as UI messages.
 * @throws MillraceError `invalid_input` that names the first one that is none.
 */
export function checkedMessages(messages: unknown): UiMessage[] {
  if (!Array.isArray(messages) || messages.length === 0)
    throw invalid('messages must be a list with at least one message')
  messages.forEach((message: unknown, at) => {
    const { id, role, parts } = Object(message) as Partial<UiMessage>
    if (typeof id !== 'string' || !(role === 'system' || role === 'user' || role === 'assistant'))
      throw invalid(`messages[${at}] must have an id and a role: system, user or assistant`)
    const isPart = (part: unknown): boolean => typeof (Object(part) as { type?: unknown }).type === 'string'
    if (!Array.isArray(parts) || !parts.every(isPart))
      throw invalid(`messages[${at}].parts must be a list of parts, each with a type`)
  })
  return messages as UiMessage[]
}

/**
 * Returns the conversation that UI messages show, as agents take it. Tool calls of sub-agents are left out, as are parts
 * that are for the page.
 * @throws MillraceError `invalid_input` for a file that is neither inline nor an image with a web address.
 */
export function conversationOf(messages: readonly UiMessage[]): ConversationMessage[] {
  return messages.flatMap(({ role, parts }): ConversationMessage[] => {
    if (role === 'assistant') return assistantTurns(parts)
    if (role === 'system') return [{ role, content: textsOf(parts, 'text') }]
    const content = parts.flatMap(userPart)
    return content.length > 0 ? [{ role, content: contentOf(content) }] : []
  })
}

/**
 * Returns what the last message answers, if it is that of a run that waits. Undefined: the messages ask for a new run.
 */
export function continuationOf(messages: readonly UiMessage[]): Continuation | undefined {
  const last = messages.at(-1)
  if (last?.role !== 'assistant') return undefined
  const facts = factsOf(last)
  if (facts?.run !== last.id || facts.seq === undefined || facts.outcome !== undefined) return undefined
  const tools = last.parts.filter(isTool)
  const step = last.parts.slice(last.parts.findLastIndex(({ type }) => type === 'step-start') + 1).filter(isTool)
  const answers = [...step, ...tools.filter((part) => !step.includes(part) && part.state === 'approval-responded')]
  const refused = answers.filter(({ approval }) => approval?.approved === false).map(({ toolCallId }) => toolCallId)
  return {
    ...facts,
    seq: facts.seq,
    known: tools.map(knownCall),
    refused: new Set(refused),
    answers: answers.flatMap(answerOf),
  }
}

/** What a message says about its run, if one of ours wrote it. */
export function factsOf({ metadata }: UiMessage): MessageFacts | undefined {
  const { millrace } = Object(metadata) as { millrace?: unknown }
  const { run, seq, gen } = Object(millrace) as { run?: unknown; seq?: unknown; gen?: unknown }
  const isNumber = (n: unknown): boolean => n === undefined || (Number.isSafeInteger(n) && (n as number) >= 0)
  return typeof run === 'string' && isNumber(seq) && isNumber(gen) ? (millrace as MessageFacts) : undefined
}

function answerOf({ toolCallId: call, state, preliminary, output, errorText, approval }: ToolPart): RunAnswer[] {
  switch (state) {
    case 'approval-responded': {
      const note = typeof approval?.reason === 'string' && approval.reason !== '' ? { note: approval.reason } : {}
      return [{ type: 'approve', data: { call, ok: approval?.approved === true, ...note } }]
    }
    case 'output-available':
      return preliminary === true ? [] : [{ type: 'tool.result', data: { call, output: output ?? null } }]
    case 'output-error':
      return [{ type: 'tool.result', data: { call, error: textOf(errorText ?? 'the tool failed') } }]
    default:
      return []
  }
}

function knownCall(part: ToolPart): KnownCall {
  const { toolCallId: id, state, preliminary, approval } = part
  const isDone = state.startsWith('output-') && preliminary !== true
  const states = { 'input-streaming': 'writing', 'approval-requested': 'approval' } as const
  const now = isDone ? 'done' : (states[state as keyof typeof states] ?? 'running')
  const asked = typeof approval?.id === 'string' ? { approval: approval.id } : {}
  return { id, name: nameOf(part), agent: agentOf(part), state: now, ...asked }
}

/** The turns of the model in one message: one for each step. */
function assistantTurns(parts: readonly UiPart[]): ConversationMessage[] {
  const turns: ConversationMessage[] = []
  let step: UiPart[] = []
  const close = (): void => {
    turns.push(...turnOf(step))
    step = []
  }
  for (const part of parts) {
    if (part.type === 'step-start') close()
    else step.push(part)
  }
  close()
  return turns
}

function turnOf(step: readonly UiPart[]): ConversationMessage[] {
  const content = textsOf(step, 'text')
  const thinking = textsOf(step, 'reasoning')
  const tools = new Map<string, ToolPart>()
  for (const part of step)
    if (isTool(part) && agentOf(part) === undefined && part.state !== 'input-streaming')
      tools.set(part.toolCallId, part)
  const calls = Array.from(tools.values(), (part) => ({
    call: part.toolCallId,
    name: nameOf(part),
    args: part['input'] ?? {},
  }))
  if (content === '' && calls.length === 0) return []
  return [
    { role: 'assistant', content, ...(thinking !== '' && { thinking }), ...(calls.length > 0 && { calls }) },
    ...Array.from(tools.values()).flatMap(outputOf),
  ]
}

function outputOf(part: ToolPart): ConversationMessage[] {
  const { toolCallId: call, state, output, errorText, approval } = part
  const answer = (content: string): ConversationMessage[] => [{ role: 'tool', call, name: nameOf(part), content }]
  switch (state) {
    case 'output-available':
      return answer(textOf(output ?? ''))
    case 'output-error':
      return answer(`Error: ${textOf(errorText ?? 'the tool failed')}`)
    case 'output-denied':
      return answer(`Error: refused by the user${typeof approval?.reason === 'string' ? `: ${approval.reason}` : ''}`)
    default:
      return []
  }
}

function userPart(part: UiPart): UserPart[] {
  const { type, text, url, mediaType } = part
  if (type === 'text') return [{ type, text: textOf(text ?? '') }]
  if (type !== 'file') return []
  const isImage = typeof mediaType === 'string' && mediaType.startsWith('image')
  const [, inline, base64] = /^data:([^,]*?);base64,(.*)$/s.exec(textOf(url ?? '')) ?? []
  if (base64 === undefined) {
    if (isImage && /^https?:/i.test(textOf(url))) return [{ type: 'image', url: textOf(url) }]
    throw invalid('a file of a message must be inline (a data URL in base64), or an image with a web address')
  }
  try {
    const given = typeof mediaType === 'string' && mediaType.includes('/') ? mediaType : (inline ?? '')
    return [filePart(isImage, given, base64)]
  } catch {
    throw invalid('the data URL of a file is not base64')
  }
}

function textsOf(parts: readonly UiPart[], type: 'text' | 'reasoning'): string {
  return parts.map((part) => (part.type === type ? textOf(part['text'] ?? '') : '')).join('')
}

function isTool(part: UiPart): part is ToolPart {
  const isOne = part.type.startsWith('tool-') || part.type === 'dynamic-tool'
  return isOne && typeof part['toolCallId'] === 'string' && typeof part['state'] === 'string'
}

function nameOf({ type, toolName }: UiPart): string {
  return type === 'dynamic-tool' ? textOf(toolName ?? 'tool') : type.slice('tool-'.length)
}

/** The sub-agent that made a call. */
function agentOf({ callProviderMetadata }: UiPart): string | undefined {
  const { millrace } = Object(callProviderMetadata) as { millrace?: unknown }
  const { agent } = Object(millrace) as { agent?: unknown }
  return typeof agent === 'string' ? agent : undefined
}

function invalid(message: string): MillraceError {
  return new MillraceError('invalid_input', message)
}
