import { type ClientRuntime, MillraceError, smooth } from '../client-sdk/index.ts'

/** The options of `chunkProcessor`. */
export type ChunkProcessorOptions = {
  /** Receives the joined text. What waits behind it waits for a returned promise. */
  onChunk: (text: string) => void | Promise<void>
  /** How long text is collected, in milliseconds. Default 50. */
  debounceMs?: number | undefined
  /** The most bytes of text that may wait, two for each UTF-16 code unit. Default 1,048,576 (1 MiB). */
  maxBytes?: number | undefined
  /** Receives what `onChunk` throws, and `overloaded` for text that was refused. Default: none. */
  onError?: ((error: MillraceError) => void) | undefined
  /** Clock and timers. Default: the system's. */
  runtime?: Pick<ClientRuntime, 'now' | 'setTimer'> | undefined
}

/** Collects text that is pushed, and hands it on in few pieces. Made by `chunkProcessor`. */
export interface ChunkProcessor {
  /**
   * Takes a text. Resolves when there is room for more: a caller that awaits it never has more than `maxBytes` waiting.
   * Text of one that does not is refused beyond twice as much, which `onError` reports. It never rejects.
   */
  process(chunk: string): Promise<void>
  /** Hands on all text that waits, at once. Resolves when `onChunk` has all of it. It never rejects. */
  flush(): Promise<void>
}

/**
 * Makes a processor of chunks: the push form of `smooth`. Text that is pushed is collected for `debounceMs`, and then
 * handed on in one piece, in order.
 * @throws MillraceError `bad_request` for a time below 0 and a size below 2 bytes.
 */
export function chunkProcessor(options: ChunkProcessorOptions): ChunkProcessor {
  const { onChunk, debounceMs = 50, maxBytes = 1_048_576, onError, runtime } = options
  if (typeof onChunk !== 'function' || !(debounceMs >= 0 && maxBytes >= 2))
    throw new MillraceError(
      'bad_request',
      'chunkProcessor takes onChunk, a time of at least 0 ms and a size of 2 bytes',
    )
  const maxChars = Math.floor(maxBytes / 2)
  // Nothing is handed on before its time, and then all of it.
  const timing = { minChars: Number.POSITIVE_INFINITY, maxDelayMs: debounceMs, maxChars, ...(runtime && { runtime }) }
  let texts: PushedTexts | undefined
  let delivered: Promise<void> = Promise.resolve()

  const fail = (thrown: unknown): void => {
    const message = thrown instanceof Error ? thrown.message : String(thrown)
    try {
      onError?.(MillraceError.from(thrown, 'internal', message))
    } catch {
      // It has nobody left to be told.
    }
  }

  const deliver = async (source: PushedTexts): Promise<void> => {
    for await (const piece of smooth(source, timing))
      try {
        await onChunk(piece)
      } catch (error) {
        fail(error)
      }
  }

  return {
    process(chunk) {
      if (chunk === '') return Promise.resolve()
      if (!texts) {
        const source = (texts = new PushedTexts())
        delivered = delivered.then(() => deliver(source))
      }
      if (texts.waiting <= maxChars) return texts.push(chunk)
      fail(new MillraceError('overloaded', `more than ${maxBytes} bytes wait: await process()`))
      return Promise.resolve()
    },
    flush() {
      texts?.end()
      texts = undefined
      return delivered
    },
  }
}

/** Texts that are pushed, as a source that is read. */
class PushedTexts implements AsyncIterable<string, undefined> {
  readonly #texts: { readonly text: string; readonly taken: () => void }[] = []
  #wake: (() => void) | undefined
  #isOver = false
  /** The characters that nobody has read yet. */
  waiting = 0

  /** Resolves when the text is read. */
  push(text: string): Promise<void> {
    this.waiting += text.length
    return new Promise((taken) => {
      this.#texts.push({ text, taken })
      this.#wake?.()
    })
  }

  end(): void {
    this.#isOver = true
    this.#wake?.()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<string, undefined> {
    for (;;) {
      const next = this.#texts.shift()
      if (next) {
        this.waiting -= next.text.length
        next.taken()
        yield next.text
      } else if (this.#isOver) return undefined
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
    }
  }
}
