import { LineCutter } from './lines.ts'

export type NdjsonOptions = {
  /** Called for each line that is not JSON or that `check` rejects. The line is skipped. */
  onMalformed: () => void
  /** Receives each value; `false` marks it as malformed. A thrown error ends the stream. Default: accept all. */
  check?: (value: unknown) => boolean
  /** Longest line in bytes. A longer one ends the stream with `LineTooLong`. Default 1 MiB. */
  maxLineBytes?: number
}

/**
 * Filters newline-delimited JSON. The result has every whole, well-formed line unchanged, and no malformed or empty
 * one. It reads `body` on demand, one chunk at a time. Cancelling it cancels `body`.
 */
export function ndjsonFilter(body: ReadableStream<Uint8Array>, options: NdjsonOptions): ReadableStream<Uint8Array> {
  const { onMalformed, check = () => true, maxLineBytes = 1_048_576 } = options
  const reader = body.getReader()
  const cutter = new LineCutter(maxLineBytes)
  const decoder = new TextDecoder()

  /** The error that ends the stream once the lines before it are delivered. */
  let failure: { error: unknown } | undefined

  function isGood(line: Uint8Array): boolean {
    const text = decoder.decode(line)
    if (text.trim() === '') return false
    let value: unknown
    try {
      value = JSON.parse(text)
    } catch {
      onMalformed()
      return false
    }
    if (check(value)) return true
    onMalformed()
    return false
  }

  function goodOf(lines: readonly Uint8Array[]): Uint8Array[] {
    const good: Uint8Array[] = []
    try {
      for (const line of lines) if (isGood(line)) good.push(line)
    } catch (error) {
      failure = { error }
    }
    return good
  }

  async function pull(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    while (!failure) {
      const { done, value } = await reader.read()
      const rest = done ? cutter.end() : undefined
      const good = goodOf(done ? (rest ? [rest] : []) : cutter.push(value))
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
