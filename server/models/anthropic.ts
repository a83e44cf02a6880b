import Anthropic from '@anthropic-ai/sdk'
import { checkOptions, type OptionKinds } from '../../protocol/options.ts'
import { ANTHROPIC, MessagesAnswer } from './anthropic/messages-answer.ts'
import { messagesRequest, unsupportedIn } from './anthropic/messages-request.ts'
import type { Model, ModelEvent, ModelRequest, Structured } from './model.ts'
import { unsupportedSettings } from './model-settings.ts'
import { type Asking, answer, askingOf, idOf, PROVIDER_OPTIONS, type ProviderOptions } from './provider/attempts.ts'
import {
  type Endpoint,
  endpointOf,
  endpointWords,
  type KeyedProvider,
  withoutCustomHeaders,
} from './provider/endpoint.ts'
import type { Exchange } from './provider/exchange.ts'
import { objectsIn, type Wire } from './provider/json.ts'
import { readAnswer } from './provider/read-answer.ts'

/** The options of `anthropic()`. */
export type AnthropicOptions = ProviderOptions & {
  /**
   * The API key. Default: `ANTHROPIC_API_KEY`, unless `baseURL` is another server than Anthropic's and
   * `ANTHROPIC_BASE_URL`. A compatible server may need none.
   */
  apiKey?: string | undefined
  /** The address of the API, without `/v1`. Default: `ANTHROPIC_BASE_URL`, else that of Anthropic. */
  baseURL?: string | undefined
  /** Further members of every request. They take the place of those that millrace sets. Default: none. */
  body?: { readonly [name: string]: unknown } | undefined
  /**
   * Whether the model keeps to a JSON Schema that it is sent as `output_config.format`. Default: `enforced` at Anthropic,
   * `none` at a compatible server: it is told in words.
   */
  structured?: Structured | undefined
}

const OPTIONS: OptionKinds<AnthropicOptions> = {
  ...PROVIDER_OPTIONS,
  apiKey: 'a string',
  baseURL: 'a string',
  body: 'an object',
  structured: 'a string',
}

const PROVIDER: KeyedProvider = {
  provider: ANTHROPIC,
  example: 'claude-sonnet-5-5',
  keys: ['ANTHROPIC_API_KEY'],
  address: 'ANTHROPIC_BASE_URL',
  exampleAddress: 'http://127.0.0.1:8000',
  url: 'https://api.anthropic.com',
  host: 'anthropic.com',
  keyHeaders: ['authorization', 'x-api-key'],
}

/** How often one answer may pause. A provider pauses it while tools of its own take long. */
const MAX_PAUSES = 16

/**
 * Makes a model of Anthropic, or of a server with a compatible messages API. Its id is `anthropic:NAME`. An answer that
 * the provider pauses goes on with another request. Thinking goes back to the provider as it was signed.
 * @param name The name of the model at the provider, such as `claude-sonnet-5-5`.
 * @throws MillraceError `bad_request` for an empty name, for an unknown option, for an unusable key, base URL or other
 *   option, and when key and base URL are missing.
 */
export function anthropic(name: string, options: AnthropicOptions = {}): Model {
  checkOptions('anthropic()', options, OPTIONS)
  const endpoint = endpointOf(name, options, PROVIDER)
  const asking = askingOf(endpointWords(name, endpoint), options, { asksWhole: true })
  return {
    id: idOf(options, `${ANTHROPIC}:${name}`),
    provider: ANTHROPIC,
    structured: options.structured ?? (endpoint.own ? 'enforced' : 'none'),
    stream: (request) =>
      wholeAnswer(
        request,
        (): Wire => ({ ...messagesRequest(request), model: name, ...options.body }),
        endpoint,
        asking,
      ),
  }
}

/** Yields an answer with all that follows its pauses. */
async function* wholeAnswer(
  request: ModelRequest,
  bodyOf: () => Wire,
  endpoint: Endpoint,
  asking: Asking,
): AsyncGenerator<ModelEvent, void, undefined> {
  const body = bodyOf()
  let warnings = unsupportedSettings(ANTHROPIC, unsupportedIn(request))
  let paused: Wire[] = []
  for (let pauses = 0; pauses <= MAX_PAUSES; pauses++) {
    const asked = paused.length === 0 ? body : continued(body, paused)
    let latest: MessagesAnswer | undefined
    // Readers have seen what came before a pause, so nothing is sent twice after it.
    const how = pauses === 0 ? asking : { ...asking, maxRetries: 0 }
    yield* answer(
      request,
      (exchange, streamed) => {
        latest = new MessagesAnswer()
        return ask(exchange, endpoint, asked, latest, streamed)
      },
      how,
      warnings,
    )
    const more = latest?.paused
    if (more === undefined) return
    paused = [...paused, ...more]
    warnings = []
  }
  yield {
    type: 'warning',
    code: 'unknown_finish',
    message: `the provider paused the answer more than ${MAX_PAUSES} times`,
  }
  yield { type: 'finish', stop: 'other' }
}

function continued(body: Wire, paused: readonly Wire[]): Wire {
  return { ...body, messages: [...objectsIn(body['messages']), { role: 'assistant', content: paused }] }
}

async function* ask(
  exchange: Exchange,
  { apiKey, baseURL, usual }: Endpoint,
  body: Wire,
  messages: MessagesAnswer,
  streamed: boolean,
): AsyncGenerator<ModelEvent, void, undefined> {
  const client = new Anthropic({
    baseURL,
    // With null, the package neither reads the environment nor looks for a profile on the disk.
    apiKey: apiKey ?? null,
    authToken: null,
    webhookKey: null,
    ...(apiKey === undefined && { defaultHeaders: { authorization: null } }),
    fetch: usual ? exchange.fetch : withoutCustomHeaders(exchange.fetch, 'ANTHROPIC_CUSTOM_HEADERS', apiKey),
    maxRetries: 0,
    logLevel: 'off',
    // Its spans can have prompts in them.
    openTelemetry: false,
  })
  // The response itself, not the package's iterator: that one ends silently on abort, and prints what it cannot parse.
  // Not `messages.create`, which prints about models that are no longer new.
  const response = await client.post('/v1/messages', { body: { ...body, stream: streamed }, stream: true }).asResponse()
  yield* readAnswer(response, messages)
}
