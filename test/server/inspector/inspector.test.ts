import { describe, expect, test } from 'vitest'
import { InspectorState } from '../../../protocol/inspector.ts'
import type { RunView, ServerView } from '../../../server/actors/server-view.ts'
import { type ActorContext, actor, inspector } from '../../../server/index.ts'
import { Sampler } from '../../../server/inspector/sampler.ts'
import { WatcherState } from '../../../server/inspector/watcher-state.ts'
import { handClock } from '../../helpers/hand-clock.ts'
import { watching } from '../../helpers/inspector-watcher.ts'
import { testServer } from '../../helpers/server.ts'
import { serverView } from '../../helpers/server-view.ts'
import { aborted, counter, latch, silent } from '../../helpers/test-actors.ts'

const DAY = 86_400_000
const LIMITS = { heartbeatMs: 10 * DAY }

/** Says so many words of two characters, and then nothing until it is stopped. */
const talk = () =>
  actor({
    async *stream(words: unknown, { signal }: ActorContext) {
      for (let n = 0; n < Number(words); n++) yield 'w '
      await aborted(signal)
    },
  })

describe('a run on the list of an inspector', () => {
  test('appears, changes, and goes with its outcome', async () => {
    await using served = await testServer({ talk: talk(), inspector: inspector() })
    await using watcher = await watching(served)
    await using client = await served.client()
    client.start(1, 'talk', 3)
    const { run: id } = await client.next('opened')
    const before = Date.now()
    const run = await watcher.run(id, ({ items, readers }) => items === 3 && readers[0]?.lag === 0)
    expect(run).toEqual({
      id,
      actor: 'talk',
      principal: 'alice',
      sessions: [expect.stringMatching(/^s_/)],
      state: 'running',
      gated: false,
      detached: false,
      startedAt: expect.any(Number),
      items: 3,
      itemsPerSec: expect.any(Number),
      bytesPerSec: expect.any(Number),
      readerCount: 1,
      readers: [{ policy: 'pace', own: true, credit: 253, lag: 0 }],
    })
    expect(Math.abs(run.startedAt - before)).toBeLessThan(60_000)
    expect(watcher.state.sessions.get(run.sessions[0]!)).toMatchObject({ connected: true, runs: 1 })
    client.send({ kind: 'cancel', sid: 1 })
    await watcher.until(({ runs }) => !runs.has(id), 'its end')
    const last = watcher.updates.flatMap(({ runs = [] }) => runs).findLast((facts) => facts.id === id)
    expect(last).toMatchObject({ state: 'ended', outcome: 'cancelled', gated: false })
  })

  test('is gated while its reader stops, and runs on with it', async () => {
    await using served = await testServer({ count: counter(), inspector: inspector() })
    await using watcher = await watching(served)
    await using client = await served.client()
    client.start(1, 'count', 1_000, { credit: 5 })
    const { run: id } = await client.next('opened')
    const held = await watcher.run(id, ({ gated }) => gated)
    expect(held).toMatchObject({ state: 'running', items: 37, readers: [{ credit: 0, lag: 32 }] })
    client.send({ kind: 'credit', sid: 1, n: 100 })
    const again = await watcher.run(id, ({ gated, items }) => gated && items > 37)
    expect(again).toMatchObject({ items: 137, readers: [{ credit: 0, lag: 32 }] })
    client.send({ kind: 'credit', sid: 1, n: 1_800 })
    await watcher.until(({ runs }) => !runs.has(id), 'its end')
  })

  test('is detached when its client is cut, and its session is not connected', async () => {
    await using served = await testServer({ silent: silent(), inspector: inspector() })
    await using watcher = await watching(served)
    await using client = await served.client()
    client.start(1, 'silent')
    const { run: id } = await client.next('opened')
    const [session] = (await watcher.run(id, ({ readerCount }) => readerCount === 1)).sessions
    client.cut()
    expect(await watcher.run(id, ({ detached }) => detached)).toMatchObject({ readerCount: 0, readers: [] })
    await watcher.until(({ sessions }) => sessions.get(session!)?.connected === false, 'the loss of the session')
    await using back = await served.client({ client: client.client, attempt: 2 })
    back.attach(1, id, 0, { policy: 'pace' })
    expect(await watcher.run(id, ({ detached }) => !detached)).toMatchObject({ sessions: [session], readerCount: 1 })
  })

  test('shows how each reader reads, its exact credit and how far it is behind', async () => {
    await using served = await testServer({ talk: talk(), inspector: inspector() })
    await using watcher = await watching(served, { auth: 'eve' })
    await using client = await served.client()
    await using eve = await served.client({ auth: 'eve' })
    client.start(1, 'talk', 40, { credit: 100 })
    const { run: id } = await client.next('opened')
    eve.attach(1, id, 0, { credit: 3, policy: 'merge' })
    eve.attach(2, id, 0, { credit: 50, rate: 0 })
    await eve.until(() => eve.count(1) === 3)
    await eve.next('opened', 2)
    const run = await watcher.run(id, ({ readers: [own, first, second] }) => {
      return own?.lag === 0 && first?.lag === 37 && second?.lag === 40
    })
    expect(run.readers).toEqual([
      { policy: 'pace', own: true, credit: 60, lag: 0 },
      { policy: 'merge', own: false, credit: 0, lag: 37 },
      { policy: 'log', own: false, credit: 50, lag: 40, perSec: 0 },
    ])
    eve.send({ kind: 'rate', sid: 2, perSec: null }, { kind: 'credit', sid: 1, n: 7 })
    const later = await watcher.run(id, ({ readers }) => readers[1]?.lag === 30 && readers[2]?.lag === 0)
    expect(later.readers.slice(1)).toEqual([
      { policy: 'merge', own: false, credit: 0, lag: 30 },
      { policy: 'log', own: false, credit: 10, lag: 0 },
    ])
  })

  test('shows sixteen readers and the number of all: first those that hold it back', async () => {
    await using served = await testServer({ silent: silent(), inspector: inspector() })
    await using watcher = await watching(served)
    await using client = await served.client()
    client.start(1, 'silent')
    const { run: id } = await client.next('opened')
    for (let sid = 2; sid <= 20; sid++) client.attach(sid, id, 0, { policy: sid === 20 ? 'pace' : 'log' })
    const run = await watcher.run(id, ({ readerCount }) => readerCount === 20)
    expect(run.readers.map(({ policy }) => policy)).toEqual(['pace', 'pace', ...Array<string>(14).fill('log')])
  })

  test('names its parent, and is not detached while the parent is followed', async () => {
    const child = silent()
    const whole = actor({
      async *stream(_: unknown, { spawn }: ActorContext) {
        yield* spawn(child, 'input')
      },
    })
    await using served = await testServer({ whole, child, inspector: inspector() })
    await using watcher = await watching(served)
    await using client = await served.client()
    client.start(1, 'whole')
    const { run: id } = await client.next('opened')
    await watcher.until(({ runs }) => [...runs.values()].some(({ parent }) => parent === id), 'the child')
    const children = [...watcher.state.runs.values()].filter(({ parent }) => parent !== undefined)
    expect(children).toEqual([
      expect.objectContaining({ parent: id, actor: 'child', principal: 'alice', detached: false }),
    ])
  })

  test('waits for an answer, settles, and stays as long as it ignores its cancel', async () => {
    const release = latch()
    const stubborn = actor({
      async *stream(_: unknown, { request }: ActorContext) {
        yield 'well'
        await request({ kind: 'text', prompt: 'which?' }).catch(() => {})
        await release.opened
      },
    })
    await using served = await testServer({ stubborn, inspector: inspector() }, { limits: { cancelGraceMs: 300 } })
    await using watcher = await watching(served)
    await using client = await served.client()
    client.start(1, 'stubborn')
    const { run: id } = await client.next('opened')
    await watcher.run(id, ({ state }) => state === 'waiting_input')
    client.send({ kind: 'cancel', sid: 1 })
    await watcher.run(id, ({ state }) => state === 'settling')
    expect(await watcher.run(id, ({ state }) => state === 'ended')).toMatchObject({ outcome: 'cancelled' })
    release.open()
    await watcher.until(({ runs }) => !runs.has(id), 'that it settles')
  })

  test('has the rate of the last second, not of its life', async () => {
    const runtime = handClock()
    const speaking = latch()
    const speakingAgain = latch()
    const burst = actor({
      async *stream(_: unknown, { signal }: ActorContext) {
        await speaking.opened
        for (let n = 0; n < 50; n++) yield 'word'
        await speakingAgain.opened
        for (let n = 0; n < 50; n++) yield 'word'
        await aborted(signal)
      },
    })
    await using served = await testServer({ burst, inspector: inspector() }, { runtime, limits: LIMITS })
    await using earlier = await watching(served)
    earlier.client.send({ kind: 'cancel', sid: 1 })
    await earlier.client.next('end')
    await using client = await served.client()
    client.start(1, 'burst')
    const { run: id } = await client.next('opened')
    speaking.open()
    await client.until(() => client.count(1) === 50)
    runtime.advance(60_000)
    await using watcher = await watching(served, { input: { everyMs: 1_000 } })
    expect(await watcher.run(id)).toMatchObject({ items: 50, itemsPerSec: 0 })
    speakingAgain.open()
    await client.until(() => client.count(1) === 100)
    runtime.advance(1_500)
    const run = await watcher.run(id, ({ items }) => items === 100)
    expect(run.itemsPerSec).toBeCloseTo(50_000 / (watcher.state.at - (run.startedAt + 60_000)), 0)
    expect(run.bytesPerSec).toBeGreaterThan(run.itemsPerSec * 4)
    runtime.advance(1_500)
    await watcher.run(id, ({ itemsPerSec, bytesPerSec }) => itemsPerSec === 0 && bytesPerSec === 0)
  })
})

describe('a watcher', () => {
  test('sees its own runs; with the right to observe, all', async () => {
    await using served = await testServer({ silent: silent(), inspector: inspector() })
    await using alice = await served.client()
    await using bob = await served.client({ auth: 'bob' })
    alice.start(1, 'silent')
    bob.start(1, 'silent')
    const { run: hers } = await alice.next('opened')
    const { run: his } = await bob.next('opened')
    await using own = await watching(served)
    await using all = await watching(served, { auth: 'eve' })
    expect(own.state.scope).toBe('own')
    expect([...own.state.runs.keys()].sort()).toEqual([hers, own.id].sort())
    expect([...own.state.sessions.values()].map(({ principal }) => principal)).toEqual(['alice', 'alice'])
    expect(all.state.scope).toBe('all')
    expect([...all.state.runs.keys()].sort()).toEqual([hers, his, own.id, all.id].sort())
    // The run of bob causes no update for alice.
    bob.send({ kind: 'cancel', sid: 1 })
    await all.until(({ runs }) => !runs.has(his), 'the end of the run of bob')
    alice.send({ kind: 'cancel', sid: 1 })
    await own.until(({ runs }) => !runs.has(hers), 'the end of the run of alice')
    expect(JSON.stringify(own.updates)).not.toContain(his)
    expect(JSON.stringify(own.updates)).not.toContain('bob')
  })

  test('never gets the secrets of others: tokens, client instances, inputs, meta, text', async () => {
    const authenticate = ({ auth, client }: { auth: unknown; client: string }) =>
      auth === 'eve' ? { id: 'eve', rights: ['observe' as const] } : { id: `anonymous:${client}` }
    const says = actor({
      async *stream(_: unknown, { signal }: ActorContext) {
        yield 'secret text'
        await aborted(signal)
      },
    })
    await using served = await testServer({ says, inspector: inspector() }, { authenticate })
    await using client = await served.client({ auth: 'secret token' })
    client.start(1, 'says', 'secret input', { meta: { of: 'secret meta' }, key: 'secret key' })
    const { run: id } = await client.next('opened')
    await using watcher = await watching(served, { auth: 'eve' })
    const run = await watcher.run(id, ({ items }) => items === 1)
    const sent = JSON.stringify(watcher.updates)
    expect(sent).not.toContain('secret')
    const hex = Buffer.from(client.client).toString('hex')
    expect(run.principal).toBe(`anonymous:${hex.slice(0, 8)}…`)
    expect(sent).not.toContain(hex.slice(8))
  })

  test('is on the list, marked as an inspector, and causes no updates of its own', async () => {
    const runtime = handClock()
    await using served = await testServer({ inspector: inspector() }, { runtime, limits: LIMITS })
    await using one = await watching(served)
    await using other = await watching(served)
    runtime.advance(200)
    expect(await one.run(other.id, ({ readerCount }) => readerCount === 1)).toMatchObject({ inspector: true })
    await one.run(one.id, ({ inspector }) => inspector === true)
    for (const { client } of [one, other]) await client.settle()
    // Their last state is sent once more, as it alone was no reason for an update.
    runtime.advance(200)
    for (const { client } of [one, other]) await client.settle()
    const counts = () => [one, other].map(({ client }) => client.count(1))
    const before = counts()
    for (let n = 0; n < 20; n++) {
      runtime.advance(200)
      await one.client.settle()
    }
    expect(counts()).toEqual(before)
  })

  test('does not keep a closing server open, unless there is something left to watch', async () => {
    await using served = await testServer({ silent: silent(), inspector: inspector() })
    await using watcher = await watching(served)
    await using client = await served.client()
    client.start(1, 'silent')
    const { run: id } = await client.next('opened')
    await watcher.run(id)
    const closed = served.server.close({ drainMs: 600_000 })
    await watcher.client.next('goaway')
    client.send({ kind: 'cancel', sid: 1 })
    await watcher.until(({ runs }) => !runs.has(id), 'the end of the run')
    expect(await watcher.client.next('end')).toMatchObject({ outcome: 'done' })
    await closed
  })

  test('may ask for one list, with rates, and no more', async () => {
    await using served = await testServer({ talk: talk(), inspector: inspector() })
    await using client = await served.client()
    client.start(1, 'talk', 3)
    await client.until(() => client.count(1) === 3)
    await using watcher = await watching(served, { input: { once: true, everyMs: 100 } })
    expect(await watcher.client.next('end')).toMatchObject({ outcome: 'done' })
    expect(watcher.updates).toHaveLength(1)
    expect([...watcher.state.runs.values()].map(({ actor }) => actor).sort()).toEqual(['inspector', 'talk'])
  })

  test.each([null, {}])('need not set options: %o', async (input) => {
    await using served = await testServer({ inspector: inspector() })
    await using watcher = await watching(served, { input })
    expect(watcher.state.runs.size).toBe(1)
  })

  test.each([{ everyMs: 99 }, { everyMs: 0.5 }, { often: true }, 'all'])(
    'gets an error for invalid options: %o',
    async (input) => {
      await using served = await testServer({ inspector: inspector() })
      await using client = await served.client()
      client.start(1, 'inspector', input)
      expect(await client.next('end')).toMatchObject({ seq: 0, data: { code: 'invalid_input' } })
    },
  )

  test('leaves no timer when it is stopped', async () => {
    const runtime = handClock()
    await using served = await testServer({ inspector: inspector() }, { runtime, limits: { ...LIMITS, endedMs: 0 } })
    await using client = await served.client()
    await client.settle()
    const before = runtime.timers
    for (const sid of [1, 2, 3]) {
      client.start(sid, 'inspector')
      await client.next('event', sid)
      expect(runtime.timers).toBeGreaterThan(before)
      client.send({ kind: 'cancel', sid })
      expect(await client.next('end', sid)).toMatchObject({ outcome: 'cancelled', data: { settled: true } })
      runtime.advance(1)
      expect(runtime.timers).toBe(before)
    }
  })
})

describe('a slow watcher', () => {
  test('gets fewer updates with the last state, and the server keeps nothing meanwhile', async () => {
    const runtime = handClock()
    const count = counter()
    await using served = await testServer(
      { count, inspector: inspector() },
      { runtime, limits: { ...LIMITS, readAhead: 4 } },
    )
    await using client = await served.client()
    client.start(1, 'count', 100_000, { credit: 1 })
    const { run: id } = await client.next('opened')
    await using slow = await watching(served, { credit: 1 })
    await using quick = await watching(served, { auth: 'eve' })
    const LOOKS = 60
    for (let n = 1; n <= LOOKS; n++) {
      client.send({ kind: 'credit', sid: 1, n: 1 })
      await client.until(() => client.count(1) === 1 + n)
      await client.settle()
      runtime.advance(200)
      await quick.run(id, ({ items }) => items === 5 + n)
    }
    const own = await quick.run(slow.id, ({ gated }) => gated)
    // One was sent, four are read ahead.
    expect(own.items).toBe(5)
    expect(slow.client.count(1)).toBe(1)
    slow.client.send({ kind: 'credit', sid: 1, n: 1_000 })
    await slow.client.until(() => slow.client.count(1) >= 5)
    runtime.advance(200)
    await slow.run(id, ({ items }) => items === 5 + LOOKS)
    expect(slow.updates.length).toBeLessThan(9)
    expect(slow.state.runs.get(id)).toMatchObject({ gated: true, readers: [{ credit: 0, lag: 4 }] })
  })

  test('learns the end of a run that ended meanwhile, and nothing of one that came and went', async () => {
    const runtime = handClock()
    const views: ServerView[] = []
    const watched = inspector()
    const spying = { ...watched, onRegister: (view: ServerView) => (views.push(view), watched.onRegister!(view)) }
    await using served = await testServer({ silent: silent(), inspector: spying }, { runtime, limits: LIMITS })
    await using client = await served.client()
    client.start(1, 'silent')
    const { run: first } = await client.next('opened')
    const sampler = new Sampler(views[0]!)
    sampler.enter('r_watcher')
    const watcher = new WatcherState(sampler, { id: 'eve', rights: ['observe'] })
    const state = new InspectorState()
    for (const update of watcher.updates()) state.take(update)
    expect([...state.runs.keys()]).toEqual([first])
    client.send({ kind: 'cancel', sid: 1 })
    await client.next('end', 1)
    for (const sid of [2, 3]) {
      client.start(sid, 'silent')
      await client.next('opened', sid)
      sampler.look()
      client.send({ kind: 'cancel', sid })
      await client.next('end', sid)
      sampler.look()
    }
    const changes = [...watcher.updates()].map((update) => state.take(update))
    expect(changes).toHaveLength(1)
    expect(changes[0]!.goneRuns).toEqual([expect.objectContaining({ id: first, state: 'ended', outcome: 'cancelled' })])
    expect(changes[0]!.runs).toHaveLength(1)
    expect(state.runs.size).toBe(0)
  })
})

describe('many runs', () => {
  const MANY = 240

  test('are sent in pieces, each well below the largest event, and then only their changes', async () => {
    const limits = { startsPerSec: 1e6, startBurst: 1e6, maxStreams: MANY, messagesPerSec: 1e6 }
    await using served = await testServer({ talk: talk(), inspector: inspector() }, { limits })
    await using client = await served.client()
    const ids: string[] = []
    for (let sid = 1; sid <= MANY; sid++) {
      client.start(sid, 'talk', 1)
      ids.push((await client.next('opened', sid)).run)
    }
    await client.until(() => client.count(MANY) === 1)
    await using watcher = await watching(served)
    await watcher.until(({ runs }) => runs.size === MANY + 1, 'all of them')
    expect(watcher.updates.length).toBeGreaterThan(2)
    expect(watcher.updates.slice(0, -1).every(({ more }) => more)).toBe(true)
    for (const size of watcher.client.sizes) expect(size).toBeLessThan(32_768)
    expect(watcher.updates.flatMap(({ runs = [] }) => runs)).toHaveLength(MANY + 1)
    await watcher.until(({ runs }) => ids.every((id) => runs.get(id)?.itemsPerSec === 0), 'that all are quiet')
    await watcher.client.settle()
    const from = watcher.updates.length
    client.send({ kind: 'cancel', sid: 7 })
    await watcher.until(({ runs }) => !runs.has(ids[6]!), 'the end of one')
    const later = watcher.updates.slice(from)
    expect(later.flatMap(({ goneRuns = [] }) => goneRuns)).toEqual([ids[6]])
    expect(
      later
        .flatMap(({ runs = [] }) => runs)
        .filter(({ id }) => id !== watcher.id)
        .map(({ id }) => id),
    ).toEqual([ids[6]])
  })

  test('are sampled once for all watchers that look at the same time', async () => {
    const runtime = handClock()
    let looks = 0
    const sampler = new Sampler(serverView(runtime, { runs: () => (looks++, []) }))
    for (let n = 0; n < 10; n++) sampler.enter(`r_${n}`)
    const before = looks
    for (let tick = 0; tick < 5; tick++) {
      runtime.advance(100)
      for (let n = 0; n < 10; n++) sampler.lookAgain()
    }
    expect(looks - before).toBe(5)
  })

  test('become a whole list at some time, however many come and go meanwhile', () => {
    let started = 0
    const runs = (): RunView[] =>
      Array.from({ length: 100 }, () => ({
        id: `r_${started++}`,
        actorName: 'name'.repeat(50),
        principal: { id: 'alice' },
        startedAt: 0,
        state: 'running',
        end: undefined,
        gated: false,
        detached: false,
        log: { last: 0, bytesThrough: () => 0 },
        readers: 0,
        followers: [],
      }))
    const sampler = new Sampler(serverView(handClock(), { runs }))
    sampler.enter('r_watcher')
    const watcher = new WatcherState(sampler, { id: 'eve' })
    const state = new InspectorState()
    for (let list = 1; list <= 3; list++) {
      let pieces = 0
      for (const update of watcher.updates()) {
        state.take(update)
        sampler.look()
        expect(++pieces).toBeLessThan(50)
      }
      expect(state.isPartial).toBe(false)
      expect(state.runs.size).toBeLessThanOrEqual(100)
    }
  })

  test('are sent also with the longest names', async () => {
    const authenticate = ({ auth }: { auth: unknown }) =>
      ({ id: `${String(auth)} ${'\ud800x'.repeat(50_000)}`, rights: ['observe'] }) as const
    await using served = await testServer({ silent: silent(), inspector: inspector() }, { authenticate })
    await using client = await served.client()
    client.start(1, 'silent')
    const { run: id } = await client.next('opened')
    await using watcher = await watching(served, { auth: 'bob' })
    expect((await watcher.run(id)).principal).toMatch(/^alice .{250}…$/u)
  })
})

test('an inspector that is not registered fails with an error that says so', async () => {
  const stray = inspector().stream!(undefined as never, {} as never)
  await expect(stray[Symbol.asyncIterator]().next()).rejects.toMatchObject({
    code: 'bad_request',
    message: expect.stringContaining('createServer({ actors: { inspector: inspector() } })'),
  })
})
