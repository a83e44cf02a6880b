import { mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createClient } from 'millrace/client'
import { actor, agent, bearer, createServer, demo, type Message, type Principal } from 'millrace/server'
import { z } from 'zod'

const folder = await mkdtemp(join(tmpdir(), 'millrace-chats-'))

/** Conversations as files. In an application, this is a table with a row per conversation. */
const conversations = {
  async load(key: string): Promise<Message[]> {
    const text = await readFile(join(folder, key), 'utf8').catch(() => '[]')
    return JSON.parse(text) as Message[]
  },
  /** Replaces the whole file at once: a crash leaves the old one. */
  async save(key: string, messages: Message[]): Promise<void> {
    await writeFile(join(folder, `${key}.new`), JSON.stringify(messages))
    await rename(join(folder, `${key}.new`), join(folder, key))
  },
}

const conversation = z.string().regex(/^[a-z0-9-]{1,40}$/)

/** The name under which a conversation is kept: that of one principal is out of reach of any other. */
function keyOf(principal: Principal, id: string): string {
  return `${Buffer.from(principal.id).toString('hex')}-${id}`
}

const actors = {
  /** Answers one message of a conversation that the server keeps. The client sends nothing but the new message. */
  chat: actor({
    input: z.object({ conversation, text: z.string().min(1) }),
    async *stream({ conversation, text }, { principal, spawn }) {
      const key = keyOf(principal, conversation)
      const assistant = agent({
        model: demo({ tokensPerSec: 200 }),
        instructions: 'Answer in at most five sentences.',
        onFinish: (messages) => conversations.save(key, messages),
      })
      const messages: Message[] = [...(await conversations.load(key)), { role: 'user', content: text }]
      return yield* spawn(assistant, { messages }, { name: 'assistant' })
    },
  }),
  /** The messages of a conversation, for a page that opens it. */
  history: actor({
    input: z.object({ conversation }),
    ask: ({ conversation }, { principal }) => conversations.load(keyOf(principal, conversation)),
  }),
}

async function withServer(use: (client: ReturnType<typeof createClient<typeof actors>>) => Promise<void>) {
  await using server = createServer({ actors, authenticate: bearer({ 'a-long-secret': 'alice' }) })
  const { url } = await server.listen(0)
  const client = createClient<typeof actors>(url, { token: 'a-long-secret' })
  await use(client)
  await client.close()
}

const chat = { conversation: 'first-chat' }
const show = (messages: Message[]) => messages.map(({ role, content }) => `${role} (${content.length})`).join(', ')

await withServer(async (client) => {
  await client.start('chat', { ...chat, text: 'Tell me about millrace' }).result
  console.log('after one answer:', show(await client.ask('history', chat)))

  // A cancel in the middle of an answer keeps what was said until then.
  const run = client.start('chat', { ...chat, text: 'And about cancelling?' })
  for await (const event of run) if (event.type === 'token') break
  await run.cancel()
  console.log('after a cancel:', show(await client.ask('history', chat)))
})

// The conversation is on disk: another server goes on with it.
await withServer(async (client) => {
  const answer = await client.ask('chat', { ...chat, text: 'Go on' })
  console.log('the answer:', answer)
  console.log('after a restart:', show(await client.ask('history', chat)))
})
await rm(folder, { recursive: true })
