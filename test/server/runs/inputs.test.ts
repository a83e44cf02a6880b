import { describe, expect, test } from 'vitest'
import type { Key } from '../../../protocol/frames.ts'
import { type Actor, type ActorContext, actor } from '../../../server/actors/actor.ts'
import { handClock } from '../../helpers/hand-clock.ts'
import { eventually, testServer } from '../../helpers/server.ts'
import { aborted, latch } from '../../helpers/test-actors.ts'
import type { WireClient } from '../../helpers/wire-client.ts'

/** Repeats each input as text, one at a time, each when the test lets it. */
function repeater(): { actor: Actor; taken: unknown[]; go: () => void } {
  const gate = latch()
  const taken: unknown[] = []
  const made = actor({
    interactive: true,
    async *stream(_: unknown, { inputs }: ActorContext) {
      await gate.opened
      for await (const input of inputs) {
        taken.push(input)
        yield `${JSON.stringify(input.data)} `
      }
    },
  })
  return { actor: made, taken, go: gate.open }
}

function say(client: WireClient, mid: Key, data: unknown, type = 'message'): void {
  client.send({ kind: 'input', sid: 1, mid, type, data })
}

describe('an input', () => {
  test('is taken once, however often and from wherever it is sent', async () => {
    const { actor: repeat, taken, go } = repeater()
    await using served = await testServer({ repeat })
    await using client = await served.client()
    client.start(1, 'repeat')
    const { run } = await client.next('opened')
    say(client, 'a', 1)
    expect(await client.next('input_ack')).toMatchObject({ mid: 'a', status: 'accepted' })
    say(client, 'a', 1)
    expect(await client.next('input_ack')).toMatchObject({ mid: 'a', status: 'duplicate' })
    await using other = await served.client()
    other.attach(1, run, 0)
    say(other, 'a', 'something else')
    expect(await other.next('input_ack')).toMatchObject({ mid: 'a', status: 'duplicate' })
    // Bytes and text are never the same id.
    say(other, new TextEncoder().encode('a'), 2)
    expect(await other.next('input_ack')).toMatchObject({ status: 'accepted' })
    client.cut()
    await using back = await served.client({ client: client.client, attempt: 2 })
    back.attach(1, run, 0)
    say(back, 'a', 1)
    expect(await back.next('input_ack')).toMatchObject({ status: 'duplicate' })
    go()
    await back.until(() => back.count(1) === 2)
    expect(taken).toEqual([
      { id: 'a', type: 'message', data: 1 },
      { id: new TextEncoder().encode('a'), type: 'message', data: 2 },
    ])
  })

  test('beyond the number that may wait is refused as busy, to come later under a new id', async () => {
    const { actor: repeat, go } = repeater()
    await using served = await testServer({ repeat }, { limits: { maxInputs: 3 } })
    await using client = await served.client()
    client.start(1, 'repeat')
    for (let n = 1; n <= 4; n++) say(client, `m${n}`, n)
    const statuses = []
    for (let n = 1; n <= 4; n++) statuses.push((await client.next('input_ack')).status)
    expect(statuses).toEqual(['accepted', 'accepted', 'accepted', 'busy'])
    go()
    await client.until(() => client.text(1) === '1 2 3 ')
    say(client, 'm4', 4)
    expect((await client.next('input_ack')).status).toBe('busy')
    say(client, 'm5', 5)
    expect((await client.next('input_ack')).status).toBe('accepted')
    await client.until(() => client.text(1) === '1 2 3 5 ')
  })

  test('that is too large together with the waiting ones is refused as busy', async () => {
    const { actor: repeat } = repeater()
    await using served = await testServer({ repeat }, { limits: { maxInputBytes: 1_000 } })
    await using client = await served.client()
    client.start(1, 'repeat')
    say(client, 'a', 'x'.repeat(600))
    expect((await client.next('input_ack')).status).toBe('accepted')
    say(client, 'b', 'x'.repeat(600))
    expect((await client.next('input_ack')).status).toBe('busy')
    say(client, 'c', 'x'.repeat(100))
    expect((await client.next('input_ack')).status).toBe('accepted')
  })

  test('larger than all that may wait is invalid, and its note names the limit: it would never fit', async () => {
    const { actor: repeat, go } = repeater()
    await using served = await testServer({ repeat }, { limits: { maxInputBytes: 1_000 } })
    await using client = await served.client()
    client.start(1, 'repeat')
    say(client, 'a', 'x'.repeat(1_001))
    const { status, note } = await client.next('input_ack')
    expect(status).toBe('invalid')
    expect(note).toMatch(/^an input of 10\d\d bytes is larger than the 1000 bytes that this server takes/)
    // It takes no room.
    say(client, 'b', 'x'.repeat(900))
    expect((await client.next('input_ack')).status).toBe('accepted')
    go()
    await client.until(() => client.count(1) === 1)
  })

  test('to an actor that takes none is invalid, and after the end unwanted', async () => {
    const deaf = actor({
      async *stream(_: unknown, { signal }: ActorContext) {
        for (let n = 0; n < 10; n++) yield 'x'
        await aborted(signal)
      },
    })
    const brief = actor({
      interactive: true,
      async *stream() {
        yield 'x'
      },
    })
    await using served = await testServer({ deaf, brief })
    await using client = await served.client()
    client.start(1, 'deaf')
    say(client, 'a', 1)
    expect((await client.next('input_ack')).status).toBe('invalid')
    await using other = await served.client()
    other.start(1, 'brief', null, { credit: 0 })
    await other.next('notice')
    say(other, 'a', 1)
    expect((await other.next('input_ack')).status).toBe('unwanted')
  })

  test('that is queued when its run ends is reported as unread', async () => {
    const ignores = actor({
      interactive: true,
      async *stream(_: unknown, { inputs }: ActorContext) {
        for await (const input of inputs) {
          yield String(input.data)
          break
        }
      },
    })
    await using served = await testServer({ ignores })
    await using client = await served.client()
    client.start(1, 'ignores', null, { rate: 0 })
    for (const mid of ['a', 'b', 'c']) say(client, mid, mid)
    for (let n = 0; n < 3; n++) expect((await client.next('input_ack')).status).toBe('accepted')
    client.send({ kind: 'rate', sid: 1, perSec: null })
    expect((await client.next('end')).outcome).toBe('done')
    expect(client.items(1)).toMatchObject([{ text: 'a' }, { type: 16, data: { code: 'inputs_unread' } }])
  })
})

/** Sends a given number of requests, all at once, and then the answers as text. */
function asker(questions: number, expiresMs?: number): Actor {
  return actor({
    async *stream(_: unknown, { request }: ActorContext) {
      const asked = Array.from({ length: questions }, (_, n) =>
        request({ kind: 'text', prompt: `q${n}`, call: `c${n}`, ...(expiresMs === undefined ? {} : { expiresMs }) }),
      )
      for (const answer of asked) yield JSON.stringify(await answer.catch((error: unknown) => (error as Error).name))
    },
  })
}

describe('a request', () => {
  test('takes the first of two answers and leaves the other unwanted', async () => {
    await using served = await testServer({ ask: asker(2) })
    await using client = await served.client()
    client.start(1, 'ask')
    const { run } = await client.next('opened')
    const { data } = await client.next('event')
    const second = await client.next('event')
    expect(data).toMatchObject({ kind: 'text', prompt: 'q0', call: 'c0' })
    await using other = await served.client()
    other.attach(1, run, null)
    expect(await other.next('opened')).toMatchObject({ next: 3, pending: [data, second.data] })
    say(other, 'o', { request: data['request'], value: 'from the other' }, 'answer')
    expect((await other.next('input_ack')).status).toBe('accepted')
    say(client, 'c', { request: data['request'], value: 'too late' }, 'answer')
    expect((await client.next('input_ack')).status).toBe('unwanted')
    say(client, 'c', { request: data['request'], value: 'too late' }, 'answer')
    expect((await client.next('input_ack')).status).toBe('unwanted')
    say(other, 'o', { request: data['request'], value: 'again' }, 'answer')
    expect((await other.next('input_ack')).status).toBe('duplicate')
    say(client, 'second', { request: second.data['request'], value: 2 }, 'answer')
    await client.next('end')
    expect(client.text(1)).toBe('"from the other"2')
  })

  test('about a tool call is answered by approving it', async () => {
    await using served = await testServer({ ask: asker(2) })
    await using client = await served.client()
    client.start(1, 'ask')
    await client.until(() => client.count(1) === 2)
    say(client, 'a', { call: 'c1', ok: false, note: 'no' }, 'approve')
    say(client, 'b', { call: 'c9', ok: true }, 'approve')
    say(client, 'c', 'junk', 'approve')
    say(client, 'd', { call: 'c0', ok: true }, 'approve')
    const statuses = []
    for (let n = 0; n < 4; n++) statuses.push((await client.next('input_ack')).status)
    expect(statuses).toEqual(['accepted', 'unwanted', 'unwanted', 'accepted'])
    await client.next('end')
    expect(client.items(1).slice(2)).toMatchObject([{ text: '{"ok":true}' }, { text: '{"ok":false,"note":"no"}' }])
  })

  test('stays open for an approval whose `ok` is no boolean, which is invalid', async () => {
    await using served = await testServer({ ask: asker(1) })
    await using client = await served.client()
    client.start(1, 'ask')
    const { data } = await client.next('event')
    say(client, 'a', { call: 'c0', ok: 'yes' }, 'approve')
    say(client, 'b', { call: 'c0' }, 'approve')
    say(client, 'c', { request: data['request'], value: { ok: 1 } }, 'answer')
    say(client, 'd', { call: 'c0', ok: true }, 'approve')
    const statuses = []
    for (let n = 0; n < 4; n++) statuses.push((await client.next('input_ack')).status)
    expect(statuses).toEqual(['invalid', 'invalid', 'accepted', 'unwanted'])
    await client.next('end')
  })

  test('is pending for a client that attaches behind it, and not for one that is still to read it', async () => {
    await using served = await testServer({ ask: asker(3) })
    await using client = await served.client()
    client.start(1, 'ask')
    const { run } = await client.next('opened')
    await client.until(() => client.count(1) === 3)
    for (const [sid, after] of [
      [2, 0],
      [3, 1],
      [4, 2],
      [5, 3],
      [6, null],
    ] as const) {
      client.attach(sid, run, after, { gen: 1 })
      const { pending = [] } = await client.next('opened', sid)
      await client.until(() => client.count(sid) === 3 - (after ?? 3))
      const prompts = [...pending, ...client.items(sid).map(({ data }) => data as { prompt: string })]
      expect(prompts.map(({ prompt }) => prompt)).toEqual(['q0', 'q1', 'q2'])
    }
  })

  test('that waited for the reader is pending from its own place on, not from where the run has gone since', async () => {
    const asks = actor({
      async *stream(_: unknown, { request, emit, signal }: ActorContext) {
        for (let n = 0; n < 31; n++) yield 'x'
        await emit('y')
        const asked = request({ kind: 'text' })
        for (let n = 0; n < 5; n++) void emit('z')
        await asked
        await aborted(signal)
      },
    })
    await using served = await testServer({ asks })
    await using client = await served.client()
    client.start(1, 'asks', null, { credit: 0 })
    const { run } = await client.next('opened')
    await client.settle()
    client.send({ kind: 'credit', sid: 1, n: 100 })
    await client.until(() => client.count(1) === 38)
    const question = client.items(1).find(({ type }) => type === 8)
    client.attach(2, run, question?.seq ?? 0, { gen: 1 })
    expect((await client.next('opened', 2)).pending).toMatchObject([{ kind: 'text' }])
  })

  test('without an answer in time is for the actor to decide', async () => {
    const runtime = handClock()
    await using served = await testServer({ ask: asker(1, 5_000) }, { runtime, limits: { heartbeatMs: 1_000_000 } })
    await using client = await served.client()
    client.start(1, 'ask')
    const { data } = await client.next('event')
    expect(data['expiresAt']).toBe(runtime.wallClock() + 5_000)
    runtime.advance(4_999)
    await client.settle()
    expect(client.count(1)).toBe(1)
    runtime.advance(1)
    await client.next('end')
    expect(client.text(1)).toBe('"MillraceError"')
    say(client, 'late', { request: data['request'], value: 1 }, 'answer')
    await client.settle()
    expect(client.frames.some(({ kind }) => kind === 'input_ack')).toBe(false)
  })

  test('among others has room for all of them together, or is refused', async () => {
    const refused: unknown[] = []
    const asking = actor({
      async *stream(_: unknown, { request }: ActorContext) {
        const prompt = 'x'.repeat(9_000)
        const all = Array.from({ length: 20 }, () => request({ kind: 'text', prompt }))
        for (const one of all) one.catch((error: unknown) => refused.push(error))
        yield 'asked'
        await Promise.allSettled(all)
      },
    })
    await using served = await testServer({ asking })
    await using client = await served.client()
    client.start(1, 'asking')
    const { run } = await client.next('opened')
    await eventually(() => refused.length === 17, 'those that have no room')
    expect(refused[0]).toMatchObject({ code: 'bad_event' })
    client.attach(2, run, null)
    expect((await client.next('opened', 2)).pending).toHaveLength(3)
  })

  test('leaves its room to the next, however many come one after the other', async () => {
    const asking = actor({
      async *stream(_: unknown, { request }: ActorContext) {
        for (let n = 0; n < 20; n++) {
          const [first, second] = ['x', 'y'].map((letter) => request({ kind: 'text', prompt: letter.repeat(9_000) }))
          await first
          await second
        }
        yield 'all was answered'
      },
    })
    await using served = await testServer({ asking })
    await using client = await served.client()
    client.start(1, 'asking', null, { credit: 1_900 })
    for (let n = 0; n < 40; n++) {
      const { data } = await client.next('event')
      say(client, `${n}`, { request: data['request'], value: n }, 'answer')
    }
    await client.next('end')
    expect(client.text(1)).toBe('all was answered')
  })

  test('fails with the run', async () => {
    const failed: unknown[] = []
    const asks = actor({
      async *stream(_: unknown, { request }: ActorContext) {
        yield 'x'
        await request({ kind: 'text' }).catch((error: unknown) => {
          failed.push(error)
          throw error
        })
      },
    })
    await using served = await testServer({ asks })
    await using client = await served.client()
    client.start(1, 'asks')
    await client.until(() => client.count(1) === 2)
    client.send({ kind: 'cancel', sid: 1 })
    expect(await client.next('end')).toMatchObject({ outcome: 'cancelled', data: { settled: true } })
    await eventually(() => failed.length === 1, 'the request failed')
    expect(failed[0]).toMatchObject({ code: 'cancelled' })
  })
})
