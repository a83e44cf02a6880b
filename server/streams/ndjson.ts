import { LineCutter } from './lines.ts'

export type NdjsonOptions = {
  /** Called for each line that is not JSON or that `check` rejects. The line is skipped. */
  onMalformed: () => void
  /**
   * Receives each value; `false` marks it as malformed, and text replaces the line. A thrown error ends the stream.
   * Default: accept all.
   */
  check?: (value: unknown) => boolean | string
  /** Longest line in bytes. A longer one ends the stream with `LineTooLong`. Default 1 MiB. */
  maxLineBytes?: number
}

/**
 * Filters newline-delimited JSON. The result has every whole, well-formed line, unchanged unless `check` replaces it,
 * and no malformed or empty one. It reads `body` on demand, one chunk at a time. Cancelling it cancels `body`.
 */
export function ndjsonFilter(body: ReadableStream<Uint8Array>, options: NdjsonOptions): ReadableStream<Uint8Array> {
  const { onMalformed, check = () => true, maxLineBytes = 1_048_576 } = options
  const reader = body.getReader()
  const cutter = new LineCutter(maxLineBytes)
  const decoder = new TextDecoder()

  /** The error that ends the stream once the lines before it are delivered. */
  let failure: { error: unknown } | undefined

  function goodOf(line: Uint8Array): Uint8Array | undefined {
    const text = decoder.decode(line)
    if (text.trim() === '') return undefined
    let value: unknown
    try {
      value = JSON.parse(text)
    } catch {
      onMalformed()
      return undefined
    }
    const verdict = check(value)
    if (verdict === false) onMalformed()
    if (typeof verdict === 'string') return new TextEncoder().encode(verdict)
    return verdict ? line : undefined
  }

  function allGoodOf(lines: readonly Uint8Array[]): Uint8Array[] {
    const good: Uint8Array[] = []
    try {
      for (const line of lines) {
        const kept = goodOf(line)
        if (kept) good.push(kept)
      }
    } catch (error) {
      failure = { error }
    }
    return good
  }

  async function pull(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    while (!failure) {
      const { done, value } = await reader.read()
      const rest = done ? cutter.end() : undefined
      const good = allGoodOf(done ? (rest ? [rest] : []) : cutter.push(value))
      const isComplete = done && !failure
      if (good.length > 0) controller.enqueue(joined(good))
      if (isComplete) controller.close()
      if (isComplete || good.length > 0) return
    }
    throw failure.error
  }

  return new ReadableStream(
    {
      async pull(controller) {
        try {
          await pull(controller)
        } catch (error) {
          // When `body` itself failed, nothing is left to cancel.
          await reader.cancel(error).catch(() => {})
          throw error
        }
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  )
}

function joined(lines: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(lines.reduce((sum, line) => sum + line.length + 1, 0))
  let at = 0
  for (const line of lines) {
    bytes.set(line, at)
    at += line.length
    bytes[at++] = 0x0a
  }
  return bytes
}
