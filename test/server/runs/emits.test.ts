import { describe, expect, test } from 'vitest'
import { MillraceError } from '../../../protocol/errors.ts'
import { EVENT, type RunEvent } from '../../../protocol/events.ts'
import { actor } from '../../../server/actors/actor.ts'
import { handClock } from '../../helpers/hand-clock.ts'
import { eventually, testServer } from '../../helpers/server.ts'
import { latch, silent } from '../../helpers/test-actors.ts'

const note = (value: number): RunEvent => ({ type: 'data', name: 'n', value })

/** An actor that emits `events` events without waiting for any, and then ends with `end`. */
function hasty(events: number, end: () => string | undefined = () => undefined) {
  const numbers: Promise<number>[] = []
  const made = actor({
    async *stream(_: unknown, { emit }) {
      yield* []
      for (let n = 1; n <= events; n++) numbers.push(emit(note(n)))
      return end()
    },
  })
  return Object.assign(made, { numbers })
}

const fails = (): never => {
  throw new MillraceError('tool_failed', 'as planned')
}

describe('events of emit that still wait when the actor has finished', () => {
  test('are all logged before the end, in order, and each emit resolves', async () => {
    const many = hasty(200, () => 'the result')
    await using served = await testServer({ many })
    await using client = await served.client()
    client.start(1, 'many', null, { credit: 1_000 })
    expect(await client.next('end')).toMatchObject({ outcome: 'done', seq: 201, data: { result: 'the result' } })
    expect(client.items(1)).toHaveLength(200)
    expect(await Promise.all(many.numbers)).toEqual(Array.from({ length: 200 }, (_, n) => n + 1))
  })

  test('come before the error of an actor that failed behind them', async () => {
    const many = hasty(200, fails)
    await using served = await testServer({ many })
    await using client = await served.client()
    client.start(1, 'many', null, { credit: 1_000 })
    expect(await client.next('end')).toMatchObject({ outcome: 'error', seq: 201, data: { code: 'tool_failed' } })
    expect(await Promise.all(many.numbers)).toHaveLength(200)
  })

  test('come before the error of a stream that is no generator, and throws or gives no iterator', async () => {
    const emits = (emit: (event: RunEvent) => Promise<number>): void => {
      for (let n = 1; n <= 200; n++) void emit(note(n))
    }
    const throws = actor({
      stream(_: unknown, { emit }) {
        emits(emit)
        return fails()
      },
    })
    const empty = actor({
      stream(_: unknown, { emit }) {
        emits(emit)
        return { [Symbol.asyncIterator]: () => undefined as never }
      },
    })
    await using served = await testServer({ throws, empty })
    for (const [name, code] of [
      ['throws', 'tool_failed'],
      ['empty', 'actor_failed'],
    ] as const) {
      await using client = await served.client()
      client.start(1, name, null, { credit: 1_000 })
      expect(await client.next('end')).toMatchObject({ outcome: 'error', seq: 201, data: { code } })
    }
  })

  test('wait for a slow reader as they would have before, and so does the end', async () => {
    const many = hasty(200)
    await using served = await testServer({ many })
    await using client = await served.client()
    client.start(1, 'many', null, { credit: 10 })
    await client.until(() => client.count(1) === 10)
    await client.settle()
    expect(served.server.liveRuns).toBe(1)
    client.send({ kind: 'credit', sid: 1, n: 500 })
    expect(await client.next('end')).toMatchObject({ outcome: 'done', seq: 201 })
  })

  test('are given up by a cancel, whose receipt says that all has finished', async () => {
    const many = hasty(200)
    await using served = await testServer({ many })
    await using client = await served.client()
    client.start(1, 'many', null, { credit: 10 })
    await client.until(() => client.count(1) === 10)
    client.send({ kind: 'cancel', sid: 1 })
    expect(await client.next('end')).toMatchObject({
      outcome: 'cancelled',
      data: { settled: true, unsettled: [], kept: 42 },
    })
    const outcomes = await Promise.allSettled(many.numbers)
    expect(outcomes.filter(({ status }) => status === 'rejected')).toHaveLength(200 - 42)
  })

  test('hold the deadline while they wait for a reader', async () => {
    const runtime = handClock()
    const many = hasty(200)
    await using served = await testServer(
      { many },
      { runtime, limits: { timeoutMs: 5_000, heartbeatMs: 86_400_000, flushMs: 0 } },
    )
    await using client = await served.client()
    client.start(1, 'many', null, { credit: 10 })
    await client.until(() => client.count(1) === 10)
    await client.settle()
    runtime.advance(60_000)
    client.send({ kind: 'credit', sid: 1, n: 500 })
    expect(await client.next('end')).toMatchObject({ outcome: 'done' })
  })

  test('may be what cannot be logged: the run then fails with that, and keeps what came before', async () => {
    const bad = actor({
      async *stream(_: unknown, { emit }) {
        yield* []
        for (let n = 1; n <= 50; n++) void emit(note(n))
        void emit({ type: 'nonsense' } as unknown as RunEvent)
      },
    })
    await using served = await testServer({ bad })
    await using client = await served.client()
    client.start(1, 'bad', null, { credit: 1_000 })
    expect(await client.next('end')).toMatchObject({ outcome: 'error', seq: 51, data: { code: 'bad_event' } })
  })
})

describe('while the last events of a finished actor wait', () => {
  test('no further event is taken, and no input that nobody would read', async () => {
    const late: unknown[] = []
    const asked = latch()
    const ends = actor({
      interactive: true,
      async *stream(_: unknown, { emit }) {
        yield* []
        for (let n = 1; n <= 50; n++) void emit(note(n))
        void asked.opened.then(() => emit(note(51)).catch((error: unknown) => late.push(error)))
      },
    })
    await using served = await testServer({ ends })
    await using client = await served.client()
    client.start(1, 'ends', null, { credit: 10 })
    await client.until(() => client.count(1) === 10)
    client.send({ kind: 'input', sid: 1, mid: 'm', type: 'message', data: 'hello' })
    expect(await client.next('input_ack')).toMatchObject({ status: 'unwanted' })
    asked.open()
    await eventually(() => late.length === 1, 'the late event is refused')
    expect(late[0]).toMatchObject({ code: 'bad_request' })
    client.send({ kind: 'credit', sid: 1, n: 500 })
    expect(await client.next('end')).toMatchObject({ outcome: 'done', seq: 51 })
  })

  test('a child that ends is reported before the end, and none begins any more', async () => {
    const goes = latch()
    const refused: unknown[] = []
    const child = actor({
      async ask() {
        await goes.opened
      },
    })
    const parent = actor({
      async *stream(_: unknown, { emit, spawn }) {
        yield* []
        void spawn(child, null, { name: 'child' }).result
        for (let n = 1; n <= 50; n++) void emit(note(n))
        void goes.opened.then(() => {
          try {
            spawn(child, null)
          } catch (error) {
            refused.push(error)
          }
        })
      },
    })
    await using served = await testServer({ parent })
    await using client = await served.client()
    client.start(1, 'parent', null, { credit: 10 })
    await client.until(() => client.count(1) === 10)
    goes.open()
    await eventually(() => served.server.liveRuns === 1, 'the child ends')
    client.send({ kind: 'credit', sid: 1, n: 500 })
    expect(await client.next('end')).toMatchObject({ outcome: 'done', seq: 53 })
    const last = client.items(1).at(-1) as { type: number } | undefined
    expect(last).toMatchObject({ type: EVENT.agentEnd })
    expect(refused).toMatchObject([{ code: 'bad_request' }])
  })

  test('its children go on until the run ends', async () => {
    const child = silent()
    const parent = actor({
      async *stream(_: unknown, { emit, spawn }) {
        yield* []
        spawn(child, null, { name: 'child' })
        for (let n = 1; n <= 50; n++) void emit(note(n))
      },
    })
    await using served = await testServer({ parent })
    await using client = await served.client()
    client.start(1, 'parent', null, { credit: 10 })
    await client.until(() => client.count(1) === 10)
    expect(served.server.liveRuns).toBe(2)
    client.send({ kind: 'credit', sid: 1, n: 500 })
    expect(await client.next('end')).toMatchObject({ outcome: 'done', seq: 52 })
    await eventually(() => served.server.liveRuns === 0, 'the child is stopped with its parent')
  })
})
