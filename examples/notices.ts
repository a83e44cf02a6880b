import { randomBytes } from 'node:crypto'
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import { createClient } from 'millrace/client'
import { verifyNotice } from 'millrace/notices'
import { type ActorContext, actor, anonymous, createServer, webhook } from 'millrace/server'

const secret = `whsec_${randomBytes(32).toString('base64')}`

// The receiver: a program of yours.
const handled = new Set<string>()
async function receive(request: IncomingMessage, response: ServerResponse): Promise<void> {
  try {
    const { id, notice } = verifyNotice(await text(request), request.headers, { secret })
    // A notice may come again: when the answer was lost, or the server restarted just then.
    if (!handled.has(id)) {
      handled.add(id)
      if (notice.type === 'run.needs_you') console.log(`${notice.data.actor} waits for: ${notice.data.kind}`)
      if (notice.type === 'run.ended') console.log(`${notice.data.actor} has ended: ${notice.data.outcome}`)
    }
    response.writeHead(204).end()
  } catch {
    response.writeHead(401).end()
  }
}
const receiver = createHttpServer((request, response) => void receive(request, response)).listen(0, '127.0.0.1')
await new Promise((resolve) => receiver.once('listening', resolve))
const { port } = receiver.address() as { port: number }

// The server that tells it.
const actors = {
  report: actor({
    async *stream(_input: unknown, { request }: ActorContext) {
      yield `published: ${String(await request({ kind: 'confirm', prompt: 'Publish it?' }))}`
    },
  }),
}
const notify = webhook({ url: `http://127.0.0.1:${port}/millrace`, secret, allowAddresses: ['127.0.0.1'] })
const server = createServer({ actors, authenticate: anonymous(), notify })
const { url } = await server.listen(0)

const client = createClient<typeof actors>(url)
const run = client.start('report', 'the figures of May')
for await (const event of run)
  if (event.type === 'request') await run.send('answer', { request: event.id, value: true })
const forged = await fetch(`http://127.0.0.1:${port}/`, { method: 'POST', body: '{}' })
console.log(`a request without a signature: ${forged.status}`)
await client.close()
await server.close()
receiver.close()
