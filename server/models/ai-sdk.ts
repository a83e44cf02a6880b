import { MillraceError } from '../../protocol/errors.ts'
import { checkOptions, type OptionKinds } from '../../protocol/options.ts'
import { callOptions, unsupportedIn } from './ai-sdk/call-options.ts'
import { StreamParts } from './ai-sdk/stream-parts.ts'
import type { Model, ModelEvent, ModelRequest } from './model.ts'
import { unsupportedSettings } from './model-settings.ts'
import { answer, askingOf, idOf, PROVIDER_OPTIONS, type ProviderOptions } from './provider/attempts.ts'
import type { Exchange } from './provider/exchange.ts'
import { objectIn, textIn } from './provider/json.ts'
import { Refusal, retryAfterMs } from './provider/refusal.ts'

/**
 * A language model of the AI SDK, in the version 2, 3 or 4 of its specification: what a provider package such as
 * `@ai-sdk/mistral` makes.
 */
export type AISDKModel = {
  /** `v2`, `v3` or `v4`. */
  readonly specificationVersion: string
  /** The name of the provider. */
  readonly provider: string
  /** The name of the model at the provider. */
  readonly modelId: string
  /** Asks the model for a stream of parts. */
  doStream(options: never): PromiseLike<{ stream: ReadableStream<unknown> }>
}

/** The options of `fromAISDK()`. Headers, `fetch` and keys are options of the AI SDK's provider. */
export type AISDKOptions = Pick<ProviderOptions, 'id' | 'maxRetries' | 'timeouts' | 'thinkTags' | 'runtime'> & {
  /** Options of the provider, by its name, in the words of the AI SDK (`providerOptions`). Default: none. */
  providerOptions?: { readonly [provider: string]: { readonly [name: string]: unknown } } | undefined
}

const { id, maxRetries, timeouts, thinkTags, runtime } = PROVIDER_OPTIONS
const OPTIONS: OptionKinds<AISDKOptions> = {
  id,
  maxRetries,
  timeouts,
  thinkTags,
  runtime,
  providerOptions: 'an object',
}

/**
 * Makes a model of one of the AI SDK, so that every provider of that ecosystem works. Its id is `PROVIDER:NAME`, in the
 * words of the AI SDK. A cancel aborts the signal that the AI SDK's provider gets, and cancels its stream.
 * @throws MillraceError `bad_request` for what is no such model, and for an unknown or invalid option.
 */
export function fromAISDK(model: AISDKModel, options: AISDKOptions = {}): Model {
  checkOptions('fromAISDK()', options, OPTIONS)
  const { specificationVersion: version, doStream } = (model ?? {}) as Partial<AISDKModel>
  if (typeof doStream !== 'function' || !/^v[234]$/.test(String(version)))
    throw new MillraceError('bad_request', 'fromAISDK() needs a language model of the AI SDK, such as mistral(name)')
  const { provider, modelId } = model
  const words = {
    model: modelId,
    missing: 'check the name, and whether this key may use it',
    key: `check the key of ${provider}`,
    unreachable: `check the address of ${provider} and the network`,
  }
  const asking = askingOf(words, options)
  return {
    id: idOf(options, `${provider}:${modelId}`),
    provider,
    stream: (request) =>
      answer(
        request,
        (exchange) => ask(exchange, model, request, options.providerOptions),
        asking,
        unsupportedSettings(provider, unsupportedIn(String(version), request)),
      ),
  }
}

async function* ask(
  exchange: Exchange,
  model: AISDKModel,
  request: ModelRequest,
  providerOptions: AISDKOptions['providerOptions'],
): AsyncGenerator<ModelEvent, void, undefined> {
  const options = callOptions(model.specificationVersion, request)
  const parts = new StreamParts(model.provider)
  const stream = exchange.open(async (abortSignal) => {
    const asked = { ...options, ...(providerOptions && { providerOptions }), abortSignal }
    try {
      return (await model.doStream(asked as never)).stream
    } catch (error) {
      throw refusalOf(error)
    }
  })
  try {
    for await (const part of stream) {
      const { type, error } = objectIn(part)
      if (type === 'error') throw refusalOf(error)
      yield* parts.take(objectIn(part))
      if (parts.isDone) break
    }
    yield* parts.end()
  } catch (error) {
    yield* parts.usage()
    throw error
  }
}

/** Errors of the AI SDK that are about the request or the configuration. Asking again does not help. */
const WRONG = new Map([
  ['AI_LoadAPIKeyError', 'the provider has no key: set it'],
  ['AI_LoadSettingError', 'the provider lacks a setting: set it'],
  ['AI_UnsupportedFunctionalityError', 'the provider does not support what the request has'],
  ['AI_InvalidPromptError', 'the provider does not take the conversation'],
  ['AI_NoSuchModelError', 'unknown model at the provider: check the name'],
])

/** An error of the AI SDK, as that of a response. Its text may repeat keys and prompts. */
function refusalOf(thrown: unknown): unknown {
  const { name, message, statusCode, responseBody, responseHeaders } = objectIn(thrown)
  const wrong = WRONG.get(textIn(name))
  if (wrong !== undefined) return new MillraceError('bad_request', wrong, { cause: thrown })
  if (typeof statusCode === 'number' && (statusCode < 200 || statusCode >= 300))
    return new Refusal(statusCode, textIn(responseBody) || textIn(message), retryAfterMs(headersOf(responseHeaders)))
  if (thrown instanceof Error) return thrown
  return new Refusal(undefined, typeof thrown === 'string' ? thrown : textIn(message) || JSON.stringify(thrown))
}

function headersOf(given: unknown): Headers {
  const headers = new Headers()
  const { 'retry-after': after, 'retry-after-ms': afterMs } = objectIn(given)
  if (typeof after === 'string') headers.set('retry-after', after)
  if (typeof afterMs === 'string') headers.set('retry-after-ms', afterMs)
  return headers
}
