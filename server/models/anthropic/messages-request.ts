import { bareType, isTextType } from '../message-parts.ts'
import type { Message, ModelRequest } from '../model.ts'
import type { Effort, SettingName } from '../model-settings.ts'
import { outputWords } from '../output-words.ts'
import { type AnswerTurn, alternationOf, type PlacedPart, type UserTurn } from '../provider/alternation.ts'
import { CallIdMap } from '../provider/call-id-map.ts'
import { objectIn, textIn, type Wire } from '../provider/json.ts'
import { type AnswerPart, partsOf } from '../provider/part-order.ts'
import { base64, inlineText, unsupportedPart } from '../provider/parts.ts'
import { anthropicSchema } from '../strict-schema.ts'
import { validCall } from '../valid-call.ts'
import { ANTHROPIC } from './messages-answer.ts'

/** The provider has no default for it. The models of today answer with at least as many. */
const DEFAULT_MAX_TOKENS = 32_000

/** The body of a request to the messages API, but for the model. */
export function messagesRequest(request: ModelRequest): Wire {
  const { system, turns } = alternationOf(request.messages)
  const { tools = [], toolChoice, maxTokens, stop, effort, parallelToolCalls, output } = request
  const ids = new CallIdMap()
  const messages = turns.map((turn) => (turn.role === 'user' ? userMessage(turn, ids) : answerMessage(turn, ids)))
  const described = tools.length > 0 ? tools.map(toTool) : toolsOf(request.messages)
  const choice = tools.length > 0 ? toToolChoice(toolChoice, parallelToolCalls) : { type: 'none' }
  const schema = output && anthropicSchema(output.schema)
  // A schema that the provider does not take is told in words.
  const words = [system, ...(output && !schema ? [outputWords(output.schema)] : [])].filter((text) => text !== '')
  const config = {
    ...(effort !== undefined && effort !== 'none' && { effort: LEVELS[effort] }),
    ...(schema && { format: { type: 'json_schema', schema } }),
  }
  return {
    max_tokens: maxTokens ?? DEFAULT_MAX_TOKENS,
    ...(words.length > 0 && { system: words.join('\n\n') }),
    messages,
    // A conversation with calls is refused without the tools that were called.
    ...(described.length > 0 && { tools: described, ...(choice && { tool_choice: choice }) }),
    ...(stop !== undefined && { stop_sequences: [...stop] }),
    // Thinking and a forced call exclude each other.
    ...(effort !== undefined && thinkingOf(effort, isForced(choice))),
    ...(Object.keys(config).length > 0 && { output_config: config }),
  }
}

/** The settings that the messages API does not have. */
export function unsupportedIn(request: ModelRequest): SettingName[] {
  return (['temperature', 'topP', 'seed'] as const).filter((name) => request[name] !== undefined)
}

const LEVELS = { minimal: 'low', low: 'low', medium: 'medium', high: 'high' } as const satisfies {
  [Level in Exclude<Effort, 'none'>]: string
}

function thinkingOf(effort: Effort, forced: boolean): Wire {
  if (effort === 'none') return { thinking: { type: 'disabled' } }
  return forced ? {} : { thinking: { type: 'adaptive', display: 'summarized' } }
}

function isForced(choice: Wire | undefined): boolean {
  return choice?.['type'] === 'any' || choice?.['type'] === 'tool'
}

function toToolChoice(
  choice: ModelRequest['toolChoice'],
  parallel: ModelRequest['parallelToolCalls'],
): Wire | undefined {
  if (choice === undefined && parallel !== false) return undefined
  if (choice === 'none') return { type: 'none' }
  const disable = parallel === false && { disable_parallel_tool_use: true }
  if (typeof choice === 'object') return { type: 'tool', name: choice.tool, ...disable }
  return { type: choice === 'required' ? 'any' : 'auto', ...disable }
}

function toTool({ name, description, parameters }: NonNullable<ModelRequest['tools']>[number]): Wire {
  return { name, description, input_schema: { type: 'object', ...objectIn(parameters) } }
}

/** The tools of the calls in a conversation, for a request that offers none. */
function toolsOf(messages: readonly Message[]): Wire[] {
  const names = messages.flatMap((message) =>
    message.role === 'tool' ? [validCall({ call: '', name: message.name, args: {} }).name] : [],
  )
  return [...new Set(names)].map((name) => ({ name, input_schema: { type: 'object', properties: {} } }))
}

function userMessage({ results, parts }: UserTurn, ids: CallIdMap): Wire {
  return {
    role: 'user',
    content: [
      // The results stand first, directly behind the calls.
      ...results.map(({ call, content }) => ({
        type: 'tool_result',
        tool_use_id: ids.answered(call),
        ...(content.trim() !== '' && { content }),
      })),
      ...parts.map(userBlock),
    ],
  }
}

function userBlock({ part, place }: PlacedPart): Wire {
  if (part.type === 'text') return { type: 'text', text: part.text }
  if ('url' in part) return { type: 'image', source: { type: 'url', url: part.url } }
  const source = (): Wire => ({ type: 'base64', media_type: bareType(part.mediaType), data: base64(part, place) })
  if (part.type === 'image') return { type: 'image', source: source() }
  if (isTextType(part.mediaType)) return { type: 'text', text: inlineText(part, place) }
  if (bareType(part.mediaType) !== 'application/pdf')
    throw unsupportedPart(ANTHROPIC, part, place, 'images, PDF, and files of text')
  return { type: 'document', source: source(), ...(part.name !== undefined && { title: part.name }) }
}

function answerMessage({ message }: AnswerTurn, ids: CallIdMap): Wire {
  const parts = partsOf(message, ANTHROPIC, accepted)
  return { role: 'assistant', content: parts.flatMap((part) => blockOf(part, ids)) }
}

function blockOf(part: AnswerPart, ids: CallIdMap): Wire[] {
  switch (part.type) {
    case 'opaque':
      return [part.part]
    case 'text':
      return part.text.trim() === '' ? [] : [{ type: 'text', text: part.text }]
    case 'call': {
      const { call, name, args } = part.call
      return [{ type: 'tool_use', id: ids.called(call), name, input: args }]
    }
  }
}

/** Signed or encrypted thinking, and nothing else that a message may have been given. */
function accepted({ type, thinking, signature, data }: Wire): Wire | undefined {
  if (type === 'thinking' && textIn(signature) !== '') return { type, thinking: textIn(thinking), signature }
  if (type === 'redacted_thinking' && textIn(data) !== '') return { type, data }
  return undefined
}
