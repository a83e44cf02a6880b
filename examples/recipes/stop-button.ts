import { createClient } from 'millrace/client'
import { agent, anonymous, createServer, demo } from 'millrace/server'

const actors = { chat: agent({ model: demo({ tokensPerSec: 200 }) }) }
const server = createServer({ actors, authenticate: anonymous() })
const client = createClient<typeof actors>((await server.listen(0)).url)

const run = client.start('chat', 'Tell me about millrace')
const stop = () => run.cancel({ note: 'the button' }) // button.onclick = stop
let pieces = 0
for await (const _ of run.text()) if (++pieces === 3) void stop()

const { outcome, receipt } = await run.end
console.log(outcome, receipt?.settled, receipt?.provider)
await client.close()
await server.close()
