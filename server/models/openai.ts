import OpenAI from 'openai'
import { MillraceError } from '../../protocol/errors.ts'
import { ChatCompletion, THINKING_FIELDS, type ThinkingField } from './chat-completion.ts'
import type { Extra, Message, Model, ModelEvent, ModelRequest } from './model.ts'
import { answerBody } from './provider/answer-body.ts'
import { answer, type ProviderOptions } from './provider/attempts.ts'
import type { Exchange } from './provider/exchange.ts'
import { objectIn } from './provider/json.ts'
import { validCall } from './valid-call.ts'

/** The options of `openai()`. */
export type OpenAIOptions = ProviderOptions & {
  /** The API key. Default: `OPENAI_API_KEY`. A compatible server at `baseURL` may need none. */
  apiKey?: string
  /** The address of the API, with `/v1`. Default: `OPENAI_BASE_URL`, else that of OpenAI. */
  baseURL?: string
  /** The id of the organization. Default: `OPENAI_ORG_ID`, else none. */
  organization?: string
}

/**
 * Makes a model of OpenAI, or of a server with a compatible chat completions API (vLLM, llama.cpp, LM Studio). Its id
 * is `openai:NAME`.
 * @param name The name of the model at the provider, such as `gpt-5-mini`.
 * @throws MillraceError `bad_request` for an empty name, for an unusable key or base URL, and when both are missing.
 */
export function openai(name: string, options: OpenAIOptions = {}): Model {
  const endpoint = endpointOf(name, options)
  const words = {
    model: name,
    missing: 'check the name, and whether this key may use it',
    key: 'check OPENAI_API_KEY',
    ...(endpoint.apiKey !== NO_KEY && { secret: endpoint.apiKey }),
    unreachable: 'check OPENAI_BASE_URL and the network',
  }
  return {
    id: `openai:${name}`,
    provider: 'openai',
    stream: (request) => answer(request, (exchange) => ask(exchange, endpoint, name, request), words, options),
  }
}

/** Stands for a missing key: the package requires one. A server without keys ignores it. */
const NO_KEY = 'none'

type Endpoint = { apiKey: string; baseURL: string; organization: string | null; project: string | null; own: boolean }

function endpointOf(name: string, { apiKey, baseURL, organization, env = process.env }: OpenAIOptions): Endpoint {
  if (name.trim() === '')
    throw new MillraceError('bad_request', 'openai needs the name of a model, such as openai:gpt-5-mini')
  const key = (apiKey ?? env['OPENAI_API_KEY'] ?? '').trim()
  const url = (baseURL ?? env['OPENAI_BASE_URL'] ?? '').trim()
  if (key === '' && url === '') {
    throw new MillraceError(
      'bad_request',
      `openai:${name} needs a key: set OPENAI_API_KEY, or OPENAI_BASE_URL for a compatible server that needs none`,
    )
  }
  if (/[^\x21-\x7e]/.test(key)) {
    throw new MillraceError('bad_request', 'OPENAI_API_KEY has characters that no key has: copy it again')
  }
  if (url !== '' && !(URL.canParse(url) && /^https?:$/.test(new URL(url).protocol))) {
    throw new MillraceError('bad_request', 'OPENAI_BASE_URL must be an address such as http://127.0.0.1:8000/v1')
  }
  return {
    apiKey: key === '' ? NO_KEY : key,
    baseURL: url === '' ? 'https://api.openai.com/v1' : url,
    organization: organization ?? env['OPENAI_ORG_ID'] ?? null,
    project: env['OPENAI_PROJECT_ID'] ?? null,
    own: url === '' || new URL(url).hostname.endsWith('.openai.com'),
  }
}

async function* ask(
  exchange: Exchange,
  { own, ...access }: Endpoint,
  model: string,
  { messages, tools = [], temperature, maxTokens }: ModelRequest,
): AsyncGenerator<ModelEvent, void, undefined> {
  const client = new OpenAI({ ...access, fetch: exchange.fetch, maxRetries: 0, logLevel: 'off' })
  // The response itself, not the package's iterator. That iterator ends silently on abort, prints what it cannot parse,
  // and buffers an endless line.
  const response = await client.chat.completions
    .create({
      model,
      stream: true,
      stream_options: { include_usage: true },
      messages: messages.map(toWire),
      ...(tools.length > 0 && {
        tools: tools.map(({ name, description, parameters }) => ({
          type: 'function' as const,
          function: { name, description, parameters: objectIn(parameters) },
        })),
      }),
      ...(temperature !== undefined && { temperature }),
      // OpenAI's newer models accept only `max_completion_tokens`, many compatible servers only `max_tokens`.
      ...(maxTokens !== undefined && { [own ? 'max_completion_tokens' : 'max_tokens']: maxTokens }),
    })
    .asResponse()

  const completion = new ChatCompletion()
  try {
    for await (const event of answerBody(response.body!)) {
      yield* completion.take(event)
      if (completion.isDone) break
    }
    yield* completion.end()
  } catch (error) {
    yield* completion.usage()
    throw error
  }
}

function toWire(message: Message): OpenAI.ChatCompletionMessageParam {
  switch (message.role) {
    case 'system':
    case 'user':
      return { role: message.role, content: message.content }
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
