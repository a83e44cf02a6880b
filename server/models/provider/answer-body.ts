import { LineTooLong } from '../../streams/lines.ts'
import { type ServerSentEvent, sseEvents } from '../../streams/sse.ts'

/** Maximum length of an answer that is not streamed, in bytes. */
const MAX_DOCUMENT_BYTES = 16_777_216

/**
 * Yields the JSON texts of an answer. It is asked for as server-sent events. Some servers send one JSON document
 * instead, which becomes one event, with `[DONE]` behind it. The first character decides: content types are often wrong.
 * @param maxLineBytes Longest line of an event, in bytes. Default 1 MiB.
 * @throws TypeError for a page of HTML
 */
export async function* answerBody(
  body: ReadableStream<Uint8Array>,
  maxLineBytes?: number,
): AsyncGenerator<ServerSentEvent, void, undefined> {
  const reader = body.getReader()
  try {
    const head: Uint8Array[] = []
    let first = ''
    for (const decoder = new TextDecoder(); first === ''; ) {
      const { done, value } = await reader.read()
      if (done) break
      head.push(value)
      first = decoder.decode(value, { stream: true }).trimStart().slice(0, 1)
    }
    const chunks = rest(head, reader)
    if (first === '<') throw new TypeError('the provider answered with a page of HTML')
    if (first === '{' || first === '[') {
      yield { event: '', data: await textOf(chunks) }
      yield { event: '', data: '[DONE]' }
    } else {
      yield* sseEvents(chunks, maxLineBytes)
    }
  } finally {
    await reader.cancel().catch(() => {})
  }
}

async function* rest(
  head: readonly Uint8Array[],
  reader: ReadableStreamDefaultReader<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  yield* head
  for (let step = await reader.read(); !step.done; step = await reader.read()) yield step.value
}

async function textOf(chunks: AsyncIterable<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder()
  let text = ''
  for await (const chunk of chunks) {
    text += decoder.decode(chunk, { stream: true })
    if (text.length > MAX_DOCUMENT_BYTES) throw new LineTooLong(MAX_DOCUMENT_BYTES)
  }
  return text + decoder.decode()
}
