import type { Runtime } from '../../../protocol/runtime.ts'
import { retry } from '../../streams/retry.ts'
import type { ModelEvent, ModelRequest } from '../model.ts'
import { Exchange } from './exchange.ts'
import { explain, type ProviderWords } from './refusal.ts'
import { type ThinkTags, withoutThinkTags } from './think-tags.ts'

/** Options of every model that asks a provider over HTTP. */
export type ProviderOptions = {
  /**
   * Maximum number of retries after a network failure, a rate limit or an overload before the first event. Default 3.
   */
  maxRetries?: number
  /**
   * Whether the model writes its thinking between `<think>` and `</think>` at the beginning of its text, and the server
   * leaves the tags there. `'open'`: the text begins within the thinking. Default false.
   */
  thinkTags?: ThinkTags
  /** The environment variables to read. Default `process.env`. */
  env?: { readonly [name: string]: string | undefined }
  /** The timer and the random numbers of the waits between attempts. Default: the real ones. */
  runtime?: Pick<Runtime, 'setTimer' | 'random'>
}

/** Sends one request over `exchange` and yields the answer, `finish` last. It may throw anything. */
export type Attempt = (exchange: Exchange) => AsyncGenerator<ModelEvent, void, undefined>

/**
 * Yields a model's answer. It makes attempts until one yields its first event, then yields the events of that attempt.
 * It keeps the contract of `Model.stream`: no event follows an abort, the socket is closed before the iterator settles,
 * and every error is a `MillraceError`.
 */
export async function* answer(
  request: ModelRequest,
  attempt: Attempt,
  words: ProviderWords,
  { maxRetries, thinkTags = false, runtime }: ProviderOptions,
): AsyncGenerator<ModelEvent, void, undefined> {
  const { signal } = request
  const { exchange, events, first } = yield* retry(
    async () => {
      const exchange = new Exchange(signal)
      try {
        const events = withoutThinkTags(attempt(exchange), thinkTags)
        return { exchange, events, first: await events.next() }
      } catch (error) {
        await exchange.close()
        throw explain(error, words)
      }
    },
    { signal, ...(maxRetries !== undefined && { maxRetries }), ...(runtime && { runtime }) },
  )
  try {
    for (let item = first; !item.done; item = await events.next()) {
      // Events that were read before the abort are not yielded after it.
      signal.throwIfAborted()
      yield item.value
    }
    await exchange.finish()
  } catch (error) {
    signal.throwIfAborted()
    throw explain(error, words)
  } finally {
    await exchange.close()
  }
  signal.throwIfAborted()
}
