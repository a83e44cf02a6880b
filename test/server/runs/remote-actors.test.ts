import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { EVENT } from '../../../protocol/events.ts'
import type { WireMap } from '../../../protocol/frames.ts'
import { actor, agent, createServer, type MillraceServer, remote, tool } from '../../../server/index.ts'
import type { RedisStoreOptions } from '../../../server/stores/redis/redis-store.ts'
import { type Deployment, redisDeployment } from '../../helpers/redis-deployment.ts'
import { redisStore } from '../../helpers/redis-harness.ts'
import { withBefore } from '../../helpers/redis-module.ts'
import { HAS_REDIS, RedisServer } from '../../helpers/redis-server.ts'
import { calls, says, scriptedModel } from '../../helpers/scripted-model.ts'
import { eventually } from '../../helpers/server.ts'
import { repetitions } from '../../helpers/tier.ts'

const LEASE_MS = 1_000
const ROUNDS = repetitions({ quick: 2, full: 10 })

/** What the actors of a worker did. */
type Seen = { begun: number; aborted: number }

const nothingSeen = (): Seen => ({ begun: 0, aborted: 0 })

/** The code that only workers have. */
function workersActors(seen: Seen) {
  return {
    research: actor({
      input: z.object({ to: z.number(), stay: z.boolean().optional() }),
      async *stream({ to, stay = false }, { signal }) {
        seen.begun++
        signal.addEventListener('abort', () => seen.aborted++)
        for (let i = 1; i <= to; i++) yield `${i},`
        if (stay)
          await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))
        return { counted: to }
      },
    }),
  }
}

type Research = ReturnType<typeof workersActors>['research']

const gatewaysActors = (waitMs = 30_000, maxWaiting = 10) => ({
  research: remote<Research>('research', { pool: 'gpu', waitMs, maxWaiting }),
})

const counted = (to: number): string => Array.from({ length: to }, (_, i) => `${i + 1},`).join('')

describe.skipIf(!HAS_REDIS)('a remote actor', () => {
  let redis: RedisServer
  beforeAll(async () => {
    redis = await RedisServer.start()
  })
  afterAll(() => redis[Symbol.asyncDispose]())

  const deployment = (options: Partial<RedisStoreOptions> = {}): Deployment =>
    redisDeployment(redis, { leaseMs: LEASE_MS, ...options })

  describe.each([
    ['whose servers hear each other', {}],
    ['whose servers hear no hint', { isDeaf: true }],
  ])('%s', (_, options) => {
    test('is executed by a worker, and read like any other: live, with its result, and again from any item', async () => {
      const node = deployment(options)
      const seen = nothingSeen()
      await using gateway = await node(gatewaysActors())
      await using worker = await node(workersActors(seen))
      await worker.server.work({ pool: 'gpu' })
      await using alice = await gateway.client()
      alice.start(1, 'research', { to: 300 }, { credit: 1_000 })
      const { run } = await alice.next('opened')
      expect(await alice.next('end', 1)).toMatchObject({
        outcome: 'done',
        seq: 301,
        data: { result: { counted: 300 } },
      })
      expect(alice.text(1)).toBe(counted(300))
      alice.attach(2, run, 295)
      await alice.next('end', 2)
      expect(alice.text(2)).toBe('296,297,298,299,300,')
      expect(seen).toEqual({ begun: 1, aborted: 0 })
    })

    test('is cancelled from the server where it was started: the signal reaches it in the worker, and the receipt comes back', async () => {
      const node = deployment(options)
      const seen = nothingSeen()
      await using gateway = await node(gatewaysActors())
      await using worker = await node(workersActors(seen))
      await worker.server.work({ pool: 'gpu' })
      await using alice = await gateway.client()
      alice.start(1, 'research', { to: 2, stay: true })
      await alice.until(() => alice.count(1) === 2)
      alice.send({ kind: 'cancel', sid: 1 })
      expect(await alice.next('end', 1)).toMatchObject({ outcome: 'cancelled', data: { settled: true, kept: 2 } })
      expect(seen).toEqual({ begun: 1, aborted: 1 })
    })
  })

  test('that waits is cancelled at once, with a receipt, and is never begun', async () => {
    const node = deployment()
    const seen = nothingSeen()
    await using gateway = await node(gatewaysActors())
    await using alice = await gateway.client()
    alice.start(1, 'research', { to: 3 })
    await alice.next('opened')
    alice.send({ kind: 'cancel', sid: 1 })
    expect(await alice.next('end', 1)).toMatchObject({
      outcome: 'cancelled',
      seq: 1,
      data: { by: 'client', settled: true, unsettled: [], provider: 'none', tools: [], kept: 0, ms: 0 },
    })
    await using worker = await node(workersActors(seen))
    await worker.server.work({ pool: 'gpu' })
    alice.start(2, 'research', { to: 3 })
    await alice.next('end', 2)
    expect(seen.begun).toBe(1)
  })

  test('that no worker takes in time ends with `unavailable`', async () => {
    const node = deployment()
    await using gateway = await node(gatewaysActors(300))
    await using alice = await gateway.client()
    alice.start(1, 'research', { to: 3 })
    const begunAt = performance.now()
    expect(await alice.next('end', 1)).toMatchObject({
      outcome: 'error',
      data: { code: 'unavailable', retryable: true, message: expect.stringContaining('gpu') as string },
    })
    expect(performance.now() - begunAt).toBeGreaterThan(250)
    expect(gateway.warnings).toMatchObject([{ event: 'run.untaken', pool: 'gpu' }])
    expect(await gateway.store.pools.waiting('gpu', 10)).toEqual([])
  })

  test('that no worker takes in time ends also when the server is gone where it was started', async () => {
    const node = deployment()
    const gateway = await node(gatewaysActors(300))
    const alice = await gateway.client()
    alice.start(1, 'research', { to: 3 })
    const { run } = await alice.next('opened')
    gateway.store.crash()
    alice.cut()
    await using other = await node(workersActors(nothingSeen()))
    await using again = await other.client()
    again.attach(1, run, 0)
    expect(await again.next('end', 1)).toMatchObject({ outcome: 'error', data: { code: 'unavailable' } })
    await gateway[Symbol.asyncDispose]()
  })

  test('is refused as `overloaded` when too many of its runs wait', async () => {
    const node = deployment()
    await using gateway = await node(gatewaysActors(30_000, 2))
    await using alice = await gateway.client()
    for (const sid of [1, 2]) {
      alice.start(sid, 'research', { to: 1 })
      await alice.next('opened', sid)
    }
    alice.start(3, 'research', { to: 1 })
    expect(await alice.next('end', 3)).toMatchObject({ data: { code: 'overloaded', details: { afterMs: 1_000 } } })
    // One that is cancelled makes room.
    alice.send({ kind: 'cancel', sid: 1 })
    await alice.next('end', 1)
    alice.start(4, 'research', { to: 1 })
    await alice.next('opened', 4)
  })

  test('is one of the runs of its principal until it has ended, also while it waits', async () => {
    const node = deployment()
    await using gateway = await node(gatewaysActors(), { limits: { maxRuns: 1 } })
    await using alice = await gateway.client()
    alice.start(1, 'research', { to: 1 })
    await alice.next('opened', 1)
    alice.start(2, 'research', { to: 1 })
    expect(await alice.next('end', 2)).toMatchObject({ data: { code: 'overloaded' } })
    alice.send({ kind: 'cancel', sid: 1 })
    await alice.next('end', 1)
    for (let sid = 3; ; sid++) {
      alice.start(sid, 'research', { to: 1 })
      const { kind } = await alice.find((frame) => 'sid' in frame && frame.sid === sid)
      if (kind === 'opened') break
    }
  })

  test('is `opening` on lists until a worker has taken it, and again when that one puts it back', async () => {
    const node = deployment()
    await using gateway = await node(gatewaysActors())
    await using worker = await node(workersActors(nothingSeen()))
    await using alice = await gateway.client()
    alice.start(1, 'research', { to: 1, stay: true })
    const { run } = await alice.next('opened')
    alice.send({ kind: 'list', sid: 9, watch: true })
    const state = async (is: string): Promise<void> => {
      await alice.find((frame) => frame.kind === 'listed' && frame.run === run && frame.info?.state === is)
    }
    await state('opening')
    const taken = await worker.store.takeOver(run, { worker: 'gpu' })
    await state('running')
    if (typeof taken === 'string') throw new Error(taken)
    await taken.lease.shared?.putBack()
    await state('opening')
    await worker.server.work({ pool: 'gpu' })
    await state('running')
    alice.send({ kind: 'cancel', sid: 1 })
    await state('ended')
  })

  test('refuses an input with the schema of the worker, at the end of the run, or with that of its own, at once', async () => {
    const node = deployment()
    const seen = nothingSeen()
    const checked = remote<Research>('research', { pool: 'gpu', input: z.object({ to: z.number() }) })
    await using gateway = await node({ ...gatewaysActors(), checked })
    await using worker = await node(workersActors(seen))
    await using alice = await gateway.client()
    alice.start(1, 'checked', { to: 'many' })
    expect(await alice.next('end', 1)).toMatchObject({ outcome: 'error', data: { code: 'invalid_input' } })
    alice.start(2, 'research', { to: 'many' })
    await alice.next('opened', 2)
    await worker.server.work({ pool: 'gpu' })
    expect(await alice.next('end', 2)).toMatchObject({ outcome: 'error', data: { code: 'invalid_input' } })
    expect(seen.begun).toBe(0)
    // It has another name there than here.
    alice.start(3, 'checked', { to: 2 })
    await alice.next('end', 3)
    expect(alice.text(3)).toBe('1,2,')
  })

  test('takes inputs while it waits, and its worker gets them', async () => {
    const node = deployment()
    const echo = actor({
      interactive: true,
      async *stream(_: unknown, { inputs }) {
        for await (const { data } of inputs) yield String(data)
      },
    })
    await using gateway = await node({ echo: remote('echo', { pool: 'gpu' }) })
    await using worker = await node({ echo })
    await using alice = await gateway.client()
    alice.start(1, 'echo', null)
    await alice.next('opened')
    alice.send({ kind: 'input', sid: 1, mid: 'm1', type: 'message', data: 'hello' })
    await alice.settle()
    await worker.server.work({ pool: 'gpu' })
    expect(await alice.next('input_ack')).toMatchObject({ mid: 'm1', status: 'accepted' })
    await alice.until(() => alice.text(1) === 'hello')
  })

  test('ends with `not_found` when its worker does not have it', async () => {
    const node = deployment()
    await using gateway = await node(gatewaysActors())
    await using worker = await node({ other: actor({ ask: () => 1 }) })
    await worker.server.work({ pool: 'gpu' })
    await using alice = await gateway.client()
    alice.start(1, 'research', { to: 3 })
    expect(await alice.next('end', 1)).toMatchObject({ outcome: 'error', data: { code: 'not_found' } })
  })

  test('has as many runs at a time as its worker has slots: the next begins when one has ended', async () => {
    const node = deployment()
    const seen = nothingSeen()
    await using gateway = await node(gatewaysActors())
    await using worker = await node(workersActors(seen))
    await worker.server.work({ pool: 'gpu', slots: 1 })
    await using alice = await gateway.client()
    alice.start(1, 'research', { to: 1, stay: true })
    await alice.until(() => alice.count(1) === 1)
    alice.start(2, 'research', { to: 1 })
    await alice.next('opened', 2)
    await alice.settle()
    expect(seen.begun).toBe(1)
    alice.send({ kind: 'cancel', sid: 1 })
    await alice.next('end', 2)
    expect(seen.begun).toBe(2)
  })

  test('is one run for one key, whoever starts it', async () => {
    const node = deployment()
    const seen = nothingSeen()
    await using gateway = await node(gatewaysActors())
    await using other = await node(gatewaysActors())
    const clients = [await gateway.client(), await other.client()]
    for (const client of clients) client.start(1, 'research', { to: 5 }, { key: 'k' })
    const opened = await Promise.all(clients.map((client) => client.next('opened')))
    expect(new Set(opened.map(({ run }) => run)).size).toBe(1)
    expect(opened.filter(({ reused }) => reused)).toHaveLength(1)
    await using worker = await node(workersActors(seen))
    await worker.server.work({ pool: 'gpu' })
    for (const client of clients) {
      await client.next('end')
      expect(client.text(1)).toBe(counted(5))
      client.cut()
    }
    expect(seen.begun).toBe(1)
  })

  test('ends as interrupted, once, when its worker dies in the middle of it', async () => {
    const node = deployment()
    const seen = nothingSeen()
    await using gateway = await node(gatewaysActors())
    const worker = await node(workersActors(seen))
    await worker.server.work({ pool: 'gpu' })
    await using alice = await gateway.client()
    alice.start(1, 'research', { to: 5, stay: true })
    await alice.until(() => alice.count(1) === 5)
    worker.store.crash()
    expect(await alice.next('end', 1)).toMatchObject({ outcome: 'error', seq: 6, data: { code: 'interrupted' } })
    await worker[Symbol.asyncDispose]()
  })

  test('ends behind all that was logged when it fails while it waits for its first reader', async () => {
    // Nobody is told of the reader, so that the actor waits for it when it fails.
    const unheard = await withBefore((script) => (script === 'attend' ? new Promise(() => {}) : undefined))
    const node = deployment()
    const overflowing = actor({
      async *stream(_: unknown, { emit, signal }) {
        const data = { type: 'data' as const, name: 'n', value: 0 }
        for (let n = 0; n < 24; n++) await emit(data)
        for (let n = 0; n < 1_001; n++) emit(data).catch(() => {})
        await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))
        yield 'never'
      },
    })
    await using gateway = await node(gatewaysActors(), {}, { standIn: unheard })
    await using worker = await node({ research: overflowing }, { limits: { initialCredit: 16, readAhead: 8 } })
    await worker.server.work({ pool: 'gpu' })
    await using alice = await gateway.client()
    alice.start(1, 'research', { to: 1 }, { credit: 1_900 })
    const end = await alice.next('end', 1)
    const { run } = await alice.next('opened')
    expect(end).toMatchObject({ outcome: 'error', data: { code: 'bad_event' } })
    const { batches } = await gateway.store.read(run, 1, 1_000_000)
    expect([batches.at(-1)?.last, alice.count(1)]).toEqual([end.seq - 1, end.seq - 1])
  })

  test('goes on in another worker when it waits for an approval and its worker goes away, and nowhere else', async () => {
    const node = deployment()
    const sent: unknown[] = []
    const mail = tool({
      description: 'Sends a mail',
      input: z.object({ to: z.string() }),
      needsApproval: true,
      run: (input) => sent.push(input),
    })
    const asks = scriptedModel(calls({ call: 'c1', name: 'mail', args: { to: 'ada' } }))
    const writer = (model: typeof asks) => ({ writer: agent({ model, tools: { mail } }) })
    await using gateway = await node({ writer: remote('writer', { pool: 'gpu' }) })
    const first = await node(writer(asks))
    await first.server.work({ pool: 'gpu' })
    await using alice = await gateway.client()
    alice.start(1, 'writer', 'go')
    const { run } = await alice.next('opened')
    const asked = await alice.find((frame) => frame.kind === 'event' && frame.type === EVENT.inputRequest)
    const { call } = (asked as { data: WireMap }).data
    while (!(await gateway.store.find(run))?.parked);
    await first[Symbol.asyncDispose]()
    await eventually(() => first.server.liveRuns === 0, 'it is gone')
    // The gateway leaves it alone, however often it looks.
    expect(await gateway.store.takeOver(run)).toBe('busy')
    expect(await gateway.store.pools.waiting('gpu', 10)).toEqual([run])
    alice.send({ kind: 'input', sid: 1, mid: 'm1', type: 'approve', data: { call, ok: true } })
    await using second = await node(writer(scriptedModel(says('It is sent.'))))
    await second.server.work({ pool: 'gpu' })
    expect(await alice.next('input_ack')).toMatchObject({ status: 'accepted' })
    expect(await alice.next('end', 1)).toMatchObject({ outcome: 'done' })
    expect(sent).toEqual([{ to: 'ada' }])
  })

  test('waits in its pool once, and its worker has it no more, when that one stood still for longer than its lease', async () => {
    // It must not be confirmed meanwhile.
    const node = deployment({ leaseMs: 60_000 })
    await using gateway = await node(gatewaysActors())
    await using worker = await node(workersActors(nothingSeen()))
    // The gateway looks by itself when it hears of the run, and while it does nobody else there can.
    await using other = await node(gatewaysActors())
    await using alice = await gateway.client()
    alice.start(1, 'research', { to: 1 })
    const { run } = await alice.next('opened')
    const taken = await worker.store.takeOver(run, { worker: 'gpu' })
    if (typeof taken === 'string') throw new Error(taken)
    const { lease } = taken
    await lease.append({ parked: Buffer.from('waits') })
    // Its lease is over, while its process stands still.
    await redis.command('HSET', `${worker.prefix}:{${run}}:m`, 'x', '1')
    expect(await other.store.takeOver(run)).toBe('busy')
    expect(await other.store.pools.waiting('gpu', 10)).toEqual([run])
    // However often it is looked at, it is put there once.
    const { gen } = (await other.store.find(run))!
    expect(await other.store.takeOver(run)).toBe('busy')
    expect((await other.store.find(run))!.gen).toBe(gen)
    expect(await lease.append({ parked: null })).toBe('fenced')
    const again = await worker.store.takeOver(run, { worker: 'gpu' })
    expect(again).toMatchObject({ run: { parked: new Uint8Array(Buffer.from('waits')) } })
    expect(await other.store.pools.waiting('gpu', 10)).toEqual([])
  })

  test('waits on when its worker drains: that one finishes what it has, and begins nothing more', async () => {
    const node = deployment()
    const [seen, others] = [nothingSeen(), nothingSeen()]
    await using gateway = await node(gatewaysActors())
    const worker = await node(workersActors(seen))
    await worker.server.work({ pool: 'gpu', slots: 1 })
    await using alice = await gateway.client()
    alice.start(1, 'research', { to: 1, stay: true })
    await alice.until(() => alice.count(1) === 1)
    const closed = worker.server.close({ drainMs: 60_000 })
    alice.start(2, 'research', { to: 2 })
    await alice.next('opened', 2)
    alice.send({ kind: 'cancel', sid: 1 })
    expect(await alice.next('end', 1)).toMatchObject({ outcome: 'cancelled' })
    await closed
    expect(seen.begun).toBe(1)
    await using other = await node(workersActors(others))
    await other.server.work({ pool: 'gpu' })
    expect(await alice.next('end', 2)).toMatchObject({ outcome: 'done' })
    expect(others.begun).toBe(1)
    await worker[Symbol.asyncDispose]()
  })

  test('that a worker has taken and not begun is put back before all others, and still has its time', async () => {
    const node = deployment()
    const seen = nothingSeen()
    await using gateway = await node(gatewaysActors(600))
    await using worker = await node(workersActors(seen))
    await using alice = await gateway.client()
    const runs: string[] = []
    for (const sid of [1, 2]) {
      alice.start(sid, 'research', { to: 1 })
      runs.push((await alice.next('opened', sid)).run)
    }
    const by = { worker: 'gpu' }
    const taken = await worker.store.takeOver(runs[0]!, by)
    expect(taken).toMatchObject({ run: { pool: { name: 'gpu', isNew: true } } })
    expect(await gateway.store.takeOver(runs[0]!, 'canceller')).toBe('busy')
    expect(await gateway.store.pools.waiting('gpu', 10)).toEqual([runs[1]])
    if (typeof taken !== 'string') await taken.lease.shared?.putBack()
    expect(await gateway.store.pools.waiting('gpu', 10)).toEqual(runs)
    expect(await gateway.store.takeOver(runs[0]!)).toBe('busy')
    // Nobody takes them any more.
    const ends = await Promise.all([1, 2].map((sid) => alice.next('end', sid)))
    for (const end of ends) expect(end).toMatchObject({ outcome: 'error', data: { code: 'unavailable' } })
    expect(seen.begun).toBe(0)
  })

  test('is begun once, however many workers look for it', async () => {
    const node = deployment()
    const seen = nothingSeen()
    await using gateway = await node(gatewaysActors(30_000, 100), { limits: { maxRuns: 100 } })
    await using first = await node(workersActors(seen))
    await using second = await node(workersActors(seen))
    await Promise.all([first, second].map(({ server }) => server.work({ pool: 'gpu', slots: 3 })))
    const answers = Array.from({ length: 30 }, (_, i) => gateway.server.router.ask('research', { to: i }))
    expect(await Promise.all(answers)).toEqual(Array.from({ length: 30 }, (_, i) => ({ counted: i })))
    expect(seen.begun).toBe(30)
  })

  describe('has one end', () => {
    /** A run that waits, on a gateway of its own. */
    async function waiting(waitMs?: number) {
      const node = deployment()
      const seen = nothingSeen()
      const gateway = await node(gatewaysActors(waitMs))
      const worker = await node(workersActors(seen))
      const alice = await gateway.client()
      alice.start(1, 'research', { to: 3, stay: true })
      const { run } = await alice.next('opened')
      return {
        ...{ alice, gateway, worker, seen, run },
        /** The end, once it is certain that there is no second one. */
        async end() {
          const end = await alice.next('end', 1)
          await alice.settle()
          expect(alice.frames.filter(({ kind }) => kind === 'end')).toHaveLength(1)
          alice.attach(2, run, null)
          expect(await alice.next('end', 2)).toEqual({ ...end, sid: 2 })
          return end
        },
        async [Symbol.asyncDispose]() {
          alice.cut()
          await gateway[Symbol.asyncDispose]()
          await worker[Symbol.asyncDispose]()
        },
      }
    }

    test('when it is cancelled at the moment at which a worker takes it', async () => {
      for (let round = 0; round < ROUNDS; round++) {
        await using race = await waiting()
        const works = race.worker.server.work({ pool: 'gpu' })
        for (let turn = 0; turn < (round % 10) * 2; turn++) await new Promise((resolve) => setImmediate(resolve))
        race.alice.send({ kind: 'cancel', sid: 1 })
        const { outcome, data } = (await race.end()) as { outcome: string; data: WireMap }
        expect([outcome, data['by'], data['settled']]).toEqual(['cancelled', 'client', true])
        await works
        expect(race.seen.aborted).toBe(race.seen.begun)
      }
    })

    test('when a worker takes it at the moment at which it has waited too long', async () => {
      for (let round = 0; round < ROUNDS; round++) {
        await using race = await waiting(100)
        await new Promise((resolve) => setTimeout(resolve, 90 + ((round * 13) % 30)))
        await race.worker.server.work({ pool: 'gpu' })
        const isUntaken = race.alice.frames.some(({ kind }) => kind === 'end')
        const begun = race.alice.until(
          () => race.seen.begun > 0 || race.alice.frames.some(({ kind }) => kind === 'end'),
        )
        if (!isUntaken) await begun
        if (race.seen.begun > 0) race.alice.send({ kind: 'cancel', sid: 1 })
        const { outcome, data } = (await race.end()) as { outcome: string; data: WireMap }
        expect(outcome).toBe(race.seen.begun > 0 ? 'cancelled' : 'error')
        if (race.seen.begun === 0) expect(data['code']).toBe('unavailable')
      }
    })

    test('when it is cancelled at the moment at which it has waited too long', async () => {
      for (let round = 0; round < ROUNDS; round++) {
        await using race = await waiting(100)
        await new Promise((resolve) => setTimeout(resolve, 90 + ((round * 13) % 30)))
        race.alice.send({ kind: 'cancel', sid: 1 })
        const { outcome, data } = (await race.end()) as { outcome: string; data: WireMap }
        expect(outcome === 'cancelled' || data['code'] === 'unavailable').toBe(true)
      }
    })
  })

  test('is called from a process that never listens, by the router of a server', async () => {
    const node = deployment()
    const seen = nothingSeen()
    await using worker = await node(workersActors(seen))
    await worker.server.work({ pool: 'gpu' })
    const store = redisStore([redis], worker.prefix, { leaseMs: LEASE_MS })
    await using caller: MillraceServer<ReturnType<typeof gatewaysActors>> = createServer({
      actors: gatewaysActors(),
      authenticate: () => undefined,
      store,
    })
    let text = ''
    for await (const event of caller.router.stream('research', { to: 300 }))
      if (event.type === 'token') text += event.text
    expect(text).toBe(counted(300))
    expect(await caller.router.ask('research', { to: 2 })).toEqual({ counted: 2 })
    for await (const event of caller.router.stream('research', { to: 2, stay: true }))
      if (event.type === 'token' && event.text === '2,') break
    await eventually(() => seen.aborted === 1, 'its signal fired in the worker')
    // Published here, consumed there: by several, from any item on.
    const run = await caller.router.start('research', { to: 40, stay: true })
    const texts = async (after: number, most: number): Promise<string> => {
      let read = ''
      for await (const event of other.router.attach(run, { after })) {
        if (event.type === 'token') read += event.text
        if (event.seq === most) break
      }
      return read
    }
    const otherStore = redisStore([redis], worker.prefix, { leaseMs: LEASE_MS })
    await using other = createServer({ actors: gatewaysActors(), authenticate: () => undefined, store: otherStore })
    expect(await Promise.all([texts(0, 40), texts(30, 35), texts(38, 40)])).toEqual([
      counted(40),
      '31,32,33,34,35,',
      '39,40,',
    ])
    const bob = { id: 'bob' }
    const foreign = other.router.attach(run, { principal: bob })[Symbol.asyncIterator]()
    await expect(foreign.next()).rejects.toMatchObject({ code: 'not_found' })
    await expect(other.router.cancel(run, { principal: bob })).rejects.toMatchObject({ code: 'not_found' })
    expect(await other.router.cancel(run, { note: 'enough' })).toMatchObject({
      reason: 'user',
      note: 'enough',
      settled: true,
      kept: 40,
    })
    expect(seen.aborted).toBe(2)
    expect(await caller.router.cancel(run)).toBeUndefined()
    const again = caller.router.attach(run, { after: 39 })[Symbol.asyncIterator]()
    expect(await again.next()).toMatchObject({ value: { type: 'token', text: '40,', seq: 40 } })
    await expect(again.next()).rejects.toMatchObject({ code: 'cancelled' })
  })

  test('is one run for one key of a router, in whatever process that is', async () => {
    const node = deployment()
    await using first = await node(gatewaysActors())
    await using second = await node(gatewaysActors())
    const starts = [first, second, first].map(({ server }) =>
      server.router.start('research', { to: 3 }, { key: 'job-17' }),
    )
    const [run, ...others] = await Promise.all(starts)
    expect(others).toEqual([run, run])
    const start = (to: number, key: string): Promise<string> => second.server.router.start('research', { to }, { key })
    await expect(start(4, 'job-17')).rejects.toMatchObject({ code: 'key_conflict' })
    expect(await start(3, 'job-18')).not.toBe(run)
    for (const key of ['', 'k'.repeat(65)]) await expect(start(3, key)).rejects.toMatchObject({ code: 'bad_request' })
    await first.server.router.cancel(run!)
    expect(await start(3, 'job-17')).toBe(run)
    await expect(first.server.router.ask('research', { to: 1 }, { key: 'k' } as object)).rejects.toMatchObject({
      code: 'bad_request',
    })
  })
})
