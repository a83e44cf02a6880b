import { GoogleGenAI } from '@google/genai'
import { checkOptions, type OptionKinds } from '../../protocol/options.ts'
import { GEMINI, GenerateContentAnswer } from './gemini/generate-content-answer.ts'
import { generateContentRequest, isOlder, toolNames, unsupportedIn } from './gemini/generate-content-request.ts'
import type { Model, ModelEvent, ModelRequest, Structured } from './model.ts'
import { unsupportedSettings } from './model-settings.ts'
import { answer, askingOf, idOf, PROVIDER_OPTIONS, type ProviderOptions } from './provider/attempts.ts'
import { type Endpoint, endpointOf, endpointWords, type KeyedProvider } from './provider/endpoint.ts'
import type { Exchange } from './provider/exchange.ts'
import type { Wire } from './provider/json.ts'
import { readAnswer } from './provider/read-answer.ts'

/** The options of `gemini()`. */
export type GeminiOptions = ProviderOptions & {
  /**
   * The API key. Default: `GEMINI_API_KEY`, else `GOOGLE_API_KEY`, unless `baseURL` is another server than Google's and
   * `GOOGLE_GEMINI_BASE_URL`.
   */
  apiKey?: string | undefined
  /** The address of the API, without `/v1beta`. Default: `GOOGLE_GEMINI_BASE_URL`, else that of Google. */
  baseURL?: string | undefined
  /**
   * Further members of the configuration of every request, in the words of `@google/genai`, such as `safetySettings`.
   * They take the place of those that millrace sets. Default: none.
   */
  config?: { readonly [name: string]: unknown } | undefined
  /**
   * Whether the model keeps to a JSON Schema that it is sent as `responseJsonSchema`. Default: `enforced` from Gemini 3 on,
   * `best-effort` for older models, which take no tools together with it. `none`: it is told in words.
   */
  structured?: Structured | undefined
}

const OPTIONS: OptionKinds<GeminiOptions> = {
  ...PROVIDER_OPTIONS,
  apiKey: 'a string',
  baseURL: 'a string',
  config: 'an object',
  structured: 'a string',
}

const PROVIDER: KeyedProvider = {
  provider: GEMINI,
  example: 'gemini-3-flash',
  keys: ['GEMINI_API_KEY', 'GOOGLE_API_KEY'],
  address: 'GOOGLE_GEMINI_BASE_URL',
  exampleAddress: 'http://127.0.0.1:8000',
  url: 'https://generativelanguage.googleapis.com',
  host: 'generativelanguage.googleapis.com',
  keyHeaders: ['x-goog-api-key', 'authorization'],
}

const KEY_HEADER = 'x-goog-api-key'

/**
 * Makes a model of Google's Gemini API. Its id is `gemini:NAME`. Thinking is shown if the setting `effort` asks for it.
 * Signatures of thinking go back to the provider as they came.
 * @param name The name of the model at the provider, such as `gemini-3-flash`.
 * @throws MillraceError `bad_request` for an empty name, for an unknown option, for an unusable key, base URL or other
 *   option, and when key and base URL are missing.
 */
export function gemini(name: string, options: GeminiOptions = {}): Model {
  checkOptions('gemini()', options, OPTIONS)
  const endpoint = endpointOf(name, options, PROVIDER)
  const asking = askingOf(endpointWords(name, endpoint), options)
  return {
    id: idOf(options, `${GEMINI}:${name}`),
    provider: GEMINI,
    structured: options.structured ?? (isOlder(name) ? 'best-effort' : 'enforced'),
    stream: (request) =>
      answer(
        request,
        (exchange) => ask(exchange, endpoint, name, options.config, request),
        asking,
        unsupportedSettings(GEMINI, unsupportedIn(request)),
      ),
  }
}

async function* ask(
  exchange: Exchange,
  endpoint: Endpoint,
  model: string,
  own: GeminiOptions['config'],
  request: ModelRequest,
): AsyncGenerator<ModelEvent, void, undefined> {
  const { contents, config } = generateContentRequest(model, request)
  const response = await responseTo(exchange, endpoint, { model, contents, config: { ...config, ...own } })
  yield* readAnswer(response, new GenerateContentAnswer(toolNames(request)))
}

/**
 * The package writes the request and gets an empty response; the real one is read here. The package's own reader fails
 * on malformed lines, repeats them in its errors, and never closes the socket of a stream that is left.
 */
async function responseTo(exchange: Exchange, { apiKey, baseURL }: Endpoint, request: Wire): Promise<Response> {
  let response: Response | undefined
  const send: typeof fetch = async (input, init) => {
    const headers = new Headers(init?.headers)
    if (apiKey === undefined) headers.delete(KEY_HEADER)
    response = await exchange.fetch(input, { ...init, headers })
    return new Response('')
  }
  // With a key and `vertexai`, the package reads nothing of the environment. It requires a key, also where none is sent.
  const client = new GoogleGenAI({
    apiKey: apiKey ?? 'none',
    vertexai: false,
    httpOptions: { baseUrl: baseURL, fetch: send },
  })
  const { httpOptions: _, abortSignal: __, ...config } = request['config'] as Wire
  const asked = {
    ...request,
    config: { ...config, automaticFunctionCalling: { disable: true }, automaticContinuation: false },
  }
  await client.models.generateContentStream(
    asked as unknown as Parameters<typeof client.models.generateContentStream>[0],
  )
  return response!
}
