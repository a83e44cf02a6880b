import type { UIMessageChunk } from 'ai'
import { millraceTransport } from '../../adapters/ai-sdk.ts'
import { createClient } from '../../client-sdk/node.ts'
import { type Ending, type Page, type PageClient, type PageReading, reading, Shown, TOKEN } from './page-client.ts'

/** The transport alone, for code that reads its stream itself: the stream waits for its reader. */
export function overClient(version: 6 | 7): PageClient {
  const open = ({ url, actor }: Page) => {
    const client = createClient(url, { token: TOKEN })
    return { client, transport: millraceTransport({ client, agent: actor, version, onAbort: 'cancel' }) }
  }

  const read = (
    { client }: ReturnType<typeof open>,
    stream: ReadableStream<UIMessageChunk>,
    aborting: AbortController,
  ): PageReading => {
    const shown = new Shown()
    const over = (async (): Promise<Ending> => {
      let ending: Ending = 'left'
      try {
        for await (const chunk of stream as unknown as AsyncIterable<UIMessageChunk>) {
          if (chunk.type === 'text-delta') shown.text += chunk.delta
          if (chunk.type === 'abort') ending = 'cancelled'
          if (chunk.type === 'error') ending = 'error'
          if (chunk.type === 'finish' && chunk.finishReason !== 'interrupted') ending = 'done'
          await shown.passed()
        }
      } catch (error) {
        if (!aborting.signal.aborted) throw error
      }
      return ending
    })()
    over.catch(() => {})
    return reading(
      shown,
      over,
      () => aborting.abort(),
      () => client.close({ runs: 'detach' }),
    )
  }

  return {
    name: `the transport of the AI SDK ${version} over the client`,
    async start(page) {
      const opened = open(page)
      const aborting = new AbortController()
      const stream = await opened.transport.sendMessages({
        ...{ trigger: 'submit-message', chatId: page.chat, messageId: undefined, abortSignal: aborting.signal },
        messages: [{ id: 'm1', role: 'user', parts: [{ type: 'text', text: 'go' }] }],
      })
      return read(opened, stream, aborting)
    },
    async resume(page) {
      const opened = open(page)
      const aborting = new AbortController()
      const stream = await opened.transport.reconnectToStream({ chatId: page.chat, abortSignal: aborting.signal })
      return read(opened, stream!, aborting)
    },
  }
}
