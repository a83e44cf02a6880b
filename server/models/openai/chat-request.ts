import type OpenAI from 'openai'
import { THINKING_FIELDS, type ThinkingField } from '../chat-completion.ts'
import { bareType, isTextType, type Part } from '../message-parts.ts'
import type { Extra, Message, ModelRequest } from '../model.ts'
import type { ToolChoice } from '../model-settings.ts'
import { objectIn, type Wire } from '../provider/json.ts'
import { dataURL, inlineText, type PartPlace, unsupportedPart } from '../provider/parts.ts'
import { schemaIn } from '../strict-schema.ts'
import { validCall } from '../valid-call.ts'

/**
 * The body of a request to the chat completions API, but for the model.
 * @param own whether it goes to OpenAI itself.
 */
export function chatRequest(request: ModelRequest, own: boolean): Wire {
  const { output } = request
  return {
    messages: request.messages.map(toWire),
    ...settingsOf(request, own),
    ...(output && {
      response_format: { type: 'json_schema', json_schema: { name: output.name, ...schemaIn(output) } },
    }),
  }
}

function settingsOf(request: ModelRequest, own: boolean): object {
  const { tools = [], temperature, topP, maxTokens, stop, seed, toolChoice, effort, parallelToolCalls } = request
  return {
    ...(tools.length > 0 && {
      tools: tools.map(({ name, description, parameters }) => ({
        type: 'function' as const,
        function: { name, description, parameters: objectIn(parameters) },
      })),
      // Both are refused without tools.
      ...(toolChoice !== undefined && { tool_choice: toToolChoice(toolChoice) }),
      ...(parallelToolCalls !== undefined && { parallel_tool_calls: parallelToolCalls }),
    }),
    ...(temperature !== undefined && { temperature }),
    ...(topP !== undefined && { top_p: topP }),
    // OpenAI's newer models accept only `max_completion_tokens`, many compatible servers only `max_tokens`.
    ...(maxTokens !== undefined && { [own ? 'max_completion_tokens' : 'max_tokens']: maxTokens }),
    ...(stop !== undefined && { stop: [...stop] }),
    ...(seed !== undefined && { seed }),
    ...(effort !== undefined && { reasoning_effort: effort }),
  }
}

function toToolChoice(choice: ToolChoice): OpenAI.ChatCompletionToolChoiceOption {
  return typeof choice === 'string' ? choice : { type: 'function', function: { name: choice.tool } }
}

function toWire(message: Message, at: number): OpenAI.ChatCompletionMessageParam {
  switch (message.role) {
    case 'system':
      return { role: 'system', content: message.content }
    case 'user': {
      const { content } = message
      if (typeof content === 'string') return { role: 'user', content }
      return { role: 'user', content: content.map((part, n) => toPart(part, { message: at, part: n })) }
    }
    case 'tool':
      return { role: 'tool', tool_call_id: message.call, content: message.content }
    case 'assistant': {
      const calls = message.calls ?? []
      if (calls.length === 0) return { role: 'assistant', content: message.content }
      return {
        role: 'assistant',
        content: message.content || null,
        ...thinkingOf(message),
        tool_calls: calls.map(validCall).map(({ call, name, args, extra }) => ({
          ...signatureOf(extra),
          id: call,
          type: 'function',
          function: { name, arguments: JSON.stringify(args) },
        })),
      }
    }
  }
}

/** The API takes images, and of files only PDF. The server reads no other: text goes into the message itself. */
function toPart(part: Part, place: PartPlace): OpenAI.ChatCompletionContentPart {
  if (part.type === 'text') return { type: 'text', text: part.text }
  if (part.type === 'image')
    return { type: 'image_url', image_url: { url: 'url' in part ? part.url : dataURL(part, place) } }
  if (isTextType(part.mediaType)) return { type: 'text', text: inlineText(part, place) }
  if (bareType(part.mediaType) !== 'application/pdf')
    throw unsupportedPart('openai', part, place, 'images, PDF, and files of text')
  // The server requires a name.
  return { type: 'file', file: { filename: part.name ?? 'file.pdf', file_data: dataURL(part, place) } }
}

/**
 * Thinking goes back only with the calls that followed it, in the field in which it came. DeepSeek refuses calls
 * without it; other servers refuse a field that is not theirs.
 */
function thinkingOf({ thinking, extra }: Extract<Message, { role: 'assistant' }>): {
  [Field in ThinkingField]?: string
} {
  const field = THINKING_FIELDS.find((name) => name === extra?.['thinking'])
  return field && thinking !== undefined ? { [field]: thinking } : {}
}

/** Gemini's signature of a call. A conversation may come from a client, so no other member goes to the provider. */
function signatureOf(extra: Extra | undefined): object {
  return extra?.['extra_content'] === undefined ? {} : { extra_content: extra['extra_content'] }
}
