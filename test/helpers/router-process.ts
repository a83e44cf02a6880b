/** A script that calls actors through the router of a server that listens on no port. */
import { actor, agent, anonymous, createServer, demo } from '../../server/index.ts'

const asks = actor({
  async *stream(_: unknown, { request }) {
    yield 'asked. '
    await request({ kind: 'text', expiresMs: 300 }).catch(() => {})
    yield 'nobody answered.'
  },
})
const server = createServer({
  actors: { asks, chat: agent({ model: demo({ tokensPerSec: 200 }) }) },
  authenticate: anonymous(),
})
console.log('ask', await server.router.ask('asks', undefined))
console.log('chat', (await server.router.ask('chat', 'hi')) !== '')
let text = ''
for await (const event of server.router.stream('asks', undefined)) if (event.type === 'token') text += event.text
console.log('stream', text)
// A run that waits for its reader, whose iterator nobody asks again, does not keep the process.
await server.router.stream('asks', undefined)[Symbol.asyncIterator]().next()
console.log('left')
