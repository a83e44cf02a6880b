import { expect, test } from 'vitest'
import { conversation as conversationOf } from '../../../client-sdk/conversation.ts'
import { createClient } from '../../../client-sdk/node.ts'
import { agent, conversation, demo } from '../../../server/index.ts'
import { httpServed } from '../../helpers/http-served.ts'
import { eventually } from '../../helpers/server.ts'

test('a conversation over plain HTTP is the same one that a client shows, and both add messages', async () => {
  const actors = { chat: conversation({ agent: agent({ model: demo({ tokensPerSec: 10_000 }) }) }) }
  await using server = await httpServed(actors)
  const http = server.http()
  const ask = (input: object) => http.stream('POST', '/runs', { actor: 'chat', input })
  {
    await using answer = await ask({ type: 'send', conversation: 'oslo', id: 'message-1', content: 'Hello' })
    expect(await answer.end()).toMatchObject({ outcome: 'done' })
    expect(answer.said).toContain('Hello')
  }
  const client = createClient<typeof actors>(server.url, { token: 'alice' })
  const chat = conversationOf(client, 'oslo')
  const leave = chat.subscribe(() => {})
  const shown = () => chat.getSnapshot().messages.map(({ role, status }) => `${role} ${status}`)
  const answers = (count: number) =>
    eventually(() => shown().filter((one) => one === 'assistant sent').length === count, `${count} answers are shown`)
  await answers(1)
  await chat.send('And museums?')
  await answers(2)
  {
    await using answer = await ask({ type: 'send', conversation: 'oslo', id: 'message-3', content: 'And parks?' })
    expect(await answer.end()).toMatchObject({ outcome: 'done' })
  }
  await answers(3)
  expect(shown()).toEqual(Array.from({ length: 3 }, () => ['user sent', 'assistant sent']).flat())
  const listed = await http.json('POST', '/runs', { actor: 'chat', input: { type: 'list' } })
  const page = await http.json('GET', `/runs/${String(listed.body['run'])}/events?wait=5000`, undefined, {
    accept: 'application/json',
  })
  expect(page.body).toMatchObject({ end: { result: { conversations: [{ id: 'oslo' }] } } })
  leave()
  await client.close()
})
