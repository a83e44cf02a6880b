import { expect, test } from 'vitest'
import { createClient, only } from '../../client-sdk/node.ts'
import { actor } from '../../server/actors/actor.ts'
import { testServer } from '../helpers/server.ts'
import { aborted, latch } from '../helpers/test-actors.ts'

const mixed = actor({
  async *stream() {
    yield { type: 'thinking', text: 'hm' }
    yield 'one'
    yield { type: 'data', name: 'n', value: 1 }
    yield { type: 'warning', code: 'w', message: 'careful' }
    yield 'two'
  },
})

test('only yields the events of the wanted types, in their order, and then the end', async () => {
  await using server = await testServer({ mixed })
  const client = createClient<{ mixed: typeof mixed }>(server.url, { token: 'alice' })
  const seen: unknown[] = []
  for await (const event of only(client.start('mixed', undefined), 'token', 'data')) {
    seen.push(event.type === 'token' ? event.text : event.value)
  }
  expect(seen).toEqual(['one', 1, 'two'])
  await client.close()
})

test('only holds nothing back because of unwanted events', async () => {
  const chatty = actor({
    async *stream() {
      for (let n = 0; n < 500; n++) yield { type: 'data' as const, name: 'n', value: n }
      yield 'word'
    },
  })
  await using server = await testServer({ chatty })
  const client = createClient<{ chatty: typeof chatty }>(server.url, { token: 'alice' })
  const texts: string[] = []
  for await (const { text } of only(client.start('chatty', undefined, { credit: 4 }), 'token')) texts.push(text)
  expect(texts).toEqual(['word'])
  await client.close()
})

test('only cancels the run when its loop is left', async () => {
  const stopped = latch()
  const endless = actor({
    async *stream(_: unknown, { signal }) {
      yield 'word'
      await aborted(signal)
      stopped.open()
    },
  })
  await using server = await testServer({ endless })
  const client = createClient<{ endless: typeof endless }>(server.url, { token: 'alice' })
  const run = client.start('endless', undefined)
  for await (const _ of only(run, 'token')) break
  await stopped.opened
  expect(await run.end).toMatchObject({ outcome: 'cancelled' })
  await client.close()
})

test('only can be left while it waits for an event of a wanted type', async () => {
  const endless = actor({
    async *stream(_: unknown, { signal }) {
      yield { type: 'thinking' as const, text: 'hm' }
      await aborted(signal)
    },
  })
  await using server = await testServer({ endless })
  const client = createClient<{ endless: typeof endless }>(server.url, { token: 'alice' })
  const run = client.start('endless', undefined)
  const events = only(run, 'token')
  const next = events.next()
  await run.opened
  await events.return?.()
  expect(await next).toEqual({ value: undefined, done: true })
  await client.close()
})

test('only throws what the run throws', async () => {
  const failing = actor({
    async *stream() {
      yield 'word'
      throw new Error('no more')
    },
  })
  await using server = await testServer({ failing })
  const client = createClient<{ failing: typeof failing }>(server.url, { token: 'alice' })
  const reading = (async () => {
    for await (const _ of only(client.start('failing', undefined), 'data')) continue
  })()
  await expect(reading).rejects.toMatchObject({ code: 'actor_failed' })
  await client.close()
})
