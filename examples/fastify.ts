import fastify from 'fastify'
import { agent, bearer, createServer, demo } from 'millrace/server'

const server = createServer({
  actors: { chat: agent({ model: demo() }) },
  authenticate: bearer({ 'a-long-secret': 'alice' }),
})

const app = fastify()
app.get('/', () => 'Agents are at /agents\n')
app.addHook('onClose', () => server.close())

server.attach(app.server, { path: '/agents' })
const url = await app.listen({ port: Number(process.env.PORT ?? 3000) })
console.log(`listening on ${url.replace('http', 'ws')}/agents`)

process.once('SIGTERM', () => void app.close())
