import { AbstractAgent as Agent1, HttpAgent as Http1 } from '@ag-ui/client'
import { AbstractAgent as Agent0, HttpAgent as Http0 } from '@ag-ui/client-0'
import {
  type ChatTransport,
  DefaultChatTransport,
  type UIMessage,
  type UIMessageChunk,
  WebSocketChatTransport,
} from 'ai'
import { DefaultChatTransport as DefaultChatTransport6 } from 'ai-6'
import { WebSocket } from 'ws'
import { millraceAgent } from '../../adapters/ag-ui.ts'
import { millraceTransport } from '../../adapters/ai-sdk.ts'
import { createClient, type Run } from '../../client-sdk/node.ts'

/** What a reader learns of the end. `left`: its own protocol says nothing after the person's own stop. */
export type Ending = 'done' | 'cancelled' | 'error' | 'left'

/** Where a page finds its run. */
export type Page = { readonly url: string; readonly actor: string; readonly chat: string }

/** One run as a page shows it. */
export interface PageReading {
  /** The answer as far as it was shown. */
  readonly text: string
  readonly over: Promise<Ending>
  /** The page takes nothing more, until `go`. */
  hold(): void
  go(): void
  /** The person presses stop. */
  stop(): void
  /** The page is gone. */
  drop(): Promise<void>
}

/** A way in which pages start, read, resume and stop runs. */
export interface PageClient {
  readonly name: string
  start(page: Page): Promise<PageReading>
  /** A new page that knows nothing but the id of the chat. */
  resume(page: Page): Promise<PageReading>
}

const TOKEN = 'alice'
const HEADERS = { authorization: `Bearer ${TOKEN}` }

/** The text of a reading, and a gate in front of what comes next. */
class Shown {
  text = ''
  #gate: Promise<void> | undefined
  #open = (): void => {}

  hold(): void {
    this.#gate ??= new Promise((resolve) => {
      this.#open = resolve
    })
  }

  go(): void {
    this.#gate = undefined
    this.#open()
  }

  async passed(): Promise<void> {
    await this.#gate
  }
}

function reading(shown: Shown, over: Promise<Ending>, stop: () => void, drop: () => Promise<unknown>): PageReading {
  return {
    get text() {
      return shown.text
    },
    over,
    hold: () => shown.hold(),
    go: () => shown.go(),
    stop,
    async drop() {
      shown.go()
      await drop()
    },
  }
}

function native(): PageClient {
  const open = (page: Page) => createClient(page.url, { token: TOKEN })
  const read = (client: ReturnType<typeof open>, run: Run): PageReading => {
    const shown = new Shown()
    const over = (async (): Promise<Ending> => {
      try {
        for await (const event of run) {
          if (event.type === 'token' && event.agent === undefined) shown.text += event.text
          await shown.passed()
        }
      } catch {
        // The end says it.
      }
      return (await run.end).outcome
    })()
    over.catch(() => {})
    return reading(
      shown,
      over,
      () => void run.cancel(),
      () => client.close({ runs: 'detach' }),
    )
  }
  return {
    name: 'the native client',
    async start(page) {
      const client = open(page)
      return read(client, client.start(page.actor, 'go', { meta: { chat: page.chat } }))
    },
    async resume(page) {
      const client = open(page)
      const runs = await client.runs()
      const found = runs.findLast(({ meta }) => meta?.['chat'] === page.chat)
      return read(client, client.attach(page.actor, found!.id, { policy: 'pace' }))
    },
  }
}

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

function overClient(version: 6 | 7): PageClient {
  return aiSdk(`the AI SDK ${version} over the client`, ({ url, actor }) => {
    const client = createClient(url, { token: TOKEN })
    const transport = millraceTransport({ client, agent: actor, version, onAbort: 'cancel' })
    return { transport, close: () => client.close({ runs: 'detach' }) }
  })
}

function overWebSocket(): PageClient {
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

function cancelOverHttp({ url }: Page, run: string): void {
  void fetch(`${url.replace('ws:', 'http:')}/runs/${run}/cancel`, { method: 'POST', headers: HEADERS })
}

function overHttp(version: 6 | 7): PageClient {
  const Transport =
    version === 7 ? DefaultChatTransport : (DefaultChatTransport6 as unknown as typeof DefaultChatTransport)
  return aiSdk(`the AI SDK ${version}'s own HTTP transport`, (page) => {
    const leaving = new AbortController()
    const api = `${page.url.replace('ws:', 'http:')}/ai-sdk/${page.actor}`
    const transport = new Transport<UIMessage>({
      ...{ api, headers: HEADERS },
      fetch: (input, init) =>
        fetch(input, { ...init, signal: AbortSignal.any([leaving.signal, init!.signal!].filter(Boolean)) }),
    })
    return { transport, stop: (run) => cancelOverHttp(page, run), close: async () => leaving.abort() }
  })
}

/** What both agents have: the stock one, which has an address, and that over the client. */
type StockAgent = InstanceType<typeof Agent1>

function agUi(
  name: string,
  open: (page: Page, shown: Shown) => { agent: StockAgent; stop?: () => void; close(): Promise<unknown> },
  connect: (agent: StockAgent) => Promise<unknown>,
): PageClient {
  const read = async (page: Page, begin: (agent: StockAgent) => Promise<unknown>): Promise<PageReading> => {
    const shown = new Shown()
    const { agent, stop, close } = open(page, shown)
    let ending: Ending = 'left'
    let run = ''
    let hasBegun = (): void => {}
    const begun = new Promise<void>((resolve) => {
      hasBegun = resolve
    })
    agent.subscribe({
      async onEvent({ event }) {
        const said = event as unknown as {
          type: string
          name?: string
          value?: { run: string }
          delta?: string
          code?: string
        }
        if (said.type === 'CUSTOM' && said.name === 'run') run = said.value!.run
        if (run !== '') hasBegun()
        if (said.type === 'TEXT_MESSAGE_CONTENT') shown.text += said.delta!
        const { outcome } = event as unknown as { outcome?: { type: string } }
        if (said.type === 'RUN_FINISHED') ending = outcome?.type === 'cancelled' ? 'cancelled' : 'done'
        if (said.type === 'RUN_ERROR') ending = said.code === 'cancelled' ? 'cancelled' : 'error'
        await shown.passed()
      },
    })
    const over = begin(agent).then(
      () => ending,
      (error: unknown) => {
        if (ending === 'left') throw error
        return ending
      },
    )
    over.then(hasBegun, hasBegun)
    await begun
    return reading(shown, over, stop ?? (() => cancelOverHttp(page, run)), close)
  }
  return {
    name,
    start: (page) => read(page, (agent) => agent.runAgent()),
    resume: (page) => read(page, connect),
  }
}

function agUiOverClient(version: 0 | 1): PageClient {
  const AbstractAgent = version === 1 ? Agent1 : (Agent0 as unknown as typeof Agent1)
  return agUi(
    `AG-UI ${version} over the client`,
    ({ url, actor, chat }) => {
      const client = createClient(url, { token: TOKEN })
      const agent = millraceAgent(AbstractAgent, { client, agent: actor, threadId: chat })
      agent.addMessage({ id: 'm1', role: 'user', content: 'go' })
      return { agent, stop: () => agent.abortRun(), close: () => client.close({ runs: 'detach' }) }
    },
    (agent) => agent.connectAgent(),
  )
}

function agUiOverHttp(version: 0 | 1): PageClient {
  const HttpAgent = version === 1 ? Http1 : (Http0 as unknown as typeof Http1)
  return agUi(
    `AG-UI ${version}'s own HTTP agent`,
    (page, shown) => {
      const leaving = new AbortController()
      const agent = new HttpAgent({
        ...{ url: `${page.url.replace('ws:', 'http:')}/ag-ui/${page.actor}`, headers: HEADERS, threadId: page.chat },
        // The agent takes all that comes: a page that is slow can only leave the response unread.
        async fetch(url: string, init: RequestInit) {
          const response = await fetch(url, { ...init, signal: leaving.signal })
          const body = response.body!.pipeThrough(
            new TransformStream<Uint8Array, Uint8Array>(
              {
                async transform(chunk, controller) {
                  await shown.passed()
                  // The agent works through all that it has before anything else gets a turn.
                  await new Promise((resolve) => setImmediate(resolve))
                  controller.enqueue(chunk)
                },
              },
              undefined,
              { highWaterMark: 0 },
            ),
          )
          return new Response(body, response)
        },
      })
      agent.addMessage({ id: 'm1', role: 'user', content: 'go' })
      return { agent, close: async () => leaving.abort() }
    },
    (agent) => {
      const { url } = agent as StockAgent & { url: string }
      Object.assign(agent, { url: `${url}/connect` })
      return agent.runAgent()
    },
  )
}

/** Every way in which a page may read a run. */
export const PAGE_CLIENTS: readonly PageClient[] = [
  native(),
  overClient(7),
  overClient(6),
  overWebSocket(),
  overHttp(7),
  overHttp(6),
  agUiOverClient(1),
  agUiOverClient(0),
  agUiOverHttp(1),
  agUiOverHttp(0),
]
