import OpenAI from 'openai'
import { MillraceError } from '../../protocol/errors.ts'
import { checkOptions, type OptionKinds } from '../../protocol/options.ts'
import { ChatCompletion } from './chat-completion.ts'
import type { Model, ModelEvent, ModelRequest, Structured } from './model.ts'
import { unsupportedSettings } from './model-settings.ts'
import { chatRequest } from './openai/chat-request.ts'
import { ResponsesAnswer } from './openai/responses-answer.ts'
import { responsesRequest, unsupportedIn } from './openai/responses-request.ts'
import { answer, askingOf, idOf, PROVIDER_OPTIONS, type ProviderOptions } from './provider/attempts.ts'
import {
  type Endpoint,
  endpointOf,
  endpointWords,
  type KeyedProvider,
  withoutCustomHeaders,
} from './provider/endpoint.ts'
import type { Exchange } from './provider/exchange.ts'
import { readAnswer } from './provider/read-answer.ts'

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
  /**
   * Which API is asked. `'responses'` keeps the reasoning of a model over the turns of a conversation: it goes back
   * encrypted, and the provider stores nothing. Compatible servers have `'chat'`. Default `'chat'`.
   */
  api?: 'chat' | 'responses' | undefined
  /** Further members of every request. They take the place of those that millrace sets. Default: none. */
  body?: { readonly [name: string]: unknown } | undefined
  /**
   * Further members of `stream_options`, beside `include_usage: true`. `false` sends no `stream_options`, for servers
   * that refuse them; the usage is then unknown. Only for `'chat'`. Default: none.
   */
  streamOptions?: { readonly [name: string]: unknown } | false | undefined
  /**
   * Whether the model keeps to a JSON Schema that it is sent as `response_format`. Default: `enforced` at OpenAI,
   * `best-effort` at a compatible server. `none`: it is told in words.
   */
  structured?: Structured | undefined
}

const OPTIONS: OptionKinds<OpenAIOptions> = {
  ...PROVIDER_OPTIONS,
  apiKey: 'a string',
  baseURL: 'a string',
  organization: 'a string',
  api: 'a string',
  body: 'an object',
  streamOptions: 'anything',
  structured: 'a string',
}

/**
 * Makes a model of OpenAI, or of a server with a compatible chat completions API (vLLM, llama.cpp, LM Studio). Its id
 * is `openai:NAME`. A model that cannot stream is asked for its whole answer.
 * @param name The name of the model at the provider, such as `gpt-5-mini`.
 * @throws MillraceError `bad_request` for an empty name, for an unknown option, for an unusable key, base URL or other option, and when key and
 * base URL are missing.
 */
export function openai(name: string, options: OpenAIOptions = {}): Model {
  checkOptions('openai()', options, OPTIONS)
  const endpoint = endpointOf(name, options, OPENAI)
  const account = accountOf(options, endpoint)
  const { api = 'chat' } = options
  if (api !== 'chat' && api !== 'responses')
    throw new MillraceError('bad_request', "`api` of openai() must be 'chat' or 'responses'")
  const asking = askingOf(endpointWords(name, endpoint), options, { asksWhole: true })
  return {
    id: idOf(options, `openai:${name}`),
    provider: 'openai',
    structured: options.structured ?? (endpoint.own ? 'enforced' : 'best-effort'),
    stream: (request) =>
      answer(
        request,
        (exchange, streamed) => ask(exchange, { ...endpoint, ...account }, name, options, request, streamed),
        asking,
        api === 'responses' ? unsupportedSettings('the Responses API', unsupportedIn(request)) : [],
      ),
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
  endpoint: Endpoint & Account,
  model: string,
  { api = 'chat', body, streamOptions = {} }: OpenAIOptions,
  request: ModelRequest,
  streamed: boolean,
): AsyncGenerator<ModelEvent, void, undefined> {
  const client = clientOf(exchange, endpoint)
  // The response itself, not the package's iterator. That iterator ends silently on abort, prints what it cannot parse,
  // and buffers an endless line.
  if (api === 'responses') {
    const asked = { ...responsesRequest(model, request), model, stream: streamed, ...body }
    const response = await client.responses.create(asked as unknown as ResponsesBody).asResponse()
    yield* readAnswer(response, new ResponsesAnswer())
    return
  }
  const options = streamed && streamOptions && { stream_options: { include_usage: true, ...streamOptions } }
  const asked = { ...chatRequest(request, endpoint.own), model, stream: streamed, ...options, ...body }
  const response = await client.chat.completions.create(asked as unknown as ChatBody).asResponse()
  yield* readAnswer(response, new ChatCompletion())
}

type ResponsesBody = OpenAI.Responses.ResponseCreateParamsStreaming
type ChatBody = OpenAI.ChatCompletionCreateParamsStreaming

function clientOf(exchange: Exchange, { apiKey, baseURL, organization, project, usual }: Endpoint & Account): OpenAI {
  return new OpenAI({
    baseURL,
    organization,
    project,
    // The package requires a key, also where none is sent.
    apiKey: apiKey ?? 'none',
    ...(apiKey === undefined && { defaultHeaders: { authorization: null } }),
    fetch: usual ? exchange.fetch : withoutCustomHeaders(exchange.fetch, 'OPENAI_CUSTOM_HEADERS', apiKey),
    maxRetries: 0,
    logLevel: 'off',
  })
}
