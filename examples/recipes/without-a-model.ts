import { createClient } from 'millrace/client'
import { agent, anonymous, createServer, type Model, memory } from 'millrace/server'

const scripted: Model = {
  id: 'scripted',
  provider: 'test',
  async *stream() {
    yield { type: 'text', text: 'It is ' }
    yield { type: 'text', text: 'sunny.' }
    yield { type: 'finish', stop: 'stop' }
  },
}
const transport = memory() // no port; `transport.cut()` drops all connections
const actors = { chat: agent({ model: scripted }) }
const server = createServer({ actors, authenticate: anonymous(), transport })
await server.listen()
const client = createClient<typeof actors>(transport.url, { WebSocket: transport.WebSocket })

console.log(await client.ask('chat', 'How is the weather?'))
await client.close()
await server.close()
