import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { conversation, searchConversations } from '../../client-sdk/conversation.ts'
import { type Client, createClient } from '../../client-sdk/node.ts'
import { type Serving, serving } from '../helpers/command.ts'
import { HAS_REDIS, RedisServer } from '../helpers/redis-server.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-demo-'))
afterAll(() => rmSync(folder, { recursive: true }))

const client = ({ url }: Serving): Client => createClient(url, { token: 't' })
const open = (at: Client) => conversation(at, 'first', { actor: 'conversation' })

/** What a conversation has once nobody answers in it. */
async function messagesOf(at: Client): Promise<{ role: string; status: string; text: string }[]> {
  for await (const { status, messages } of open(at))
    if (status === 'ready')
      return messages.map((message) => ({ ...message })).map(({ role, status, text }) => ({ role, status, text }))
  throw new Error('it was not read')
}

/** Sends a message, and stops its answer: it would take a while. */
async function ask(at: Client, text: string, stopping = at): Promise<void> {
  const sent = open(at).send(text)
  for await (const { status } of open(stopping)) if (status === 'answering') break
  await open(stopping).stop()
  await sent
}

describe('the conversation of millrace serve', () => {
  test('is there again after a restart with --data, and can be searched', async () => {
    const args = ['--token', 't', '--data', folder]
    await using first = await serving(args)
    const alice = client(first)
    await ask(alice, 'What is the weather in Oslo?')
    const before = await messagesOf(alice)
    expect(before).toMatchObject([{ role: 'user', status: 'sent' }, { role: 'assistant' }])
    await alice.close()
    first.server.kill('SIGTERM')
    expect((await first.server.ended).code).toBe(0)

    await using second = await serving(args)
    const again = client(second)
    expect(await messagesOf(again)).toEqual(before)
    const { found } = await searchConversations(again, 'weather oslo', { actor: 'conversation' })
    expect(found.map(({ conversation }) => conversation)).toContain('first')
    await again.close()
  })

  test.skipIf(!HAS_REDIS)('is the same at each server with --redis', async () => {
    await using redis = await RedisServer.start()
    const args = ['--token', 't', '--redis', redis.url]
    const [first, second] = await Promise.all([serving(args), serving(args)])
    await using _first = first
    await using _second = second
    const [alice, laptop] = [client(first), client(second)]
    await ask(alice, 'What is the weather in Oslo?', laptop)
    await ask(laptop, 'And in Bergen?', alice)
    const messages = await messagesOf(alice)
    expect(messages.map(({ role }) => role)).toEqual(['user', 'assistant', 'user', 'assistant'])
    expect(messages.map(({ text }) => text)).toMatchObject({ 0: 'What is the weather in Oslo?', 2: 'And in Bergen?' })
    expect(await messagesOf(laptop)).toEqual(messages)
    await Promise.all([alice.close(), laptop.close()])
  })
})
