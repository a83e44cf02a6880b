import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type InspectedRun, InspectorState } from '../../../protocol/inspector.ts'
import type {
  ChildrenView,
  ChildView,
  LiveRunView,
  RunView,
  SharedRunsView,
} from '../../../server/actors/server-view.ts'
import { actor, inspector, remote } from '../../../server/index.ts'
import { Elsewhere } from '../../../server/inspector/elsewhere.ts'
import { Sampler } from '../../../server/inspector/sampler.ts'
import { WatcherState } from '../../../server/inspector/watcher-state.ts'
import { handClock } from '../../helpers/hand-clock.ts'
import { type Watcher, watching } from '../../helpers/inspector-watcher.ts'
import { redisDeployment } from '../../helpers/redis-deployment.ts'
import { HAS_REDIS, RedisServer } from '../../helpers/redis-server.ts'
import { serverView } from '../../helpers/server-view.ts'

const LEASE_MS = 1_000
const all = { everyMs: 100, all: true }

/** Says so many items, then waits for a word. */
const talker = actor({
  interactive: true,
  async *stream(input: unknown, { inputs }) {
    for (let n = 0; n < Number(input); n++) yield `${n} `
    for await (const { data } of inputs) yield String(data)
  },
})

/** Has so many children, each a talker that has said one item. Of each word it hears, one of them is stopped. */
const boss = actor({
  interactive: true,
  async *stream(input: unknown, { spawn, inputs }) {
    const children = Array.from({ length: Number(input) }, (_, n) => spawn(talker, 1, { name: `worker ${n}` }))
    yield 'they work'
    for await (const { data } of inputs) await children[Number(data)]!.cancel('enough')
  },
})

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve))

const actors = {
  inspector: inspector(),
  talker,
  boss,
  /** Has a boss of three below it. */
  owner: actor({
    async *stream(_: unknown, { spawn }) {
      yield* spawn(boss, 3, { name: 'boss' })
    },
  }),
  asker: actor({
    async *stream(_: unknown, { checkpoint, request }) {
      checkpoint(() => ({}))
      yield String(await request({ kind: 'text', prompt: 'Which?' }))
    },
  }),
}

describe.skipIf(!HAS_REDIS)('an inspector of one of two servers that share a Redis, asked for all runs,', () => {
  let redis: RedisServer
  beforeAll(async () => {
    redis = await RedisServer.start()
  })
  afterAll(() => redis[Symbol.asyncDispose]())

  test('reports runs of the other server: which has them, what they have said, and their ends', async () => {
    const node = redisDeployment(redis, { leaseMs: LEASE_MS })
    await using a = await node(actors)
    await using b = await node(actors)
    await using alice = await a.client()
    alice.start(1, 'talker', 3)
    alice.start(2, 'asker', null)
    const talks = (await alice.next('opened', 1)).run
    const asks = (await alice.next('opened', 2)).run
    await using own = await b.client()
    own.start(1, 'talker', 1)
    const here = (await own.next('opened')).run

    await using watcher = await watching(b, { input: all })
    const seen = await watcher.run(talks, ({ items }) => items === 3)
    expect(seen).toMatchObject({ actor: 'talker', principal: 'alice', state: 'running', readers: [], sessions: [] })
    expect(seen.node).toMatch(/./)
    expect(await watcher.run(asks, ({ state }) => state === 'waiting_input')).toMatchObject({ node: seen.node })
    expect((await watcher.run(here)).node).toBeUndefined()
    alice.send({ kind: 'input', sid: 1, mid: 'm', type: 'message', data: 'more' })
    await watcher.run(talks, ({ items, itemsPerSec }) => items === 4 && itemsPerSec > 0)
    alice.send({ kind: 'cancel', sid: 1 })
    await watcher.until(({ runs }) => !runs.has(talks), 'its end')
    const gone = watcher.updates.find(({ goneRuns }) => goneRuns?.includes(talks))
    expect(gone?.runs).toMatchObject([{ id: talks, state: 'ended', outcome: 'cancelled' }])

    // Another watcher of the same server that does not ask for them, and one who may not see those of others.
    await using narrow = await watching(b)
    expect([...narrow.state.runs.keys()].toSorted()).toEqual([here, watcher.id, narrow.id].toSorted())
    await using bob = await watching(b, { input: all, auth: 'bob' })
    expect([...bob.state.runs.keys()]).toEqual([bob.id])
  })

  test('reports the children of those runs, as deep as they go, and how each ends, to whoever sees the runs', async () => {
    const node = redisDeployment(redis, { leaseMs: LEASE_MS })
    await using a = await node(actors)
    await using b = await node(actors)
    await using alice = await a.client()
    alice.start(1, 'owner')
    const { run } = await alice.next('opened', 1)
    await using watcher = await watching(b, { input: all })
    await using there = await watching(a, { input: all })
    await using bob = await watching(b, { input: all, auth: 'bob' })
    await using eve = await watching(b, { input: all, auth: 'eve' })
    const { node: where } = await watcher.run(run)
    const below = (of: Pick<Watcher, 'state'>, parent: string) =>
      [...of.state.runs.values()].filter((each) => each.parent === parent)
    await watcher.until(() => below(watcher, run).length === 1, 'the child')
    const [child] = below(watcher, run)
    const waits = ({ state, items }: InspectedRun): boolean => state === 'waiting_input' && items > 0
    expect(await watcher.run(child!.id, waits)).toMatchObject({ actor: 'boss', principal: 'alice', node: where })
    await watcher.until(() => below(watcher, child!.id).length === 3, 'the children of the child')
    const workers = below(watcher, child!.id)
    for (const { id } of workers) {
      // They are what their own server shows, which knows in addition who reads them, and how fast they are.
      const own = await there.run(id, waits)
      const unknown = { itemsPerSec: expect.any(Number), bytesPerSec: 0, readers: [], readerCount: 0 }
      const times = { startedAt: expect.any(Number) }
      expect(await watcher.run(id, waits)).toEqual({ ...own, ...unknown, ...times, node: where })
    }
    expect(workers.map(({ actor: name }) => name).toSorted()).toEqual(['worker 0', 'worker 1', 'worker 2'])

    // One of them is stopped, and the rest with the run above all.
    alice.attach(2, child!.id, 0)
    await alice.next('opened', 2)
    const [first] = workers.filter(({ actor: name }) => name === 'worker 0')
    alice.send({ kind: 'input', sid: 2, mid: 'm', type: 'message', data: 0 })
    await watcher.until(({ runs }) => !runs.has(first!.id), 'the end of a child')
    expect(below(watcher, child!.id)).toHaveLength(2)
    alice.send({ kind: 'cancel', sid: 1 })
    await watcher.until(({ runs }) => !workers.some(({ id }) => runs.has(id)) && !runs.has(child!.id), 'their ends')
    for (const { id } of [...workers, child!]) {
      const gone = watcher.updates.filter(({ goneRuns }) => goneRuns?.includes(id))
      expect(gone).toHaveLength(1)
      expect(gone[0]!.runs?.find((each) => each.id === id)).toMatchObject({ state: 'ended', outcome: 'cancelled' })
    }
    await eve.until(({ runs }) => !runs.has(run), 'the end of the run')
    expect(eve.updates.some(({ runs }) => runs?.some(({ id }) => id === first!.id))).toBe(true)
    expect(bob.updates.flatMap(({ runs = [] }) => runs.map(({ id }) => id))).toEqual([bob.id])
  })

  test('reports the runs of a server that does not tell of their children, as one of an earlier release', async () => {
    const node = redisDeployment(redis, { leaseMs: LEASE_MS })
    await using a = await node(actors)
    await using b = await node(actors)
    a.store.peers.answerWith(() => {
      throw new Error('it cannot be read')
    })
    await using alice = await a.client()
    alice.start(1, 'boss', 1)
    const { run } = await alice.next('opened', 1)
    await alice.next('event', 1)
    await using watcher = await watching(b, { input: all })
    await watcher.run(run)
    alice.send({ kind: 'cancel', sid: 1 })
    await watcher.until(({ runs }) => !runs.has(run), 'its end')
    expect(watcher.updates.flatMap(({ runs = [] }) => runs).filter(({ parent }) => parent !== undefined)).toEqual([])
    expect(a.errors).toEqual([])
  })

  test('goes on to report a run that this server takes over from one that died', async () => {
    const node = redisDeployment(redis, { leaseMs: LEASE_MS })
    const a = await node(actors)
    await using b = await node(actors)
    const alice = await a.client()
    alice.start(1, 'asker', null)
    const { run } = await alice.next('opened', 1)
    await using watcher = await watching(b, { input: all })
    await watcher.run(run, ({ node: where, state }) => where !== undefined && state === 'waiting_input')
    a.store.crash()
    await watcher.run(run, ({ node: where }) => where === undefined)
    // It has been on the list all the time.
    expect(watcher.updates.filter(({ goneRuns }) => goneRuns?.includes(run))).toEqual([])
    expect(watcher.state.runs.get(run)).toMatchObject({ state: 'waiting_input' })
    alice.cut()
    await a[Symbol.asyncDispose]()
  })
})

describe.skipIf(!HAS_REDIS)('an inspector of a server that gives its runs to workers, asked for all runs,', () => {
  test('reports a run while no worker has taken it, while one has it, and while it waits for a person in the pool', async () => {
    await using redis = await RedisServer.start()
    const node = redisDeployment(redis, { leaseMs: LEASE_MS })
    await using gateway = await node({ inspector: inspector(), asker: remote('asker', { pool: 'gpu' }) })
    await using alice = await gateway.client()
    alice.start(1, 'asker', null)
    const { run } = await alice.next('opened', 1)
    await using watcher = await watching(gateway, { input: all })
    await watcher.run(run, ({ node: where, state }) => where === '' && state === 'opening')
    {
      await using worker = await node({ asker: actors.asker })
      await worker.server.work({ pool: 'gpu' })
      await watcher.run(run, ({ node: where, state }) => where !== '' && state === 'waiting_input')
    }
    expect(await gateway.store.pools.waiting('gpu', 10)).toEqual([run])
    await watcher.run(run, ({ node: where, state }) => where === '' && state === 'waiting_input')
    // One that begins to watch now finds it in the store, too.
    await using later = await watching(gateway, { input: all })
    await later.run(run, ({ state }) => state === 'waiting_input')
    alice.send({ kind: 'cancel', sid: 1 })
    await watcher.until(({ runs }) => !runs.has(run), 'its end')
    expect(watcher.updates.filter(({ goneRuns }) => goneRuns?.includes(run))).toHaveLength(1)
  })
})

describe('a run of another server that comes to this one', () => {
  const asked: LiveRunView = {
    id: 'r_1',
    actorName: 'asker',
    principal: 'alice',
    startedAt: 0,
    last: 1,
    state: 'waiting_input',
    outcome: undefined,
    holder: 'other',
    isHere: false,
  }
  const here: RunView = {
    id: 'r_1',
    actorName: 'asker',
    principal: { id: 'alice' },
    startedAt: 0,
    state: 'waiting_input',
    end: undefined,
    gated: false,
    detached: false,
    log: { last: 1, bytesThrough: () => 9 },
    readers: 0,
    followers: [],
  }

  /** A watcher of a server whose runs are `runs`, and of the others, whose run `asked` is. */
  function watched(runs: RunView[], live: () => Promise<readonly LiveRunView[]>) {
    const runtime = handClock()
    const shared = { live, summary: async () => asked } as Partial<SharedRunsView> as SharedRunsView
    const run = (id: string): RunView | undefined => runs.find((each) => each.id === id)
    const sampler = new Sampler(serverView(runtime, { runs: () => runs, run, shared }))
    const elsewhere = new Elsewhere(sampler)
    sampler.enter('r_watcher')
    elsewhere.enter()
    const state = new InspectorState()
    const watcher = new WatcherState(sampler, { id: 'eve' }, elsewhere)
    /** What the next reports say has gone, and which server has the run. */
    const report = () => {
      const gone = [...watcher.updates()].flatMap((update) => state.take(update).goneRuns)
      return { gone, node: state.runs.get('r_1')?.node }
    }
    return {
      report,
      shows: (id: string): boolean => {
        report()
        return state.runs.has(id)
      },
      async look() {
        runtime.advance(1_000)
        sampler.lookAgain()
        await elsewhere.look()
      },
    }
  }

  test('while the store is looked at, is never reported as gone', async () => {
    const runs: RunView[] = []
    let comes = (): void => {}
    const { look, report } = watched(runs, async () => {
      comes()
      return [{ ...asked, isHere: runs.length > 0 }]
    })
    await look()
    expect(report()).toEqual({ gone: [], node: 'other' })
    comes = () => runs.push(here)
    await look()
    expect(report()).toEqual({ gone: [], node: undefined })
    await look()
    expect(report()).toEqual({ gone: [], node: undefined })
  })

  test('is reported also where 1,000 runs of other servers are, if no server has it', async () => {
    const others = Array.from({ length: 1_000 }, (_, n) => ({ ...asked, id: `r_other_${n}` }))
    const live: LiveRunView[] = [...others]
    const { look, shows } = watched([], async () => live)
    await look()
    live.push({ ...asked, id: 'r_held' }, { ...asked, id: 'r_waits', holder: undefined })
    await look()
    expect(['r_other_999', 'r_held', 'r_waits'].map(shows)).toEqual([true, false, true])
  })

  test('is reported as it was until it is among the runs of this one', async () => {
    const runs: RunView[] = []
    let isHere = false
    const { look, report } = watched(runs, async () => [{ ...asked, isHere }])
    await look()
    expect(report()).toEqual({ gone: [], node: 'other' })
    isHere = true
    await look()
    expect(report()).toEqual({ gone: [], node: 'other' })
    runs.push(here)
    await look()
    expect(report()).toEqual({ gone: [], node: undefined })
  })
})

describe('the children of runs of other servers', () => {
  const child = (id: string): ChildView => ({
    ...{ id, actorName: 'worker', principal: 'alice', startedAt: 0, last: 1, state: 'running' },
    outcome: undefined,
    parent: 'r_of_one',
  })
  const run = (holder: string): LiveRunView => {
    const { parent: _, ...facts } = child(`r_of_${holder}`)
    return { ...facts, holder, isHere: false }
  }

  /** A watcher of a server beside others, of which each has a run and says of its children what `said` has of it. */
  function watched(said: ReadonlyMap<string, ChildrenView | 'nothing'>, holders = [...said.keys()]) {
    const runtime = handClock()
    const asked: string[][] = []
    const shared = {
      live: async () => holders.map(run),
      summary: async () => undefined,
      children: (server, known, signal) => {
        asked.push([server, ...known])
        const answer = said.get(server)
        if (answer !== 'nothing') return Promise.resolve(answer)
        return new Promise((resolve) => signal.addEventListener('abort', () => resolve(undefined)))
      },
    } as Partial<SharedRunsView> as SharedRunsView
    const sampler = new Sampler(serverView(runtime, { shared }))
    const elsewhere = new Elsewhere(sampler)
    sampler.enter('r_watcher')
    elsewhere.enter()
    const state = new InspectorState()
    const watcher = new WatcherState(sampler, { id: 'eve' }, elsewhere)
    return {
      asked,
      runtime,
      leave: () => elsewhere.leave(),
      /** Lets `ms` pass once the store has been looked at, and gives the ends that are reported then. */
      async look(ms = 0) {
        runtime.advance(1_000)
        const looked = elsewhere.look()
        await turn()
        runtime.advance(ms)
        await looked
        return [...watcher.updates()].flatMap((update) => state.take(update).goneRuns)
      },
      shown: () => [...state.runs.values()].filter(({ parent }) => parent !== undefined).map(({ id }) => id),
    }
  }

  test('are reported to 1,000 of them, and further ones as those end', async () => {
    const many = Array.from({ length: 700 }, (_, n) => child(`r_one_${n}`))
    const others = Array.from({ length: 700 }, (_, n) => child(`r_two_${n}`))
    const said = new Map<string, ChildrenView>([
      ['one', { live: many, gone: [] }],
      ['two', { live: others, gone: [] }],
    ])
    const { look, shown, asked } = watched(said)
    await look()
    expect(shown()).toHaveLength(1_000)
    await look()
    // Whoever is asked hears which of its own are known.
    expect(asked.map(([server, ...known]) => [server, known.length])).toEqual([
      ['one', 0],
      ['two', 0],
      ['one', 700],
      ['two', 300],
    ])
    const ended = { ...many[0]!, state: 'ended' as const, outcome: 'done' as const, last: 7 }
    said.set('one', { live: many.slice(1), gone: [ended] })
    expect(await look()).toMatchObject([{ id: 'r_one_0', state: 'ended', outcome: 'done', items: 7 }])
    await look()
    expect(shown()).toHaveLength(1_000)
    expect(shown()).toContain('r_two_300')
  })

  test('stay as they were while their server stands still, which holds up one look, and go when it has no runs', async () => {
    const said = new Map<string, ChildrenView | 'nothing'>([['one', { live: [child('r_a')], gone: [] }]])
    const holders = ['one']
    const { look, shown, leave, runtime } = watched(said, holders)
    await look()
    said.set('one', 'nothing')
    expect(await look(500)).toEqual([])
    // No look waits for it again until it has answered.
    expect(await look()).toEqual([])
    expect(shown()).toEqual(['r_a'])
    holders.pop()
    const ends = await look()
    expect(ends.map(({ id, state }) => [id, state])).toEqual(expect.arrayContaining([['r_a', 'ended']]))
    expect(shown()).toEqual([])
    leave()
    await turn()
    expect(runtime.timers).toBe(0)
  })
})
