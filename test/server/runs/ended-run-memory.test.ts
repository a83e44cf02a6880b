import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { type Actor, type ActorContext, actor } from '../../../server/actors/actor.ts'
import { collected, type Held } from '../../helpers/garbage.ts'
import { eventually, type TestServer, testServer } from '../../helpers/server.ts'
import type { WireClient } from '../../helpers/wire-client.ts'

/** Data of the size of a small conversation. */
const conversation = (): { role: string; content: string }[] =>
  Array.from({ length: 50 }, (_, n) => ({ role: 'user', content: `message ${n}` }))

/** Notes what an actor works with, and gives its context. */
function note(held: Held, input: unknown, context: ActorContext): void {
  held['input'] = new WeakRef(input as object)
  held['context'] = new WeakRef(context)
  held['signal'] = new WeakRef(context.signal)
}

/** A hand-made iterator, of which the run must not keep the object either. */
function iterable(held: Held, step: () => Promise<IteratorResult<string, unknown>>): AsyncIterable<string, unknown> {
  const iterator = { next: step }
  held['iterator'] = new WeakRef(iterator)
  return { [Symbol.asyncIterator]: () => iterator }
}

const ends: { how: string; make: (held: Held) => Actor; outcome: 'done' | 'error' | 'cancelled' }[] = [
  {
    how: 'a generator that returns a result',
    outcome: 'done',
    make: (held) =>
      actor({
        async *stream(input, context) {
          note(held, input, context)
          yield 'text'
          const result = { all: conversation() }
          held['result'] = new WeakRef(result)
          return result
        },
      }),
  },
  {
    how: 'a generator that throws',
    outcome: 'error',
    make: (held) =>
      actor({
        // biome-ignore lint/correctness/useYield: it fails before its first text
        async *stream(input, context): AsyncGenerator<string, undefined> {
          note(held, input, context)
          const error = new Error('as it should')
          held['error'] = new WeakRef(error)
          throw error
        },
      }),
  },
  {
    how: 'a generator that waits for its signal, and is cancelled',
    outcome: 'cancelled',
    make: (held) =>
      actor({
        async *stream(input, context) {
          note(held, input, context)
          yield 'text'
          await new Promise((resolve) => context.signal.addEventListener('abort', resolve, { once: true }))
        },
      }),
  },
  {
    how: 'an iterator without `return`',
    outcome: 'done',
    make: (held) =>
      actor({
        stream(input, context) {
          note(held, input, context)
          let n = 0
          return iterable(held, async () =>
            n++ === 0 ? { done: false, value: 'text' } : { done: true, value: undefined },
          )
        },
      }),
  },
  {
    how: 'an iterator without `return` that is cancelled while it waits',
    outcome: 'cancelled',
    make: (held) =>
      actor({
        stream(input, context) {
          note(held, input, context)
          let n = 0
          return iterable(held, async () => {
            if (n++ === 0) return { done: false, value: 'text' }
            await new Promise((resolve) => context.signal.addEventListener('abort', resolve, { once: true }))
            return { done: true, value: undefined }
          })
        },
      }),
  },
  {
    how: 'an `ask`',
    outcome: 'done',
    make: (held) =>
      actor({
        ask(input, context) {
          note(held, input, context)
          const result = { all: conversation() }
          held['result'] = new WeakRef(result)
          return Promise.resolve(result)
        },
      }),
  },
  {
    how: 'an actor that asked, ran a tool and started a child',
    outcome: 'done',
    make: (held) => {
      const child = actor({
        async *stream(input, context) {
          held["a child's input"] = new WeakRef(input as object)
          held["a child's context"] = new WeakRef(context)
          yield 'child'
        },
      })
      return actor({
        interactive: true,
        async *stream(input, context) {
          note(held, input, context)
          const asked = context.request({ kind: 'confirm' }).catch(() => {})
          yield* context.spawn(child, { given: conversation() })
          yield 'text'
          const stop = new AbortController()
          void context.request({ kind: 'confirm', signal: stop.signal }).catch(() => {})
          stop.abort()
          void asked
        },
      })
    },
  },
]

test.each(ends)(
  'an ended run keeps its log and its end, and nothing that its actor worked with: $how',
  async (kind) => {
    const held: Held = {}
    await using server: TestServer<Record<string, Actor>> = await testServer({ it: kind.make(held) })
    await using client = await server.client()
    client.start(1, 'it', conversation())
    const { run } = await client.next('opened', 1)
    if (kind.outcome === 'cancelled') {
      await client.next('delta', 1)
      client.send({ kind: 'cancel', sid: 1 })
    }
    const end = await client.next('end', 1)
    expect(end.outcome).toBe(kind.outcome)
    await eventually(() => server.server.liveRuns === 0, 'the run settles')
    server.errors.length = 0
    await collected(held)
    expect(Object.keys(held)).toContain('input')

    client.attach(2, run, 0)
    expect((await client.next('end', 2)).data).toEqual(end.data)
  },
)

test('an answer of the router is a copy, as a client would receive it', async () => {
  const result = { all: conversation() }
  await using server = await testServer({ it: actor({ ask: () => Promise.resolve(result) }) })
  const answer = await server.server.router.ask('it', null)
  expect(answer).toEqual(result)
  expect(answer).not.toBe(result)
})

const KEPT_MB = 4
/** Ended runs that would each weigh far more than is counted if the server kept what they were begun with. */
const heavy: { what: string; runs: number; start: (client: WireClient, sid: number) => void }[] = [
  {
    what: 'inputs of many small values',
    runs: 50,
    start: (client, sid) =>
      client.start(
        sid,
        'echo',
        Array.from({ length: 15_000 }, () => ['a', {}]),
      ),
  },
  {
    what: 'large results',
    runs: 300,
    start: (client, sid) => client.start(sid, 'result', null, { ask: true }),
  },
  {
    what: 'metas of many small values',
    runs: 1_000,
    start: (client, sid) => client.start(sid, 'echo', null, { meta: { all: Array.from({ length: 500 }, () => [[]]) } }),
  },
]

test.each(heavy)('ended runs weigh at most twice the bytes that are counted: $what', async ({ runs, start }) => {
  const echo = actor({ ask: () => Promise.resolve('said') })
  const result = actor({ ask: () => Promise.resolve([randomBytes(60_000)]) })
  const limits = {
    retainPrincipal: KEPT_MB * 1_048_576,
    startsPerSec: 1e6,
    startBurst: 1e6,
    messagesPerSec: 1e6,
    maxValues: 1e6,
  }
  await using server = await testServer({ echo, result }, { limits })
  const before = weightMb()
  // Few runs a client, which keeps what it receives.
  for (let n = 0; n < runs; n += 10) {
    await using client = await server.client()
    for (let sid = 1; sid <= 10; sid++) {
      start(client, sid)
      await client.next('end', sid)
    }
  }
  await eventually(() => server.server.liveRuns === 0 && server.server.connections === 0, 'all settle')
  expect(weightMb() - before).toBeLessThan(2 * KEPT_MB + 2)
})

/** The heap and the external memory of this process without garbage, in MB. */
function weightMb(): number {
  globalThis.gc!()
  globalThis.gc!()
  const { heapUsed, external } = process.memoryUsage()
  return (heapUsed + external) / 1_048_576
}
