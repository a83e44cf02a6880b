import { LineCutter, LineTooLong } from './lines.ts'

/** One server-sent event: its type, which is empty unless it was given, and its data. */
export type ServerSentEvent = { readonly event: string; readonly data: string }

/**
 * Yields the server-sent events of `body`. Lines may end with LF, CR LF or CR. It skips comments and events without
 * data. The last event counts also if no blank line follows: some servers send none. It reads `body` on demand. Leaving
 * the loop cancels `body`.
 * @param maxBytes Longest line, and longest data of one event, in bytes. Default 1 MiB.
 * @throws LineTooLong
 */
export async function* sseEvents(
  body: AsyncIterable<Uint8Array>,
  maxBytes = 1_048_576,
): AsyncGenerator<ServerSentEvent, void, undefined> {
  const cutter = new LineCutter(maxBytes, { cr: true })
  const decoder = new TextDecoder()
  let event = ''
  let data: string[] = []
  let length = 0

  function* take(bytes: Uint8Array): Generator<ServerSentEvent> {
    const line = decoder.decode(bytes)
    if (line === '') {
      if (data.length > 0) yield { event, data: data.join('\n') }
      event = ''
      data = []
      length = 0
    } else if (line.startsWith('data:')) {
      length += bytes.length
      if (length > maxBytes) throw new LineTooLong(maxBytes)
      data.push(line.slice(line[5] === ' ' ? 6 : 5))
    } else if (line.startsWith('event:')) {
      event = line.slice(6).trim()
    }
  }

  for await (const chunk of body) for (const line of cutter.push(chunk)) yield* take(line)
  const last = cutter.end()
  if (last) yield* take(last)
  yield* take(new Uint8Array(0))
}
