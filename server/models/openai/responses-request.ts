import { bareType, isTextType, type Part } from '../message-parts.ts'
import type { Message, ModelRequest } from '../model.ts'
import type { SettingName } from '../model-settings.ts'
import { CallIdMap } from '../provider/call-id-map.ts'
import { objectIn, objectsIn, textIn, type Wire } from '../provider/json.ts'
import { partsOf } from '../provider/part-order.ts'
import { dataURL, inlineText, type PartPlace, unsupportedPart } from '../provider/parts.ts'
import { schemaIn } from '../strict-schema.ts'
import { validCall } from '../valid-call.ts'
import { RESPONSES } from './responses-answer.ts'

/** What the provider must send for its reasoning to go back. It refuses to for models that do not reason. */
const ENCRYPTED = 'reasoning.encrypted_content'
const NO_REASONING = /^(?:gpt-[34]|chatgpt-)/

/** The body of a request to the Responses API, but for the model. The provider stores nothing of it. */
export function responsesRequest(model: string, request: ModelRequest): Wire {
  const { tools = [], output, temperature, topP, maxTokens, toolChoice, effort, parallelToolCalls } = request
  return {
    input: inputOf(request.messages),
    store: false,
    ...(!NO_REASONING.test(model) && { include: [ENCRYPTED] }),
    ...(tools.length > 0 && {
      tools: tools.map(toTool),
      ...(toolChoice !== undefined && {
        tool_choice: typeof toolChoice === 'string' ? toolChoice : { type: 'function', name: toolChoice.tool },
      }),
      ...(parallelToolCalls !== undefined && { parallel_tool_calls: parallelToolCalls }),
    }),
    ...(temperature !== undefined && { temperature }),
    ...(topP !== undefined && { top_p: topP }),
    ...(maxTokens !== undefined && { max_output_tokens: maxTokens }),
    ...(effort !== undefined && { reasoning: { effort } }),
    ...(output && { text: { format: { type: 'json_schema', name: output.name, ...schemaIn(output) } } }),
  }
}

/** The settings that the Responses API does not have. */
export function unsupportedIn(request: ModelRequest): SettingName[] {
  return (['stop', 'seed'] as const).filter((name) => request[name] !== undefined)
}

function toTool({ name, description, parameters }: NonNullable<ModelRequest['tools']>[number]): Wire {
  // Schemas are strict unless this is said, and a strict schema must require every property.
  return { type: 'function', name, description, parameters: objectIn(parameters), strict: false }
}

function inputOf(messages: readonly Message[]): Wire[] {
  const ids = new CallIdMap()
  return messages.flatMap((message, at): Wire[] => {
    switch (message.role) {
      case 'system':
        return [{ role: 'system', content: message.content }]
      case 'user': {
        const { content } = message
        if (typeof content === 'string') return [{ role: 'user', content }]
        return [{ role: 'user', content: content.map((part, n) => toPart(part, { message: at, part: n })) }]
      }
      case 'assistant':
        return itemsOf({ ...message, calls: (message.calls ?? []).map(validCall) }, ids)
      case 'tool':
        return [{ type: 'function_call_output', call_id: ids.answered(message.call), output: message.content }]
    }
  })
}

function itemsOf(message: Extract<Message, { role: 'assistant' }>, ids: CallIdMap): Wire[] {
  const items = partsOf(message, RESPONSES, accepted).flatMap((part): Wire[] => {
    switch (part.type) {
      case 'opaque':
        return [part.part]
      case 'text':
        return part.text.trim() === '' ? [] : [{ role: 'assistant', content: part.text }]
      case 'call': {
        const { call, name, args } = part.call
        return [{ type: 'function_call', call_id: ids.called(call), name, arguments: JSON.stringify(args) }]
      }
    }
  })
  // Reasoning is refused without what it led to, such as calls that were cut off.
  return items.slice(0, items.findLastIndex(({ type }) => type !== 'reasoning') + 1)
}

/** Encrypted reasoning, and nothing else that a message may have been given. */
function accepted({ type, id, summary, encrypted_content: content }: Wire): Wire | undefined {
  if (type !== 'reasoning' || textIn(id) === '' || textIn(content) === '') return undefined
  const texts = objectsIn(summary).map(({ text }) => ({ type: 'summary_text', text: textIn(text) }))
  return { type, id, summary: texts, encrypted_content: content }
}

/** The API takes images, and of files PDF. Text goes into the message itself. */
function toPart(part: Part, place: PartPlace): Wire {
  if (part.type === 'text') return { type: 'input_text', text: part.text }
  if (part.type === 'image')
    return { type: 'input_image', detail: 'auto', image_url: 'url' in part ? part.url : dataURL(part, place) }
  if (isTextType(part.mediaType)) return { type: 'input_text', text: inlineText(part, place) }
  if (bareType(part.mediaType) !== 'application/pdf')
    throw unsupportedPart('openai', part, place, 'images, PDF, and files of text')
  return { type: 'input_file', filename: part.name ?? 'file.pdf', file_data: dataURL(part, place) }
}
