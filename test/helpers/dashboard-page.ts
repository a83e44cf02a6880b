import { rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import axe from 'axe-core'
import type { BrowserContext, Page } from 'playwright-core'
import { expect } from 'vitest'
import { type Client, createClient } from '../../client-sdk/node.ts'
import { type Serving, serving } from './command.ts'
import { PATIENCE_MS } from './patience.ts'
import { root } from './root.ts'

const module = (path: string): string => JSON.stringify(pathToFileURL(`${root}dist/server/${path}`).href)

/**
 * A server of the command line with these actors: ann has their runs, and eve may look at all of them. `brief` is a token
 * of ann until the actor `expire` has run, and a run of `stubborn` does not stop until `release` has.
 */
const CONFIG = `
  import { actor, agent, bearer, conversation, demo, inspector, workflow } from ${module('index.js')}
  import { demoActors } from ${module('cli/demo-actors.js')}
  const endless = {
    id: 'endless',
    provider: 'test',
    async *stream({ signal }) {
      for (let n = 1; !signal.aborted; n++) {
        await new Promise((resolve) => setTimeout(resolve, 20))
        yield { type: 'text', text: n + ' ' }
      }
      signal.throwIfAborted()
    },
  }
  const writer = agent({ model: demo({ tokensPerSec: 200 }) })
  const worker = agent({ model: endless })
  const known = bearer({ ann: 'ann', brief: 'ann', eve: { id: 'eve', rights: ['observe'] } })
  let isExpired = false
  let release
  const released = new Promise((resolve) => (release = resolve))
  export default {
    authenticate: (credentials) => (isExpired && credentials.auth === 'brief' ? undefined : known(credentials)),
    limits: { maxRuns: 400, startsPerSec: 1_000, startBurst: 1_000 },
    actors: {
      ...demoActors,
      endless: agent({ model: endless }),
      team: actor({
        async *stream(_, { spawn }) {
          yield* spawn(worker, 'Go on', { name: 'worker' })
        },
      }),
      stubborn: actor({
        async *stream() {
          yield 'It goes on.'
          await released
        },
      }),
      release: actor({
        async *stream() {
          release()
        },
      }),
      expire: actor({
        async *stream() {
          isExpired = true
        },
      }),
      article: workflow({ steps: (flow) => flow.step('draft', writer).approve('publish').step('end', () => 'published') }),
      talk: conversation({ agent: writer }),
    },
  }`

/** A server with a dashboard, and a client of ann. */
export interface DashboardServer extends AsyncDisposable {
  readonly serve: Serving
  /** The address of the page, without a token. */
  readonly pageUrl: string
  readonly client: Client
  /** Starts a run of ann, and reads it as a program would. */
  start(actor: string, input: unknown): Promise<string>
}

export async function dashboardServer(args: readonly string[] = []): Promise<DashboardServer> {
  const config = join(tmpdir(), `millrace-dashboard-${process.pid}.mjs`)
  writeFileSync(config, CONFIG)
  const serve = await serving(['--config', config, ...args])
  const [, pageUrl = ''] = await serve.server.said('stdout', /dashboard in a browser:\s+(http:\S+)/)
  const client = createClient(serve.url, { token: 'ann' })
  return {
    serve,
    pageUrl,
    client,
    async start(actor, input) {
      const run = client.start(actor, input)
      void run.end.catch(() => {})
      return (await run.opened).id
    },
    async [Symbol.asyncDispose]() {
      await client.close()
      await serve[Symbol.asyncDispose]()
      rmSync(config, { force: true })
    },
  }
}

/** Opens pages, and collects what they write to their consoles. */
export function pagesOf(context: BrowserContext, said: string[]): (url: string) => Promise<Page> {
  return async (url) => {
    const page = await context.newPage()
    page.setDefaultTimeout(PATIENCE_MS)
    page.on('console', (message) => void said.push(`${message.type()}: ${message.text()}`))
    page.on('pageerror', (error) => void said.push(String(error)))
    await page.goto(url)
    return page
  }
}

/** Fails for what a page has that keeps people from using it. */
export async function expectAccessible(page: Page): Promise<void> {
  await page.evaluate(axe.source)
  const found = await page.evaluate<string[]>(`axe.run().then(({ violations }) =>
    violations
      .filter(({ impact }) => impact === 'serious' || impact === 'critical')
      .flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => id + ': ' + html.slice(0, 200) + ' ' + failureSummary)))`)
  expect(found).toEqual([])
}
