import { createClient } from 'millrace/client'
import { agent, anonymous, createServer, demo, fallback, MillraceError, unstreamed } from 'millrace/server'

const first = unstreamed({
  id: 'first',
  provider: 'example',
  complete: async () => {
    throw new MillraceError('provider_error', 'the provider is down')
  },
})
const actors = { chat: agent({ model: fallback(first, demo({ tokensPerSec: 2_000 })) }) }
const server = createServer({ actors, authenticate: anonymous() })
const client = createClient<typeof actors>((await server.listen(0)).url)

const run = client.start('chat', 'Tell me about millrace')
for await (const event of run) if (event.type === 'warning') console.log(event.code)
console.log((await run.end).outcome)
await client.close()
await server.close()
