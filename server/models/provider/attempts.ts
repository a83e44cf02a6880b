import type { Runtime } from '../../../protocol/runtime.ts'
import { retry } from '../../streams/retry.ts'
import type { ModelEvent, ModelRequest } from '../model.ts'
import { Exchange } from './exchange.ts'
import { explain, type ProviderWords } from './refusal.ts'

/** What every model that asks a provider over HTTP can be told. */
export type ProviderOptions = {
  /** Attempts after the first, for network failures, rate limits and overload, before the first token. Default 3. */
  maxRetries?: number
  /** Where variables are read from. Default `process.env`. */
  env?: { readonly [name: string]: string | undefined }
  /** Timer and chance of the waits between attempts. Default: the real ones. */
  runtime?: Pick<Runtime, 'setTimer' | 'random'>
}

/** Asks the provider once, over `exchange`, and says what it answers; `finish` comes last. It may throw anything. */
export type Attempt = (exchange: Exchange) => AsyncGenerator<ModelEvent, void, undefined>

/**
 * A model's answer: attempts until one says something, then what that one says. It keeps the promises of
 * `Model.stream`: nothing is yielded after an abort, the socket is closed before it settles, every error is ours.
 */
export async function* answer(
  request: ModelRequest,
  attempt: Attempt,
  words: ProviderWords,
  { maxRetries, runtime }: ProviderOptions,
): AsyncGenerator<ModelEvent, void, undefined> {
  const { signal } = request
  const { exchange, events, first } = yield* retry(
    async () => {
      const exchange = new Exchange(signal)
      try {
        const events = attempt(exchange)
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
      // What had been read before the abort is not shown after it.
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
