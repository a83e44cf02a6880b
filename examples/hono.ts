import { serve } from '@hono/node-server'
import { Hono } from 'hono'
import { agent, bearer, createServer, demo } from 'millrace/server'

const server = createServer({
  actors: { chat: agent({ model: demo() }) },
  authenticate: bearer({ 'a-long-secret': 'alice' }),
})

const app = new Hono()
app.get('/', (context) => context.text('Agents are at /agents\n'))

const http = serve({ fetch: app.fetch, port: Number(process.env.PORT ?? 3000), hostname: '127.0.0.1' }, ({ port }) =>
  console.log(`listening on ws://127.0.0.1:${port}/agents`),
)
server.attach(http, { path: '/agents' })

process.once('SIGTERM', () => void server.close().then(() => http.close()))
