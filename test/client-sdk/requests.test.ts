import { expect, test } from 'vitest'
import { z } from 'zod'
import type { Client, RequestEvent } from '../../client-sdk/index.ts'
import { createClient } from '../../client-sdk/node.ts'
import { EVENT } from '../../protocol/events.ts'
import { actor, agent, demo, tool } from '../../server/index.ts'
import { done, event, gap, opened, ScriptedServer, text } from '../helpers/scripted-server.ts'
import { eventually, testServer } from '../helpers/server.ts'
import { uncaughtErrors } from '../helpers/uncaught.ts'

const pay = tool({
  description: 'Makes a payment',
  input: z.object({ to: z.string() }),
  needsApproval: true,
  run: ({ to }) => `paid ${to}`,
})
const actors = {
  assistant: agent({ model: demo({ tokensPerSec: Number.POSITIVE_INFINITY }), tools: { payment: pay } }),
  asks: actor({
    async *stream(_: unknown, { request }) {
      yield `You are ${String(await request({ kind: 'text', prompt: 'Your name?' }))}.`
    },
  }),
}

async function clientOf(url: string): Promise<Client<typeof actors>> {
  return createClient<typeof actors>(url, { token: 'alice' })
}

test('a request for approval is answered with true, with false, or with changed arguments', async () => {
  await using server = await testServer(actors)
  const client = await clientOf(server.url)
  const answers = [true, false, { ok: true, args: { to: 'Bob' } }]
  const results = await Promise.all(
    answers.map((answer) => client.ask('assistant', 'Make a payment to Alice.', { onRequest: () => answer })),
  )
  expect(results.map((result) => /(paid \w+|refused by the user)/.exec(result)?.[1])).toEqual([
    'paid Alice',
    'refused by the user',
    'paid Bob',
  ])
  await client.close()
})

test('any other request is answered with the value of a promise, also by a client that has attached', async () => {
  await using server = await testServer(actors)
  const client = await clientOf(server.url)
  const asked: RequestEvent[] = []
  const run = client.start('asks', undefined)
  const { id } = await run.opened
  const view = client.attach('asks', id, {
    async onRequest(request) {
      asked.push(request)
      return 'Ada'
    },
  })
  expect(await Promise.all([run.result, view.result])).toEqual(['You are Ada.', 'You are Ada.'])
  expect(asked).toMatchObject([{ kind: 'text', prompt: 'Your name?' }])
  await client.close()
})

test('undefined leaves a request open, and an answer that comes too late is not an error', async () => {
  using uncaught = uncaughtErrors()
  await using server = await testServer(actors)
  const client = await clientOf(server.url)
  let tell = (_: string): void => {}
  const late = new Promise<string>((resolve) => (tell = resolve))
  const run = client.start('asks', undefined, { onRequest: () => late })
  const view = client.attach('asks', (await run.opened).id, { onRequest: () => undefined })
  const reading = view.result
  for await (const item of run)
    if (item.type === 'request') await run.send('answer', { request: item.id, value: 'Eve' })
  tell('Ada')
  expect(await reading).toBe('You are Eve.')
  await client.close()
  expect(uncaught.errors).toEqual([])
})

test('an onRequest that throws is reported, and the request stays open', async () => {
  using uncaught = uncaughtErrors()
  await using server = await testServer(actors)
  const client = await clientOf(server.url)
  const bug = new Error('a bug of the application')
  const run = client.start('asks', undefined, {
    onRequest() {
      throw bug
    },
  })
  const result = run.result
  await eventually(() => uncaught.errors.length > 0, 'the error is reported')
  expect(uncaught.errors).toEqual([bug])
  expect(await client.runs()).toMatchObject([{ state: 'waiting_input' }])
  await run.cancel()
  await expect(result).rejects.toMatchObject({ code: 'cancelled' })
  await client.close()
})

test('a request that comes again behind a gap is answered once', async () => {
  const server = new ScriptedServer()
  const asked: string[] = []
  const run = server.client().start('chat', {}, { onRequest: ({ id }) => void asked.push(id) })
  const end = run.end
  server.socket.welcome()
  const pending = [{ request: 'q1', kind: 'text' }]
  server.socket.say(opened(1), event(1, 1, EVENT.inputRequest, { request: 'q1', kind: 'text' }))
  server.socket.say(gap(1, 2, 5, { reason: 'retention', pending }), text(1, 5, 'x'), done(1, 6))
  await end
  expect(asked).toEqual(['q1'])
})
