import { LineCutter, LineTooLong } from './lines.ts'

/**
 * Yields the `data` of each server-sent event of `body`. It skips comments, other fields, and an event that is cut off
 * by the end of `body`. It reads `body` on demand. Leaving the loop cancels `body`.
 * @param maxBytes Longest line, and longest data of one event, in bytes. Default 1 MiB.
 * @throws LineTooLong
 */
export async function* sseData(body: ReadableStream<Uint8Array>, maxBytes = 1_048_576): AsyncGenerator<string> {
  const cutter = new LineCutter(maxBytes)
  const decoder = new TextDecoder()
  let data: string[] = []
  let length = 0
  for await (const chunk of body) {
    for (const bytes of cutter.push(chunk)) {
      const line = decoder.decode(bytes.at(-1) === 0x0d ? bytes.subarray(0, -1) : bytes)
      if (line === '') {
        if (data.length > 0) yield data.join('\n')
        data = []
        length = 0
      } else if (line.startsWith('data:')) {
        length += bytes.length
        if (length > maxBytes) throw new LineTooLong(maxBytes)
        data.push(line.slice(line[5] === ' ' ? 6 : 5))
      }
    }
  }
}
