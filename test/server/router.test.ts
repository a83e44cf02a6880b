import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { StreamEvent } from '../../protocol/events.ts'
import { type ActorContext, actor } from '../../server/actors/actor.ts'
import { Command } from '../helpers/command.ts'
import { compiledScript } from '../helpers/compiled-scripts.ts'
import { handClock } from '../helpers/hand-clock.ts'
import { readAll } from '../helpers/read-all.ts'
import { eventually, testServer } from '../helpers/server.ts'
import { aborted, counted, counter, latch, silent } from '../helpers/test-actors.ts'

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

describe('the router', () => {
  test('asks: it returns the text of a stream, and a result next to its text', async () => {
    const one = actor({ ask: () => ({ n: 5 }) })
    const text = actor({ ask: () => 'hello' })
    const both = actor({
      async *stream() {
        yield 'some text'
        return { n: 6 }
      },
    })
    const count = counter()
    await using served = await testServer({ one, text, both, count })
    const { router } = served.server
    expect(await router.ask('one', null)).toEqual({ n: 5 })
    expect(await router.ask('text', null)).toBe('hello')
    expect(await router.ask('both', null)).toEqual({ n: 6 })
    expect(await router.ask('count', 3_000)).toBe(counted(1, 3_000))
  })

  test('streams each event in order, with its number', async () => {
    const mixed = actor({
      async *stream() {
        yield 'a'
        yield { type: 'thinking' as const, text: 'b', agent: 'x' }
        yield { type: 'progress' as const, current: 1 }
        yield 'c'
      },
    })
    await using served = await testServer({ mixed })
    const events = await readAll(served.server.router.stream('mixed', null))
    expect(events.map(({ at: _, ...event }) => event)).toMatchObject([
      { type: 'token', text: 'a' },
      { type: 'thinking', text: 'b', agent: 'x' },
      { type: 'progress', current: 1 },
      { type: 'token', text: 'c' },
    ])
    const seqs = events.map((event) => ('seq' in event ? event.seq : 0))
    expect([...seqs].sort((a, b) => a - b)).toEqual(seqs)
  })

  test('streams the one answer of an actor that only has ask', async () => {
    const text = actor({ ask: async () => 'hello' })
    const value = actor({ ask: () => ({ n: 5 }) })
    await using served = await testServer({ text, value })
    const { router } = served.server
    const said: unknown[] = []
    const onChunk = (event: StreamEvent): void => void said.push(event)
    expect(await router.streamAsk('text', 'stream', null, { onChunk })).toBe('hello')
    expect(await router.streamAsk('value', 'stream', null, { onChunk })).toEqual({ n: 5 })
    expect(said).toMatchObject([
      { type: 'token', text: 'hello' },
      { type: 'data', name: 'result', value: { n: 5 } },
    ])
  })

  test('waits for the promise of onChunk: the actor is never further ahead than it may be', async () => {
    const count = counter()
    await using served = await testServer({ count }, { limits: { initialCredit: 4, readAhead: 2 } })
    let seen = 0
    let most = 0
    await served.server.router.streamAsk('count', 'stream', 200, {
      async onChunk() {
        await new Promise((resolve) => setImmediate(resolve))
        seen++
        most = Math.max(most, (count.runs[0]?.count ?? 0) - seen)
      },
    })
    expect(seen).toBe(200)
    expect(most).toBeLessThanOrEqual(4 + 2)
    expect(most).toBeGreaterThan(0)
  })

  test('fails with what onChunk throws, and stops the run', async () => {
    const count = counter()
    await using served = await testServer({ count })
    const failing = served.server.router.streamAsk('count', 'stream', 1_000_000, {
      onChunk: () => Promise.reject(new Error('enough')),
    })
    await expect(failing).rejects.toThrow('enough')
    await eventually(() => served.server.liveRuns === 0, 'the run is over')
    expect(count.runs[0]?.aborted).toBe(true)
  })

  test('never takes a run that was given up before it was read for a whole one', async () => {
    const text = actor({
      async *stream() {
        yield 'x'.repeat(200_000)
      },
    })
    await using served = await testServer({ text }, { limits: { retainPrincipal: 100_000 } })
    const { router } = served.server
    const gate = latch()
    const slow = router.streamAsk('text', 'stream', null, { onChunk: () => gate.opened })
    slow.catch(() => {})
    for (let n = 0; n < 3; n++) await router.ask('text', null).catch(() => {})
    gate.open()
    await expect(slow).rejects.toMatchObject({ code: 'overloaded' })
  })

  test('gives the result of a run that was given up when all of it had been read', async () => {
    const gate = latch()
    const text = actor({
      async *stream() {
        yield 'x'
        await gate.opened
        return 'y'
      },
    })
    await using served = await testServer({ text }, { limits: { retainPrincipal: 50_000 } })
    const asked = Array.from({ length: 20 }, () => served.server.router.ask('text', null))
    await eventually(() => served.server.liveRuns === 20, 'all of them')
    await new Promise((resolve) => setImmediate(resolve))
    // More of them than are kept end in one turn.
    gate.open()
    expect(await Promise.all(asked)).toEqual(asked.map(() => 'y'))
  })

  test('stops the run when its loop is left', async () => {
    const count = counter()
    await using served = await testServer({ count })
    for await (const event of served.server.router.stream('count', 1_000_000)) {
      if (event.type === 'token' && event.text === '3 ') break
    }
    await eventually(() => served.server.liveRuns === 0, 'the run is over')
    expect(count.runs[0]?.aborted).toBe(true)
  })

  test('stops the run on an aborted signal, or lets none begin', async () => {
    await using served = await testServer({ silent: silent() })
    const controller = new AbortController()
    const asked = served.server.router.ask('silent', null, { signal: controller.signal })
    await eventually(() => served.server.liveRuns === 1, 'the run')
    controller.abort()
    await expect(asked).rejects.toMatchObject({ code: 'cancelled', receipt: { by: 'client', settled: true } })
    expect(served.server.liveRuns).toBe(0)
    await expect(served.server.router.ask('silent', null, { signal: AbortSignal.abort() })).rejects.toThrow()
    expect(served.server.liveRuns).toBe(0)
  })

  test('gives up after its timeout where the run asks, and no client is there to answer', async () => {
    const asks = actor({ ask: (_: unknown, { request }) => request({ kind: 'text', prompt: 'Which one?' }) })
    const listens = actor({
      interactive: true,
      async *stream(_: unknown, { inputs }) {
        for await (const { data } of inputs) yield String(data)
      },
    })
    const parent = actor({
      async *stream(_: unknown, { spawn }) {
        yield* spawn(listens, null)
      },
    })
    await using served = await testServer({ asks, listens, parent })
    for (const name of ['asks', 'listens', 'parent'] as const) {
      const asked = served.server.router.ask(name, null, { timeout: 20 })
      await expect(asked).rejects.toMatchObject({ code: 'timeout' })
    }
  })

  test('waits beyond its timeout for a client that is there to answer', async () => {
    let run = ''
    const asks = actor({
      async *stream(_: unknown, context) {
        run = context.run.id
        yield String(await context.request({ kind: 'text', prompt: 'Which one?' }))
      },
    })
    const clock = handClock()
    await using served = await testServer({ asks }, { runtime: clock })
    const asked = served.server.router.ask('asks', null, { timeout: 1_000, principal: { id: 'alice' } })
    await using client = await served.client()
    await eventually(() => run !== '', 'the run begins')
    client.send({ kind: 'attach', sid: 1, run, after: 0, options: {} })
    const { data } = await client.next('event')
    clock.advance(5_000)
    client.send({ kind: 'input', sid: 1, mid: 'm', type: 'answer', data: { request: data['request'], value: 'this' } })
    expect(await asked).toBe('this')
  })

  test('gives up after its timeout', async () => {
    await using served = await testServer({ silent: silent() })
    const asked = served.server.router.streamAsk('silent', 'stream', null, { timeout: 10 })
    await expect(asked).rejects.toMatchObject({ code: 'timeout', retryable: true })
  })

  test('needs no port: a call that waits keeps the process alive, and a run that nobody reads does not', async () => {
    await using script = new Command(process.execPath, [compiledScript('test/helpers/router-process.ts')])
    expect(await script.ended).toMatchObject({
      code: 0,
      stdout: 'ask asked. nobody answered.\nchat true\nstream asked. nobody answered.\nleft\n',
      stderr: '',
    })
  }, 30_000)

  test('stops a run whose iterator was dropped, once it is collected', async () => {
    const count = counter()
    await using served = await testServer({ count })
    const { router } = served.server
    const drop = async (): Promise<void> => {
      const events = router.stream('count', 10_000)[Symbol.asyncIterator]()
      expect((await events.next()).value).toMatchObject({ text: '1 ' })
    }
    await drop()
    expect(served.server.liveRuns).toBe(1)
    await eventually(() => {
      collectGarbage()
      return served.server.liveRuns === 0
    }, 'the run of the dropped iterator ended')
    expect(count.runs[0]).toMatchObject({ aborted: true })
  })

  test('goes on with a run whose iterator is held, however often garbage is collected', async () => {
    const count = counter()
    await using served = await testServer({ count })
    const events = served.server.router.stream('count', 1_000)[Symbol.asyncIterator]()
    await events.next()
    for (let n = 0; n < 5; n++) {
      collectGarbage()
      await new Promise((resolve) => setImmediate(resolve))
    }
    let last = 1
    for (let step = await events.next(); !step.done; step = await events.next()) last++
    expect(last).toBe(1_000)
  })

  test('names an unknown actor, a missing ability, and an input that does not fit', async () => {
    const asks = actor({ ask: () => 'x', input: z.object({ n: z.number() }) })
    const streams = actor({
      async *stream() {
        yield 'x'
      },
    })
    await using served = await testServer({ asks, streams })
    const { router } = served.server
    await expect(router.ask('nobody' as 'asks', { n: 1 })).rejects.toMatchObject({
      code: 'not_found',
      message: expect.stringContaining('asks, streams'),
    })
    await expect(router.streamAsk('nobody' as 'asks', 'ask', { n: 1 })).rejects.toMatchObject({ code: 'not_found' })
    await expect(router.streamAsk('streams', 'ask', null)).rejects.toMatchObject({
      code: 'bad_request',
      message: 'actor streams has no `ask`; call its `stream`',
    })
    await expect(router.ask('asks', { n: 'x' } as never)).rejects.toMatchObject({ code: 'invalid_input' })
    await expect(async () => {
      for await (const _ of router.stream('asks', {} as never));
    }).rejects.toMatchObject({ code: 'invalid_input' })
  })

  test('fails with the error of the actor, without its secrets', async () => {
    const bad = actor({
      ask: () => {
        throw new Error('the password is hunter2')
      },
    })
    await using served = await testServer({ bad })
    await expect(served.server.router.ask('bad', null)).rejects.toMatchObject({
      code: 'actor_failed',
      message: expect.not.stringContaining('hunter2'),
    })
  })

  test('makes runs that their principal, and no other, may attach to and cancel', async () => {
    const talk = actor({
      async *stream(_: unknown, { run, signal }: ActorContext) {
        yield run.id
        await aborted(signal)
      },
    })
    await using served = await testServer({ talk })
    const events = served.server.router.stream('talk', null, { principal: { id: 'alice' } })[Symbol.asyncIterator]()
    const first = await events.next()
    const id = String(first.done ? '' : 'text' in first.value && first.value.text)
    await using bob = await served.client({ auth: 'bob' })
    bob.attach(1, id, 0)
    expect((await bob.next('end')).data).toMatchObject({ code: 'not_found' })
    await using alice = await served.client()
    alice.attach(1, id, 0)
    await alice.until(() => alice.count(1) === 1)
    alice.send({ kind: 'cancel', sid: 1, code: 1 })
    await expect(events.next()).rejects.toMatchObject({ code: 'cancelled', receipt: { reason: 'user' } })
  })

  test.each([Number.NaN, 0, -1, '5', null])('refuses an invalid timeout: %j', async (timeout) => {
    await using served = await testServer({ silent: silent() })
    const asked = served.server.router.ask('silent', null, { timeout: timeout as never })
    await expect(asked).rejects.toMatchObject({ code: 'bad_request' })
  })

  test('is held back by itself alone: a client that only observes and reads nothing does no harm', async () => {
    const gate = latch()
    const talk = actor({
      async *stream(_: unknown, { run }: ActorContext) {
        yield run.id
        await gate.opened
        for (let n = 1; n <= 2_000; n++) yield `${n} `
      },
    })
    await using served = await testServer({ talk })
    await using alice = await served.client()
    let text = ''
    for await (const event of served.server.router.stream('talk', null, { principal: { id: 'alice' } })) {
      if (event.type !== 'token') continue
      if (text === '') {
        alice.attach(1, event.text, 0, { credit: 0 })
        await alice.next('opened')
        gate.open()
        text = ' '
      } else text += event.text
    }
    expect(text).toBe(` ${counted(1, 2_000)}`)
  })
})
