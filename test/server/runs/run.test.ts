import { describe, expect, test } from 'vitest'
import { MillraceError } from '../../../protocol/errors.ts'
import type { RunEvent } from '../../../protocol/events.ts'
import { type Actor, type ActorContext, actor } from '../../../server/actors/actor.ts'
import { handClock } from '../../helpers/hand-clock.ts'
import { eventually, testServer } from '../../helpers/server.ts'
import { aborted, counted, counter, latch, silent } from '../../helpers/test-actors.ts'
import type { FrameOf } from '../../helpers/wire-client.ts'

/** An actor whose stream is whatever it is given, right or wrong. */
function raw(stream: (context: ActorContext) => unknown): Actor {
  return actor({ stream: (_: unknown, context: ActorContext) => stream(context) as AsyncGenerator<string> }) as Actor
}

/** Starts `bad` and a good run on one connection; returns the end of the bad one, and its text. */
async function outcomeOf(bad: Actor): Promise<{ end: FrameOf<'end'>; text: string; errors: unknown[] }> {
  const good = counter()
  await using served = await testServer({ bad, good })
  await using client = await served.client()
  client.start(1, 'bad')
  const end = await client.next('end', 1)
  await eventually(() => served.server.liveRuns === 0, 'the slot is free')
  client.start(2, 'good', 300, { credit: 300 })
  expect(await client.next('end', 2)).toMatchObject({ outcome: 'done', seq: 301 })
  return { end, text: client.text(1), errors: [...served.errors] }
}

describe('an actor that throws', () => {
  const secret = new Error('the password is hunter2')
  const throwing: Record<string, () => Actor> = {
    'at once': () =>
      raw(() => {
        throw secret
      }),
    'before its first item': () =>
      raw(async function* () {
        throw secret
        yield ''
      }),
    'after some items': () =>
      raw(async function* () {
        yield 'some'
        throw secret
      }),
    'from next itself': () =>
      raw(() => ({
        [Symbol.asyncIterator]: () => ({
          next: () => {
            throw secret
          },
        }),
      })),
    'in finally': () =>
      raw(async function* () {
        try {
          yield 'x'
        } finally {
          // biome-ignore lint/correctness/noUnsafeFinally: that is the case
          throw secret
        }
      }),
    'from ask': () =>
      actor({
        ask: () => {
          throw secret
        },
      }),
    'a string': () =>
      raw(async function* () {
        yield 'x'
        // eslint-disable-next-line @typescript-eslint/only-throw-error
        throw 'the password is hunter2'
      }),
    undefined: () =>
      raw(async function* () {
        yield 'x'
        // eslint-disable-next-line @typescript-eslint/only-throw-error
        throw undefined
      }),
    'an object that is nothing': () =>
      raw(async function* () {
        yield 'x'
        throw Object.create(null)
      }),
    'a symbol': () =>
      raw(async function* () {
        yield 'x'
        // eslint-disable-next-line @typescript-eslint/only-throw-error
        throw Symbol('no')
      }),
    'an error whose stack cannot be read': () =>
      raw(async function* () {
        yield 'x'
        throw Object.defineProperty(new Error('no'), 'stack', {
          get: () => {
            throw new Error('no stack')
          },
        })
      }),
  }
  test.each(Object.keys(throwing))('ends its run, and the message hides %s', async (how) => {
    const bad = throwing[how]?.()
    if (!bad) throw new Error(how)
    const { end, errors } = await outcomeOf(bad)
    expect(end).toMatchObject({ outcome: 'error', data: { code: 'actor_failed', retryable: false } })
    expect(JSON.stringify(end)).not.toContain('hunter2')
    expect(errors).toHaveLength(1)
  })

  test('a MillraceError ends its run with that error', async () => {
    const { end, errors } = await outcomeOf(
      raw(async function* () {
        yield 'x'
        throw new MillraceError('provider_overloaded', 'try later', { details: { afterMs: 5 } })
      }),
    )
    expect(end).toMatchObject({
      outcome: 'error',
      data: { code: 'provider_overloaded', message: 'try later', retryable: true, details: { afterMs: 5 } },
    })
    expect(errors).toEqual([])
  })

  test('does no harm when onError throws as well', async () => {
    const bad = raw(async function* () {
      yield 'x'
      throw new Error('first')
    })
    const onError = (): never => {
      throw new Error('second')
    }
    await using served = await testServer({ bad }, { onError })
    await using client = await served.client()
    client.start(1, 'bad')
    expect(await client.next('end')).toMatchObject({ outcome: 'error', data: { code: 'actor_failed' } })
  })

  test('is reported on stderr in one line whatever it threw', async () => {
    const bad = raw(async function* () {
      yield 'x'
      throw Object.create(null)
    })
    await using served = await testServer({ bad }, { onError: undefined as never })
    await using client = await served.client()
    client.start(1, 'bad')
    expect(await client.next('end')).toMatchObject({ outcome: 'error', data: { code: 'actor_failed' } })
  })
})

describe('an invalid value of an actor', () => {
  const cyclic: Record<string, unknown> = {}
  cyclic['self'] = cyclic
  const junk: Record<string, unknown> = {
    'a number': 5,
    null: null,
    undefined: undefined,
    'an array': ['a'],
    'an object': {},
    'a function': () => {},
    'an unknown type': { type: 'nonsense', text: 'x' },
    'the name of a method': { type: 'constructor' },
    'the name of a getter': { type: '__proto__' },
    'a type that is a number': { type: 1, lane: 3 },
    'text that is no string': { type: 'token', text: 5 },
    'text on a cyclic agent': { type: 'token', text: 'x', agent: cyclic },
    'a Date': { type: 'data', name: 'x', value: new Date(0) },
    'a Map': { type: 'data', name: 'x', value: new Map([[1, 2]]) },
    'a bigint': { type: 'data', name: 'x', value: 5n },
    'an object of a class': { type: 'data', name: 'x', value: new URL('ws://x') },
    'something cyclic': { type: 'data', name: 'x', value: cyclic },
    'something too deep': { type: 'data', name: 'x', value: JSON.parse('['.repeat(30) + ']'.repeat(30)) },
    'something too large': { type: 'data', name: 'x', value: 'y'.repeat(70_000) },
    'too many values': { type: 'data', name: 'x', value: Array.from({ length: 20_000 }, () => 1) },
    'half a surrogate pair in an event': { type: 'data', name: 'x', value: '\ud83d' },
    'a getter that throws': {
      type: 'data',
      name: 'x',
      get value() {
        throw new Error('no value')
      },
    },
  }
  test.each(Object.keys(junk))('such as %s ends its run with bad_event, behind the valid items', async (what) => {
    const { end, text } = await outcomeOf(
      raw(async function* () {
        yield 'good '
        yield junk[what]
        yield 'never'
      }),
    )
    expect(end).toMatchObject({ outcome: 'error', data: { code: 'bad_event', retryable: false } })
    expect(text).toBe('good ')
  })

  test('in place of an iterator result ends its run', async () => {
    for (const step of [undefined, null, 5, 'x']) {
      const { end } = await outcomeOf(
        raw(() => ({ [Symbol.asyncIterator]: () => ({ next: () => Promise.resolve(step) }) })),
      )
      expect(end).toMatchObject({ outcome: 'error' })
    }
  })

  test('in place of an iterable ends its run, also as a promise that is rejected', async () => {
    for (const stream of [() => undefined, () => 5, () => Promise.reject(new Error('late')), () => ['a', 'b']]) {
      const { end } = await outcomeOf(raw(stream))
      expect(end).toMatchObject({ outcome: 'error', data: { code: 'actor_failed' } })
    }
  })

  test('as a result ends its run with an error that says so', async () => {
    for (const result of ['x'.repeat(70_000).split(''), { at: new Date(0) }, cyclic]) {
      const { end } = await outcomeOf(actor({ ask: () => result }))
      expect(end).toMatchObject({ outcome: 'error', data: { code: 'bad_event' } })
    }
    const { end } = await outcomeOf(
      raw(async function* () {
        yield 'x'
        return 'y'.repeat(70_000)
      }),
    )
    expect(end).toMatchObject({ seq: 2, outcome: 'error', data: { code: 'bad_event' } })
  })

  test('through emit ends its run, and the awaiting actor gets the error', async () => {
    const errors: unknown[] = []
    const { end } = await outcomeOf(
      raw(async function* ({ emit }) {
        await emit({ type: 'nonsense' } as unknown as RunEvent).catch((error: unknown) => errors.push(error))
        yield* []
      }),
    )
    expect(end).toMatchObject({ outcome: 'error', data: { code: 'bad_event' } })
    expect(errors).toHaveLength(1)
  })

  test('through emit while its reader is slow does not leave the actor waiting for ever', async () => {
    const errors: unknown[] = []
    const bad = raw(async function* ({ emit }) {
      for (let n = 0; n < 31; n++) yield 'x'
      await emit('y')
      await emit({ type: 'nonsense' } as unknown as RunEvent).catch((error: unknown) => errors.push(error))
    })
    await using served = await testServer({ bad })
    await using client = await served.client()
    client.start(1, 'bad', null, { credit: 0 })
    await client.next('opened')
    await client.settle()
    client.send({ kind: 'credit', sid: 1, n: 100 })
    expect(await client.next('end')).toMatchObject({ outcome: 'error', data: { code: 'bad_event' } })
    await eventually(() => served.server.liveRuns === 0, 'the slot is free')
    expect(errors).toHaveLength(1)
  })
})

describe('an actor with much to send', () => {
  test('as a million tokens at full speed leaves room for others', async () => {
    const flood = raw(async function* () {
      for (let n = 0; n < 1_000_000; n++) yield 'x'
    })
    await using served = await testServer({ flood })
    await using client = await served.client()
    client.start(1, 'flood', null, { policy: 'log', credit: 0, onDetach: 'continue' })
    await client.next('opened')
    const before = client.frames.length
    // Answers come while it says its million: it is cut short, for nobody wants to wait for it.
    await client.settle()
    expect(client.frames.length).toBeGreaterThan(before)
    expect(served.server.liveRuns).toBe(1)
    client.send({ kind: 'cancel', sid: 1 })
    expect(await client.next('end')).toMatchObject({ outcome: 'cancelled' })
  })

  test('as events of its own leaves room for others', async () => {
    let turns = 0
    const flood = raw(async function* ({ emit, signal }) {
      const timer = setInterval(() => turns++, 0)
      for (let n = 0; n < 60_000 && !signal.aborted; n++) await emit('x')
      clearInterval(timer)
      yield ''
    })
    await using served = await testServer({ flood })
    await using client = await served.client()
    client.start(1, 'flood', null, { policy: 'log', credit: 0 })
    await client.next('opened')
    await eventually(() => served.server.liveRuns === 0, 'the end')
    // Without pauses not one timer fires.
    expect(turns).toBeGreaterThan(3)
  })

  test('without waiting for its reader ends when too much waits', async () => {
    const hasty = raw(async function* ({ emit, signal }) {
      for (let n = 0; n < 2_000; n++) void emit('x')
      await aborted(signal)
      yield* []
    })
    await using served = await testServer({ hasty })
    await using client = await served.client()
    client.start(1, 'hasty', null, { credit: 0 })
    expect(await client.next('notice')).toMatchObject({ code: 'settled', ref: { detail: 1 } })
    client.send({ kind: 'credit', sid: 1, n: 100 })
    expect(await client.next('end')).toMatchObject({ outcome: 'error', data: { code: 'bad_event' } })
    await eventually(() => served.server.liveRuns === 0, 'the slot is free')
  })

  test('as one text of 4 MB arrives whole, in items that cost one each', async () => {
    const text = 'äö'.repeat(1_048_576)
    const large = raw(async function* () {
      yield text
    })
    await using served = await testServer({ large })
    await using client = await served.client()
    client.start(1, 'large', null, { credit: 1_900 })
    let granted = 1_900
    for (;;) {
      await client.until(() => client.count(1) === granted || client.frames.at(-1)?.kind === 'end')
      if (client.frames.at(-1)?.kind === 'end') break
      client.send({ kind: 'credit', sid: 1, n: 1_000 })
      granted = Math.min(granted + 1_000, 4_096)
    }
    const items = client.items(1)
    expect(items).toHaveLength(4_096)
    expect(items.every((item) => Buffer.byteLength(item.text ?? '') <= 1_024)).toBe(true)
    expect(items.map((item) => item.text).join('') === text).toBe(true)
  })

  test('as empty text sends no item', async () => {
    const { end, text } = await outcomeOf(
      raw(async function* () {
        yield ''
        yield 'a'
        yield { type: 'token', text: '' }
        yield ''
      }),
    )
    expect(end).toMatchObject({ seq: 2, outcome: 'done' })
    expect(text).toBe('a')
  })
})

describe('an actor that does not end', () => {
  test('and sends nothing is stopped by a cancel at once', async () => {
    const silent = raw(async function* ({ signal }) {
      await aborted(signal)
      yield 'too late'
    })
    await using served = await testServer({ silent })
    await using client = await served.client()
    client.start(1, 'silent')
    await client.next('opened')
    client.send({ kind: 'cancel', sid: 1 })
    expect(await client.next('end')).toMatchObject({
      seq: 1,
      outcome: 'cancelled',
      data: { settled: true, unsettled: [], kept: 0 },
    })
    await eventually(() => served.server.liveRuns === 0, 'the slot is free')
  })

  test('and goes on after its end is ignored', async () => {
    const said = latch()
    const late = raw(async function* ({ signal, emit }) {
      yield 'a'
      await aborted(signal)
      await emit('b').catch(() => {})
      yield 'c'
      yield 'd'
      said.open()
    })
    await using served = await testServer({ late })
    await using client = await served.client()
    client.start(1, 'late')
    const { run } = await client.next('opened')
    await client.until(() => client.count(1) === 1)
    client.send({ kind: 'cancel', sid: 1 })
    expect(await client.next('end')).toMatchObject({ seq: 2, data: { kept: 1, settled: true } })
    client.attach(2, run, 0)
    expect(await client.next('end', 2)).toMatchObject({ seq: 2 })
    expect(client.text(2)).toBe('a')
  })

  test('is stopped by its deadline, which stands still while its reader is slow or it waits for an answer', async () => {
    const runtime = handClock()
    const asks = raw(async function* ({ request, signal }) {
      for (let n = 0; n < 32; n++) yield 'x'
      yield 'y'
      await request({ kind: 'text' })
      await aborted(signal)
    })
    await using served = await testServer({ asks }, { runtime, limits: { timeoutMs: 10_000 } })
    await using client = await served.client()
    client.start(1, 'asks', null, { credit: 0, timeoutMs: 1_000 })
    await client.next('opened')
    await client.settle()
    runtime.advance(5_000)
    await client.settle()
    expect(client.frames.some(({ kind }) => kind === 'end')).toBe(false)
    client.send({ kind: 'credit', sid: 1, n: 100 })
    const question = await client.next('event')
    runtime.advance(5_000)
    await client.settle()
    expect(client.frames.some(({ kind }) => kind === 'end')).toBe(false)
    client.send({
      kind: 'input',
      sid: 1,
      mid: 'm',
      type: 'answer',
      data: { request: question.data['request'], value: 1 },
    })
    expect(await client.next('input_ack')).toMatchObject({ status: 'accepted' })
    await client.settle()
    runtime.advance(999)
    await client.settle()
    expect(client.frames.some(({ kind }) => kind === 'end')).toBe(false)
    runtime.advance(2)
    expect(await client.next('end')).toMatchObject({ outcome: 'error', data: { code: 'timeout', retryable: true } })
  })

  test('has no more time for reading inputs next to its stream', async () => {
    const runtime = handClock()
    const chatty = actor({
      interactive: true,
      async *stream(_: unknown, { inputs, signal }: ActorContext) {
        void (async () => {
          for await (const _ of inputs);
        })()
        yield 'a'
        await aborted(signal)
      },
    })
    await using served = await testServer({ chatty }, { runtime, limits: { timeoutMs: 60_000, heartbeatMs: 600_000 } })
    await using client = await served.client()
    client.start(1, 'chatty')
    await client.next('delta', 1)
    runtime.advance(60_000)
    expect(await client.next('end', 1)).toMatchObject({ outcome: 'error', data: { code: 'timeout' } })
  })

  test('and fails in its clean-up is reported, and its cancel is not', async () => {
    const broken = actor({
      async *stream(_: unknown, { signal }: ActorContext) {
        try {
          await aborted(signal)
        } finally {
          throw new TypeError('the database is down')
        }
        yield 'never'
      },
    })
    await using served = await testServer({ broken, silent: silent() })
    await using client = await served.client()
    client.start(1, 'broken')
    client.start(2, 'silent')
    await client.next('opened', 2)
    client.send({ kind: 'cancel', sid: 1 }, { kind: 'cancel', sid: 2 })
    expect(await client.next('end', 1)).toMatchObject({ outcome: 'cancelled', data: { settled: true } })
    await client.next('end', 2)
    expect(served.errors).toEqual([expect.objectContaining({ message: 'the database is down' })])
  })

  test('gets no more time than the server allows', async () => {
    const runtime = handClock()
    const silent = raw(async function* ({ signal }) {
      await aborted(signal)
      yield* []
    })
    await using served = await testServer({ silent }, { runtime, limits: { timeoutMs: 1_000 } })
    await using client = await served.client()
    client.start(1, 'silent', null, { timeoutMs: 1_000_000 })
    await client.next('opened')
    runtime.advance(1_001)
    expect(await client.next('end')).toMatchObject({ data: { code: 'timeout' } })
  })
})

describe('text', () => {
  test('cut within a character is put together again', async () => {
    const halves = raw(async function* () {
      yield 'a\ud83d'
      yield '\ude00b'
      yield { type: 'progress', current: 1 }
      yield '\ud83d'
      yield { type: 'progress', current: 2 }
      yield '\ude00'
    })
    await using served = await testServer({ halves })
    await using client = await served.client()
    client.start(1, 'halves')
    await client.next('end')
    expect(client.text(1)).toBe('a😀b😀')
  })

  test('that ends within a character ends with U+FFFD', async () => {
    const { end, text } = await outcomeOf(
      raw(async function* () {
        yield 'a\ud83d'
      }),
    )
    expect(text).toBe('a\ufffd')
    expect(end).toMatchObject({ seq: 3, outcome: 'done' })
  })

  test('that is cancelled within a character counts U+FFFD among its items', async () => {
    const cut = raw(async function* ({ signal }) {
      yield 'a\ud83d'
      await aborted(signal)
    })
    await using served = await testServer({ cut })
    await using client = await served.client()
    client.start(1, 'cut')
    const { run } = await client.next('opened')
    await client.until(() => client.count(1) === 1)
    client.send({ kind: 'cancel', sid: 1 })
    expect(await client.next('end', 1)).toMatchObject({ seq: 3, data: { kept: 2 } })
    client.attach(2, run, 0)
    await client.next('end', 2)
    expect(client.text(2)).toBe('a\ufffd')
  })

  test('of a lane that ends within a character ends with U+FFFD inside the lane', async () => {
    const lanes = raw(async function* () {
      yield { type: 'thinking', text: 'a\ud83d' }
      yield '\ude00b'
    })
    await using served = await testServer({ lanes })
    await using client = await served.client()
    client.start(1, 'lanes')
    await client.next('end')
    const items = client.items(1)
    expect(items.map(({ type, text }) => type ?? text)).toEqual([1, 'a', '\ufffd', 2, '\ufffdb'])
  })

  test('held in a lane when a position is read live does not come twice', async () => {
    const release = latch()
    const halves = raw(async function* () {
      yield 'a\ud83d'
      await release.opened
      yield '\ude00'
    })
    await using served = await testServer({ halves })
    await using client = await served.client()
    client.start(1, 'halves')
    const { run } = await client.next('opened')
    await client.until(() => client.count(1) === 1)
    client.attach(2, run, null)
    await client.next('opened', 2)
    release.open()
    await client.next('end', 2)
    expect(client.text(2)).toBe('😀')
  })

  test('is the same items however long it may be batched', async () => {
    const talk = raw(async function* () {
      for (let n = 0; n < 50; n++) {
        yield `t${n} `
        if (n % 7 === 0) yield { type: 'thinking', text: `h${n}` }
        if (n % 11 === 0) yield { type: 'progress', current: n }
        if (n % 5 === 0) await new Promise((resolve) => setImmediate(resolve))
      }
    })
    await using served = await testServer({ talk })
    const lists = []
    for (const flushMs of [0, 1, 50]) {
      await using client = await served.client({ flushMs })
      client.start(1, 'talk')
      await client.next('end')
      lists.push(client.items(1))
    }
    expect(lists[1]).toEqual(lists[0])
    expect(lists[2]).toEqual(lists[0])
  })
})

describe('an actor without a stream', () => {
  test('yields its one answer as text, or as an event and the result', async () => {
    const text = actor({ ask: () => 'hello' })
    const value = actor({ ask: async () => ({ n: 5 }) })
    await using served = await testServer({ text, value })
    await using client = await served.client()
    client.start(1, 'text')
    client.start(2, 'value')
    client.start(3, 'value', null, { ask: true })
    expect(await client.next('end', 1)).toMatchObject({ seq: 2, outcome: 'done' })
    expect(client.text(1)).toBe('hello')
    expect(await client.next('end', 2)).toMatchObject({ seq: 2, data: { result: { n: 5 } } })
    expect(client.items(2)).toMatchObject([{ type: 15, data: { name: 'result', value: { n: 5 } } }])
    expect(await client.next('end', 3)).toMatchObject({ seq: 1, data: { result: { n: 5 } } })
  })

  test('and with both abilities runs the one that is asked for', async () => {
    const both = actor({
      ask: () => 'asked',
      async *stream() {
        yield 'streamed'
      },
    })
    await using served = await testServer({ both })
    await using client = await served.client()
    client.start(1, 'both', null, { ask: true })
    client.start(2, 'both')
    await client.next('end', 1)
    await client.next('end', 2)
    expect(client.text(1)).toBe('asked')
    expect(client.text(2)).toBe('streamed')
  })
})

describe('two runs on one socket', () => {
  test('each get all of their items in order', async () => {
    const count = counter()
    await using served = await testServer({ count })
    await using client = await served.client()
    for (let sid = 1; sid <= 20; sid++) client.start(sid, 'count', 200 + sid)
    for (let sid = 1; sid <= 20; sid++) await client.next('end', sid)
    for (let sid = 1; sid <= 20; sid++) expect(client.text(sid)).toBe(counted(1, 200 + sid))
  })
})
