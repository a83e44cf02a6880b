import { createClient, type Run, type WebSocketClass } from '../../client-sdk/node.ts'
import { SharedBrowser } from '../helpers/shared-browser.ts'
import { agUiOverClient, agUiOverHttp } from './ag-ui-pages.ts'
import { overClient } from './ai-sdk-pages.ts'
import { openAiChat, openAiResponses, plainHttp } from './http-pages.ts'
import { type Ending, type Page, type PageClient, type PageReading, reading, Shown, TOKEN } from './page-client.ts'
import { reactHook } from './react-pages.ts'
import { chatOverClient, hookOverClient, hookOverHttp, hookOverWebSocket } from './use-chat-pages.ts'

function native(name: string, makeClass: () => WebSocketClass | undefined, close?: () => void): PageClient {
  const open = (page: Page) => createClient(page.url, { token: TOKEN, WebSocket: makeClass() })
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
    name,
    ...(close && { close: async () => close() }),
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

/** Each page is one of a browser, whose pages share a connection. */
function shared(): PageClient {
  const browser = new SharedBrowser()
  return native(
    'the native client, over a shared connection',
    () => browser.page().WebSocket,
    () => browser[Symbol.dispose](),
  )
}

/** Every way in which a page may read a run. */
export const PAGE_CLIENTS: readonly PageClient[] = [
  native('the native client', () => undefined),
  shared(),
  reactHook(),
  plainHttp(),
  overClient(7),
  overClient(6),
  hookOverClient(7),
  hookOverClient(6),
  chatOverClient(7),
  chatOverClient(6),
  hookOverWebSocket(),
  hookOverHttp(7),
  hookOverHttp(6),
  agUiOverClient(1),
  agUiOverClient(0),
  agUiOverHttp(1),
  agUiOverHttp(0),
  openAiChat(),
  openAiResponses(false),
  openAiResponses(true),
]
