import { LineCutter, LineTooLong } from './lines.ts'

/**
 * The `data` of each server-sent event of `body`; comments and other fields are left out, and so is an event that broke
 * off. It reads `body` when it is read itself; leaving it cancels `body`.
 * @param maxBytes Longest line, and longest data of one event. Default 1 MiB.
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
