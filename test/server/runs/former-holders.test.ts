import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { DownFrame, WireMap } from '../../../protocol/frames.ts'
import { actor } from '../../../server/index.ts'
import type { RedisStore } from '../../../server/stores/redis/redis-store.ts'
import { HttpClient } from '../../helpers/http-client.ts'
import { type Deployment, parked, redisDeployment, stored } from '../../helpers/redis-deployment.ts'
import { withAfter, withBefore } from '../../helpers/redis-module.ts'
import { HAS_REDIS, RedisServer } from '../../helpers/redis-server.ts'
import { latch } from '../../helpers/test-actors.ts'
import type { WireClient } from '../../helpers/wire-client.ts'

/** So long that no server hears by itself that it has lost a run. */
const LEASE_MS = 60_000

/** Asks until it gets an answer, says it, and stays. */
const asker = actor({
  async *stream(_: unknown, { request, checkpoint, signal }) {
    checkpoint(() => ({}))
    yield String(await request({ kind: 'text', prompt: 'Which?' }))
    await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))
  },
})

type Taken = Exclude<Awaited<ReturnType<RedisStore['takeOver']>>, string>

const gapsOf = ({ frames }: WireClient): DownFrame[] => frames.filter(({ kind }) => kind === 'gap')

describe.skipIf(!HAS_REDIS)('a server that has lost a run, and has not heard of it', () => {
  let redis: RedisServer
  beforeAll(async () => {
    redis = await RedisServer.start()
  })
  afterAll(() => redis[Symbol.asyncDispose]())

  const deployment = (): Deployment => redisDeployment(redis, { leaseMs: LEASE_MS })

  /** Takes a run over, as if its server had been frozen for longer than its lease. */
  async function takenOver(by: RedisStore, run: string): Promise<Taken> {
    const [key] = (await redis.command('KEYS', `*{${run}}:m`)) as string[]
    await redis.command('HSET', key!, 'x', '1')
    return (await by.takeOver(run)) as Taken
  }

  /** A run that waits on one server, and that the other one has and has answered since. */
  async function movedRun(a: Awaited<ReturnType<Deployment>>, b: Awaited<ReturnType<Deployment>>) {
    await using starter = await a.client()
    starter.start(1, 'asker', null)
    const { run } = await starter.next('opened')
    await parked(b.store, run)
    const { lease } = await takenOver(b.store, run)
    await lease.release()
    await using answerer = await b.client()
    answerer.attach(1, run, 0)
    const question = (await answerer.next('event')) as { data: WireMap }
    const data = { request: question.data['request'], value: 'this' }
    answerer.send({ kind: 'input', sid: 1, mid: 'm1', type: 'answer', data })
    await answerer.until(() => answerer.text(1) === 'this')
    const { gen, next } = await stored(b.store, run, (has) => has.next > 2)
    return { run, gen, last: next - 1 }
  }

  test('lets a client read on that comes with a position of the other server, and stops the run there', async () => {
    const node = deployment()
    await using a = await node({ asker })
    await using b = await node({ asker })
    const { run, gen, last } = await movedRun(a, b)
    await using alice = await a.client()
    for (const [sid, policy] of (['log', 'pace', 'latest'] as const).entries())
      alice.attach(sid + 1, run, last, { gen, policy })
    for (const sid of [1, 2, 3]) expect(await alice.next('opened', sid)).toMatchObject({ next: last + 1, gen })
    alice.send({ kind: 'cancel', sid: 1 })
    expect(await alice.next('end', 1)).toMatchObject({ outcome: 'cancelled', seq: last + 1, data: { settled: true } })
    expect(gapsOf(alice)).toEqual([])
  })

  test('is not asked by a client whose items are void: any other server has what came in their place, also when the run has ended', async () => {
    const node = deployment()
    await using a = await node({ asker })
    await using b = await node({ asker })
    await using c = await node({ asker })
    const { run, gen, last } = await movedRun(a, b)
    await using alice = await c.client()
    const expectWhole = async (sid: number, from: WireMap): Promise<void> => {
      alice.attach(sid, run, Number(from['after']), { gen: Number(from['gen']) })
      await alice.until(() => alice.frames.some((frame) => frame.kind === 'delta' && frame.sid === sid))
      const gaps = gapsOf(alice).filter((gap) => gap.kind === 'gap' && gap.sid === sid)
      const seqs = alice.frames.flatMap((frame) =>
        'seq' in frame && 'sid' in frame && frame.sid === sid ? [frame.seq] : [],
      )
      // One for each of the lives that have begun since.
      for (const gap of gaps) expect(gap).toMatchObject({ reason: 'rewound', from: 2, next: 2 })
      expect(gaps.at(-1)).toMatchObject({ gen })
      expect(seqs.filter((seq) => seq <= last)).toEqual(Array.from({ length: last - 1 }, (_, n) => n + 2))
    }
    for (const [i, after] of [last, last + 5].entries()) await expectWhole(i + 1, { after, gen: 1 })
    alice.send({ kind: 'cancel', sid: 1 })
    await alice.next('end', 1)
    await stored(c.store, run, ({ end }) => end !== undefined)
    for (const [i, after] of [last, last + 5].entries()) await expectWhole(i + 11, { after, gen: 1 })
  })

  test('does not take the word of a client for a life that nobody has begun', async () => {
    const node = deployment()
    await using a = await node({ asker })
    await using alice = await a.client()
    alice.start(1, 'asker', null)
    const { run } = await alice.next('opened')
    await parked(a.store, run)
    alice.attach(2, run, 1, { gen: Number.MAX_SAFE_INTEGER })
    expect(await alice.next('gap', 2)).toMatchObject({ reason: 'store_lost', from: 1, next: 1, gen: 1 })
  })

  test('lets an event stream read on behind its Last-Event-ID', async () => {
    const node = deployment()
    await using a = await node({ asker }, { http: true })
    await using b = await node({ asker })
    const { run, gen, last } = await movedRun(a, b)
    const http = new HttpClient(a.url.replace(/^ws/, 'http'), 'alice')
    const headers = { 'last-event-id': `${gen}-${last}` }
    await using stream = await http.stream('GET', `/runs/${run}/events`, undefined, headers)
    expect(await stream.opened()).toMatchObject({ run, next: last + 1, gen })
    const page = await http.json('GET', `/runs/${run}/events?after=${gen}-${last}`, undefined, {
      accept: 'application/json',
    })
    expect(page.body).toMatchObject({ events: [], next: `${gen}-${last}` })
  })

  test('stops a run for a client of plain HTTP where it is, and says so once it has', async () => {
    const node = deployment()
    await using a = await node({ asker }, { http: true })
    await using b = await node({ asker })
    const { run } = await movedRun(a, b)
    const http = new HttpClient(a.url.replace(/^ws/, 'http'), 'alice')
    const { status, body } = await http.json('POST', `/runs/${run}/cancel`)
    expect({ status, ...body }).toMatchObject({ status: 200, confirmed: true, outcome: 'cancelled' })
    expect((await b.store.find(run))?.end).toMatchObject({ outcome: 'cancelled' })
  })

  test('stops a run for the code of its own process where it is', async () => {
    const node = deployment()
    await using a = await node({ asker })
    await using b = await node({ asker })
    const { run } = await movedRun(a, b)
    const principal = { id: 'alice' }
    expect(await a.server.router.cancel(run, { principal })).toMatchObject({ settled: true })
    expect((await b.store.find(run))?.end).toMatchObject({ outcome: 'cancelled' })
  })

  test('ends a reading of the code of its own process when it hears that it has lost the run', async () => {
    const node = deployment()
    await using a = await node({ asker })
    await using b = await node({ asker })
    const { run } = await movedRun(a, b)
    const principal = { id: 'alice' }
    const events = a.server.router.attach(run, { principal })[Symbol.asyncIterator]()
    expect((await events.next()).value).toMatchObject({ type: 'request' })
    const next = events.next().then(String, (error: unknown) => error)
    await using alice = await a.client()
    alice.attach(1, run, 0)
    await alice.next('opened', 1)
    alice.send({ kind: 'cancel', sid: 1 })
    expect(await alice.closed).toBe(4503)
    expect(await next).toMatchObject({ code: 'interrupted', retryable: true })
  })

  test('gives a client all of a run that it takes over for it, with what it does not keep in memory', async () => {
    const node = deployment()
    const teller = actor({
      async *stream(_: unknown, { request, checkpoint }) {
        checkpoint(() => ({}))
        for (let n = 1; n <= 300; n++) yield `${n},`
        yield String(await request({ kind: 'text', prompt: 'Which?' }))
      },
    })
    const limits = { initialCredit: 100, maxCredit: 100, readAhead: 16, retainEvents: 116 }
    await using a = await node({ teller }, { limits })
    await using b = await node({ teller }, { limits })
    await using starter = await a.client()
    starter.start(1, 'teller', null, { policy: 'log' })
    const { run } = await starter.next('opened')
    await parked(a.store, run)
    const { lease } = await takenOver(b.store, run)
    await lease.release()
    await using alice = await b.client()
    alice.attach(1, run, 0, { credit: 100 })
    await alice.until(() => alice.count(1) === 100)
    expect(alice.text(1)).toMatch(/^1,2,.*,100,$/)
    expect(gapsOf(alice)).toEqual([])
  })
})

describe.skipIf(!HAS_REDIS)('a server whose Redis is slow to answer', () => {
  test('lets a client read on behind an item that it has from another server', async () => {
    await using redis = await RedisServer.start()
    const node = redisDeployment(redis, { leaseMs: LEASE_MS })
    const echo = actor({
      interactive: true,
      async *stream(_: unknown, { inputs }) {
        for await (const { data } of inputs) yield String(data)
      },
    })
    const answered = latch()
    const after = (script: string): Promise<void> | undefined => (script === 'append' ? answered.opened : undefined)
    await using a = await node({ echo }, { durability: 'logged' }, { standIn: await withAfter(after) })
    await using b = await node({ echo }, { durability: 'logged' })
    await using starter = await a.client()
    starter.start(1, 'echo', null)
    const { run } = await starter.next('opened')
    starter.send({ kind: 'input', sid: 1, mid: 'm1', type: 'message', data: 'one,' })
    while ((await b.store.find(run))?.next !== 2);
    await using there = await b.client()
    there.attach(1, run, 0)
    await there.until(() => there.text(1) === 'one,')
    await using here = await a.client()
    here.attach(1, run, 1, { gen: 1 })
    expect(await here.next('opened')).toMatchObject({ next: 2, gen: 1 })
    here.send({ kind: 'input', sid: 1, mid: 'm2', type: 'message', data: 'two,' })
    answered.open()
    await here.until(() => here.text(1) === 'two,')
    expect(gapsOf(here)).toEqual([])
    expect(gapsOf(starter)).toEqual([])
  })
})

describe.skipIf(!HAS_REDIS)('a server of whose waiting run Redis has lost what it had', () => {
  test('does not hold it on: another one ends it, and its readers learn of it', async () => {
    await using redis = await RedisServer.start()
    const node = redisDeployment(redis, { leaseMs: 1_000 })
    await using a = await node({ asker })
    await using b = await node({ asker })
    await using alice = await a.client()
    alice.start(1, 'asker', null)
    const { run } = await alice.next('opened')
    await parked(b.store, run)
    await using reader = await b.client()
    reader.attach(1, run, 0)
    await reader.next('event')
    // As after a failover: the replica had the run, and not its question. Nothing more is appended.
    const [key] = (await redis.command('KEYS', `*{${run}}:m`)) as string[]
    const lose = "redis.call('HSET', KEYS[1], 's', '0') redis.call('HDEL', KEYS[1], 'pk') redis.call('DEL', KEYS[2])"
    await redis.command('EVAL', lose, '2', key!, `${key!.slice(0, -1)}l`)
    expect(await alice.closed).toBe(4503)
    expect(await reader.next('gap')).toMatchObject({ next: 1, reason: 'rewound' })
    expect(await reader.next('end')).toMatchObject({ outcome: 'error', seq: 1, data: { code: 'interrupted' } })
  })
})

describe.skipIf(!HAS_REDIS)('a server that dies when it has heard a cancel, before the end is stored,', () => {
  test('leaves the cancel to the next one, which stops the run if it only waited', async () => {
    await using redis = await RedisServer.start()
    const node = redisDeployment(redis, { leaseMs: 1_000 })
    const [dying, stuck] = [latch(), latch()]
    let hasAsked = false
    const before = (script: string): Promise<void> | undefined => {
      if (!hasAsked || script !== 'append') return undefined
      dying.open()
      return stuck.opened
    }
    const a = await node({ asker }, {}, { standIn: await withBefore(before) })
    await using b = await node({ asker })
    await using alice = await a.client()
    alice.start(1, 'asker', null)
    const { run } = await alice.next('opened')
    await parked(b.store, run)
    await using there = await b.client()
    there.attach(1, run, 0)
    await there.next('event')
    hasAsked = true
    there.send({ kind: 'cancel', sid: 1 })
    await dying.opened
    a.store.crash()
    expect(await there.next('end')).toMatchObject({ outcome: 'cancelled', data: { by: 'client', settled: true } })
    stuck.open()
    await a[Symbol.asyncDispose]()
  })
})
