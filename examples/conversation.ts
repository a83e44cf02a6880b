import { createClient } from 'millrace/client'
import { conversation, listConversations } from 'millrace/conversation'
import { agent, bearer, conversation as conversations, createServer, demo } from 'millrace/server'

const actors = { chat: conversations({ agent: agent({ model: demo({ tokensPerSec: 200 }) }) }) }
const server = createServer({ actors, authenticate: bearer({ 'a-long-secret': 'alice' }) })
const { url } = await server.listen(0)

const phone = createClient<typeof actors>(url, { token: 'a-long-secret' })
const laptop = createClient<typeof actors>(url, { token: 'a-long-secret' })
const chat = conversation(phone, 'first-chat')
const same = conversation(laptop, 'first-chat')
// As a page that shows it does: it reads until the page is closed.
same.subscribe(() => {})

/** Waits until the laptop shows something, and prints what that is. */
async function shown(holds: (now: ReturnType<typeof same.getSnapshot>) => boolean): Promise<void> {
  for await (const now of same) {
    if (!holds(now)) continue
    for (const { role, status, text } of now.messages) console.log(`  ${role} (${status}): ${text.length} characters`)
    return
  }
}

console.log('an answer, on the other device:')
await chat.send('Tell me about millrace')
await shown(({ status, messages }) => status === 'ready' && messages.length === 2)

console.log('another one, stopped there:')
await chat.send('And about cancelling?')
for await (const { messages } of same) if (messages.length === 4 && messages[3]?.text !== '') break
const receipt = await same.stop()
console.log('  receipt:', receipt?.confirmed === true ? receipt.outcome : 'none')
await shown(({ status }) => status === 'ready')

console.log('another version of the same message:')
const [first] = chat.getSnapshot().messages
if (first) await chat.edit(first.id, 'Tell me about credit')
await shown(({ status, messages }) => status === 'ready' && messages.length === 2 && messages[0]?.versions.length === 2)

await chat.rename('Millrace')
const { conversations: all } = await listConversations(phone)
console.log('conversations:', all.map(({ title, messages }) => `${title} (${messages} messages)`).join(', '))
await Promise.all([phone.close(), laptop.close()])
await server.close()
