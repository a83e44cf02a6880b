import { createClient } from 'millrace/client'
import { agent, anonymous, createServer, demo } from 'millrace/server'

const actors = { chat: agent({ model: demo({ tokensPerSec: 200 }) }) }
const server = createServer({ actors, authenticate: anonymous() })
const client = createClient<typeof actors>((await server.listen(0)).url)

const run = client.start('chat', 'Tell me about millrace', { timeoutMs: 60_000 })
await run.send('govern', { budget: { tokens: 20 } }) // also `ms`, and `cost` with models that have prices
const { outcome, error } = await run.end
console.log(outcome, error?.code)
await client.close()
await server.close()
