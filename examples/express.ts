import express from 'express'
import { agent, bearer, createServer, demo } from 'millrace/server'

const server = createServer({
  actors: { chat: agent({ model: demo() }) },
  authenticate: bearer({ 'a-long-secret': 'alice' }),
})

const app = express()
app.get('/', (_, response) => void response.send('Agents are at /agents\n'))

const http = app.listen(Number(process.env.PORT ?? 3000), '127.0.0.1', () => {
  const { port } = http.address() as { port: number }
  console.log(`listening on ws://127.0.0.1:${port}/agents`)
})
server.attach(http, { path: '/agents' })

process.once('SIGTERM', () => void server.close().then(() => http.close()))
