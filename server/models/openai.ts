import OpenAI from 'openai'
import { checkOptions, type OptionKinds } from '../../protocol/options.ts'
import { ChatCompletion, THINKING_FIELDS, type ThinkingField } from './chat-completion.ts'
import { bareType, isTextType, type Part } from './message-parts.ts'
import type { Extra, Message, Model, ModelEvent, ModelRequest } from './model.ts'
import type { ToolChoice } from './model-settings.ts'
import { answerBody } from './provider/answer-body.ts'
import { answer, askingOf, idOf, PROVIDER_OPTIONS, type ProviderOptions } from './provider/attempts.ts'
import { type Endpoint, endpointOf, type KeyedProvider } from './provider/endpoint.ts'
import type { Exchange } from './provider/exchange.ts'
import { objectIn } from './provider/json.ts'
import { dataURL, inlineText, type PartPlace, unsupportedPart } from './provider/parts.ts'
import { validCall } from './valid-call.ts'

/** The options of `openai()`. */
export type OpenAIOptions = ProviderOptions & {
  /**
   * The API key. Default: `OPENAI_API_KEY`, unless `baseURL` is another server than OpenAI's and `OPENAI_BASE_URL`. A
   * compatible server may need none.
   */
  apiKey?: string | undefined
  /** The address of the API, with `/v1`. Default: `OPENAI_BASE_URL`, else that of OpenAI. */
  baseURL?: string | undefined
  /** The id of the organization. Default: `OPENAI_ORG_ID` where `OPENAI_API_KEY` is the default key, else none. */
  organization?: string | undefined
  /** Further members of every request. They take the place of those that millrace sets. Default: none. */
  body?: { readonly [name: string]: unknown } | undefined
  /**
   * Further members of `stream_options`, beside `include_usage: true`. `false` sends no `stream_options`, for servers
   * that refuse them; the usage is then unknown. Default: none.
   */
  streamOptions?: { readonly [name: string]: unknown } | false | undefined
}

const OPTIONS: OptionKinds<OpenAIOptions> = {
  ...PROVIDER_OPTIONS,
  apiKey: 'a string',
  baseURL: 'a string',
  organization: 'a string',
  body: 'an object',
  streamOptions: 'anything',
}

/**
 * Makes a model of OpenAI, or of a server with a compatible chat completions API (vLLM, llama.cpp, LM Studio). Its id
 * is `openai:NAME`.
 * @param name The name of the model at the provider, such as `gpt-5-mini`.
 * @throws MillraceError `bad_request` for an empty name, for an unknown option, for an unusable key, base URL or other option, and when key and
 * base URL are missing.
 */
export function openai(name: string, options: OpenAIOptions = {}): Model {
  checkOptions('openai()', options, OPTIONS)
  const endpoint = endpointOf(name, options, OPENAI)
  const { apiKey } = endpoint
  const account = accountOf(options, endpoint)
  const asking = askingOf(
    {
      model: name,
      missing: 'check the name, and whether this key may use it',
      key: endpoint.advice,
      ...(apiKey !== undefined && { secrets: [apiKey] }),
      unreachable: `check ${endpoint.addressName} and the network`,
    },
    options,
  )
  return {
    id: idOf(options, `openai:${name}`),
    provider: 'openai',
    stream: (request) =>
      answer(request, (exchange) => ask(exchange, { ...endpoint, ...account }, name, options, request), asking),
  }
}

const OPENAI: KeyedProvider = {
  provider: 'openai',
  example: 'gpt-5-mini',
  keys: ['OPENAI_API_KEY'],
  address: 'OPENAI_BASE_URL',
  exampleAddress: 'http://127.0.0.1:8000/v1',
  url: 'https://api.openai.com/v1',
  host: 'openai.com',
  keyHeaders: ['authorization'],
}

/** Whose account pays. The variables of the environment belong to the server of the environment. */
type Account = { organization: string | null; project: string | null }

function accountOf({ organization, env = process.env }: OpenAIOptions, { usual }: Endpoint): Account {
  return {
    organization: organization ?? (usual ? env['OPENAI_ORG_ID'] : undefined) ?? null,
    project: (usual ? env['OPENAI_PROJECT_ID'] : undefined) ?? null,
  }
}

async function* ask(
  exchange: Exchange,
  { apiKey, baseURL, organization, project, own }: Endpoint & Account,
  model: string,
  { body, streamOptions = {} }: OpenAIOptions,
  request: ModelRequest,
): AsyncGenerator<ModelEvent, void, undefined> {
  const client = new OpenAI({
    baseURL,
    organization,
    project,
    // The package requires a key, also where none is sent.
    apiKey: apiKey ?? 'none',
    ...(apiKey === undefined && { defaultHeaders: { authorization: null } }),
    fetch: exchange.fetch,
    maxRetries: 0,
    logLevel: 'off',
  })
  // The response itself, not the package's iterator. That iterator ends silently on abort, prints what it cannot parse,
  // and buffers an endless line.
  const response = await client.chat.completions
    .create({
      model,
      stream: true,
      ...(streamOptions && { stream_options: { include_usage: true, ...streamOptions } }),
      messages: request.messages.map(toWire),
      ...settingsOf(request, own),
      ...body,
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
