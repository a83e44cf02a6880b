import { AsyncLocalStorage } from 'node:async_hooks'
import { describe, expect, test } from 'vitest'
import { createClient } from '../../../client-sdk/node.ts'
import { EVENT } from '../../../protocol/events.ts'
import { actor } from '../../../server/actors/actor.ts'
import { testServer } from '../../helpers/server.ts'

const RUNS = 20
const ITEMS = 200

type Wait = () => Promise<void> | undefined

/** Actors that put their number into a storage, and note whose number they find there behind each item, and at the end. */
function noting(wait: Wait) {
  const storage = new AsyncLocalStorage<number>()
  const found = { own: 0, ends: 0, others: [] as unknown[] }
  const note = (n: number, what: 'own' | 'ends'): void => {
    const store = storage.getStore()
    if (store === n) found[what]++
    else found.others.push(store)
  }
  const reading = actor({
    async *stream(input: unknown): AsyncGenerator<string, void> {
      const n = Number(input)
      storage.enterWith(n)
      try {
        for (let i = 0; i < ITEMS; i++) {
          await wait()
          yield 'x'
          note(n, 'own')
        }
      } finally {
        note(n, 'ends')
      }
    },
  })
  return { found, reading }
}

/** What so many of them found, each read to its end with this credit. */
async function stores(wait: Wait, credit: number): Promise<unknown> {
  const { found, reading } = noting(wait)
  await using server = await testServer({ reading })
  const client = createClient<{ reading: typeof reading }>(server.url, { token: 'alice' })
  const runs = Array.from({ length: RUNS }, (_, n) => client.start('reading', n, { credit }))
  await Promise.all(runs.map(async (run) => expect(await run.result).toHaveLength(ITEMS)))
  await client.close()
  return found
}

/** One promise for all that wait for the next turn of the event loop, as those that one socket wakes. */
function sharedTurn(): Wait {
  let turn: Promise<void> | undefined
  return () =>
    (turn ??= new Promise((resolve) =>
      setImmediate(() => {
        turn = undefined
        resolve()
      }),
    ))
}

describe('an actor finds in an AsyncLocalStorage what it has put there, and nothing of another run', () => {
  const all = { own: RUNS * ITEMS, ends: RUNS, others: [] }

  test('where one moment wakes many of them', async () => {
    expect(await stores(sharedTurn(), 1_000)).toEqual(all)
  })

  test('where they never wait, and take turns', async () => {
    expect(await stores(() => undefined, 1_000)).toEqual(all)
  })

  test('where a function that makes the iterator has put it there', async () => {
    const storage = new AsyncLocalStorage<number>()
    const before: unknown[] = []
    const own: unknown[] = []
    const making = actor({
      stream(input: unknown): AsyncIterable<string, undefined> {
        before.push(storage.getStore())
        storage.enterWith(Number(input))
        return (async function* (): AsyncGenerator<string, undefined> {
          own.push(storage.getStore())
          yield 'x'
          own.push(storage.getStore())
          return undefined
        })()
      },
    })
    await using served = await testServer({ making })
    await using client = await served.client()
    // One message: they begin in one callback.
    client.send(
      ...[1, 2, 3].map((sid) => ({ kind: 'start', sid, actor: 'making', input: sid, options: { credit: 1 } }) as const),
    )
    for (let n = 1; n <= 3; n++) await client.next('end')
    expect(before).toEqual([undefined, undefined, undefined])
    expect(own.toSorted()).toEqual([1, 1, 2, 2, 3, 3])
  })

  test('where a child begins with what its parent has there, and changes it for itself', async () => {
    const storage = new AsyncLocalStorage<string>()
    const found: unknown[] = []
    const child = actor({
      async *stream(): AsyncGenerator<string, void> {
        found.push(storage.getStore())
        storage.enterWith('child')
        yield 'x'
        found.push(storage.getStore())
      },
    })
    const parent = actor({
      async *stream(_: unknown, { spawn }): AsyncGenerator<string, void> {
        storage.enterWith('parent')
        for await (const event of spawn(child, null)) if (event.type === 'token') yield event.text
        found.push(storage.getStore())
      },
    })
    await using served = await testServer({ parent })
    await using client = await served.client()
    client.start(1, 'parent', null, { credit: 1_000 })
    await client.next('end')
    expect(found).toEqual(['parent', 'child', 'parent'])
  })

  test('where their readers let them go on', async () => {
    expect(await stores(() => undefined, 1)).toEqual(all)
    expect(await stores(sharedTurn(), 1)).toEqual(all)
  })

  test('where they clean up, because they were cancelled', async () => {
    const { found, reading } = noting(() => undefined)
    await using server = await testServer({ reading })
    const client = createClient<{ reading: typeof reading }>(server.url, { token: 'alice' })
    const runs = Array.from({ length: RUNS }, (_, n) => client.start('reading', n, { credit: 1 }))
    // Each waits for its reader.
    await Promise.all(runs.map((run) => run[Symbol.asyncIterator]().next()))
    expect(await Promise.all(runs.map(async (run) => (await run.cancel()).confirmed))).toEqual(runs.map(() => true))
    await client.close()
    expect(found).toMatchObject({ ends: RUNS, others: [] })
  })
})

describe('an iterator of the application that gives an item, and emits an event one microtask later', () => {
  test('is read in that order, however many runs do so in one moment', async () => {
    const pushing = actor({
      stream(_: unknown, { emit }): AsyncIterable<string, undefined> {
        let n = 0
        const give = (resolve: (step: IteratorResult<string, undefined>) => void): void => {
          const value = n++
          if (value === 3) {
            resolve({ done: true, value: undefined })
            return
          }
          resolve({ done: false, value: `text ${value}` })
          queueMicrotask(() => void emit({ type: 'data', name: 'event', value }))
        }
        return {
          [Symbol.asyncIterator]: () => ({
            next: () => new Promise<IteratorResult<string, undefined>>((resolve) => setImmediate(() => give(resolve))),
          }),
        }
      },
    })
    await using served = await testServer({ pushing })
    await using client = await served.client()
    for (let n = 1; n <= RUNS; n++) client.start(n, 'pushing', null, { credit: 100 })
    for (let n = 1; n <= RUNS; n++) await client.next('end')
    const inOrder = ['text', 'event', 'text', 'event', 'text', 'event']
    for (let n = 1; n <= RUNS; n++)
      expect(client.items(n).map(({ type }) => (type === EVENT.data ? 'event' : 'text'))).toEqual(inOrder)
  })
})
