import { expect, test } from 'vitest'
import { createClient } from '../../client-sdk/node.ts'
import { actor } from '../../server/index.ts'
import { Child } from '../helpers/child-process.ts'
import { testServer } from '../helpers/server.ts'

test('a process survives unread results that reject', async () => {
  await using child = new Child<never, never>('unread-results-process.ts')
  expect({ code: await child.exited, stderr: child.stderr }).toEqual({ code: 0, stderr: '' })
})

const actors = {
  talker: actor({
    async *stream(words: unknown) {
      for (let n = 0; n < Number(words); n++) yield `${n} `
    },
  }),
  counter: actor({
    async *stream(words: unknown) {
      for (let n = 0; n < Number(words); n++) yield { type: 'progress', current: n }
      return { counted: Number(words) }
    },
  }),
}

test('awaiting the result of a run is enough to read all of it', async () => {
  await using server = await testServer(actors)
  const client = createClient<typeof actors>(server.url, { token: 'alice' })
  // Far more than a window: credit must be granted.
  const said = Array.from({ length: 5_000 }, (_, n) => `${n} `).join('')
  expect(await client.start('talker', 5_000).result).toBe(said)
  expect(await client.start('counter', 5_000).result).toEqual({ counted: 5_000 })
  expect(await client.start('counter', 5_000).end).toMatchObject({ outcome: 'done', seq: 5_001 })
  await client.close()
})
