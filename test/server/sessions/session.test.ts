import { describe, expect, test } from 'vitest'
import { encodeUp } from '../../../protocol/encode.ts'
import type { UpFrame } from '../../../protocol/frames.ts'
import { actor } from '../../../server/actors/actor.ts'
import { anonymous } from '../../../server/sessions/auth.ts'
import { handClock } from '../../helpers/hand-clock.ts'
import { eventually, testServer } from '../../helpers/server.ts'
import { counted, counter, silent } from '../../helpers/test-actors.ts'

const start = (sid: number, actor: string, input: unknown = null): UpFrame => ({
  kind: 'start',
  sid,
  actor,
  input,
  options: {},
})

describe('HELLO', () => {
  test('is answered with the limits, the clock and the name of the server', async () => {
    await using served = await testServer({ silent: silent() }, { name: 'node-7', limits: { maxStreams: 9 } })
    await using client = await served.client({ hello: 'unanswered' })
    expect(await client.next('welcome')).toMatchObject({
      known: false,
      server: 'node-7',
      limits: { maxStreams: 9, creditUnit: 1_024, heartbeatMs: 10_000 },
    })
  })

  test.each<[string, UpFrame[][]]>([
    ['comes second', [[{ kind: 'ping', nonce: 1 }]]],
    ['comes behind a start', [[start(1, 'silent')]]],
    [
      'comes twice in one message',
      [
        [
          { kind: 'hello', auth: 'alice', client: new Uint8Array(16), attempt: 1 },
          { kind: 'hello', auth: 'alice', client: new Uint8Array(16), attempt: 2 },
        ],
      ],
    ],
    [
      'comes twice',
      [
        [{ kind: 'hello', auth: 'alice', client: new Uint8Array(16), attempt: 1 }],
        [{ kind: 'hello', auth: 'alice', client: new Uint8Array(16), attempt: 2 }],
      ],
    ],
  ])('that %s is a fault', async (_, messages) => {
    await using served = await testServer({ silent: silent() })
    await using client = await served.client({ hello: false })
    for (const message of messages) client.send(...message)
    expect(await client.closed).toBe(4400)
    expect(served.server.liveRuns).toBe(0)
  })

  test('that does not come closes the connection in time, and so does one whose credentials are never judged', async () => {
    const runtime = handClock()
    await using served = await testServer(
      { silent: silent() },
      { runtime, limits: { helloMs: 5_000 }, authenticate: () => new Promise(() => {}) },
    )
    await using mute = await served.client({ hello: false })
    await using unjudged = await served.client({ hello: 'unanswered' })
    await eventually(() => served.server.connections === 2, 'both connections')
    runtime.advance(4_999)
    expect(served.server.connections).toBe(2)
    runtime.advance(1)
    expect(await mute.closed).toBe(4408)
    expect(await unjudged.closed).toBe(4408)
  })

  test('with a faulty frame in its message applies none of them', async () => {
    const count = counter()
    await using served = await testServer({ count })
    await using client = await served.client({ hello: false })
    const good = encodeUp([
      { kind: 'hello', auth: 'alice', client: client.client, attempt: 1 },
      { kind: 'start', sid: 1, actor: 'count', input: 5, options: {} },
    ])
    client.sendRaw(Buffer.concat([good, Buffer.from([0x91, 0x5f])]))
    expect(await client.closed).toBe(4400)
    expect(client.frames).toEqual([])
    expect(count.runs).toHaveLength(0)
  })

  test('that is too large, and too much before WELCOME, are closed 4413', async () => {
    await using served = await testServer(
      { silent: silent() },
      { limits: { helloBytes: 1_000, beforeWelcomeBytes: 3_000 }, authenticate: () => new Promise(() => {}) },
    )
    await using large = await served.client({ hello: 'unanswered', auth: 'x'.repeat(1_000) })
    expect(await large.closed).toBe(4413)
    await using much = await served.client({ hello: 'unanswered' })
    for (let sid = 1; sid <= 4; sid++) much.send(start(sid, 'silent', 'y'.repeat(900)))
    expect(await much.closed).toBe(4413)
  })

  test('lets frames wait in order while the credentials are checked', async () => {
    let judge: ((who: { id: string }) => void) | undefined
    const count = counter()
    await using served = await testServer(
      { count },
      { authenticate: () => new Promise<{ id: string }>((resolve) => (judge = resolve)) },
    )
    await using client = await served.client({ hello: 'unanswered', with: [start(1, 'count', 5)] })
    client.send({ kind: 'cancel', sid: 1 }, start(2, 'count', 6), { kind: 'ping', nonce: 7 })
    await eventually(() => judge !== undefined, 'the look at the credentials')
    judge?.({ id: 'somebody' })
    expect((await client.next('welcome')).known).toBe(false)
    expect((await client.next('end', 1)).outcome).toBe('cancelled')
    await client.next('end', 2)
    expect(client.text(2)).toBe(counted(1, 6))
    expect((await client.next('pong')).nonce).toBe(7)
  })

  test('with wrong credentials is closed 4401; with credentials that cannot be judged it is to come back', async () => {
    await using served = await testServer({ silent: silent() })
    await using wrong = await served.client({ hello: 'unanswered', auth: 'wrong', with: [start(1, 'silent')] })
    expect(await wrong.next('notice')).toMatchObject({ code: 'unauthenticated' })
    expect(await wrong.closed).toBe(4401)
    expect(served.server.liveRuns).toBe(0)
    for (const authenticate of [
      () => Promise.reject(new Error('the database is away')),
      () => {
        throw new Error('the database is away')
      },
    ]) {
      await using broken = await testServer({ silent: silent() }, { authenticate })
      await using client = await broken.client({ hello: 'unanswered' })
      expect(await client.closed).toBe(1011)
      expect(broken.errors).toHaveLength(1)
      expect(JSON.stringify(client.frames)).not.toContain('database')
    }
  })
})

describe('a session', () => {
  test('moves to the connection with the higher attempt, whose runs go on', async () => {
    const count = counter()
    await using served = await testServer({ count })
    await using first = await served.client({ attempt: 1 })
    first.start(1, 'count', 100, { credit: 10 })
    const { run } = await first.next('opened')
    await first.until(() => first.count(1) === 10)
    await using second = await served.client({
      client: first.client,
      attempt: 2,
      hello: 'unanswered',
      with: [{ kind: 'attach', sid: 1, run, after: 10, options: { gen: 1, policy: 'pace' } }],
    })
    expect((await second.next('welcome')).known).toBe(true)
    expect(await first.closed).toBe(4409)
    await second.next('end')
    expect(second.text(1)).toBe(counted(11, 100))
  })

  test.each([1, 2])('stays where it is when a late HELLO of attempt %i comes behind attempt 2', async (attempt) => {
    const count = counter()
    await using served = await testServer({ count })
    await using client = await served.client({ attempt: 2 })
    client.start(1, 'count', 100, { credit: 10 })
    const { run } = await client.next('opened')
    await client.until(() => client.count(1) === 10)
    await using late = await served.client({
      client: client.client,
      attempt,
      hello: 'unanswered',
      with: [{ kind: 'attach', sid: 1, run, after: 0, options: {} }, start(2, 'count', 5)],
    })
    expect(await late.closed).toBe(4409)
    expect(late.frames).toEqual([])
    client.send({ kind: 'credit', sid: 1, n: 200 })
    await client.next('end')
    expect(client.text(1)).toBe(counted(1, 100))
    expect(count.runs).toHaveLength(1)
  })

  test('is never that of another principal, whatever instance the client gives', async () => {
    await using served = await testServer({ silent: silent() })
    await using alice = await served.client({ attempt: 5 })
    await using bob = await served.client({ auth: 'bob', client: alice.client, attempt: 1, hello: 'unanswered' })
    expect((await bob.next('welcome')).known).toBe(false)
    await alice.settle()
  })

  test('is remembered for as long as a run of it goes on, and no longer than resumeMs', async () => {
    const runtime = handClock()
    await using served = await testServer(
      { silent: silent() },
      { runtime, limits: { resumeMs: 60_000, heartbeatMs: 1_000_000 } },
    )
    const returns = async (client: Uint8Array, attempt: number): Promise<boolean> => {
      await using back = await served.client({ client, attempt, hello: 'unanswered' })
      const { known } = await back.next('welcome')
      return known
    }
    const leaves = async (run: boolean): Promise<Uint8Array> => {
      await using client = await served.client()
      if (run) {
        client.start(1, 'silent', null, { onDetach: 'continue' })
        await client.next('opened')
      }
      return client.client
    }
    const gone = (): Promise<void> => eventually(() => served.server.connections === 0, 'the connections are gone')

    const idle = await leaves(false)
    await gone()
    expect(await returns(idle, 2)).toBe(false)
    const busy = await leaves(true)
    await gone()
    runtime.advance(59_000)
    expect(await returns(busy, 2)).toBe(true)
    await gone()
    runtime.advance(61_000)
    expect(await returns(busy, 3)).toBe(false)
    expect(served.server.liveRuns).toBe(1)
  })

  test('without a connection is one of a few: the oldest is forgotten, and no run with it', async () => {
    await using served = await testServer({ silent: silent() }, { limits: { maxSessions: 2 } })
    const left: Uint8Array[] = []
    for (let i = 0; i < 3; i++) {
      await using client = await served.client()
      client.start(1, 'silent')
      await client.next('opened')
      left.push(client.client)
      client.cut()
      await eventually(() => served.server.connections === 0, 'it is gone')
    }
    const known: boolean[] = []
    for (const client of left.reverse()) {
      await using back = await served.client({ client, attempt: 2, hello: 'unanswered' })
      known.push((await back.next('welcome')).known)
    }
    expect(known).toEqual([true, true, false])
    expect(served.server.liveRuns).toBe(3)
  })

  test('of an anonymous client has a principal whose id does not tell the secret of the client instance', async () => {
    const who = actor({ ask: (_: unknown, { principal }) => principal.id })
    await using served = await testServer({ who }, { authenticate: anonymous() })
    await using first = await served.client()
    await using again = await served.client({ client: first.client, attempt: 2 })
    again.start(1, 'who')
    await again.next('end')
    expect(again.text(1)).toMatch(/^anonymous:[0-9a-f]{32}$/)
    expect(again.text(1)).not.toContain(Buffer.from(first.client).toString('hex'))
  })

  test('of an anonymous client has a principal of its own', async () => {
    const count = counter()
    await using served = await testServer({ count }, { authenticate: anonymous() })
    await using one = await served.client()
    await using other = await served.client()
    one.start(1, 'count', 5)
    const { run } = await one.next('opened')
    other.attach(1, run, 0)
    expect(await other.next('end')).toMatchObject({ seq: 0, data: { code: 'not_found' } })
    await using back = await served.client({ client: one.client, attempt: 2 })
    back.attach(1, run, 0)
    await back.next('end')
    expect(back.text(1)).toBe(counted(1, 5))
  })
})

describe('a stream id', () => {
  test.each([
    ['again', [3, 3]],
    ['lower', [3, 2]],
  ])('that comes %s is a fault, also for a stream that has ended', async (_, [first = 0, second = 0]) => {
    const count = counter()
    await using served = await testServer({ count })
    await using client = await served.client()
    client.start(first, 'count', 1)
    await client.next('end')
    client.start(second, 'count', 1)
    expect(await client.closed).toBe(4400)
    expect(count.runs).toHaveLength(1)
  })

  test('of a message is checked before any of it begins', async () => {
    const count = counter()
    await using served = await testServer({ count })
    await using client = await served.client()
    client.send(start(2, 'count', 1), start(1, 'count', 1))
    expect(await client.closed).toBe(4400)
    expect(count.runs).toHaveLength(0)
  })

  test('that ended, was refused or detached is ignored', async () => {
    const count = counter()
    await using served = await testServer({ count, silent: silent() })
    await using client = await served.client()
    client.start(1, 'count', 1)
    await client.next('end', 1)
    client.start(2, 'nobody')
    await client.next('end', 2)
    client.start(3, 'silent')
    await client.next('opened', 3)
    client.send({ kind: 'detach', sid: 3 })
    const before = client.frames.length
    for (const sid of [1, 2, 3, 99])
      client.send(
        { kind: 'credit', sid, n: 5 },
        { kind: 'cancel', sid },
        { kind: 'rate', sid, perSec: 5 },
        { kind: 'input', sid, mid: 'm', type: 'message', data: null },
        { kind: 'detach', sid },
      )
    await client.settle()
    expect(client.frames.slice(before).filter(({ kind }) => kind !== 'pong')).toEqual([])
    expect(served.server.liveRuns).toBe(1)
  })
})
