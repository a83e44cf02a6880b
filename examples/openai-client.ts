// The package `openai` as it is, with actors as models: `npx tsx examples/openai-client.ts`. Only its address is another one.
import { agent, bearer, createServer, demo } from 'millrace/server'
import OpenAI from 'openai'

const server = createServer({
  actors: { chat: agent({ model: demo({ tokensPerSec: 100 }) }) },
  authenticate: bearer({ 'a-long-secret': 'alice' }),
  http: true,
})
const { httpUrl } = await server.listen(0)

const openai = new OpenAI({ baseURL: `${httpUrl}/v1`, apiKey: 'a-long-secret' })
const { data: models } = await openai.models.list()
console.log('models:', models.map(({ id }) => id).join(', '))

// Chat completions. A client that leaves its stream cancels the run: it has no other way to stop.
const stream = await openai.chat.completions.create({
  model: 'chat',
  stream: true,
  messages: [{ role: 'user', content: 'Tell me about chats' }],
})
let text = ''
for await (const { choices } of stream) text += choices[0]?.delta.content ?? ''
console.log(`chat completion: ${text.length} characters`)

// A response in the background goes on without its client, which comes back behind the last event that it has seen.
const background = await openai.responses.create({
  model: 'chat',
  input: 'Tell me about coming back',
  background: true,
  stream: true,
})
let [id, seen, beginning] = ['', 0, '']
for await (const event of background) {
  if (event.type === 'response.created') id = event.response.id
  if (event.type === 'response.output_text.delta') beginning += event.delta
  seen = event.sequence_number
  if (beginning.length > 50) break
}
let rest = ''
for await (const event of await openai.responses.retrieve(id, { stream: true, starting_after: seen }))
  if (event.type === 'response.output_text.delta') rest += event.delta
const { output_text: whole } = await openai.responses.retrieve(id)
console.log(`background response: nothing lost or doubled: ${beginning + rest === whole}`)

// And a stop, which closes the socket to the provider.
const long = await openai.responses.create({ model: 'chat', input: 'Tell me about stopping', background: true })
const { status } = await openai.responses.cancel(long.id)
console.log(`cancelled response: ${status}`)

await server.close({ drainMs: 0 })
