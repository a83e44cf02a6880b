import { expect, test } from 'vitest'
import { conversation as open } from '../../../client-sdk/conversation.ts'
import { type Client, createClient, upload } from '../../../client-sdk/node.ts'
import { agent, conversation, type MillraceError, memoryConversations, uploads } from '../../../server/index.ts'
import { hangs, until } from '../../helpers/chats.ts'
import { type ScriptedAnswer, says, scriptedModel } from '../../helpers/scripted-model.ts'
import { testServer } from '../../helpers/server.ts'

/** A server with conversations and uploads, and a client of alice. */
async function served(...answers: ScriptedAnswer[]) {
  const files = uploads()
  const chat = conversation({
    agent: agent({ model: scriptedModel(...answers), files: { uploads: files } }),
    store: memoryConversations(),
  })
  const server = await testServer({ chat, uploads: files })
  const client = createClient<{ chat: typeof chat; uploads: typeof files }>(server.url, { token: 'alice' })
  return {
    client,
    files,
    async [Symbol.asyncDispose]() {
      await client.close()
      await server[Symbol.asyncDispose]()
    },
  }
}

/** Waits until the server keeps none of these runs. */
async function forgotten(client: Client, ids: readonly string[]): Promise<void> {
  for (const id of ids)
    await expect
      .poll(() => client.attach('chat', id).result.catch((error: unknown) => (error as MillraceError).code))
      .toBe('not_found')
}

function send(conversation: string, id: string) {
  return { type: 'send' as const, conversation, id, content: 'hello' }
}

test('a removed conversation leaves no run of its answers or its readers behind, and no key, and others stay', async () => {
  await using all = await served(says('a secret'))
  const { client } = all
  const answer = client.start('chat', send('first', 'message-1'), { key: 'mine' })
  await answer.result
  const reader = client.start('chat', { type: 'watch', conversation: 'first' })
  await reader[Symbol.asyncIterator]().next()
  await reader.cancel()
  const other = client.start('chat', send('second', 'message-1'))
  await other.result
  const before = [await answer.opened, await reader.opened].map(({ id }) => id)
  for (const id of before) await client.attach('chat', id).opened

  const removing = open(client, 'first')
  await removing.remove()
  await forgotten(client, before)
  expect(await client.attach('chat', (await other.opened).id).result).toBe('a secret')
  // Another input under the same key would be a conflict.
  await client.start('chat', send('third', 'message-1'), { key: 'mine' }).result
})

test('a client that reads a conversation while it is removed learns so, and its run is forgotten behind it', async () => {
  await using all = await served(says('a secret'))
  const { client } = all
  await client.start('chat', send('first', 'message-1')).result
  const watch = client.start('chat', { type: 'watch', conversation: 'first' })
  const events = watch[Symbol.asyncIterator]()
  await events.next()
  const { id } = await watch.opened
  await client.ask('chat', { type: 'remove', conversation: 'first' })
  const { value } = await events.next()
  expect(value).toMatchObject({ name: 'conversation', value: { removed: true } })
  expect(await events.next()).toMatchObject({ done: true })
  await forgotten(client, [id])
})

test('a removed conversation takes its uploads with it, also those sent to an answer under way, and leaves others', async () => {
  await using all = await served(hangs('one'), says('two'))
  const { client, files } = all
  const uploaded: string[] = []
  for (const text of ['sent', 'sent during the answer', 'never sent'])
    uploaded.push((await upload(client, new TextEncoder().encode(text), { type: 'text/plain' })).upload)
  const [first = '', second = '', third = ''] = uploaded
  const chat = open(client, 'first')
  chat.subscribe(() => {})
  await chat.send([{ type: 'file', upload: first }])
  await until(chat, ({ messages }) => messages.at(-1)?.text === 'one')
  await chat.send([{ type: 'file', upload: second }], { mode: 'now' })
  const now = await until(chat, ({ status, messages }) => status === 'ready' && messages.at(-1)?.text === 'two')
  expect(now.messages.map(({ parts }) => parts[0]?.type)).toEqual(['file', 'text', 'file', 'text'])
  expect(JSON.stringify(now)).not.toContain(first)

  await chat.remove()
  const alice = { id: 'alice' }
  for (const id of [first, second]) expect(() => files.read(alice, id)).toThrow('unknown upload')
  expect(new TextDecoder().decode(files.read(alice, third).data)).toBe('never sent')
})
