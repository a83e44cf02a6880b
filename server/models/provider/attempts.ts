import { MillraceError } from '../../../protocol/errors.ts'
import type { OptionKinds } from '../../../protocol/options.ts'
import type { Runtime } from '../../../protocol/runtime.ts'
import { retry } from '../../streams/retry.ts'
import { textOf } from '../message-parts.ts'
import type { ModelEvent, ModelRequest } from '../model.ts'
import { Exchange, type ExchangeOptions } from './exchange.ts'
import { patientFetch } from './patient-fetch.ts'
import { explain, isNoToStreaming, isTimeout, type ProviderWords } from './refusal.ts'
import { takeLittleAtATime } from './small-reads.ts'
import { type ThinkTags, withoutThinkTags } from './think-tags.ts'
import { type ProviderTimeouts, timeoutsOf } from './timeouts.ts'

/** Shorter words in a header are no secrets. */
const MIN_SECRET_CHARACTERS = 8

/** Options of every model that asks a provider over HTTP. */
export type ProviderOptions = {
  /** The id by which actors and the command line name the model. Default: the provider and the name, `openai:NAME`. */
  id?: string | undefined
  /** Headers of every request. They take the place of those with the same name. Default: none. */
  headers?: { readonly [name: string]: string } | undefined
  /**
   * Maximum number of retries after a network failure, a rate limit or an overload before the first event. Default 3.
   */
  maxRetries?: number | undefined
  /** How long to wait for the provider. A request that took too long is not sent again. */
  timeouts?: ProviderTimeouts | undefined
  /**
   * Sends the requests in place of the `fetch` of Node. It must close the socket when `init.signal` aborts, and must not
   * read the body ahead.
   */
  fetch?: typeof fetch | undefined
  /**
   * Whether the model writes its thinking between `<think>` and `</think>` at the beginning of its text, and the server
   * leaves the tags there. `'open'`: the text begins within the thinking. Default false.
   */
  thinkTags?: ThinkTags | undefined
  /** The environment variables to read. Default `process.env`. */
  env?: { readonly [name: string]: string | undefined } | undefined
  /** The timer and the random numbers of the waits between attempts. Default: the real ones. */
  runtime?: Pick<Runtime, 'setTimer' | 'random'> | undefined
}

/** What kind of value each of them takes. `headersOf`, `timeoutsOf` and `withoutThinkTags` check theirs. */
export const PROVIDER_OPTIONS: OptionKinds<ProviderOptions> = {
  id: 'a string',
  headers: 'anything',
  maxRetries: 'a number',
  timeouts: 'anything',
  fetch: 'a function',
  thinkTags: 'anything',
  env: 'an object',
  runtime: 'an object',
}

/**
 * Sends one request over `exchange` and yields the answer, `finish` last. It may throw anything.
 * @param streamed whether to ask for a stream. False for a model that cannot.
 */
export type Attempt = (exchange: Exchange, streamed: boolean) => AsyncGenerator<ModelEvent, void, undefined>

/** How a model asks its provider. Made once for each model. */
export type Asking = {
  readonly words: ProviderWords
  readonly exchange: ExchangeOptions
  readonly maxRetries: number | undefined
  readonly thinkTags: ThinkTags
  readonly runtime: ProviderOptions['runtime']
  /** The adapter can ask for a whole answer instead of a stream. */
  readonly asksWhole: boolean
  /** Whether the model has refused to stream. It is not asked to again. */
  readonly refused: { streaming: boolean }
}

/** @throws MillraceError `bad_request` for an invalid option. */
export function askingOf(
  words: ProviderWords,
  options: ProviderOptions,
  { asksWhole = false }: { asksWhole?: boolean } = {},
): Asking {
  const { maxRetries, thinkTags = false, runtime, timeouts, fetch = patientFetch } = options
  const headers = headersOf(options.headers)
  takeLittleAtATime()
  const send: typeof fetch = (input, init) => {
    const all = new Headers(init?.headers)
    for (const [name, value] of headers) all.set(name, value)
    return fetch(input, { ...init, headers: all })
  }
  return {
    words: { ...words, secrets: [...(words.secrets ?? []), ...[...headers.values()].flatMap(secretsIn)] },
    exchange: { fetch: send, timeouts: timeoutsOf(timeouts) },
    maxRetries,
    thinkTags,
    runtime,
    asksWhole,
    refused: { streaming: false },
  }
}

/** The id of a model. @throws MillraceError `bad_request` for an id that cannot be named. */
export function idOf({ id }: Pick<ProviderOptions, 'id'>, usual: string): string {
  if (id !== undefined && !/^\S{1,256}$/.test(id))
    throw new MillraceError('bad_request', 'the `id` of a model is 1 to 256 characters without spaces')
  return id ?? usual
}

function headersOf(given: ProviderOptions['headers']): Headers {
  try {
    return new Headers(given)
  } catch {
    // The error of the class repeats the value, which may be a key.
    throw new MillraceError('bad_request', 'one of `headers` has a name or a value that no header can have')
  }
}

/** What may be secret in the value of a header, such as the token behind `Bearer`. */
function secretsIn(value: string): string[] {
  return value.split(/[\s,;=]+/).filter(({ length }) => length >= MIN_SECRET_CHARACTERS)
}

/** An attempt that has its first event, or the failure after which no other follows. */
type Begun =
  | { exchange: Exchange; events: AsyncGenerator<ModelEvent, void, undefined>; first: IteratorResult<ModelEvent, void> }
  | { failure: MillraceError }

/**
 * Yields a model's answer. It makes attempts until one yields its first event, then yields the events of that attempt.
 * It keeps the contract of `Model.stream`: no event follows an abort, the socket is closed before the iterator settles,
 * and every error is a `MillraceError`.
 * @param warnings What to yield before anything else.
 */
export async function* answer(
  request: ModelRequest,
  attempt: Attempt,
  { words, exchange: options, maxRetries, thinkTags, runtime, asksWhole, refused }: Asking,
  warnings: readonly ModelEvent[] = [],
): AsyncGenerator<ModelEvent, void, undefined> {
  const { signal } = request
  signal.throwIfAborted()
  for (const warning of warnings) yield warning
  const begun = yield* retry(
    async function begin(): Promise<Begun> {
      const streamed = !refused.streaming
      const exchange = new Exchange(signal, options)
      try {
        const events = withoutThinkTags(attempt(exchange, streamed), thinkTags)
        const first = await events.next()
        exchange.answering()
        return { exchange, events, first }
      } catch (error) {
        await exchange.close()
        const cause = exchange.failure ?? error
        if (asksWhole && streamed && isNoToStreaming(cause)) {
          refused.streaming = true
          signal.throwIfAborted()
          return begin()
        }
        const failure = explain(cause, wordsOf(request, words))
        // The provider may still work on it: sending it again would only make it busier.
        if (isTimeout(cause)) return { failure }
        throw failure
      }
    },
    { signal, ...(maxRetries !== undefined && { maxRetries }), ...(runtime && { runtime }) },
  )
  if ('failure' in begun) {
    signal.throwIfAborted()
    throw begun.failure
  }
  const { exchange, events, first } = begun
  try {
    for (let item = first; !item.done; item = await events.next()) {
      // Events that were read before the abort are not yielded after it.
      signal.throwIfAborted()
      yield item.value
    }
    await exchange.finish()
  } catch (error) {
    signal.throwIfAborted()
    throw explain(exchange.failure ?? error, wordsOf(request, words))
  } finally {
    await exchange.close()
  }
  signal.throwIfAborted()
}

/** Shorter texts of a conversation are words that stand in any error. */
const MIN_TEXT_CHARACTERS = 12

/** The words of a provider, with what no report may repeat: a provider may quote the conversation in its error. */
function wordsOf({ messages }: ModelRequest, words: ProviderWords): ProviderWords {
  const texts = messages.map(textOf)
  const lines = texts.at(-1)?.split('\n') ?? []
  const said = [...texts, ...lines].filter(({ length }) => length >= MIN_TEXT_CHARACTERS)
  const escaped = said.map((text) => JSON.stringify(text).slice(1, -1))
  return { ...words, secrets: [...(words.secrets ?? []), ...said, ...escaped] }
}
