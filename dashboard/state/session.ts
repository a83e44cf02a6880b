import { type Client, createClient, type Run } from 'millrace/client'
import { AskedRuns } from './asked-runs.ts'
import type { FleetRun } from './fleet.ts'
import { FleetFeed } from './fleet-feed.ts'
import { Latencies } from './latencies.ts'
import { Previews } from './previews.ts'
import { type ActorFacts, type ServerApi, serverApi } from './server-api.ts'
import { createStore, type Store } from './store.ts'

/** The least time between two messages of nothing but text, in milliseconds: three frames. */
const FLUSH_MS = 50

/** All that the page has of a server, with one set of credentials. */
export interface Session {
  readonly client: Client
  readonly api: ServerApi
  readonly feed: FleetFeed
  readonly previews: Previews
  readonly asked: AskedRuns
  readonly latencies: Latencies
  /** The actors that one may start. Empty until they are known. */
  readonly actors: Store<readonly ActorFacts[]>
  /** Does something with a run that the page does not read, and leaves it again. */
  act<Result>(run: Pick<FleetRun, 'id' | 'actor'>, what: (run: Run) => Promise<Result>): Promise<Result>
  /** Begins to read. @returns a function that ends it. */
  open(): () => void
}

/** @param page the address of the page. @param token undefined: the server needs none, or the browser has a cookie. */
export function createSession(page: URL, token: string | undefined): Session {
  const base = new URL('.', page)
  const client = createClient(socketUrl(base), { token, name: 'dashboard', flushMs: FLUSH_MS })
  const api = serverApi(base.href, token)
  const feed = new FleetFeed(client)
  const latencies = new Latencies()
  const previews = new Previews(client, latencies, () => new Promise((drawn) => requestAnimationFrame(drawn)))
  const asked = new AskedRuns(api)
  const actors = createStore<readonly ActorFacts[]>([])
  return {
    ...{ client, api, feed, previews, asked, latencies, actors },

    async act({ id, actor }, what) {
      const run = client.attach(actor, id, { after: 'live', policy: 'latest' })
      try {
        return await what(run)
      } finally {
        run.detach()
      }
    },

    open() {
      // Again after a close: React opens, closes and opens what it tries out.
      client.connect()
      const ignore = feed.state.subscribe(() => asked.look(feed.state.get().all))
      const stop = feed.start()
      const load = (): void => void api.actors().then(actors.set, () => {})
      const forget = client.onStatus((status) => {
        if (status === 'open') load()
      })
      return () => {
        stop()
        ignore()
        forget()
        previews.close()
        void client.close({ runs: 'cancel' })
      }
    },
  }
}

/** Where the WebSocket of a server is whose page is here: at the same path, without the slash at its end. */
function socketUrl(base: URL): URL {
  const url = new URL(base)
  url.protocol = base.protocol === 'https:' ? 'wss:' : 'ws:'
  url.pathname = base.pathname.replace(/(.)\/$/, '$1')
  return url
}
