import type { UIMessage, UIMessageChunk } from 'ai'
import * as ai7 from 'ai'
import * as ai6 from 'ai-6'
import type { UiChunk } from '../../formats/ai-sdk-chunk.ts'
import { jsonOf } from '../../formats/plain-text.ts'

/** The stock packages of both generations, as far as they read messages. */
export const AI = { 6: ai6 as unknown as typeof ai7, 7: ai7 } as const
export type Generation = keyof typeof AI

type Schema = { validate(value: unknown): unknown }

/**
 * The message that the stock package makes of chunks that came as JSON. It rejects for a chunk that its schema refuses,
 * and for one that does not follow from those before it.
 * @param message The message that the chunks continue.
 */
export async function readMessage(
  generation: Generation,
  chunks: readonly UiChunk[],
  message?: UIMessage,
): Promise<{ message: UIMessage | undefined; errors: string[]; schema: typeof ai7.uiMessageChunkSchema }> {
  const ai = AI[generation]
  const schema = ai.uiMessageChunkSchema as unknown as () => Schema
  const errors: string[] = []
  for (const chunk of chunks) {
    const checked = (await schema().validate(JSON.parse(jsonOf(chunk)))) as { success: boolean }
    if (!checked.success) throw new Error(`the schema refuses ${jsonOf(chunk)}`)
  }
  const stream = new ReadableStream<UIMessageChunk>({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(JSON.parse(jsonOf(chunk)) as UIMessageChunk)
      controller.close()
    },
  })
  let last = message
  const said = new Set(chunks.flatMap((chunk) => (chunk.type === 'error' ? [chunk.errorText] : [])))
  for await (const next of ai.readUIMessageStream({
    stream,
    ...(message && { message: structuredClone(message) }),
    onError: (error) => errors.push((error as Error).message),
  }))
    last = next
  const unexpected = errors.find((error) => !said.has(error))
  if (unexpected !== undefined) throw new Error(`the stream is refused: ${unexpected}`)
  return { message: last, errors, schema: ai.uiMessageChunkSchema }
}
