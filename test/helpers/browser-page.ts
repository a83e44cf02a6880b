/** What `test/e2e/browser.test.ts` runs inside of a page. It is bundled, and knows no Node. */
import { createClient, type RunEnd, type StreamEvent } from '../../client-sdk/index.ts'
import { readAll } from './read-all.ts'
import type { ServedActors } from './served-actors.ts'

/** Given to the page by the test: cuts the page's connection. */
declare const cutConnection: () => Promise<void>

/** What is used of that of a browser. */
declare class EventSource {
  constructor(url: string)
  onmessage: (message: { data: string }) => void
  addEventListener(type: string, listener: (message: { data: string }) => void): void
  close(): void
}

const options = { token: 'alice', delays: { quickMs: 5, backoffMs: 5, maxBackoffMs: 20 } }

/** Each is called by name with the address of the server. What it resolves with travels as JSON. */
const experiments = {
  async streams(url: string) {
    const statuses: string[] = []
    const client = createClient<ServedActors>(url, { ...options, onStatus: (status) => statuses.push(status) })
    const run = client.start('count', { to: 2_000 })
    const texts = await readAll(run.text())
    const end = await run.end
    await client.close()
    return { texts, end, statuses }
  },

  async cancels(url: string) {
    const client = createClient<ServedActors>(url, options)
    const sleep = client.start('sleep', { ms: 600_000 })
    await sleep.opened
    const receipt = await sleep.cancel({ reason: 'superseded', note: 'from a page' })
    let read = 0
    const count = client.start('count', { to: 1_000_000 })
    for await (const _ of count) if (++read === 5) break
    const end = await count.end
    await client.close()
    return { receipt, read, end }
  },

  async survivesCuts(url: string, rounds: number) {
    const client = createClient<ServedActors>(url, options)
    const events: StreamEvent[] = []
    for await (const event of client.start('mixed', { rounds }, { credit: 8 })) {
      events.push(event)
      if (events.length % 10 === 0) await cutConnection()
    }
    await client.close()
    return events
  },

  /** With what an attempt to reach the server ends. */
  async fails(url: string) {
    const changes: string[] = []
    const client = createClient<ServedActors>(url, {
      ...options,
      connectMs: 500,
      onStatus: (status, error) => changes.push(error ? `${status} ${error.code}` : status),
    })
    const { code, message } = await client.start('count', { to: 3 }).result.then(
      () => ({ code: 'none', message: '' }),
      (error: unknown) => error as { code: string; message: string },
    )
    await client.close()
    return { code, message, changes }
  },

  /** The `EventSource` of the browser, which reconnects by itself. Its connection is cut when so many texts are here. */
  async listens(url: string, to: number, cutAt: number) {
    const server = url.replace('ws:', 'http:')
    const headers = { authorization: 'Bearer alice', 'content-type': 'application/json' }
    const body = JSON.stringify({ actor: 'count' })
    const { ticket } = (await (await fetch(`${server}/tickets`, { method: 'POST', headers, body })).json()) as {
      ticket: string
    }
    const input = encodeURIComponent(JSON.stringify({ to, delayMs: 2 }))
    const source = new EventSource(`${server}/actors/count/stream?ticket=${ticket}&input=${input}`)
    const texts: string[] = []
    const runs: string[] = []
    source.onmessage = ({ data }) => {
      const event = JSON.parse(data) as StreamEvent
      if (event.type !== 'token') return
      texts.push(event.text)
      if (texts.length === cutAt) void cutConnection()
    }
    source.addEventListener('opened', ({ data }) => runs.push((JSON.parse(data) as { run: string }).run))
    const end = await new Promise<RunEnd>((resolve) => {
      source.addEventListener('end', ({ data }) => resolve(JSON.parse(data) as RunEnd))
    })
    source.close()
    return { texts, runs, outcome: end.outcome }
  },

  /** As React StrictMode does with an effect, once with one client and once with a new one. */
  async mountsTwice(url: string) {
    const first = createClient<ServedActors>(url, options)
    first.connect()
    await first.close()
    const client = createClient<ServedActors>(url, options)
    client.connect()
    void client.close()
    client.connect()
    const text = await client.ask('count', { to: 3 })
    await client.close()
    return text
  },

  async leaves(url: string) {
    const client = createClient<ServedActors>(url, options)
    const run = client.start('count', { to: 100, delayMs: 1 })
    for await (const event of run) if (event.seq === 36) run.detach()
    return run.position
  },

  async comesBack(url: string, position: { run: string; gen: number; seq: number }) {
    const client = createClient<ServedActors>(url, options)
    const view = client.attach('count', position.run, { after: position.seq, gen: position.gen })
    const events = await readAll(view)
    await client.close()
    return events
  },
}

export type Experiments = typeof experiments

Object.assign(globalThis, { experiments })
