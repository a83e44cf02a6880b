import { createClient } from 'millrace/client'
import { agent, anonymous, createServer, demo, tool } from 'millrace/server'
import { z } from 'zod'

const payment = tool({
  description: 'Pays somebody.',
  input: z.object({ to: z.string() }),
  needsApproval: true,
  run: ({ to }) => `paid ${to}`,
})
const actors = {
  chat: agent({ model: demo({ tokensPerSec: 200 }) }),
  assistant: agent({ model: demo({ tokensPerSec: 200 }), tools: { payment } }),
}
const server = createServer({ actors, authenticate: anonymous() })
const { url } = await server.listen(0)
const client = createClient<typeof actors>(url)

// A message cuts the answer short, and the next turn answers it.
const chat = client.start('chat', 'Tell me about millrace')
let steered: ReturnType<typeof chat.send> | undefined
for await (const event of chat) {
  if (event.type === 'token') steered ??= chat.send('message.now', 'Only the credit, please')
  if (event.type === 'iteration.end') console.log(`turn ${event.n} ended: ${event.stop}`)
}
console.log('the message was taken in', await steered?.delivery)

// An approval changes what is paid. The run is paused before it is given, so no model is asked until it goes on.
const assistant = client.start('assistant', 'Make a payment to Alice.')
for await (const event of assistant) {
  if (event.type === 'request') {
    await assistant.send('govern', { paused: true })
    await assistant.send('approve', { call: event.call, ok: true, args: { to: 'Bob' } })
  }
  if (event.type === 'notice') console.log(`the run is ${event.code}`)
  if (event.type === 'tool.result') {
    console.log('tool:', event.output)
    await assistant.send('govern', { paused: false })
  }
}
console.log('answer:', await assistant.result)

// A budget ends a run. Its text is kept, and its end says what it cost.
const costly = client.start('chat', 'Tell me everything')
await costly.send('govern', { budget: { tokens: 20 } })
const { error, usage } = await costly.end
console.log(`budget: ${error?.code}, ${usage && usage.output > 0 ? 'with its usage' : 'without usage'}`)

await client.close()
await server.close({ drainMs: 0 })
