import { expect, test } from 'vitest'
import { createClient } from '../client-sdk/node.ts'
import { actor } from '../server/actors/actor.ts'
import { anonymous } from '../server/index.ts'
import { timeoutsOf } from '../server/models/provider/timeouts.ts'
import { testServer } from './helpers/server.ts'

test('options of the client that are undefined count as left out', async () => {
  const hello = actor({ ask: () => 'hello' })
  await using served = await testServer(
    { hello },
    { authenticate: anonymous(), onError: undefined, limits: { maxRuns: undefined } },
  )
  const client = createClient(served.url, { WebSocket: undefined, token: undefined, flushMs: undefined })
  const run = client.start('hello', 1, { policy: undefined, rate: undefined, timeoutMs: undefined, signal: undefined })
  expect(await run.result).toBe('hello')
  const { id } = await run.opened
  expect(await client.attach('hello', id, { policy: undefined, after: undefined, credit: undefined }).result).toBe(
    'hello',
  )
  await client.close()
})

test('a time limit of a model that is undefined is the default', () => {
  expect(timeoutsOf({ headersMs: undefined, betweenTokensMs: 5 })).toEqual({ ...timeoutsOf(), betweenTokensMs: 5 })
})
