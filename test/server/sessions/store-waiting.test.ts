import { expect, test } from 'vitest'
import { MillraceError } from '../../../protocol/errors.ts'
import { actor, createServer, inspector, type LogFields } from '../../../server/index.ts'
import { memoryStore } from '../../../server/stores/memory-store.ts'
import type { RunStore } from '../../../server/stores/run-store.ts'
import { eventually, quiet, testServer } from '../../helpers/server.ts'

const say = actor({
  async *stream(input: unknown) {
    yield String(input)
  },
})

/** A store that cannot be opened until it is up. */
function awaited(retryable = true) {
  const store = memoryStore()
  const state = { isUp: false, attempts: 0 }
  return {
    state,
    store: {
      ...Object.fromEntries(
        ['begin', 'takeOver', 'abandoned', 'find', 'findKey', 'list', 'read', 'remove', 'removeAll', 'close'].map(
          (name) => [name, (...args: never[]) => (store[name as 'find'] as (...all: never[]) => unknown)(...args)],
        ),
      ),
      caps: store.caps,
      async open() {
        state.attempts++
        if (!state.isUp) throw new MillraceError('store_unavailable', 'no store listens there', { retryable })
        await store.open()
      },
    } as unknown as RunStore,
  }
}

test('a server that may start without its store listens, is not ready and takes no run until the store is there', async () => {
  const { store, state } = awaited()
  const records: LogFields[] = []
  const logger = {
    ...quiet,
    info: (fields: LogFields) => records.push(fields),
    error: (fields: LogFields) => records.push(fields),
  }
  await using served = await testServer({ say }, { store, startWithoutStore: true, http: true, logger })
  const ask = async (path: string): Promise<[number, unknown]> => {
    const answer = await served.server.fetch(
      new Request(`http://localhost${path}`, { headers: { authorization: 'Bearer alice' } }),
    )
    return [answer.status, ((await answer.json()) as { code?: string }).code]
  }
  expect(await ask('/healthz')).toEqual([200, undefined])
  expect(await ask('/readyz')).toEqual([503, 'store_unavailable'])
  expect(await ask('/runs')).toEqual([503, 'store_unavailable'])
  await using client = await served.client()
  client.start(1, 'say', 'hello')
  expect(await client.next('end', 1)).toMatchObject({ data: { code: 'store_unavailable', retryable: true } })
  const of = (event: string): LogFields[] => records.filter((record) => record.event === event)
  await eventually(() => state.attempts >= 2, 'it tries again')
  expect(of('store.failed')).toHaveLength(1)
  state.isUp = true
  await eventually(() => of('store.recovered').length === 1, 'it has recovered')
  expect(await ask('/readyz')).toEqual([200, undefined])
  client.start(2, 'say', 'hello')
  await client.next('end', 2)
  expect(client.text(2)).toBe('hello')
  expect(of('store.failed')).toHaveLength(1)
})

test('a server that waits for its store runs what is never stored, and nothing else', async () => {
  const { store, state } = awaited()
  await using served = await testServer({ say, inspector: inspector() }, { store, startWithoutStore: true })
  await using client = await served.client()
  client.start(1, 'inspector', { once: true })
  expect(await client.next('end', 1)).toMatchObject({ outcome: 'done' })
  client.start(2, 'say', 'hello')
  expect(await client.next('end', 2)).toMatchObject({ data: { code: 'store_unavailable' } })
  client.start(3, 'nobody', null)
  expect(await client.next('end', 3)).toMatchObject({ outcome: 'error' })
  state.isUp = true
})

test('a server that waits for its store closes at once, and opens it no more', async () => {
  const { store, state } = awaited()
  const served = await testServer({ say }, { store, startWithoutStore: true })
  await served[Symbol.asyncDispose]()
  const { attempts } = state
  state.isUp = true
  await new Promise((resolve) => setImmediate(resolve))
  expect(state.attempts).toBe(attempts)
})

test.each([
  ['that no waiting helps, also where it may start without', true, false],
  ['that is not there, by default', false, true],
])('listen fails for a store %s', async (_, startWithoutStore, retryable) => {
  const { store } = awaited(retryable)
  const server = createServer({
    actors: { say },
    authenticate: () => undefined,
    store,
    startWithoutStore,
    logger: quiet,
  })
  await expect(server.listen(0)).rejects.toMatchObject({ code: 'store_unavailable', retryable })
  await server.close({ drainMs: 0 })
})
