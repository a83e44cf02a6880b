import { isMap } from '../../../protocol/map.ts'
import { bareType, isTextType } from '../message-parts.ts'
import type { ModelRequest } from '../model.ts'
import type { SettingName } from '../model-settings.ts'
import { type AnswerTurn, alternationOf, type PlacedPart, type UserTurn } from '../provider/alternation.ts'
import { CallIdMap } from '../provider/call-id-map.ts'
import { objectIn, textIn, type Wire } from '../provider/json.ts'
import { partsOf } from '../provider/part-order.ts'
import { bytesOf, inlineText } from '../provider/parts.ts'
import { AI_SDK } from './stream-parts.ts'

/** The options of `doStream` for a request. @param version of the specification: `v2`, `v3` or `v4`. */
export function callOptions(version: string, request: ModelRequest): Wire {
  const { system, turns } = alternationOf(request.messages)
  const { tools = [], toolChoice, temperature, topP, maxTokens, stop, seed, effort } = request
  const ids = new CallIdMap()
  return {
    prompt: [
      ...(system === '' ? [] : [{ role: 'system', content: system }]),
      ...turns.flatMap((turn) =>
        turn.role === 'user' ? userMessages(turn, ids, version) : [answerMessage(turn, ids)],
      ),
    ],
    ...(tools.length > 0 && {
      tools: tools.map(({ name, description, parameters }) => ({
        type: 'function',
        name,
        description,
        inputSchema: { type: 'object', ...objectIn(parameters) },
      })),
      ...(toolChoice !== undefined && {
        toolChoice: typeof toolChoice === 'string' ? { type: toolChoice } : { type: 'tool', toolName: toolChoice.tool },
      }),
    }),
    ...(temperature !== undefined && { temperature }),
    ...(topP !== undefined && { topP }),
    ...(maxTokens !== undefined && { maxOutputTokens: maxTokens }),
    ...(stop !== undefined && { stopSequences: [...stop] }),
    ...(seed !== undefined && { seed }),
    ...(effort !== undefined && version === 'v4' && { reasoning: effort }),
  }
}

/** The settings that the specification does not have. */
export function unsupportedIn(version: string, request: ModelRequest): SettingName[] {
  const { tools = [], effort, parallelToolCalls } = request
  return [
    ...(effort !== undefined && version !== 'v4' ? (['effort'] as const) : []),
    ...(tools.length > 0 && parallelToolCalls === false ? (['parallelToolCalls'] as const) : []),
  ]
}

/** The results of calls are a message of their own. */
function userMessages({ results, parts }: UserTurn, ids: CallIdMap, version: string): Wire[] {
  const answers = results.map(({ call, name, content }) => ({
    type: 'tool-result',
    toolCallId: ids.answered(call),
    toolName: name,
    output: { type: 'text', value: content },
  }))
  return [
    ...(answers.length > 0 ? [{ role: 'tool', content: answers }] : []),
    ...(parts.length > 0 ? [{ role: 'user', content: parts.map((part) => userPart(part, version)) }] : []),
  ]
}

/** The package of the provider refuses what the provider does not take. */
function userPart({ part, place }: PlacedPart, version: string): Wire {
  if (part.type === 'text') return { type: 'text', text: part.text }
  if ('url' in part) {
    const url = new URL(part.url)
    return { type: 'file', mediaType: 'image/*', data: version === 'v4' ? { type: 'url', url } : url }
  }
  if (part.type === 'file' && isTextType(part.mediaType)) return { type: 'text', text: inlineText(part, place) }
  const data = bytesOf(part, place)
  return {
    type: 'file',
    mediaType: bareType(part.mediaType),
    data: version === 'v4' ? { type: 'data', data } : data,
    ...(part.type === 'file' && part.name !== undefined && { filename: part.name }),
  }
}

function answerMessage({ message }: AnswerTurn, ids: CallIdMap): Wire {
  const content: Wire[] = []
  /** The options of the next text. */
  let options: Wire = {}
  for (const part of partsOf(message, AI_SDK, accepted)) {
    switch (part.type) {
      case 'opaque': {
        const { type, providerOptions } = part.part
        if (type === 'reasoning') content.push(part.part)
        else if (type === 'text-end' && content.at(-1)?.['type'] === 'text')
          content.push({ ...content.pop(), providerOptions })
        else options = { providerOptions }
        break
      }
      case 'text':
        if (part.text.trim() !== '') content.push({ type: 'text', text: part.text, ...options })
        options = {}
        break
      case 'call': {
        const { call, name, args, extra } = part.call
        const kept = objectIn(extra?.[AI_SDK])['providerOptions']
        const own = isMap(kept) && { providerOptions: kept }
        content.push({ type: 'tool-call', toolCallId: ids.called(call), toolName: name, input: args, ...own })
        break
      }
    }
  }
  return { role: 'assistant', content }
}

/** Reasoning and the options of texts, and nothing else that a message may have been given. */
function accepted({ type, text, providerOptions }: Wire): Wire | undefined {
  if (!isMap(providerOptions)) return undefined
  if (type === 'reasoning') return { type, text: textIn(text), providerOptions }
  return type === 'text-start' || type === 'text-end' ? { type, providerOptions } : undefined
}
