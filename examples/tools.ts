import { createClient } from 'millrace/client'
import { agent, anonymous, createServer, demo, type Message, tool } from 'millrace/server'
import { z } from 'zod'

const weather = tool({
  description: 'The weather in a city now.',
  input: z.object({ city: z.string() }),
  timeoutMs: 5_000,
  run: ({ city }) => ({ city, sky: city === 'Oslo' ? 'snow' : 'sun' }),
})

const payment = tool({
  description: 'Pays somebody.',
  input: z.object({ to: z.string() }),
  needsApproval: true,
  approvalMs: 60_000,
  async *run({ to }, { fence, call }) {
    yield 'asking the bank'
    yield { current: 1, total: 2, message: 'paying' }
    return { paid: to, reference: `${fence.run}/${fence.gen}/${call}` }
  },
})

let conversation: Message[] = []
const actors = {
  assistant: agent({
    model: demo({ tokensPerSec: Number.POSITIVE_INFINITY }),
    instructions: 'Use your tools.',
    tools: { weather, payment },
    maxIterations: 4,
    onFinish: (messages) => {
      conversation = messages
    },
  }),
}
const server = createServer({ actors, authenticate: anonymous() })
const { url } = await server.listen(0)
const client = createClient<typeof actors>(url)

const run = client.start('assistant', 'What is the weather in Oslo and Rome? And make a payment.')
for await (const event of run) {
  if (event.type === 'tool.call') console.log(`> ${event.name}`, event.args)
  if (event.type === 'request') await run.send('approve', { call: event.call, ok: true, note: 'only this once' })
  if (event.type === 'tool.progress') console.log('  ', event.note ?? event.progress)
  if (event.type === 'tool.result') console.log(`< ${event.outcome}`)
  if (event.type === 'token') process.stdout.write(event.text)
}
console.log('\nkept:', conversation.map(({ role }) => role).join(', '))

await client.close()
await server.close({ drainMs: 0 })
