import { createClient } from 'millrace/client'
import { agent, anonymous, createServer, demo, tool } from 'millrace/server'
import { z } from 'zod'

const payment = tool({
  description: 'Pays somebody.',
  input: z.object({ to: z.string() }),
  needsApproval: true,
  run: ({ to }) => `paid ${to}`,
})
const actors = { assistant: agent({ model: demo({ tokensPerSec: 2_000 }), tools: { payment } }) }
const server = createServer({ actors, authenticate: anonymous() })
const client = createClient<typeof actors>((await server.listen(0)).url)

const run = client.start('assistant', 'Make a payment to Alice.')
for await (const event of run) {
  if (event.type === 'request') await run.send('approve', { call: event.call, ok: true })
  if (event.type === 'tool.result') console.log(event.output)
}
await client.close()
await server.close()
