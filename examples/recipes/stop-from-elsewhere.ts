import { createClient } from 'millrace/client'
import { agent, bearer, createServer, demo } from 'millrace/server'

const actors = { chat: agent({ model: demo({ tokensPerSec: 200 }) }) }
const server = createServer({ actors, authenticate: bearer({ 'a-long-secret': 'alice' }), http: true })
const { url, httpUrl } = await server.listen(0)
const client = createClient<typeof actors>(url, { token: 'a-long-secret' })
const run = client.start('chat', 'Tell me about millrace')
const { id } = await run.opened

// Any program with the token and the id of the run, without a client of millrace.
const response = await fetch(`${httpUrl}/runs/${id}/cancel`, {
  method: 'POST',
  headers: { authorization: 'Bearer a-long-secret', 'content-type': 'application/json' },
  body: JSON.stringify({ note: 'the night shift' }),
})
console.log(response.status, (await run.end).outcome)
await client.close()
await server.close()
