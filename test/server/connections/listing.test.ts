import { describe, expect, test } from 'vitest'
import { encodeUp } from '../../../protocol/encode.ts'
import type { ListedFacts } from '../../../protocol/frames.ts'
import type { Target } from '../../../server/actors/authorize.ts'
import { type ActorContext, actor } from '../../../server/index.ts'
import { defaultAuthorize } from '../../../server/sessions/permissions.ts'
import { matches } from '../../helpers/cddl.ts'
import { encoders, msgpackr } from '../../helpers/codec-paths.ts'
import { eventually, testServer } from '../../helpers/server.ts'
import { counter, latch, silent } from '../../helpers/test-actors.ts'
import type { WireClient } from '../../helpers/wire-client.ts'
import { exact } from '../../helpers/wire-schema.ts'

/** What a client knows of a list, and how often it was complete. */
function listOf(client: WireClient, sid: number): { runs: Map<string, ListedFacts>; marks: number; sent: number } {
  const runs = new Map<string, ListedFacts>()
  let marks = 0
  let sent = 0
  for (const frame of client.frames) {
    if (frame.kind !== 'listed' || frame.sid !== sid) continue
    expect(matches(exact, 'written-listed', msgpackr.unpack(encoders.down([frame])))).toBe(true)
    if (frame.run === undefined) marks++
    else if (frame.info) {
      sent++
      runs.set(frame.run, frame.info as ListedFacts)
    } else runs.delete(frame.run)
  }
  return { runs, marks, sent }
}

/** The list of a new stream, once it is complete. */
async function listed(client: WireClient, sid: number, watch?: boolean): Promise<Map<string, ListedFacts>> {
  client.send({ kind: 'list', sid, watch })
  await client.until(() => listOf(client, sid).marks > 0, 'a list')
  return listOf(client, sid).runs
}

/** Resolves when a watched list is complete and `holds` of it. */
function until(client: WireClient, sid: number, holds: (runs: Map<string, ListedFacts>) => boolean): Promise<void> {
  return client.until(() => holds(listOf(client, sid).runs), 'such a list')
}

function isSecret(target: Target): boolean {
  return target.type === 'run' && target.actor === 'secret'
}

/** Waits for an input, and asks for one. */
const asking = actor({
  async *stream(_: unknown, { request }: ActorContext) {
    yield* []
    await request({ kind: 'confirm' })
  },
})

describe('a list', () => {
  test('of nobody’s runs is a mark alone', async () => {
    await using server = await testServer({ silent: silent() })
    await using client = await server.client()
    expect(await listed(client, 1)).toEqual(new Map())
  })

  test('has what goes on and what has ended, in the order of their beginning, with what attach needs', async () => {
    await using server = await testServer({ counter: counter(), silent: silent() })
    await using client = await server.client()
    const before = Date.now()
    client.start(1, 'counter', 3, { meta: { page: '/a', deep: [[1]] } })
    const { run: first } = await client.next('opened', 1)
    await client.next('end', 1)
    client.start(2, 'silent', null)
    const { run: second } = await client.next('opened', 2)
    client.start(3, 'counter', 'no number at all', { key: 'k' })
    const { run: third } = await client.next('opened', 3)
    await client.next('end', 3)
    await using reloaded = await server.client()
    const runs = await listed(reloaded, 1)
    expect([...runs.keys()]).toEqual([first, second, third])
    expect(runs.get(first)).toEqual({
      ...{ actor: 'counter', state: 'ended', outcome: 'done', gen: 1, seq: 3 },
      ...{ startedAt: expect.any(Number) as number, meta: { page: '/a', deep: [[1]] } },
    })
    expect(runs.get(first)?.startedAt).toBeGreaterThanOrEqual(before)
    expect(runs.get(second)).toMatchObject({ actor: 'silent', state: 'running', seq: 0 })
    expect(runs.get(second)).not.toHaveProperty('outcome')
    // Nothing follows, and the stream is over.
    reloaded.start(2, 'silent', null)
    await reloaded.next('opened', 2)
    await reloaded.settle()
    expect(listOf(reloaded, 1)).toMatchObject({ marks: 1, sent: 3 })
  })

  test('has the runs of its own principal only, whatever its rights', async () => {
    await using server = await testServer({ silent: silent() })
    await using alice = await server.client()
    await using bob = await server.client({ auth: 'bob' })
    await using eve = await server.client({ auth: 'eve' })
    for (const one of [bob, eve]) one.send({ kind: 'list', sid: 1, watch: true })
    alice.start(1, 'silent')
    const { run } = await alice.next('opened', 1)
    alice.send({ kind: 'cancel', sid: 1 })
    await alice.next('end', 1)
    expect([...(await listed(alice, 2)).keys()]).toEqual([run])
    for (const one of [bob, eve]) {
      expect(await listed(one, 2)).toEqual(new Map())
      await one.settle()
      expect(listOf(one, 1)).toMatchObject({ marks: 1, sent: 0 })
    }
  })

  test('has only runs that its principal may read', async () => {
    await using server = await testServer(
      { silent: silent(), secret: silent() },
      { authorize: (principal, action, target) => defaultAuthorize(principal, action, target) && !isSecret(target) },
    )
    await using client = await server.client()
    client.send({ kind: 'list', sid: 1, watch: true })
    // They may be started, and then nobody reads them.
    for (const [i, name] of ['secret', 'silent', 'secret'].entries()) client.start(2 + i, name)
    await until(client, 1, (runs) => runs.size === 1)
    expect([...(await listed(client, 9)).values()].map(({ actor: name }) => name)).toEqual(['silent'])
    await client.settle()
    expect(listOf(client, 1).runs.size).toBe(1)
  })

  test('has no child runs, and forgets what is no longer kept', async () => {
    const child = counter()
    const parent = actor({
      async *stream(_: unknown, { spawn }: ActorContext) {
        yield* spawn(child, 2)
      },
    })
    // Room for one ended run.
    await using server = await testServer({ parent, child }, { limits: { retainPrincipal: 12_000 } })
    await using client = await server.client()
    client.send({ kind: 'list', sid: 1, watch: true })
    client.start(2, 'parent')
    const { run: first } = await client.next('opened', 2)
    await client.next('end', 2)
    await until(client, 1, (runs) => runs.get(first)?.state === 'ended')
    expect([...listOf(client, 1).runs.keys()]).toEqual([first])
    client.start(3, 'child', 1)
    const { run: second } = await client.next('opened', 3)
    await until(client, 1, (runs) => !runs.has(first))
    await until(client, 1, (runs) => runs.get(second)?.state === 'ended')
  })

  test('that is watched follows every change of state, and not every item', async () => {
    const ready = latch()
    const talker = actor({
      async *stream(_: unknown, { request }: ActorContext) {
        await ready.opened
        for (let n = 0; n < 50; n++) yield 'x'
        await request({ kind: 'confirm' })
      },
    })
    await using server = await testServer({ talker })
    await using client = await server.client()
    await listed(client, 1, true)
    client.start(2, 'talker')
    const { run } = await client.next('opened', 2)
    await until(client, 1, (runs) => runs.get(run)?.state === 'running')
    ready.open()
    await until(client, 1, (runs) => runs.get(run)?.state === 'waiting_input')
    expect(listOf(client, 1).runs.get(run)?.seq).toBeGreaterThanOrEqual(50)
    client.send({ kind: 'cancel', sid: 2 })
    await until(client, 1, (runs) => runs.get(run)?.outcome === 'cancelled')
    // Opening, running, waiting, settling, ended: never one for each of 50 items.
    expect(listOf(client, 1).sent).toBeLessThanOrEqual(5)
    client.send({ kind: 'detach', sid: 1 })
    client.start(3, 'talker')
    await client.next('opened', 3)
    await client.settle()
    expect(listOf(client, 1).runs.size).toBe(1)
  })

  test('of more than a message holds comes in several, whole and in order', async () => {
    const limits = { maxDown: 8_192, maxEvent: 4_096, maxRuns: 300, startBurst: 1_000, maxStreams: 300 }
    await using server = await testServer({ silent: silent() }, { limits })
    await using client = await server.client({ limits })
    const meta = { note: 'n'.repeat(1_000) }
    for (let sid = 1; sid <= 200; sid++) client.start(sid, 'silent', null, { meta })
    await client.next('opened', 200)
    await using reloaded = await server.client({ limits })
    const runs = await listed(reloaded, 1)
    expect(runs.size).toBe(200)
    const opened = client.frames.flatMap((frame) => (frame.kind === 'opened' ? [frame.run] : []))
    expect([...runs.keys()]).toEqual(opened)
    expect(Math.max(...reloaded.sizes)).toBeLessThanOrEqual(limits.maxDown)
    expect(reloaded.messages.length).toBeGreaterThan(20)
  })

  test('leaves out meta that would make its frame too large', async () => {
    const limits = { maxValues: 64 }
    await using server = await testServer({ silent: silent() }, { limits })
    await using client = await server.client({ limits })
    const meta = Object.fromEntries(Array.from({ length: 25 }, (_, n) => [`k${n}`, n]))
    client.start(1, 'silent', null, { meta })
    const { run } = await client.next('opened', 1)
    const runs = await listed(client, 2)
    expect(runs.get(run)).toMatchObject({ actor: 'silent', state: 'running' })
    expect(runs.get(run)).not.toHaveProperty('meta')
  })

  test('is sent to a client that reads slowly in its newest state, and nothing is queued for it', async () => {
    // Nothing but control frames is sent beyond this while no PING is answered.
    const limits = { inflight: 16_384, slowMs: 60_000, heartbeatMs: 60_000, startBurst: 5_000, startsPerSec: 5_000 }
    await using server = await testServer({ asking }, { limits })
    await using watcher = await server.client({ pong: false, limits })
    await using client = await server.client({ limits })
    watcher.send({ kind: 'list', sid: 1, watch: true })
    for (let sid = 1; sid <= 60; sid++) client.start(sid, 'asking', null, { meta: { note: 'n'.repeat(900) } })
    await client.next('opened', 60)
    await until(watcher, 1, (runs) => runs.size > 0)
    await watcher.settle()
    const { sent } = listOf(watcher, 1)
    expect(sent).toBeLessThan(60)
    for (let sid = 1; sid <= 60; sid++) client.send({ kind: 'cancel', sid })
    await client.next('end', 60)
    await eventually(() => server.server.liveRuns === 0, 'all runs have ended')
    // From now on it answers: what was behind comes, each run once and as it is now.
    const seen = watcher.frames.length
    const answer = (): void => {
      const nonce = watcher.frames.findLast((frame) => frame.kind === 'ping')?.nonce
      if (nonce !== undefined) watcher.send({ kind: 'pong', nonce })
    }
    const pinged = setInterval(answer, 5)
    await until(watcher, 1, (runs) => runs.size === 60 && [...runs.values()].every(({ state }) => state === 'ended'))
    clearInterval(pinged)
    const late = watcher.frames
      .slice(seen)
      .flatMap((frame) => (frame.kind === 'listed' && frame.run ? [frame.run] : []))
    expect(new Set(late).size).toBe(late.length)
  })

  test('is sent to a client that reads slowly without the runs that have come and gone meanwhile', async () => {
    const limits = { inflight: 16_384, slowMs: 60_000, heartbeatMs: 60_000, startBurst: 5_000, startsPerSec: 5_000 }
    // Room for one ended run.
    await using server = await testServer(
      { asking, counter: counter() },
      { limits: { ...limits, retainPrincipal: 12_000 } },
    )
    await using watcher = await server.client({ pong: false, limits })
    await using client = await server.client({ limits })
    await listed(watcher, 1, true)
    for (let sid = 1; sid <= 40; sid++) client.start(sid, 'asking', null, { meta: { note: 'n'.repeat(900) } })
    await client.next('opened', 40)
    await watcher.settle()
    const seen = watcher.frames.length
    const gone = new Set<string>()
    for (let sid = 41; sid <= 140; sid++) {
      client.start(sid, 'counter', 1)
      gone.add((await client.next('opened', sid)).run)
      await client.next('end', sid)
    }
    await using other = await server.client({ limits })
    const kept = await listed(other, 1)
    expect([...gone].filter((run) => kept.has(run)).length).toBeLessThan(5)
    const answer = (): void => {
      const nonce = watcher.frames.findLast((frame) => frame.kind === 'ping')?.nonce
      if (nonce !== undefined) watcher.send({ kind: 'pong', nonce })
    }
    const pinged = setInterval(answer, 5)
    const mark = (): boolean =>
      watcher.frames.slice(seen).some(({ kind, ...rest }) => kind === 'listed' && !('run' in rest))
    await watcher.until(mark, 'the whole list')
    clearInterval(pinged)
    expect([...listOf(watcher, 1).runs.keys()]).toEqual([...kept.keys()])
    const late = watcher.frames
      .slice(seen)
      .flatMap((frame) => (frame.kind === 'listed' && frame.run ? [frame.run] : []))
    expect(late.filter((run) => gone.has(run) && !kept.has(run))).toEqual([])
  })

  test('counts as a stream and as an attach, and its refusal costs nothing else', async () => {
    const limits = { maxStreams: 2, startBurst: 3, startsPerSec: 1 }
    await using server = await testServer({ silent: silent() }, { limits })
    await using client = await server.client()
    client.start(1, 'silent')
    client.send({ kind: 'list', sid: 2, watch: true }, { kind: 'list', sid: 3 })
    expect(await client.next('end', 3)).toMatchObject({ seq: 0, outcome: 'error', data: { code: 'too_many_streams' } })
    client.send({ kind: 'detach', sid: 2 })
    expect((await listed(client, 4)).size).toBe(1)
    client.send({ kind: 'list', sid: 5 })
    const refused = await client.next('end', 5)
    expect(refused.data).toMatchObject({
      code: 'rate_limited',
      retryable: true,
      details: { afterMs: expect.any(Number) },
    })
  })

  test('keeps nothing of its client when the connection is cut, and holds no closing server', async () => {
    await using server = await testServer({ silent: silent() })
    const gone = await server.client({ auth: 'bob' })
    await listed(gone, 1, true)
    gone.cut()
    await using client = await server.client()
    await listed(client, 1, true)
    await server.server.close({ drainMs: 60_000 })
    expect(await client.closed).toBe(4503)
  })

  test('ignores what belongs to a run, and needs a stream id that rises', async () => {
    await using server = await testServer({ silent: silent() })
    await using client = await server.client()
    await listed(client, 5, true)
    client.send(
      { kind: 'credit', sid: 5, n: 1 },
      { kind: 'cancel', sid: 5 },
      { kind: 'rate', sid: 5, perSec: 0 },
      { kind: 'input', sid: 5, mid: 'm', type: 'own', data: null },
    )
    client.start(6, 'silent')
    await until(client, 5, (runs) => runs.size === 1)
    client.sendRaw(encodeUp([{ kind: 'list', sid: 6 }]))
    expect(await client.closed).toBe(4400)
  })
})
