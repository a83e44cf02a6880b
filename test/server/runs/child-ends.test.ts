import { getEventListeners } from 'node:events'
import { describe, expect, test } from 'vitest'
import { EVENT } from '../../../protocol/events.ts'
import { type Actor, actor, agent, tool } from '../../../server/index.ts'
import { openai } from '../../../server/models/openai.ts'
import { FakeProvider } from '../../helpers/fake-provider.ts'
import { allSettled, servedParent } from '../../helpers/parent-run.ts'
import { says, scriptedModel } from '../../helpers/scripted-model.ts'
import { eventually } from '../../helpers/server.ts'
import { aborted, counter, latch, silent } from '../../helpers/test-actors.ts'

describe('a stop of a parent', () => {
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
    await using served = await servedParent(async function* ({ spawn }) {
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
    await using served = await servedParent(async function* ({ spawn }) {
      spawn(waits, 1)
      yield* spawn(waits, 2)
    })
    const watched = served.start()
    await eventually(() => watched.all('agent.start').length === 2, 'both begin')
    await watched.run.cancel()
    for (const { run: id } of watched.all('agent.start')) {
      const end = await served.client.attach('silent', id!).end
      expect(end).toMatchObject({ outcome: 'cancelled', receipt: { by: 'parent', reason: 'parent', settled: true } })
    }
    await allSettled(served)
  })

  test('names a child that does not stop, and keeps its slot until it has', async () => {
    const release = latch()
    const stubborn = actor({ ask: () => release.opened })
    await using served = await servedParent(
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
    await using served = await servedParent(async function* ({ spawn }) {
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
})

describe('a parent', () => {
  test('ends with what its children cost, once, whether they are passed on or not', async () => {
    const asks = agent({ model: scriptedModel(says('a')) })
    await using served = await servedParent(async function* ({ spawn }) {
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
    '%s with the cost of children that go on, and of their children, in it',
    async (how) => {
      const spends = (next?: Actor): Actor =>
        actor({
          async *stream(_, { spawn, signal }) {
            yield { type: 'usage', input: 10, output: 1 }
            if (next) yield* spawn(next, undefined)
            await aborted(signal)
          },
        })
      await using served = await servedParent(async function* ({ spawn, emit, signal }) {
        const child = spawn(spends(spends()), undefined)
        yield { type: 'usage', input: 100, output: 100 }
        let usages = 0
        for await (const event of child) {
          await emit(event)
          if (event.type === 'usage' && ++usages === 2) break
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

  test('reports the cost that the end of a child says, also when a child of that ends later', async () => {
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
    await using served = await servedParent(async function* ({ spawn }) {
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
    await using served = await servedParent(async function* (context) {
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
    const expected = { reason: 'policy', by: 'client', note: 'not this one', settled: true, ms: expect.any(Number) }
    expect(receipt).toEqual({ outcome: 'cancelled', confirmed: true, ...expected })
    expect([signals.get('a')!.aborted, signals.get('b')!.aborted]).toEqual([true, false])

    release.open()
    expect(await watched.over).toBeUndefined()
    expect(watched.text).toBe('a begins. b begins. b ends. both are over')
    expect(watched.all('agent.end')).toMatchObject([
      { agent: a!.agent, outcome: 'cancelled', receipt: expected },
      { agent: b!.agent, outcome: 'ok' },
    ])
    expect(await watched.run.cancel({ agent: a!.agent! })).toMatchObject({ confirmed: false })
    await allSettled(served)
  })

  test('is answered not_found when the child is unknown or over', async () => {
    const release = latch()
    const quick = actor({ ask: () => 'quick' })
    await using served = await servedParent(async function* ({ spawn }) {
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
    await using served = await servedParent(
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
    await using served = await servedParent(
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
    await using served = await servedParent(async function* ({ spawn }) {
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
    await using served = await servedParent(async function* ({ spawn }) {
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
    await using served = await servedParent(async function* ({ spawn }) {
      yield await spawn(waits, undefined).result.then(String)
    })
    const watched = served.start()
    const { agent: id } = await watched.first('agent.start')
    await watched.run.cancel({ agent: id! })
    expect(await watched.over).toMatchObject({ code: 'actor_failed' })
  })
})
test('one signal may stop any number of children, and none of them leaves a listener', async () => {
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
  await using served = await servedParent(async function* ({ spawn, tools }) {
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
