import { AbstractAgent as Agent1, HttpAgent as Http1 } from '@ag-ui/client'
import { AbstractAgent as Agent0, HttpAgent as Http0 } from '@ag-ui/client-0'
import { millraceAgent } from '../../adapters/ag-ui.ts'
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
  slowFetch,
  TOKEN,
} from './page-client.ts'

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

export function agUiOverClient(version: 0 | 1): PageClient {
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

export function agUiOverHttp(version: 0 | 1): PageClient {
  const HttpAgent = version === 1 ? Http1 : (Http0 as unknown as typeof Http1)
  return agUi(
    `AG-UI ${version}'s own HTTP agent`,
    (page, shown) => {
      const leaving = new AbortController()
      const agent = new HttpAgent({
        ...{ url: `${httpUrl(page)}/ag-ui/${page.actor}`, headers: HEADERS, threadId: page.chat },
        // The agent takes all that comes: a page that is slow can only leave the response unread.
        fetch: slowFetch(shown, leaving.signal),
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
