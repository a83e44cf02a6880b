import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from 'millrace/client'
import { actor, agent, anonymous, createServer, demo, tool } from 'millrace/server'
import { z } from 'zod'

const research = tool({
  description: 'Looks something up, slowly.',
  input: z.object({ subject: z.string() }),
  run: ({ subject }, { signal }) => sleep(500, `all about ${subject}`, { signal }),
})

const actors = {
  chat: agent({ model: demo() }),
  assistant: agent({ model: demo({ tokensPerSec: Infinity }), tools: { research } }),
  stubborn: actor({
    async *stream() {
      yield 'I ignore my signal. '
      await sleep(1_500)
    },
  }),
}
const server = createServer({ actors, authenticate: anonymous(), limits: { cancelGraceMs: 200 } })
const { url } = await server.listen(0)
const client = createClient<typeof actors>(url)

// Cancels a run while its model writes. The loop over it ends by itself.
const answer = client.start('chat', 'Tell me about stopping')
for await (const text of answer.text()) {
  process.stdout.write(text)
  if (text.includes('token')) console.log('\na run:', await answer.cancel({ note: 'heard enough' }))
}

// Cancels one of two tool calls. The other goes on, and the model gets the result of each.
const asked = client.start('assistant', 'Do research on Oslo and Rome')
for await (const event of asked) {
  if (event.type === 'tool.call' && JSON.stringify(event.args).includes('Rome'))
    void asked.cancel({ call: event.call }).then((receipt) => console.log('a tool call:', receipt))
  if (event.type === 'token') process.stdout.write(event.text)
}

// An actor that ignores its signal cannot be stopped, and the receipt says so.
const ignoring = client.start('stubborn', undefined)
for await (const text of ignoring.text()) {
  console.log(`\n${text}`)
  console.log('a stubborn one:', await ignoring.cancel())
}

await client.close()
await server.close({ drainMs: 0 })
