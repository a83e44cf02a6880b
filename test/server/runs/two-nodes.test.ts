import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { MillraceError } from '../../../protocol/errors.ts'
import { EVENT } from '../../../protocol/events.ts'
import type { WireMap } from '../../../protocol/frames.ts'
import { DEFAULT_LIMITS } from '../../../protocol/limits.ts'
import { actor, agent, agentTool, type LogFields, tool } from '../../../server/index.ts'
import { packPayload } from '../../../server/log/payload.ts'
import type { RedisStore, RedisStoreOptions } from '../../../server/stores/redis/redis-store.ts'
import { type Deployment, parked, redisDeployment } from '../../helpers/redis-deployment.ts'
import { HAS_REDIS, RedisServer } from '../../helpers/redis-server.ts'
import { calls, says, scriptedModel } from '../../helpers/scripted-model.ts'
import { eventually, quiet } from '../../helpers/server.ts'

const LEASE_MS = 1_000

/** What the actors of a test did. */
type Seen = { yielded: number; aborted: number }

function actorsOf(seen: Seen) {
  return {
    counter: actor({
      async *stream(input: unknown, { signal }) {
        const { to, stay = false } = input as { to: number; stay?: boolean }
        signal.addEventListener('abort', () => seen.aborted++)
        for (let i = 1; i <= to; i++) {
          seen.yielded++
          yield `${i},`
        }
        if (stay)
          await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))
        return { counted: to }
      },
    }),
    echo: actor({
      interactive: true,
      async *stream(_: unknown, { inputs }) {
        for await (const { data } of inputs) yield String(data)
      },
    }),
  }
}

function packed(data: WireMap): Uint8Array {
  return packPayload(data, DEFAULT_LIMITS)
}

const APPROVAL = { call: 'c1', ok: true }

const counted = (to: number): string => Array.from({ length: to }, (_, i) => `${i + 1},`).join('')

/** A run that has just been opened may not be in Redis yet. */
async function inRedis({ store }: { store: RedisStore }, run: string): Promise<void> {
  while (!(await store.find(run)));
}

type Taken = Exclude<Awaited<ReturnType<RedisStore['takeOver']>>, string>

describe.skipIf(!HAS_REDIS)('two servers that share a Redis', () => {
  let redis: RedisServer
  beforeAll(async () => {
    redis = await RedisServer.start()
  })
  afterAll(() => redis[Symbol.asyncDispose]())

  const deployment = (options: Partial<RedisStoreOptions> = {}, on = redis): Deployment =>
    redisDeployment(on, { leaseMs: LEASE_MS, ...options })

  /** Takes a run over, as if its server had been frozen for longer than its lease. */
  async function takenOver(by: RedisStore, run: string): Promise<Taken> {
    const [key] = (await redis.command('KEYS', `*{${run}}:m`)) as string[]
    for (;;) {
      const taken = await by.takeOver(run)
      if (typeof taken !== 'string') return taken
      await redis.command('HSET', key!, 'x', '1')
    }
  }

  describe.each([
    ['that hear each other', {}],
    ['of which none hears a hint', { isDeaf: true }],
  ])('%s', (_, options) => {
    test('read the runs of each other: from the first item, live, and from any item on', async () => {
      const node = deployment(options)
      const actors = actorsOf({ yielded: 0, aborted: 0 })
      await using a = await node(actors)
      await using b = await node(actors)
      await using alice = await a.client()
      alice.start(1, 'counter', { to: 300, stay: true }, { credit: 1_000 })
      const { run } = await alice.next('opened')
      await using there = await b.client()
      await inRedis(b, run)
      there.attach(1, run, 0, { credit: 1_000 })
      there.attach(2, run, 250, { credit: 1_000, gen: 1 })
      await there.until(() => there.count(1) === 300 && there.count(2) === 50)
      expect(there.text(1)).toBe(counted(300))
      there.send({ kind: 'cancel', sid: 1 })
      const ends = await Promise.all([alice.next('end', 1), there.next('end', 1), there.next('end', 2)])
      expect(ends.map(({ outcome }) => outcome)).toEqual(['cancelled', 'cancelled', 'cancelled'])
      expect(ends[1]).toEqual({ ...ends[0], sid: 1 })
      expect(ends[0]).toMatchObject({ seq: 301, data: { by: 'client', settled: true, kept: 300 } })
      // It has ended, and is read from the store.
      there.attach(3, run, 295)
      expect(await there.next('end', 3)).toEqual({ ...ends[0], sid: 3 })
      expect(there.text(3)).toBe('296,297,298,299,300,')
    })

    test('take inputs for the runs of each other, each once', async () => {
      const node = deployment(options)
      const actors = actorsOf({ yielded: 0, aborted: 0 })
      await using a = await node(actors)
      await using b = await node(actors)
      await using alice = await a.client()
      alice.start(1, 'echo', null)
      const { run } = await alice.next('opened')
      await using there = await b.client()
      await inRedis(b, run)
      there.attach(1, run, 0)
      await there.next('opened')
      for (const mid of ['m1', 'm1', 'm2']) there.send({ kind: 'input', sid: 1, mid, type: 'message', data: `${mid} ` })
      const acks = [await there.next('input_ack'), await there.next('input_ack'), await there.next('input_ack')]
      expect(acks.map(({ mid, status }) => `${String(mid)} ${status}`).sort()).toEqual([
        'm1 accepted',
        'm1 duplicate',
        'm2 accepted',
      ])
      await alice.until(() => alice.text(1) === 'm1 m2 ')
      await there.until(() => there.text(1) === 'm1 m2 ')
    })
  })

  test('let a reader of the other one pace the actor: without its credit, the actor stops', async () => {
    const node = deployment()
    const seen = { yielded: 0, aborted: 0 }
    const actors = actorsOf(seen)
    await using a = await node(actors)
    await using b = await node(actors)
    await using alice = await a.client()
    alice.start(1, 'counter', { to: 2_000 }, { credit: 1, onDetach: 'pause' })
    const { run } = await alice.next('opened')
    await using there = await b.client()
    await inRedis(b, run)
    there.attach(1, run, 0, { policy: 'pace', credit: 100 })
    await there.next('opened')
    alice.send({ kind: 'detach', sid: 1 })
    await there.until(() => there.count(1) === 100)
    const window = 100 + 32
    await eventually(() => seen.yielded >= window, 'the actor used the window')
    await there.settle()
    expect(seen.yielded).toBeLessThanOrEqual(window + 1)
    for (let read = 100; read < 2_000; read = there.count(1)) {
      there.send({ kind: 'credit', sid: 1, n: 256 })
      await there.until(() => there.count(1) > read)
    }
    expect(await there.next('end', 1)).toMatchObject({ outcome: 'done' })
    expect(there.text(1)).toBe(counted(2_000))
  })

  test('count a reader of the other one as present: the run is detached when the last of both leaves', async () => {
    const node = deployment()
    const actors = actorsOf({ yielded: 0, aborted: 0 })
    await using a = await node(actors)
    await using b = await node(actors)
    await using alice = await a.client()
    alice.start(1, 'counter', { to: 1, stay: true }, { onDetach: 'cancel', detachMs: 1_000 })
    const { run } = await alice.next('opened')
    await using there = await b.client()
    await inRedis(b, run)
    there.attach(1, run, 0)
    await there.until(() => there.count(1) === 1)
    await eventually(() => a.server.liveRuns === 1, 'it goes on')
    alice.cut()
    // Longer than it may be detached.
    await new Promise((resolve) => setTimeout(resolve, 1_500))
    expect(a.server.liveRuns).toBe(1)
    there.cut()
    await eventually(() => a.server.liveRuns === 0, 'nobody reads it')
  })

  test('have one run for one key, whoever starts it first', async () => {
    const node = deployment()
    const seen = { yielded: 0, aborted: 0 }
    const actors = actorsOf(seen)
    const nodes = [await node(actors), await node(actors)]
    const clients = await Promise.all(nodes.map((each) => each.client()))
    for (const client of clients) client.start(1, 'counter', { to: 20 }, { key: 'k', credit: 100 })
    const opened = await Promise.all(clients.map((client) => client.next('opened')))
    expect(new Set(opened.map(({ run }) => run)).size).toBe(1)
    expect(opened.filter(({ reused }) => reused)).toHaveLength(1)
    for (const client of clients) {
      await client.next('end')
      expect(client.text(1)).toBe(counted(20))
    }
    expect(seen.yielded).toBe(20)
    clients[1]!.start(2, 'counter', { to: 21 }, { key: 'k' })
    expect(await clients[1]!.next('end', 2)).toMatchObject({ data: { code: 'key_conflict' } })
    for (const client of clients) client.cut()
    for (const each of nodes) await each[Symbol.asyncDispose]()
  })

  test.each<[string, Partial<RedisStoreOptions>]>([
    ['at once', {}],
    ['after a look, where no hint is heard', { isDeaf: true }],
  ])(
    'list the runs of each other, live, and who watches sees them begin, wait, go on and end %s',
    async (_, options) => {
      const node = deployment(options)
      const waiter = actor({
        async *stream(_: unknown, { checkpoint, request }) {
          checkpoint(() => ({}))
          yield String(await request({ kind: 'text', prompt: 'Which?' }))
        },
      })
      const actors = { ...actorsOf({ yielded: 0, aborted: 0 }), waiter }
      await using a = await node(actors)
      await using b = await node(actors, { http: true })
      await using alice = await a.client()
      await using there = await b.client()
      there.start(1, 'counter', { to: 1, stay: true })
      const own = (await there.next('opened')).run
      there.send({ kind: 'list', sid: 9, watch: true })
      await there.find((frame) => frame.kind === 'listed' && frame.run === undefined)
      /** The states that a watcher was told of, one after the other. */
      const statesOf = (run: string): unknown[] => {
        const states: unknown[] = []
        for (const frame of there.frames)
          if (frame.kind === 'listed' && frame.run === run) states.push(frame.info?.state ?? 'gone')
        return states
      }
      const isNow = (run: string, state: string): Promise<void> =>
        there.until(() => statesOf(run).at(-1) === state, `${run} ${state}`)
      alice.start(1, 'counter', { to: 1, stay: true })
      alice.start(2, 'waiter', null)
      const [live, waits] = await Promise.all([1, 2].map(async (sid) => (await alice.next('opened', sid)).run))
      await isNow(live!, 'running')
      await isNow(waits!, 'waiting_input')
      const answer = await b.server.fetch(
        new Request('http://localhost/runs', { headers: { authorization: 'Bearer alice' } }),
      )
      const { runs } = (await answer.json()) as { runs: { run: string; state: string }[] }
      expect(Object.fromEntries(runs.map(({ run, state }) => [run, state]))).toEqual({
        ...{ [live!]: 'running', [waits!]: 'waiting_input', [own]: 'running' },
      })
      alice.send({ kind: 'cancel', sid: 1 })
      alice.send({ kind: 'cancel', sid: 2 })
      await isNow(live!, 'ended')
      await isNow(waits!, 'ended')
      // Without a hint, nobody looks once more at a run that is over.
      if (!options.isDeaf) {
        await b.store.remove(live!)
        await isNow(live!, 'gone')
      }
      // Nobody else learns of them.
      await using bob = await b.client({ auth: 'bob' })
      bob.send({ kind: 'list', sid: 9 })
      expect(await bob.next('listed')).not.toHaveProperty('run')
    },
  )

  test('hide the runs of others from each principal', async () => {
    const node = deployment()
    const actors = actorsOf({ yielded: 0, aborted: 0 })
    await using a = await node(actors)
    await using b = await node(actors)
    await using alice = await a.client()
    alice.start(1, 'counter', { to: 1, stay: true })
    const { run } = await alice.next('opened')
    await using bob = await b.client({ auth: 'bob' })
    await inRedis(b, run)
    bob.attach(1, run, 0)
    bob.attach(2, 'r_nothing', 0)
    const [foreign, missing] = [await bob.next('end', 1), await bob.next('end', 2)]
    expect(foreign).toEqual({ ...missing, sid: 1 })
    expect(foreign).toMatchObject({ outcome: 'error', data: { code: 'not_found' } })
  })

  test('end the run of a server that died as interrupted, once, also for those who read it already', async () => {
    const node = deployment()
    const actors = actorsOf({ yielded: 0, aborted: 0 })
    const a = await node(actors)
    await using b = await node(actors)
    await using alice = await a.client()
    alice.start(1, 'counter', { to: 30, stay: true }, { credit: 100 })
    const { run } = await alice.next('opened')
    await using there = await b.client()
    await inRedis(b, run)
    there.attach(1, run, 0)
    await there.until(() => there.count(1) === 30)
    a.store.crash()
    alice.cut()
    expect(await there.next('end', 1)).toMatchObject({ outcome: 'error', seq: 31, data: { code: 'interrupted' } })
    there.attach(2, run, 10)
    expect(await there.next('end', 2)).toMatchObject({ outcome: 'error', seq: 31, data: { code: 'interrupted' } })
    expect(there.items(2)).toHaveLength(20)
    await a[Symbol.asyncDispose]()
  })

  test('end the run of a server that died also if the store fails while one of them does so', async () => {
    const node = deployment()
    const actors = actorsOf({ yielded: 0, aborted: 0 })
    const a = await node(actors)
    await using b = await node(actors)
    let failures = 0
    const takeOver = b.store.takeOver.bind(b.store)
    b.store.takeOver = async (id) => {
      const taken = await takeOver(id)
      const fail = (): Promise<never> => Promise.reject(new MillraceError('store_unavailable', 'Redis is slow'))
      if (typeof taken !== 'string' && ++failures === 1) Object.assign(taken.lease, { append: fail })
      return taken
    }
    await using alice = await a.client()
    alice.start(1, 'counter', { to: 1, stay: true })
    const { run } = await alice.next('opened')
    await using there = await b.client()
    await inRedis(b, run)
    there.attach(1, run, 0)
    await there.until(() => there.count(1) === 1)
    a.store.crash()
    alice.cut()
    expect(await there.next('end', 1)).toMatchObject({ outcome: 'error', seq: 2, data: { code: 'interrupted' } })
    expect(failures).toBe(2)
    await a[Symbol.asyncDispose]()
  })

  test('stop the actor of a run that was taken over, and send its readers to read on there', async () => {
    const node = deployment()
    const seen = { yielded: 0, aborted: 0 }
    const actors = actorsOf(seen)
    await using a = await node(actors)
    await using b = await node(actors)
    await using alice = await a.client()
    alice.start(1, 'counter', { to: 5, stay: true })
    const { run } = await alice.next('opened')
    await alice.until(() => alice.count(1) === 5)
    await eventually(() => a.server.liveRuns === 1, 'it goes on')
    const taken = await takenOver(b.store, run)
    const { lease, run: stored } = taken
    await lease.append({ end: { seq: stored.next, outcome: 'error', packed: packed({ code: 'interrupted' }) } })
    expect(await alice.closed).toBe(4503)
    await eventually(() => seen.aborted === 1 && a.server.liveRuns === 0, 'its actor was stopped')
    expect(alice.frames.filter(({ kind }) => kind === 'end')).toEqual([])
    await using again = await b.client()
    again.attach(1, run, 5, { gen: 1 })
    expect(await again.next('end', 1)).toMatchObject({ outcome: 'error', seq: 6, data: { code: 'interrupted' } })
  })

  test('end a run of which Redis has lost what it had: the server that holds it does not hold it on', async () => {
    const node = deployment()
    const seen = { yielded: 0, aborted: 0 }
    const actors = actorsOf(seen)
    await using a = await node(actors)
    await using b = await node(actors)
    await using alice = await a.client()
    alice.start(1, 'echo', null)
    const { run } = await alice.next('opened')
    alice.send({ kind: 'input', sid: 1, mid: 'm1', type: 'message', data: 'one' })
    await alice.until(() => alice.count(1) === 1)
    // Its item is stored, a moment later.
    while ((await b.store.find(run))?.next !== 2);
    // As after a failover: the replica had the run, and not its item.
    const [key] = (await redis.command('KEYS', `*{${run}}:m`)) as string[]
    await redis.command(
      'EVAL',
      "redis.call('HSET', KEYS[1], 's', '0') redis.call('DEL', KEYS[2])",
      '2',
      key!,
      `${key!.slice(0, -1)}l`,
    )
    alice.send({ kind: 'input', sid: 1, mid: 'm2', type: 'message', data: 'two' })
    expect(await alice.closed).toBe(4503)
    await using again = await b.client()
    again.attach(1, run, 0)
    expect(await again.next('end', 1)).toMatchObject({ outcome: 'error', seq: 1, data: { code: 'interrupted' } })
  })

  test('say nothing of an end that comes too late: the run has its one end on the other server', async () => {
    const node = deployment({ leaseMs: 10_000 })
    const actors = actorsOf({ yielded: 0, aborted: 0 })
    const records: LogFields[] = []
    const info = (fields: LogFields): void => void records.push(fields)
    await using a = await node(actors, { logger: { ...quiet, info, warn: info } })
    await using b = await node(actors)
    await using alice = await a.client()
    alice.start(1, 'counter', { to: 5, stay: true })
    const { run } = await alice.next('opened')
    await alice.until(() => alice.count(1) === 5)
    for (let isStored = false; !isStored; ) isStored = (await b.store.find(run))?.next === 6
    const { lease } = await takenOver(b.store, run)
    await lease.append({ end: { seq: 6, outcome: 'error', packed: packed({ code: 'interrupted' }) } })
    // The first that its server hears of it is that the end is refused.
    alice.send({ kind: 'cancel', sid: 1 })
    expect(await alice.closed).toBe(4503)
    await eventually(() => a.server.liveRuns === 0, 'nothing of it takes a slot')
    expect(alice.frames.filter(({ kind }) => kind === 'end')).toEqual([])
    expect(records.filter(({ event }) => event === 'run.ended')).toEqual([])
    await using again = await b.client()
    again.attach(1, run, 5, { gen: 1 })
    expect(await again.next('end', 1)).toMatchObject({ outcome: 'error', seq: 6, data: { code: 'interrupted' } })
  })

  test('say nothing of the end of a child whose tree was taken over, and let go of it', async () => {
    const node = deployment()
    const records: LogFields[] = []
    const info = (fields: LogFields): void => void records.push(fields)
    const model = scriptedModel(calls({ call: 'c1', name: 'ask', args: { prompt: 'go' } }))
    const mail = tool({ description: 'Sends a mail', needsApproval: true, run: () => 'sent' })
    const clerk = agent({ model: scriptedModel(calls({ call: 'c2', name: 'mail', args: {} })), tools: { mail } })
    const actors = { boss: agent({ model, tools: { ask: agentTool(clerk, { description: 'Asks' }) } }) }
    await using a = await node(actors, { logger: { ...quiet, info, warn: info } })
    await using b = await node(actors)
    await using alice = await a.client()
    alice.start(1, 'boss', 'go')
    const { run } = await alice.next('opened')
    const begun = await alice.find((frame) => frame.kind === 'event' && frame.type === EVENT.agentStart)
    const { agent: child } = (begun as { data: WireMap }).data
    await using watcher = await a.client()
    watcher.attach(2, String(child), 0)
    await watcher.next('opened')
    await parked(b.store, run)
    await takenOver(b.store, run)
    expect(await Promise.all([alice.closed, watcher.closed])).toEqual([4503, 4503])
    await eventually(() => a.server.liveRuns === 0, 'nothing of it takes a slot')
    await using again = await a.client()
    again.attach(1, String(child), 0)
    expect(await again.next('end', 1)).toMatchObject({ data: { code: 'not_found' } })
    expect([...alice.frames, ...watcher.frames].filter(({ kind }) => kind === 'end')).toEqual([])
    const moved = records.filter(({ event }) => event === 'run.moved')
    expect(moved.map(({ run: id, parent }) => [id, parent])).toEqual([
      [run, undefined],
      [child, run],
    ])
    expect(records.filter(({ event }) => event === 'run.ended')).toEqual([])
  })

  test('hold an actor when its lease is in doubt, because Redis stands still, and let it go on afterwards', async () => {
    await using frozen = await RedisServer.start()
    const node = deployment({}, frozen)
    const seen = { yielded: 0, aborted: 0 }
    const records: LogFields[] = []
    const note = (fields: LogFields): void => void records.push(fields)
    const actors = {
      ticker: actor({
        async *stream(_: unknown, { signal }) {
          while (!signal.aborted) {
            await new Promise((resolve) => setTimeout(resolve, 2))
            yield `${++seen.yielded},`
          }
        },
      }),
    }
    await using a = await node(actors, { logger: { ...quiet, warn: note, error: note } })
    await using b = await node(actors)
    await using alice = await a.client()
    alice.start(1, 'ticker', null, { credit: 4_096 })
    const { run } = await alice.next('opened')
    await using there = await b.client()
    await inRedis(b, run)
    there.attach(1, run, 0, { credit: 4_096 })
    await there.until(() => there.count(1) > 20)
    frozen.freeze(true)
    const isHeld = async (): Promise<boolean> => {
      const before = seen.yielded
      await new Promise((resolve) => setTimeout(resolve, 200))
      return seen.yielded === before
    }
    await eventually(() => records.some(({ event }) => event === 'store.failed'), 'the store is known to fail')
    while (!(await isHeld()));
    alice.start(2, 'ticker', null, {})
    expect(await alice.next('end', 2)).toMatchObject({ data: { code: 'store_unavailable' } })
    // Longer than the lease.
    await new Promise((resolve) => setTimeout(resolve, 2 * LEASE_MS))
    frozen.freeze(false)
    const held = seen.yielded
    await there.until(() => there.count(1) > held + 20)
    expect(there.text(1)).toBe(counted(there.count(1)))
    expect(alice.text(1)).toBe(counted(alice.count(1)))
    there.send({ kind: 'cancel', sid: 1 })
    expect(await there.next('end', 1)).toMatchObject({ outcome: 'cancelled', data: { settled: true } })
    expect(seen.aborted).toBe(0)
  })

  test('cancel a run of the other one for sure, if Redis stands still when it is asked and the reader has left', async () => {
    await using frozen = await RedisServer.start()
    const node = deployment({ leaseMs: 10_000 }, frozen)
    const actors = actorsOf({ yielded: 0, aborted: 0 })
    await using a = await node(actors)
    const records: LogFields[] = []
    const warn = (fields: LogFields): void => void records.push(fields)
    await using b = await node(actors, { logger: { ...quiet, warn, error: warn } })
    await using alice = await a.client()
    alice.start(1, 'counter', { to: 1, stay: true })
    const { run } = await alice.next('opened')
    await using there = await b.client()
    await inRedis(b, run)
    there.attach(1, run, 0)
    await there.until(() => there.count(1) === 1)
    frozen.freeze(true)
    // From then on, nothing reaches Redis until it answers.
    await eventually(() => records.some(({ event }) => event === 'store.failed'), 'Redis has not answered')
    there.send({ kind: 'cancel', sid: 1 })
    await there.settle()
    there.cut()
    frozen.freeze(false)
    expect(await alice.next('end', 1)).toMatchObject({ outcome: 'cancelled', data: { by: 'client', settled: true } })
  })

  test('tell nobody that an approval was accepted, or was before, whose server has lost the run', async () => {
    const node = deployment({ leaseMs: 10_000 })
    const mail = tool({ description: 'Sends a mail', needsApproval: true, run: () => 'sent' })
    const model = scriptedModel(calls({ call: 'c1', name: 'mail', args: {} }), says('It is sent.'))
    const actors = { writer: agent({ model, tools: { mail } }) }
    await using a = await node(actors)
    await using b = await node(actors)
    await using alice = await a.client()
    alice.start(1, 'writer', 'go')
    const { run } = await alice.next('opened')
    await parked(b.store, run)
    const { lease } = await takenOver(b.store, run)
    // The first that its server hears of it is that the approval is not stored.
    for (let i = 0; i < 2; i++) alice.send({ kind: 'input', sid: 1, mid: 'm1', type: 'approve', data: APPROVAL })
    expect(await alice.closed).toBe(4503)
    expect(alice.frames.filter(({ kind }) => kind === 'input_ack')).toEqual([])
    // Elsewhere it waits as before, and the same approval is taken there.
    await lease.release()
    await using again = await b.client()
    again.attach(1, run, null)
    await again.next('opened')
    again.send({ kind: 'input', sid: 1, mid: 'm1', type: 'approve', data: APPROVAL })
    expect(await again.next('input_ack')).toMatchObject({ status: 'accepted' })
    expect(await again.next('end', 1)).toMatchObject({ outcome: 'done' })
  })

  test('take a step once that follows an answer, though the server that took it first has lost the run', async () => {
    const node = deployment({ leaseMs: 10_000 })
    const paid: unknown[] = []
    const payer = actor({
      async *stream(_: unknown, { request, checkpoint }) {
        checkpoint(() => ({}))
        paid.push(await request({ kind: 'confirm', prompt: 'Pay?' }))
        yield 'paid'
      },
    })
    await using a = await node({ payer })
    await using b = await node({ payer })
    await using alice = await a.client()
    alice.start(1, 'payer', null)
    const { run } = await alice.next('opened')
    await parked(b.store, run)
    const asked = (await b.store.find(run))!
    expect(asked.next).toBe(2)
    const { lease } = await takenOver(b.store, run)
    await alice.until(() => alice.frames.some(({ kind }) => kind === 'event'))
    const question = alice.frames.find((frame) => frame.kind === 'event')!
    const data = { request: question.data['request'], value: true }
    alice.send({ kind: 'input', sid: 1, mid: 'm1', type: 'answer', data })
    expect(await alice.closed).toBe(4503)
    await lease.release()
    await using again = await b.client()
    again.attach(1, run, null)
    await again.next('opened')
    again.send({ kind: 'input', sid: 1, mid: 'm1', type: 'answer', data })
    expect(await again.next('end', 1)).toMatchObject({ outcome: 'done' })
    expect(paid).toEqual([true])
  })

  test('send a client that reads the run no more to the other one, if what it sent before is void', async () => {
    const node = deployment({ leaseMs: 10_000 })
    const asker = actor({
      async *stream(_: unknown, { request, checkpoint }) {
        checkpoint(() => ({}))
        yield String(await request({ kind: 'text', prompt: 'Which?' }))
      },
    })
    await using a = await node({ asker })
    await using b = await node({ asker })
    await using alice = await a.client()
    alice.start(1, 'asker', null)
    const { run } = await alice.next('opened')
    await parked(b.store, run)
    await takenOver(b.store, run)
    await alice.until(() => alice.frames.some(({ kind }) => kind === 'event'))
    const question = alice.frames.find((frame) => frame.kind === 'event')!
    const data = { request: question.data['request'], value: 'this' }
    alice.send({ kind: 'input', sid: 1, mid: 'm1', type: 'answer', data }, { kind: 'detach', sid: 1 })
    expect(await alice.closed).toBe(4503)
    expect(a.errors).toEqual([])
  })

  test('execute a run whose start was refused for want of room, when it is sent again with its key', async () => {
    const node = deployment({ leaseMs: 10_000 })
    const { counter } = actorsOf({ yielded: 0, aborted: 0 })
    await using a = await node({ counter }, { limits: { maxRuns: 1 } })
    await using alice = await a.client()
    const key = (n: number): Uint8Array => new Uint8Array(16).fill(n)
    // Both begin in Redis before either has its place.
    alice.start(1, 'counter', { to: 1, stay: true }, { key: key(1) })
    alice.start(2, 'counter', { to: 1 }, { key: key(2) })
    const refused = await alice.find((frame) => frame.kind === 'end')
    expect(refused).toMatchObject({ data: { code: 'overloaded' } })
    const first = 'sid' in refused && refused.sid === 1 ? 2 : 1
    alice.send({ kind: 'cancel', sid: first })
    await alice.next('end', first)
    alice.start(3, 'counter', { to: 1, stay: first === 2 }, { key: key(3 - first) })
    await alice.until(() => alice.text(3) === '1,')
    if (first === 2) alice.send({ kind: 'cancel', sid: 3 })
    expect((await alice.next('end', 3)).outcome).toBe(first === 2 ? 'cancelled' : 'done')
  })

  test('hand a run that waits for an approval to each other, and ask it again nowhere', async () => {
    const node = deployment()
    const sent: unknown[] = []
    const model = scriptedModel(calls({ call: 'c1', name: 'mail', args: { to: 'ada' } }), says('It is sent.'))
    const mail = tool({
      description: 'Sends a mail',
      input: z.object({ to: z.string() }),
      needsApproval: true,
      run: (input) => sent.push(input),
    })
    const actors = { writer: agent({ model, tools: { mail } }) }
    const a = await node(actors)
    await using b = await node(actors)
    await using alice = await a.client()
    alice.start(1, 'writer', 'go')
    const { run } = await alice.next('opened')
    const asked = (await alice.find((frame) => frame.kind === 'event' && frame.type === EVENT.inputRequest)) as {
      data: WireMap
    }
    await using there = await b.client()
    there.attach(2, run, null)
    expect(await there.next('opened')).toMatchObject({ pending: [asked.data] })
    await eventually(() => [...(a.server.connections ? [1] : [])].length > 0, 'a serves')
    await a.server.close({ drainMs: 100 })
    const { call } = asked.data
    there.send({ kind: 'input', sid: 2, mid: 'm1', type: 'approve', data: { call, ok: true } })
    expect(await there.next('input_ack')).toMatchObject({ status: 'accepted' })
    expect(await there.next('end', 2)).toMatchObject({ outcome: 'done' })
    expect(sent).toEqual([{ to: 'ada' }])
    await a[Symbol.asyncDispose]()
  })
})
