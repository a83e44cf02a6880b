import { expect, test } from 'vitest'
import { collect, createClient } from '../../client-sdk/node.ts'
import { actor } from '../../server/actors/actor.ts'
import { testServer } from '../helpers/server.ts'
import { aborted } from '../helpers/test-actors.ts'

const work = actor({
  async *stream() {
    yield 'one '
    yield { type: 'progress', current: 1, total: 2, message: 'half' }
    yield { type: 'data', name: 'n', value: 1 }
    yield 'two'
    return { words: 2 }
  },
})

test('collect gives all events, the text and the result of a run', async () => {
  await using server = await testServer({ work })
  const client = createClient<{ work: typeof work }>(server.url, { token: 'alice' })
  const { events, text, result } = await collect(client.start('work', undefined))
  expect(events.map(({ type }) => type)).toEqual(['token', 'progress', 'data', 'token'])
  expect({ text, words: result.words }).toEqual({ text: 'one two', words: 2 })
  await client.close()
})

test('collect calls back with each event and with the progress, and the run waits for what they return', async () => {
  await using server = await testServer({ work })
  const client = createClient<{ work: typeof work }>(server.url, { token: 'alice' })
  const calls: string[] = []
  await collect(client.start('work', undefined), {
    onEvent: async ({ type }) => {
      await Promise.resolve()
      calls.push(type)
    },
    onProgress: ({ current, total, message }) => void calls.push(`${current} of ${total}: ${message}`),
  })
  expect(calls).toEqual(['token', 'progress', '1 of 2: half', 'data', 'token'])
  await client.close()
})

test('collect cancels a run whose callback throws, and rejects with that error', async () => {
  let isStopped = false
  const long = actor({
    async *stream(_: unknown, { signal }) {
      yield 'one'
      await aborted(signal)
      isStopped = true
    },
  })
  await using server = await testServer({ long, work })
  const client = createClient<{ long: typeof long; work: typeof work }>(server.url, { token: 'alice' })
  const run = client.start('long', undefined)
  const onEvent = (): void => {
    throw new Error('the page is gone')
  }
  await expect(collect(run, { onEvent })).rejects.toThrow('the page is gone')
  expect(await run.end).toMatchObject({ outcome: 'cancelled' })
  expect(isStopped).toBe(true)
  await expect(collect(client.start('work', undefined), { onProgres: () => {} } as never)).rejects.toThrow(
    'did you mean onProgress?',
  )
  await client.close()
})
