import { type Client, createClient } from 'millrace/client'
import { agent, anonymous, createServer, demo, memory } from 'millrace/server'
import { afterEach, beforeEach, expect, test } from 'vitest'

const actors = { chat: agent({ model: demo({ tokensPerSec: Infinity }) }) }
let transport: ReturnType<typeof memory>
let server: ReturnType<typeof createServer>
let client: Client<typeof actors>

beforeEach(async () => {
  transport = memory()
  server = createServer({ actors, authenticate: anonymous(), transport })
  await server.listen()
  client = createClient(transport.url, { WebSocket: transport.WebSocket })
})

afterEach(async () => {
  await client.close()
  await server.close()
})

test('the agent answers', async () => {
  expect(await client.ask('chat', 'Tell me about millrace')).toContain('millrace')
})

test('an answer outlives its connection', async () => {
  const whole = await client.ask('chat', 'Tell me about millrace')
  let text = ''
  for await (const piece of client.start('chat', 'Tell me about millrace', { credit: 8 }).text()) {
    if (text === '') transport.cut()
    text += piece
  }
  expect(text).toBe(whole)
})

test('leaving the loop stops the agent', async () => {
  const run = client.start('chat', 'Tell me about millrace', { credit: 8 })
  for await (const _ of run.text()) break
  expect(await run.end).toMatchObject({ outcome: 'cancelled', receipt: { settled: true } })
})
