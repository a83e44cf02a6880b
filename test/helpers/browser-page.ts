/** What `test/e2e/browser.test.ts` runs inside of a page. It is bundled, and knows no Node. */
import { createClient, type StreamEvent } from '../../client-sdk/index.ts'
import { readAll } from './read-all.ts'
import type { ServedActors } from './served-actors.ts'

/** Given to the page by the test: cuts the page's connection. */
declare const cutConnection: () => Promise<void>

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
