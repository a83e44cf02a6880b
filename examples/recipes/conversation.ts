import { createClient } from 'millrace/client'
import { conversation } from 'millrace/conversation'
import { agent, bearer, conversation as conversations, createServer, demo } from 'millrace/server'

const actors = { chat: conversations({ agent: agent({ model: demo({ tokensPerSec: 2_000 }) }) }) }
const server = createServer({ actors, authenticate: bearer({ 'a-long-secret': 'alice' }) })
const client = createClient<typeof actors>((await server.listen(0)).url, { token: 'a-long-secret' })

const chat = conversation(client, 'trip')
await chat.send('Tell me about credit')
for await (const { status, messages } of chat) {
  if (status !== 'ready' || messages.length < 2) continue
  console.log(messages.map(({ role }) => role).join(', '))
  break
}
await client.close()
await server.close()
