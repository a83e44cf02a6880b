import { getEventListeners } from 'node:events'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { createClient, type Run, type StreamEvent } from '../../../client-sdk/node.ts'
import { EVENT } from '../../../protocol/events.ts'
import type { DownFrame } from '../../../protocol/frames.ts'
import {
  type Actor,
  type ActorContext,
  actor,
  agent,
  type ChildRun,
  type RunEvent,
  tool,
} from '../../../server/index.ts'
import { openai } from '../../../server/models/openai.ts'
import { Watched } from '../../helpers/agent-run.ts'
import { FakeProvider } from '../../helpers/fake-provider.ts'
import { calls, says, scriptedModel } from '../../helpers/scripted-model.ts'
import { eventually, testServer } from '../../helpers/server.ts'
import { aborted, counted, counter, latch, silent } from '../../helpers/test-actors.ts'

type Served = Awaited<ReturnType<typeof serve>>

/** A server with one actor, `parent`, that does `work`, and a client of it. */
async function serve(
  work: (context: ActorContext, input: unknown) => AsyncIterable<string | RunEvent, unknown>,
  options: Parameters<typeof testServer>[1] = {},
) {
  const parent = actor({ stream: (input, context) => work(context, input) })
  const served = await testServer({ parent }, options)
  const client = createClient(served.url, { token: 'alice' })
  return {
    server: served.server,
    url: served.url,
    errors: served.errors,
    client,
    peer: () => served.client(),
    start: (): Watched => new Watched(client.start('parent', undefined)),
    async [Symbol.asyncDispose]() {
      await client.close()
      await served[Symbol.asyncDispose]()
    },
  }
}

/** Whose an event is: of the parent, or of the child it names. */
const whose = (event: StreamEvent): string => ('agent' in event && event.agent !== undefined ? 'child' : 'parent')

const codeOf = (error: unknown): string => (error as { code: string }).code

/** No run takes a slot any more. */
const allSettled = ({ server }: Pick<Served, 'server'>): Promise<void> =>
  eventually(() => server.liveRuns === 0, 'every run settles')

describe('a child run', () => {
  test('is passed on as it speaks, and each event says whose it is', async () => {
    const writer = actor({
      async *stream(topic: unknown) {
        yield 'about '
        yield { type: 'thinking', text: 'hm' }
        yield { type: 'progress', current: 1 }
        yield String(topic)
        return { words: 2 }
      },
    })
    await using served = await serve(async function* ({ spawn }) {
      yield 'I ask. '
      const answer = yield* spawn(writer, 'mills', { name: 'writer' })
      yield ` ${JSON.stringify(answer)}`
    })
    const { over, told, run } = await finished(served.start())
    expect(over).toBeUndefined()
    const [, start] = told as { agent: string }[]
    const id = start!.agent
    expect(told).toEqual([
      { type: 'token', text: 'I ask. ' },
      { type: 'agent.start', agent: id, name: 'writer', run: id },
      { type: 'token', agent: id, text: 'about ' },
      { type: 'thinking', agent: id, text: 'hm' },
      { type: 'progress', agent: id, current: 1 },
      { type: 'token', agent: id, text: 'mills' },
      { type: 'agent.end', agent: id, outcome: 'ok' },
      { type: 'token', text: ' {"words":2}' },
    ])
    expect(await run.result).toBe('I ask. about mills {"words":2}')
    await allSettled(served)
  })

  test('is told of where only its result is wanted, and answers with its text', async () => {
    const { runs, ...numbers } = counter()
    await using served = await serve(async function* ({ spawn }) {
      yield `it said ${String(await spawn(numbers, 3).result)}`
    })
    const { told, run } = await finished(served.start())
    expect(told.map((event) => (event as StreamEvent).type)).toEqual(['agent.start', 'agent.end', 'token'])
    expect(await run.result).toBe('it said 1 2 3 ')
    expect(runs[0]!.count).toBe(3)
  })

  test('is a run of its own, to which its principal may attach, also afterwards', async () => {
    const release = latch()
    const slow = actor({
      async *stream() {
        yield 'one '
        await release.opened
        yield 'two'
      },
    })
    await using served = await serve(async function* ({ spawn }) {
      yield* spawn(slow, undefined)
    })
    const watched = served.start()
    const { run: id } = await watched.first('agent.start')
    await watched.first('token')
    const view = new Watched(served.client.attach('slow', id!))
    await view.first('token')
    release.open()
    await Promise.all([watched.over, view.over])
    expect([watched.text, view.text]).toEqual(['one two', 'one two'])
    expect(view.events.map(whose)).toEqual(['parent', 'parent'])
    expect(await served.client.attach('slow', id!).result).toBe('one two')

    const other = createClient(served.url, { token: 'bob' })
    await expect(other.attach('slow', id!).result).rejects.toMatchObject({ code: 'not_found' })
    await other.close()
  })

  test('is called by the name its actor is registered under', async () => {
    const helper = actor({ ask: () => 'helped' })
    const boss = actor({
      async *stream(_, { spawn }) {
        yield* spawn(helper, undefined)
      },
    })
    await using served = await testServer({ boss, helper })
    const client = createClient(served.url, { token: 'alice' })
    const { told } = await finished(new Watched(client.start('boss', undefined)))
    expect(told[0]).toMatchObject({ type: 'agent.start', name: 'helper' })
    await client.close()
  })

  test('goes no faster than the reader of the run it belongs to', async () => {
    const { runs, ...numbers } = counter()
    await using served = await serve(
      async function* ({ spawn }) {
        yield* spawn(numbers, 100_000)
      },
      { limits: { readAhead: 8 } },
    )
    const run = served.client.start('parent', undefined, { credit: 20 })
    const events = run[Symbol.asyncIterator]()
    await events.next()
    let before = -1
    while (before !== runs[0]?.count) {
      before = runs[0]?.count ?? -1
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    // What the run was sent and read ahead, and what the child is ahead of it: its own credit of one, and as much again.
    expect(before).toBeLessThanOrEqual(20 + 8 + 1 + 8 + 2)
    await run.cancel()
    await allSettled(served)
  })

  test('that fails throws its error where it is read, and the run may go on', async () => {
    const broken = actor({
      async *stream() {
        yield 'so far '
        throw new Error('secret')
      },
    })
    await using served = await serve(async function* ({ spawn }) {
      try {
        yield* spawn(broken, undefined)
      } catch (error) {
        yield `and then ${codeOf(error)}`
      }
    })
    const watched = served.start()
    expect(await watched.over).toBeUndefined()
    expect(watched.text).toBe('so far and then actor_failed')
    expect(watched.all('agent.end')).toMatchObject([{ outcome: 'error' }])
  })

  test('that fails unseen kills neither the run nor the process', async () => {
    const broken = actor({ ask: () => Promise.reject(new Error('secret')) })
    await using served = await serve(async function* ({ spawn }) {
      const child = spawn(broken, undefined)
      void child.result
      await eventually(() => served.errors.length > 0, 'the child fails')
      yield 'done'
    })
    expect((await finished(served.start())).over).toBeUndefined()
  })

  test('that is asked for what nobody waits for any more kills neither', async () => {
    const waits = silent()
    const broken = actor({ ask: () => Promise.reject(new Error('secret')) })
    await using served = await serve(async function* ({ spawn }) {
      for (const child of [spawn(waits, undefined), spawn(broken, undefined)]) void child[Symbol.asyncIterator]().next()
      await eventually(() => served.errors.length > 0, 'one fails')
      yield 'done'
    })
    expect((await finished(served.start())).over).toBeUndefined()
    await allSettled(served)
  })

  test('with an input that its schema refuses is refused where it is spawned', async () => {
    const typed = actor({ input: z.object({ n: z.number() }), ask: ({ n }) => n })
    await using served = await serve(async function* ({ spawn }) {
      try {
        spawn(typed, { n: 'one' } as never)
      } catch (error) {
        yield codeOf(error)
      }
    })
    const { told } = await finished(served.start())
    expect(told).toEqual([{ type: 'token', text: 'invalid_input' }])
  })

  test('counts among the runs of its principal, and gives its slot back', async () => {
    const waits = silent()
    await using served = await serve(
      async function* ({ spawn }) {
        const children: ChildRun[] = []
        try {
          for (;;) children.push(spawn(waits, undefined))
        } catch (error) {
          yield `${children.length} ${codeOf(error)}`
        }
      },
      { limits: { maxRuns: 4 } },
    )
    for (let n = 0; n < 3; n++) {
      const watched = served.start()
      await watched.over
      expect(watched.text).toMatch(/^3 (rate_limited|overloaded|too_many)/)
      await allSettled(served)
    }
  })

  test('of a child says who began it, and is told of once', async () => {
    const leaf = actor({ ask: () => 'leaf' })
    const branch = actor({
      async *stream(_, { spawn }) {
        yield 'branch '
        yield* spawn(leaf, undefined, { name: 'leaf' })
      },
    })
    await using served = await serve(async function* ({ spawn }) {
      yield* spawn(branch, undefined, { name: 'branch' })
    })
    const watched = served.start()
    await watched.over
    const [outer, inner] = watched.all('agent.start')
    expect([outer, inner]).toMatchObject([{ name: 'branch' }, { name: 'leaf', parent: outer!.agent }])
    expect(watched.all('agent.end').map(({ agent }) => agent)).toEqual([inner!.agent, outer!.agent])
    expect(watched.all('token').map(({ agent, text }) => [agent, text])).toEqual([
      [outer!.agent, 'branch '],
      [inner!.agent, 'leaf'],
    ])
  })

  test('may follow another any number of times: what an agent says is closed when it ends', async () => {
    const writer = actor({
      async *stream(n: unknown) {
        yield { type: 'thinking', text: 'hm' }
        yield `${String(n)} `
      },
    })
    const release = latch()
    await using served = await serve(async function* ({ spawn }) {
      for (let n = 1; n <= 500; n++) yield* spawn(writer, n)
      await release.opened
    })
    const watched = served.start()
    await eventually(() => watched.all('agent.end').length === 500, 'all have ended')
    await using wire = await served.peer()
    wire.attach(1, watched.run.id!, null)
    expect((await wire.next('opened')).lanes).toBeUndefined()
    release.open()
    await watched.over
    expect(watched.text).toBe(counted(1, 500))
  })

  test('that has ended before anybody read it is told of in order, and answers with all it said', async () => {
    const writer = actor({
      async *stream(name: unknown) {
        yield `${String(name)} `
        yield { type: 'usage', input: 10, output: 1 }
      },
    })
    await using served = await serve(async function* ({ spawn }) {
      const children = ['a', 'b', 'c'].map((name) => spawn(writer, name, { name }))
      await eventually(() => served.server.liveRuns === 1, 'the children end')
      yield* children[0]!
      yield* children[1]!
      yield await children[2]!.result
    })
    const { over, told, run } = await finished(served.start())
    expect(over).toBeUndefined()
    const [a, b, c] = (told as { agent: string }[]).map(({ agent }) => agent)
    expect(told.slice(3)).toMatchObject([
      { type: 'token', agent: a, text: 'a ' },
      { type: 'usage', agent: a },
      { type: 'agent.end', agent: a },
      { type: 'token', agent: b, text: 'b ' },
      { type: 'usage', agent: b },
      { type: 'agent.end', agent: b },
      { type: 'agent.end', agent: c },
      { type: 'token', text: 'c ' },
    ])
    expect(await run.usage).toEqual({ input: 30, output: 3 })
  })

  test('that had nothing to say and is not read is told of when it ends', async () => {
    const mute = actor({ ask: () => undefined })
    const release = latch()
    await using served = await serve(async function* ({ spawn }) {
      spawn(mute, undefined)
      await release.opened
      yield* []
    })
    const watched = served.start()
    await watched.first('agent.end')
    release.open()
    await watched.over
  })

  test('whose log was given up before it was read says so, and does not answer with less', async () => {
    const { runs: _, ...numbers } = counter()
    const returns = actor({
      async *stream() {
        yield 'text'
        return 'its result'
      },
    })
    await using served = await serve(
      async function* ({ spawn }) {
        const unread = [spawn(numbers, 3), spawn(numbers, 3), spawn(returns, undefined)] as const
        await eventually(() => served.server.liveRuns === 1, 'they end')
        for (let n = 0; n < 6; n++) await spawn(numbers, 3).result
        yield String(await unread[0].result.catch(codeOf))
        try {
          yield* unread[1]
        } catch (error) {
          yield ` ${codeOf(error)} `
        }
        yield await unread[2].result
      },
      { limits: { retainPrincipal: 30_000 } },
    )
    const watched = served.start()
    expect(await watched.over).toBeUndefined()
    expect(watched.text).toBe('overloaded overloaded its result')
    expect(watched.all('agent.end').map(({ outcome }) => outcome)).toEqual(Array<string>(9).fill('ok'))
  })

  test('that is stopped behind what it said does not answer with less', async () => {
    const { runs: _, ...numbers } = counter()
    await using served = await serve(async function* ({ spawn }) {
      const child = spawn(numbers, 3)
      await eventually(() => served.server.liveRuns === 1, 'it ends')
      expect(await child.cancel()).toBeUndefined()
      yield String(await child.result.catch(codeOf))
    })
    const watched = served.start()
    expect(await watched.over).toBeUndefined()
    expect(watched.text).toBe('cancelled')
    expect(watched.all('agent.end')).toMatchObject([{ outcome: 'ok' }])
  })

  test('gives its events in order to who asks for several at once', async () => {
    const release = latch()
    const slow = actor({
      async *stream() {
        await release.opened
        yield 'a'
        yield 'b'
        return 'c'
      },
    })
    await using served = await serve(async function* ({ spawn }) {
      const events = spawn(slow, undefined)[Symbol.asyncIterator]()
      const steps = [1, 2, 3, 4].map(() => events.next())
      release.open()
      yield JSON.stringify((await Promise.all(steps)).map(({ value }) => (value as { text?: string })?.text ?? value))
    })
    const watched = served.start()
    expect(await watched.over).toBeUndefined()
    expect(watched.text).toBe('["a","b","c",null]')
  })

  test('is told of before it says something, also while what its run said waits for a slow reader', async () => {
    const { runs: _, ...numbers } = counter()
    await using served = await serve(async function* ({ spawn, emit }) {
      for (let n = 1; n <= 300; n++) void emit(`${n} `)
      yield* spawn(numbers, 3)
    })
    const watched = new Watched(served.client.start('parent', undefined, { credit: 1 }))
    expect(await watched.over).toBeUndefined()
    expect(watched.text).toBe(counted(1, 300) + counted(1, 3))
    expect(watched.events.map(({ type }) => type).slice(300)).toEqual([
      'agent.start',
      ...Array<string>(3).fill('token'),
      'agent.end',
    ])
  })

  test('that is left while a child of it speaks leaves nothing open, any number of times', async () => {
    const { runs: _, ...numbers } = counter()
    const branch = actor({
      async *stream(_, { spawn }) {
        yield* spawn(numbers, 3)
      },
    })
    const release = latch()
    await using served = await serve(async function* ({ spawn }) {
      for (let n = 0; n < 100; n++) {
        for await (const event of spawn(branch, undefined)) {
          yield event
          if (event.type === 'token') break
        }
      }
      await release.opened
    })
    const watched = served.start()
    await Promise.race([watched.over, eventually(() => watched.all('agent.end').length === 100, 'all have ended')])
    await using wire = await served.peer()
    wire.attach(1, watched.run.id!, null)
    expect((await wire.next('opened')).lanes).toBeUndefined()
    release.open()
    expect(await watched.over).toBeUndefined()
  })

  test.each([
    ['a'.repeat(100_000), `${'a'.repeat(256)}…`],
    ['\ud800', '\ufffd'],
    ['__proto__', '__proto__'],
  ])('may be called anything, of which is told what can be shown', async (name, shown) => {
    const quick = actor({ ask: () => undefined })
    await using served = await serve(async function* ({ spawn }) {
      for (let n = 0; n < 2; n++) yield* spawn(quick, undefined, { name })
    })
    const watched = served.start()
    expect(await watched.over).toBeUndefined()
    expect(watched.all('agent.start').map((start) => start.name)).toEqual([shown, shown])
  })

  test('is stopped with any note, of which is told what a receipt may hold', async () => {
    await using served = await serve(async function* ({ spawn }) {
      const receipt = await spawn(silent(), undefined).cancel(`\ud800${'a'.repeat(100_000)}`)
      yield String(receipt?.note)
    })
    const watched = served.start()
    expect(await watched.over).toBeUndefined()
    expect(watched.text).toBe(`\ufffd${'a'.repeat(83)}…`)
    expect(watched.all('agent.end')).toMatchObject([{ outcome: 'cancelled', receipt: { note: watched.text } }])
  })

  test.each([1, 2])('says nothing that is too large to be passed on, %i times', async (times) => {
    const says = actor({
      async *stream(bytes: unknown) {
        yield { type: 'data', name: 'x', value: new Uint8Array(Number(bytes)) }
      },
    })
    const branch = actor({
      async *stream(bytes: unknown, { spawn }) {
        yield* spawn(says, bytes)
      },
    })
    await using served = await serve(async function* ({ spawn }) {
      let bytes = 65_536
      for (; ; bytes--) {
        try {
          for await (const event of spawn(times === 1 ? says : branch, bytes)) yield event
          break
        } catch (error) {
          if (codeOf(error) !== 'bad_event') throw error
        }
      }
      yield String(bytes)
    })
    const watched = served.start()
    expect(await watched.over).toBeUndefined()
    expect(Number(watched.text)).toBeGreaterThan(65_300)
    expect(watched.all('data')).toHaveLength(1)
  })

  test('that is stopped behind what its loop was given last ends behind that', async () => {
    const { runs: _, ...numbers } = counter()
    await using served = await serve(async function* ({ spawn }) {
      const child = spawn(numbers, 3)
      await eventually(() => served.server.liveRuns === 1, 'it ends')
      const step = child[Symbol.asyncIterator]().next()
      const cancelled = child.cancel()
      const { value } = await step
      if (value) yield value as RunEvent
      await cancelled
    })
    const { told } = await finished(served.start())
    expect(told).toMatchObject([{ type: 'agent.start' }, { type: 'token', text: '1 ' }, { type: 'agent.end' }])
  })

  test('costs nothing more when what it said is kept, and passed on later', async () => {
    const asks = agent({ model: scriptedModel(says('a')) })
    await using served = await serve(async function* ({ spawn }) {
      const kept: RunEvent[] = []
      for await (const event of spawn(asks, 'one')) kept.push(event)
      yield* kept
    })
    const watched = served.start()
    expect(await watched.over).toBeUndefined()
    expect(watched.text).toBe('a')
    expect(await watched.run.usage).toEqual({ input: 10, output: 2 })
  })

  test('is forgotten by the run that began it, and its answer with it, while its log is kept', async () => {
    const { runs: _, ...numbers } = counter()
    const begun: WeakRef<ChildRun>[] = []
    const release = latch()
    await using served = await serve(async function* ({ spawn }) {
      const ask = (): Promise<unknown> => {
        const child = spawn(numbers, 3)
        begun.push(new WeakRef(child))
        return child.result
      }
      yield String(await ask())
      await release.opened
    })
    const watched = served.start()
    const { run: id } = await watched.first('agent.start')
    await watched.first('token')
    await eventually(() => (globalThis.gc!(), begun[0]!.deref() === undefined), 'it is forgotten')
    expect(await served.client.attach('numbers', id!).result).toBe(counted(1, 3))
    release.open()
    await watched.over
  })

  test('is read by one reader', async () => {
    const { runs: _, ...numbers } = counter()
    await using served = await serve(async function* ({ spawn }) {
      const child = spawn(numbers, 3)
      yield* child
      try {
        child[Symbol.asyncIterator]()
      } catch (error) {
        yield codeOf(error)
      }
    })
    const watched = served.start()
    await watched.over
    expect(watched.text).toBe(`${counted(1, 3)}already_reading`)
  })
})

describe('a stop of the run', () => {
  test('reaches the provider of a child, and of a child of one, and its receipt counts them in', async () => {
    await using provider = await FakeProvider.start()
    await provider.behave('slow', { hold: 'tokens' })
    const model = openai('slow', { baseURL: provider.baseURL, apiKey: 'x', env: {} })
    const leaf = agent({ model })
    const branch = actor({
      async *stream(_, { spawn }) {
        yield* spawn(leaf, 'go on for ever')
      },
    })
    await using served = await serve(async function* ({ spawn }) {
      yield* spawn(branch, undefined)
    })
    const watched = served.start()
    const { id } = await provider.request('slow')
    const receipt = await watched.run.cancel()
    expect(receipt).toMatchObject({ outcome: 'cancelled', settled: true, provider: 'closed', unsettled: [] })
    expect(await provider.closed(id)).toMatchObject({ whole: false })
    await allSettled(served)
  })

  test('is a cancel by the parent for its children, with one end each', async () => {
    const waits = silent()
    await using served = await serve(async function* ({ spawn }) {
      spawn(waits, 1)
      yield* spawn(waits, 2)
    })
    const watched = served.start()
    await eventually(() => watched.all('agent.start').length === 2, 'both begin')
    await watched.run.cancel()
    for (const { run: id } of watched.all('agent.start')) {
      const end = await served.client.attach('silent', id!).end
      expect(end).toMatchObject({ outcome: 'cancelled', receipt: { by: 'parent', code: 6, settled: true } })
    }
    await allSettled(served)
  })

  test('names a child that does not stop, and keeps its slot until it has', async () => {
    const release = latch()
    const stubborn = actor({ ask: () => release.opened })
    await using served = await serve(
      async function* ({ spawn }) {
        yield* spawn(stubborn, undefined)
      },
      { limits: { cancelGraceMs: 50 } },
    )
    const watched = served.start()
    const { run: id } = await watched.first('agent.start')
    expect(await watched.run.cancel()).toMatchObject({ outcome: 'cancelled', settled: false, unsettled: [id] })
    expect(served.server.liveRuns).toBe(2)
    release.open()
    await allSettled(served)
  })

  test.each(['ends', 'fails'])('that only %s cancels the children that go on', async (how) => {
    const signals: AbortSignal[] = []
    const waits = actor({
      async *stream(_, { signal }) {
        signals.push(signal)
        await aborted(signal)
        yield* []
      },
    })
    await using served = await serve(async function* ({ spawn }) {
      spawn(waits, undefined)
      await eventually(() => signals.length === 1, 'the child begins')
      yield 'enough'
      if (how === 'fails') throw new Error('failed')
    })
    const watched = served.start()
    await watched.over
    await eventually(() => signals[0]!.aborted, 'the child is stopped')
    expect(await watched.run.end).toMatchObject({ outcome: how === 'ends' ? 'done' : 'error' })
    await allSettled(served)
  })

  test('counts what its children cost once, whether they are passed on or not', async () => {
    const asks = agent({ model: scriptedModel(says('a')) })
    await using served = await serve(async function* ({ spawn }) {
      yield* spawn(asks, 'one')
      await spawn(asks, 'two').result
      yield { type: 'usage', input: 1, output: 1 }
    })
    const watched = served.start()
    await watched.over
    expect(await watched.run.usage).toEqual({ input: 21, output: 5 })
    expect(watched.all('agent.end')).toMatchObject([
      { usage: { input: 10, output: 2 } },
      { usage: { input: 10, output: 2 } },
    ])
  })

  test.each(['ends', 'fails', 'is cancelled'])(
    '%s with what children that go on have cost, and theirs, in it',
    async (how) => {
      const spends = (next?: Actor): Actor =>
        actor({
          async *stream(_, { spawn, signal }) {
            yield { type: 'usage', input: 10, output: 1 }
            if (next) yield* spawn(next, undefined)
            await aborted(signal)
          },
        })
      await using served = await serve(async function* ({ spawn, emit, signal }) {
        const child = spawn(spends(spends()), undefined)
        yield { type: 'usage', input: 100, output: 100 }
        let told = 0
        for await (const event of child) {
          await emit(event)
          if (event.type === 'usage' && ++told === 2) break
        }
        const other = spawn(spends(), undefined)[Symbol.asyncIterator]()
        await other.next()
        yield 'enough'
        if (how === 'fails') throw new Error('failed')
        if (how === 'is cancelled') await aborted(signal)
      })
      const watched = served.start()
      await watched.first('token')
      if (how === 'is cancelled') await watched.run.cancel()
      await watched.over
      expect(await watched.run.usage).toMatchObject({ input: 130, output: 103 })
      await allSettled(served)
    },
  )

  test('costs what a child’s own end says it cost, also when a child of that ends later', async () => {
    const spent = latch()
    const leaf = actor({
      async *stream(_, { signal }) {
        yield { type: 'usage', input: 10, output: 10 }
        spent.open()
        await aborted(signal)
      },
    })
    const branch = actor({
      async *stream(_, { spawn }) {
        yield { type: 'usage', input: 1, output: 1 }
        spawn(leaf, undefined)
        await spent.opened
      },
    })
    await using served = await serve(async function* ({ spawn }) {
      const child = spawn(branch, undefined)
      await eventually(() => served.server.liveRuns === 1, 'the child and its child end')
      yield* child
    })
    const watched = served.start()
    await watched.over
    const { agent: id, usage } = watched.all('agent.end')[0]!
    expect(usage).toEqual(await served.client.attach('branch', id!).usage)
    expect(usage).toEqual(await watched.run.usage)
  })
})

describe('a stop of one child', () => {
  test('leaves its sibling and the run alone, and is answered with a receipt', async () => {
    const release = latch()
    const signals = new Map<unknown, AbortSignal>()
    const works = actor({
      async *stream(name, { signal }) {
        signals.set(name, signal)
        yield `${String(name)} begins. `
        await Promise.race([release.opened, aborted(signal)])
        signal.throwIfAborted()
        yield `${String(name)} ends. `
      },
    })
    await using served = await serve(async function* (context) {
      const children = ['a', 'b'].map((name) => context.spawn(works, name, { name }))
      await Promise.all(
        children.map(async (child) => {
          for await (const event of child) await context.emit(event)
        }),
      )
      yield 'both are over'
    })
    const watched = served.start()
    await eventually(() => watched.all('token').length === 2, 'both speak')
    const [a, b] = watched.all('agent.start')

    const receipt = await watched.run.cancel({ agent: a!.agent!, reason: 'policy', note: 'not this one' })
    const told = { code: 4, by: 'client', note: 'not this one', settled: true, ms: expect.any(Number) }
    expect(receipt).toEqual({ outcome: 'cancelled', confirmed: true, ...told })
    expect([signals.get('a')!.aborted, signals.get('b')!.aborted]).toEqual([true, false])

    release.open()
    expect(await watched.over).toBeUndefined()
    expect(watched.text).toBe('a begins. b begins. b ends. both are over')
    expect(watched.all('agent.end')).toMatchObject([
      { agent: a!.agent, outcome: 'cancelled', receipt: told },
      { agent: b!.agent, outcome: 'ok' },
    ])
    expect(await watched.run.cancel({ agent: a!.agent! })).toMatchObject({ confirmed: false })
    await allSettled(served)
  })

  test('is answered not_found for one that is unknown or over', async () => {
    const release = latch()
    const quick = actor({ ask: () => 'quick' })
    await using served = await serve(async function* ({ spawn }) {
      yield* spawn(quick, undefined)
      await release.opened
    })
    const watched = served.start()
    const { agent: id } = await watched.first('agent.end')
    for (const unknown of [id!, 'r_nobody'])
      expect(await watched.run.cancel({ agent: unknown })).toEqual({ confirmed: false, code: 'not_found' })
    release.open()
    await watched.over
  })

  test('that does not stop is answered once: from then on it is unknown, though it goes on', async () => {
    const release = latch()
    const stubborn = actor({ ask: () => release.opened })
    await using served = await serve(
      async function* ({ spawn }) {
        yield* spawn(stubborn, undefined)
        await release.opened
      },
      { limits: { cancelGraceMs: 50 } },
    )
    const watched = served.start()
    const { agent } = await watched.first('agent.start')
    expect(await watched.run.cancel({ agent: agent! })).toMatchObject({ outcome: 'cancelled', settled: false })
    expect(await watched.run.cancel({ agent: agent! })).toEqual({ confirmed: false, code: 'not_found' })
    expect(served.server.liveRuns).toBe(2)
    release.open()
    await watched.over
    await allSettled(served)
  })

  test('is answered by its end, also when it is repeated while that waits for credit', async () => {
    await using served = await serve(
      async function* ({ spawn, signal }) {
        const child = spawn(silent(), undefined)
        await child.result.catch(() => {})
        await aborted(signal)
        yield* []
      },
      { limits: { readAhead: 0 } },
    )
    await using peer = await served.peer()
    peer.start(1, 'parent', null, { credit: 1 })
    await peer.until(() => peer.count(1) === 1)
    const { agent: id } = peer.items(1)[0]!.data as { agent: string }
    for (let n = 0; n < 3; n++) peer.send({ kind: 'cancel', sid: 1, target: { type: 'agent', id } })
    await peer.settle()
    expect(peer.frames.filter(({ kind }) => kind === 'notice')).toEqual([])
    peer.send({ kind: 'credit', sid: 1, n: 1 })
    await peer.until(() => peer.count(1) === 2)
    expect(peer.items(1)[1]).toMatchObject({ type: EVENT.agentEnd, data: { agent: id, outcome: 2 } })
  })

  test('reaches a child of a child', async () => {
    const waits = silent()
    const branch = actor({
      async *stream(_, { spawn }) {
        yield* spawn(waits, undefined, { name: 'leaf' })
        yield 'branch goes on'
      },
    })
    await using served = await serve(async function* ({ spawn }) {
      yield* spawn(branch, undefined)
    })
    const watched = served.start()
    const leaf = await watched.first('agent.start', ({ name }) => name === 'leaf')
    expect(await watched.run.cancel({ agent: leaf.agent! })).toMatchObject({ outcome: 'cancelled', settled: true })
    expect(await watched.over).toBeUndefined()
    expect(watched.text).toBe('branch goes on')
  })

  test('by its own run, or by leaving its loop, stops it as well', async () => {
    const { runs, ...numbers } = counter()
    await using served = await serve(async function* ({ spawn }) {
      const first = spawn(numbers, 100_000)
      for await (const event of first) {
        if (event.type === 'token') {
          yield event
          break
        }
      }
      const second = spawn(numbers, 100_000)
      const receipt = await second.cancel('not needed')
      yield { type: 'data', name: 'receipt', value: { by: receipt?.by, note: receipt?.note } }
      await expect(second.result).rejects.toMatchObject({ code: 'cancelled' })
      yield 'over'
    })
    const watched = served.start()
    expect(await watched.over).toBeUndefined()
    expect(watched.text).toBe('1 over')
    expect(watched.all('data')).toMatchObject([{ value: { by: 'parent', note: 'not needed' } }])
    expect(runs.every(({ aborted: stopped, count }) => stopped || count === 0)).toBe(true)
    expect(watched.all('agent.end').map(({ outcome }) => outcome)).toEqual(['cancelled', 'cancelled'])
    await allSettled(served)
  })

  test('that its run cannot do without ends the run as failed, not as cancelled', async () => {
    const waits = silent()
    await using served = await serve(async function* ({ spawn }) {
      yield await spawn(waits, undefined).result.then(String)
    })
    const watched = served.start()
    const { agent: id } = await watched.first('agent.start')
    await watched.run.cancel({ agent: id! })
    expect(await watched.over).toMatchObject({ code: 'actor_failed' })
  })
})

describe('tools of children', () => {
  /** An agent whose model calls `wait` once, with the id that its provider counts from one. */
  const waiting = (needsApproval = false) => {
    const contexts = new Map<string, { signal: AbortSignal; call: string }>()
    const release = latch()
    const wait = tool({
      description: 'Waits',
      needsApproval,
      async run(_, context) {
        contexts.set(context.call, context)
        await Promise.race([release.opened, aborted(context.signal)])
        context.signal.throwIfAborted()
        return 'waited'
      },
    })
    const make = () =>
      agent({ model: scriptedModel(calls({ call: 'c1', name: 'wait', args: {} }), says('ok ')), tools: { wait } })
    return { contexts, release: release.open, make, tools: { wait } }
  }

  /** Two such agents side by side. */
  async function* sideBySide(context: ActorContext, make: () => ReturnType<typeof agent>) {
    await Promise.all(
      ['a', 'b'].map(async (name) => {
        for await (const event of context.spawn(make(), 'go', { name })) await context.emit(event)
      }),
    )
    yield 'over'
  }

  test.each(['is cancelled', 'is left'])(
    'of which nothing more is heard, since its agent %s, are answered',
    async (how) => {
      const [stubborn, rest, leave] = [latch(), latch(), latch()]
      let goesOn = false
      const wait = tool({
        description: 'Does not stop',
        run: () => {
          goesOn = true
          return stubborn.opened
        },
      })
      const model = scriptedModel(calls({ call: 'a', name: 'wait', args: {} }), says('ok'))
      const helper = agent({ model, tools: { wait } })
      await using served = await serve(async function* ({ spawn }) {
        for await (const event of spawn(helper, 'go')) {
          yield event
          if (how === 'is cancelled' || event.type !== 'tool.call') continue
          await leave.opened
          break
        }
        yield 'on'
        await rest.opened
      })
      const watched = served.start()
      const { agent: id = '' } = await watched.first('tool.call')
      await eventually(() => goesOn, 'the call goes on')
      const answer = watched.run.cancel({ call: 'a' })
      if (how === 'is cancelled') await watched.run.cancel({ agent: id })
      else leave.open()
      expect(await answer).toEqual({ confirmed: false, code: 'not_found' })
      await watched.first('token')
      stubborn.open()
      rest.open()
      expect(await watched.over).toBeUndefined()
      await allSettled(served)
    },
  )

  test.each(['is read by nobody', 'was stopped, and does not stop'])(
    'that have finished unread are answered not_found at once where their agent %s',
    async (how) => {
      const isRead = how !== 'is read by nobody'
      const [finished, rest] = [latch(), latch()]
      const quick = tool({ description: 'Is done at once', run: () => 'done' })
      const helper = actor({
        async *stream(_, { tools }) {
          yield 'hm'
          await tools({ quick }).call({ call: 'a', name: 'quick', args: {} })
          finished.open()
          await rest.opened
        },
      })
      await using served = await serve(
        async function* ({ spawn }) {
          const child = spawn(helper, undefined)
          if (isRead) await child[Symbol.asyncIterator]().next()
          await finished.opened
          yield 'on'
          await rest.opened
        },
        { limits: { cancelGraceMs: 60_000 } },
      )
      const watched = served.start()
      await watched.first('token')
      const { agent: id } = await watched.first('agent.start')
      const stopped = isRead ? watched.run.cancel({ agent: id! }) : undefined
      expect(await watched.run.cancel({ call: 'a' })).toEqual({ confirmed: false, code: 'not_found' })
      expect(watched.all('agent.end')).toEqual([])
      rest.open()
      await stopped
      await watched.over
      await allSettled(served)
    },
  )

  test('have ids of their own, so that one call is cancelled and the other is not', async () => {
    const { contexts, release, make } = waiting()
    await using served = await serve((context) => sideBySide(context, make))
    const watched = served.start()
    await eventually(() => contexts.size === 2 && watched.all('tool.call').length === 2, 'two calls go on')
    const [first, second] = watched.all('tool.call')
    expect(first!.call).not.toBe(second!.call)
    expect(await watched.run.cancel({ call: second!.call })).toMatchObject({ outcome: 'cancelled', settled: true })
    expect([contexts.get(first!.call)!.signal.aborted, contexts.get(second!.call)!.signal.aborted]).toEqual([
      false,
      true,
    ])
    release()
    expect(await watched.over).toBeUndefined()
    expect(watched.text).toBe('ok ok over')
  })

  test.each(['yields', 'emits'])(
    'are answered by their results when they are cancelled, also where these wait to be passed on by one that %s',
    async (how) => {
      const { contexts, release, tools } = waiting()
      const four = ['a', 'b', 'c', 'd'].map((call) => ({ call, name: 'wait', args: {} }))
      const rest = latch()
      const model = scriptedModel(calls(...four), async function* () {
        await rest.opened
        yield* says('ok')
      })
      await using served = await serve(
        async function* ({ spawn, emit }) {
          const child = spawn(agent({ model, tools }), 'go')
          if (how === 'yields') yield* child
          else for await (const event of child) await emit(event)
        },
        { limits: { readAhead: 2 } },
      )
      await using peer = await served.peer()
      const read = async (holds: () => boolean): Promise<void> => {
        while (!holds()) {
          peer.send({ kind: 'credit', sid: 1, n: 1 })
          await peer.settle()
        }
      }
      const events = (type: number) => peer.items(1).filter((item) => item.type === type)
      const isAnswer = (frame: DownFrame): boolean =>
        frame.kind === 'notice' || (frame.kind === 'event' && frame.type === EVENT.toolResult)
      peer.start(1, 'parent', null, { credit: 1 })
      await read(() => events(EVENT.toolCall).length === 4)
      await eventually(() => contexts.size === 4, 'four calls go on')
      for (const id of [...contexts.keys(), ...contexts.keys()]) {
        peer.send({ kind: 'cancel', sid: 1, target: { type: 'call', id } })
        await peer.settle()
      }
      await read(() => events(EVENT.toolResult).length === 4)
      const answers = peer.frames.filter(isAnswer)
      for (const call of contexts.keys()) {
        const first = answers.find((frame) => JSON.stringify(frame).includes(`"${call}"`))
        expect(first).toMatchObject({ kind: 'event', data: { call, outcome: 2 } })
      }
      // What its reader has is not on its way any more, wherever the one that passed it on stands.
      const last = (events(EVENT.toolResult).at(-1)!.data as { call: string }).call
      peer.send({ kind: 'cancel', sid: 1, target: { type: 'call', id: last } })
      await read(() => peer.frames.some((frame) => frame.kind === 'notice' && frame.message.includes(` ${last} `)))
      rest.open()
      release()
      peer.send({ kind: 'credit', sid: 1, n: 100 })
      await peer.next('end')
    },
  )

  test('ask leave at the run they belong to, also of who comes later, and one answer is one call’s', async () => {
    const { contexts, release, make } = waiting(true)
    await using served = await serve((context) => sideBySide(context, make))
    const watched = served.start()
    await eventually(() => watched.all('request').length === 2, 'both ask')
    const [first, second] = watched.all('request')
    expect(first!.id).not.toBe(second!.id)

    const late = createClient(served.url, { token: 'alice' })
    const view = new Watched(late.attach('parent', watched.run.id!, { after: 'live' }))
    await eventually(() => view.all('request').length === 2, 'who comes later is told of both')
    expect(view.all('request').map(({ id, agent: of }) => [id, of])).toEqual(
      [first, second].map((asked) => [asked!.id, asked!.agent]),
    )

    await view.run.send('approve', { call: second!.call, ok: true })
    await eventually(() => contexts.size === 1, 'one call is allowed')
    expect([...contexts.keys()]).toEqual([second!.call])
    const third = new Watched(late.attach('parent', watched.run.id!, { after: 'live' }))
    await third.first('request')
    expect(third.all('request').map(({ id }) => id)).toEqual([first!.id])

    await view.run.send('answer', { request: first!.id, value: true })
    await expect(view.run.send('answer', { request: first!.id, value: true })).rejects.toMatchObject({
      code: 'not_found',
    })
    release()
    expect(await watched.over).toBeUndefined()
    expect(watched.all('tool.result').map(({ outcome }) => outcome)).toEqual(['ok', 'ok'])
    await late.close()
  })

  test.each([
    ['', {}],
    [', also when they have a signal of their own', { signal: new AbortController().signal }],
  ])('may be agents themselves, which stop with their call%s', async (_, options) => {
    const signals: AbortSignal[] = []
    const expert = actor({
      async *stream(__, { signal }) {
        signals.push(signal)
        yield 'let me see '
        await aborted(signal)
      },
    })
    const consult = tool({
      description: 'Asks an expert',
      run: (__, { spawn }) => spawn(expert, undefined, { name: 'expert', ...options }).result,
    })
    const boss = agent({
      model: scriptedModel(calls({ call: 'c1', name: 'consult', args: {} }), says('never mind')),
      tools: { consult },
    })
    await using served = await testServer({ boss })
    const client = createClient(served.url, { token: 'alice' })
    const watched = new Watched(client.start('boss', 'go'))
    await eventually(() => signals.length === 1, 'the expert is asked')
    expect(await watched.run.cancel({ call: 'c1' })).toMatchObject({ outcome: 'cancelled', settled: true })
    expect(signals[0]!.aborted).toBe(true)
    await watched.over
    expect(watched.text).toBe('never mind')
    expect(watched.all('agent.end')).toMatchObject([{ outcome: 'cancelled' }])
    await client.close()
    await allSettled(served)
  })
})

test('any number of children may be stopped by one signal, and none of them stays its listener', async () => {
  const { runs: _, ...numbers } = counter()
  const warnings: string[] = []
  const warned = ({ message }: Error): void => void warnings.push(message)
  process.on('warning', warned)
  const { signal } = new AbortController()
  const gather = tool({
    description: 'Asks many',
    async run(__, { spawn }) {
      await Promise.all(Array.from({ length: 20 }, () => spawn(numbers, 1).result))
      return 'gathered'
    },
  })
  await using served = await serve(async function* ({ spawn, tools }) {
    await Promise.all(Array.from({ length: 20 }, () => spawn(numbers, 1, { signal }).result))
    yield (await tools({ gather }).call({ call: 'c1', name: 'gather', args: {} })).content
  })
  const watched = served.start()
  await watched.over
  expect(watched.text).toBe('gathered')
  expect(getEventListeners(signal, 'abort')).toEqual([])
  await new Promise((resolve) => setImmediate(resolve))
  process.off('warning', warned)
  expect(warnings).toEqual([])
})

async function finished(watched: Watched): Promise<{ over: unknown; told: object[]; run: Run }> {
  return { over: await watched.over, told: watched.told, run: watched.run }
}
