import {
  type ChatTransport,
  DefaultChatTransport,
  type UIMessage,
  type UIMessageChunk,
  WebSocketChatTransport,
} from 'ai'
import { DefaultChatTransport as DefaultChatTransport6 } from 'ai-6'
import { WebSocket } from 'ws'
import { millraceTransport } from '../../adapters/ai-sdk.ts'
import { createClient } from '../../client-sdk/node.ts'
import {
  cancelOverHttp,
  type Ending,
  HEADERS,
  httpUrl,
  type Page,
  type PageClient,
  type PageReading,
  reading,
  Shown,
  TOKEN,
} from './page-client.ts'

/** A transport of the AI SDK, and how its page behaves. */
type OpenTransport = {
  transport: ChatTransport<UIMessage>
  /** Stops the run. Default: aborts the request. */
  stop?: (run: string) => void
  close(): Promise<unknown>
  /** Where the library takes all that comes, the page can only leave its socket unread. */
  hold?: () => void
  go?: () => void
}

function aiSdk(name: string, open: (page: Page) => OpenTransport): PageClient {
  const read = (
    { stop, close, hold, go }: OpenTransport,
    stream: ReadableStream<UIMessageChunk>,
    aborting: AbortController,
  ): PageReading => {
    const shown = new Shown()
    let run = ''
    const over = (async (): Promise<Ending> => {
      let ending: Ending = 'left'
      try {
        for await (const chunk of stream as unknown as AsyncIterable<UIMessageChunk>) {
          if (chunk.type === 'start') run = chunk.messageId ?? ''
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
    const page = reading(
      shown,
      over,
      () => (stop ? stop(run) : aborting.abort()),
      async () => {
        await close()
      },
    )
    if (!hold || !go) return page
    return Object.assign(page, { hold, go })
  }
  return {
    name,
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

export function overClient(version: 6 | 7): PageClient {
  return aiSdk(`the AI SDK ${version} over the client`, ({ url, actor }) => {
    const client = createClient(url, { token: TOKEN })
    const transport = millraceTransport({ client, agent: actor, version, onAbort: 'cancel' })
    return { transport, close: () => client.close({ runs: 'detach' }) }
  })
}

export function overWebSocket(): PageClient {
  return aiSdk("the AI SDK's own WebSocket transport", ({ url, actor }) => {
    const sockets: WebSocket[] = []
    class Kept extends WebSocket {
      constructor(address: string | URL) {
        super(address)
        sockets.push(this)
      }
    }
    const transport = new WebSocketChatTransport<UIMessage>({
      ...{ url: `${url}/ai-sdk/${actor}`, headers: HEADERS, webSocket: Kept as never },
    })
    return {
      transport,
      close: async () => {
        for (const socket of sockets) socket.resume()
        transport.close()
      },
      hold: () => sockets[0]?.pause(),
      go: () => sockets[0]?.resume(),
    }
  })
}

export function overHttp(version: 6 | 7): PageClient {
  const Transport =
    version === 7 ? DefaultChatTransport : (DefaultChatTransport6 as unknown as typeof DefaultChatTransport)
  return aiSdk(`the AI SDK ${version}'s own HTTP transport`, (page) => {
    const leaving = new AbortController()
    const api = `${httpUrl(page)}/ai-sdk/${page.actor}`
    const transport = new Transport<UIMessage>({
      ...{ api, headers: HEADERS },
      fetch: (input, init) =>
        fetch(input, { ...init, signal: AbortSignal.any([leaving.signal, init!.signal!].filter(Boolean)) }),
    })
    return { transport, stop: (run) => cancelOverHttp(page, run), close: async () => leaving.abort() }
  })
}
