import { createClient } from 'millrace/client'
import { actor, anonymous, createServer } from 'millrace/server'
import { z } from 'zod'

const actors = {
  /** Returns one answer. */
  add: actor({
    input: z.object({ a: z.number(), b: z.number() }),
    ask: ({ a, b }) => ({ sum: a + b }),
  }),

  /** Streams text and events, and returns a result. The types of its events reach the client. */
  report: actor({
    input: z.object({ pages: z.int().min(1) }),
    async *stream({ pages }, { signal }) {
      for (let page = 1; page <= pages; page++) {
        signal.throwIfAborted()
        yield `Page ${page}. `
        yield { type: 'data', name: 'page', value: { page, words: page * 100 } }
        yield { type: 'progress', current: page, total: pages }
      }
      return { pages }
    },
  }),

  /** Takes inputs while it runs, and asks a question. */
  barista: actor({
    interactive: true,
    async *stream(_, { inputs, request }) {
      for await (const { type, data } of inputs) {
        if (type !== 'message') continue
        const size = await request({ kind: 'choice', prompt: 'small or large?' })
        yield `A ${String(size)} ${String(data)}. `
        if (size === 'large') return
      }
    },
  }),
}
const server = createServer({ actors, authenticate: anonymous() })
const { url } = await server.listen(0)
const client = createClient<typeof actors>(url)

console.log(await client.ask('add', { a: 2, b: 3 }))

const report = client.start('report', { pages: 2 })
for await (const event of report) {
  if (event.type === 'token') console.log(event.text)
  if (event.type === 'data' && event.name === 'page') console.log(event.value.words, 'words')
  if (event.type === 'progress') console.log(event.current, 'of', event.total)
}
console.log(await report.result)

const barista = client.start('barista', undefined)
await barista.send('message', 'coffee')
for await (const event of barista) {
  if (event.type === 'request') await barista.send('answer', { request: event.id, value: 'large' })
  if (event.type === 'token') console.log(event.text)
}

await client.close()
await server.close({ drainMs: 0 })
