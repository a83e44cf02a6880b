import { describe, expect, test } from 'vitest'
import { createClient } from '../../../client-sdk/node.ts'
import { actor, type ChildRun, type StreamEvent } from '../../../server/index.ts'
import { codeOf, servedParent } from '../../helpers/parent-run.ts'
import { says, scriptedModel } from '../../helpers/scripted-model.ts'
import { eventually, testServer } from '../../helpers/server.ts'
import { latch, silent } from '../../helpers/test-actors.ts'

describe('the model of a context', () => {
  test('completes a prompt, whole or piece by piece, with the default model or another one', async () => {
    const other = { ...scriptedModel(says('other')), id: 'demo:other' }
    await using served = await servedParent(
      async function* ({ ai }) {
        yield await ai.complete('Hello')
        for await (const text of ai.streamCompletion({ messages: [{ role: 'user', content: 'Hello' }] }))
          yield ` ${text}`
        yield ` ${await ai.complete('Hello', { model: other })}`
      },
      { defaultModel: scriptedModel(says('one')) },
    )
    const watched = served.start()
    expect(await watched.run.result).toBe('one one other')
    expect(await watched.run.usage).toMatchObject({ input: 30, output: 6 })
  })
})

describe('a context', () => {
  test('can be copied, and inherited from, with all that it has', async () => {
    const seen: unknown[] = []
    const whole = actor({
      async *stream(_: unknown, context) {
        const { signal, fence, usage, paused, approved } = context
        for (const other of [{ ...context }, Object.create(context) as typeof context])
          seen.push(other.signal === signal, other.approved === approved, [other.fence, other.usage, other.paused])
        seen.push([fence, usage, paused])
        yield 'x'
      },
    })
    await using served = await testServer({ whole })
    const client = createClient<{ whole: typeof whole }>(served.url, { token: 'alice' })
    const run = client.start('whole', null)
    expect(await run.result).toBe('x')
    const { id, gen } = await run.opened
    await client.close()
    const worth = [{ run: id, gen }, undefined, false]
    expect(seen).toEqual([true, true, worth, true, true, worth, worth])
  })
})

describe('a run that orders itself', () => {
  test('is paused by its own code, and a client lets it go on', async () => {
    await using served = await servedParent(async function* ({ govern, resumed }) {
      govern({ paused: true })
      await resumed()
      yield 'on'
    })
    const watched = served.start()
    expect((await watched.first('notice')).code).toBe('paused')
    await watched.run.send('govern', { paused: false })
    expect(await watched.run.result).toBe('on')
  })

  test('sets what it may cost, with its children', async () => {
    const spender = actor({
      async *stream(_: unknown, { signal }) {
        yield { type: 'usage' as const, input: 5, output: 6 }
        await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
      },
    })
    await using served = await servedParent(async function* ({ govern, spawn }) {
      govern({ budget: { tokens: 10 } })
      yield* spawn(spender, null)
    })
    await expect(served.start().run.result).rejects.toMatchObject({ code: 'budget_exceeded' })
  })

  test('pauses one child by its id, and is told what is wrong with an order', async () => {
    const codes: string[] = []
    await using served = await servedParent(async function* ({ govern, spawn }) {
      const child: ChildRun = spawn(silent(), null)
      govern({ agent: child.id, paused: true })
      yield `${child.state} `
      govern({ agent: child.id, paused: false, perSec: undefined })
      yield `${child.state} `
      await child.cancel()
      yield child.state
      for (const order of [{ agent: child.id }, { speed: 1 }]) {
        try {
          govern(order)
        } catch (error) {
          codes.push(codeOf(error))
        }
      }
    })
    expect(await served.start().run.result).toBe('paused running cancelled')
    expect(codes).toEqual(['not_found', 'bad_request'])
  })
})

describe('a wait for a time', () => {
  test('is over at once for a time that has passed, and ends with a cancel', async () => {
    await using served = await servedParent(async function* ({ sleepUntil, runtime }) {
      await sleepUntil(0)
      await sleepUntil(runtime.wallClock() + 2)
      yield 'slept'
      await sleepUntil(runtime.wallClock() + 1_000_000)
    })
    const watched = served.start()
    await watched.first('token')
    expect(await watched.run.cancel()).toMatchObject({ outcome: 'cancelled', settled: true })
  })
})

describe('an earlier run', () => {
  const words = actor({
    async *stream() {
      yield 'one '
      yield { type: 'data' as const, name: 'n', value: 2 }
    },
  })
  const reader = actor({
    async *stream(run: unknown, { earlierRun }) {
      const { actor: name, events } = await earlierRun(String(run))
      const said: StreamEvent[] = []
      for await (const event of events) said.push(event)
      yield* []
      return { name, types: said.map(({ type }) => type) }
    },
  })

  test('gives its events, however it ended', async () => {
    await using served = await testServer({ words, reader, silent: silent() })
    const client = createClient(served.url, { token: 'alice' })
    const done = client.start('words', null)
    await done.result
    expect(await client.start('reader', done.id).result).toEqual({ name: 'words', types: ['token', 'data'] })
    const cancelled = client.start('silent', null)
    await cancelled.opened
    await cancelled.cancel()
    expect(await client.start('reader', cancelled.id).result).toEqual({ name: 'silent', types: [] })
    await client.close()
  })

  test('is not there for others, while it goes on, or once its log is cut off', async () => {
    const isUp = latch()
    const long = actor({
      async *stream() {
        isUp.open()
        for (let n = 0; n < 400; n++) yield `${n} `
      },
    })
    const limits = { retainEvents: 100, maxCredit: 64, initialCredit: 64, readAhead: 4 }
    await using served = await testServer({ words, reader, silent: silent(), long }, { limits })
    const client = createClient(served.url, { token: 'alice' })
    const bob = createClient(served.url, { token: 'bob' })
    const done = client.start('words', null)
    await done.result
    await expect(bob.start('reader', done.id).result).rejects.toMatchObject({ code: 'not_found' })
    const live = client.start('silent', null)
    await live.opened
    await expect(client.start('reader', live.id).result).rejects.toMatchObject({ code: 'bad_request' })
    await live.cancel()
    const cut = client.start('long', null)
    await cut.result
    await expect(client.start('reader', cut.id).result).rejects.toMatchObject({
      code: 'not_found',
      message: 'the beginning of the log of this run is no longer kept',
    })
    await client.close()
    await bob.close()
    await eventually(() => served.server.liveRuns === 0, 'all settle')
  })
})
