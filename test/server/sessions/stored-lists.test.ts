import { expect, test } from 'vitest'
import type { ListedFacts } from '../../../protocol/frames.ts'
import { actor } from '../../../server/index.ts'
import { memoryStore } from '../../../server/stores/memory-store.ts'
import { holding } from '../../helpers/holding-store.ts'
import { onOneStore } from '../../helpers/one-store.ts'
import { testServer } from '../../helpers/server.ts'
import type { WireClient } from '../../helpers/wire-client.ts'

const say = actor({
  async *stream(input: unknown) {
    yield String(input)
  },
})
const ask = actor({
  async *stream(_input: unknown, { checkpoint, request }) {
    checkpoint(() => ({}))
    yield String(await request({ kind: 'text', prompt: 'Which?' }))
  },
})

type Row = Partial<ListedFacts> & { run: string }

/** The list that a client gets, in its order, at the next mark. */
async function listOf(client: WireClient, sid: number): Promise<Row[]> {
  client.send({ kind: 'list', sid })
  await client.find((frame) => frame.kind === 'listed' && frame.sid === sid && frame.run === undefined)
  return client.frames.flatMap((frame) =>
    frame.kind === 'listed' && frame.sid === sid && frame.run !== undefined ? [{ run: frame.run, ...frame.info }] : [],
  )
}

async function startOne(client: WireClient, sid: number, name: string, meta?: { page: string }): Promise<string> {
  client.start(sid, name, `run ${sid}`, meta && { meta })
  const { run } = await client.next('opened', sid)
  if (name === 'say') await client.next('end', sid)
  return run
}

test('the list of a principal has its runs of earlier processes, oldest first, and none of others', async () => {
  const { begin, stored } = onOneStore({ say, ask })
  const ids: string[] = []
  {
    await using first = await begin()
    await using client = await first.client()
    ids.push(await startOne(client, 1, 'say', { page: '/a' }))
    ids.push(await startOne(client, 2, 'ask'))
    await stored(ids[1]!, ({ parked }) => parked !== undefined)
    await using bob = await first.client({ auth: 'bob' })
    await startOne(bob, 1, 'say')
    first.kill()
    client.cut()
  }
  {
    await using second = await begin()
    await using client = await second.client()
    ids.push(await startOne(client, 1, 'say'))
    second.kill()
    client.cut()
  }
  await using third = await begin()
  await using client = await third.client()
  ids.push(await startOne(client, 1, 'say'))
  const runs = await listOf(client, 2)
  expect(runs).toMatchObject([
    { run: ids[0], actor: 'say', state: 'ended', outcome: 'done', gen: 1, seq: 1, meta: { page: '/a' } },
    { run: ids[1], actor: 'ask', state: 'waiting_input' },
    { run: ids[2], actor: 'say', state: 'ended', outcome: 'done' },
    { run: ids[3], actor: 'say', state: 'ended', outcome: 'done' },
  ])
  expect(runs.map(({ startedAt = 0 }) => startedAt)).toEqual(
    runs.map(({ startedAt = 0 }) => startedAt).sort((a, b) => a - b),
  )
  // What is listed can be read.
  client.attach(3, ids[0]!, 0)
  await client.next('end', 3)
  expect(client.text(3)).toBe('run 1')
  expect(await listOf(client, 4)).toEqual(runs)
})

test('a list of more runs than the store gives at once is whole, without those that may not be read', async () => {
  const { begin, kept } = onOneStore({ say })
  for (let n = 0; n < 1_234; n++) {
    const facts = {
      actor: 'say',
      principal: 'alice',
      startedAt: 1_000 + Math.floor(n / 7),
      packed: Uint8Array.of(0x80),
    }
    const lease = await kept.begin(`r_${String(n).padStart(4, '0')}`, { facts })
    if ('run' in lease) expect.unreachable()
    await lease.append({ end: { seq: 1, outcome: 'done', packed: Uint8Array.of(0x80) } })
  }
  await using served = await begin({
    authorize: (_, action, target) => action !== 'attach' || target.type !== 'run' || target.run !== 'r_0007',
  })
  await using client = await served.client()
  const ids = (await listOf(client, 1)).map(({ run }) => run)
  expect(ids).toHaveLength(1_233)
  expect(ids).toEqual([...ids].sort())
  expect(ids).not.toContain('r_0007')
})

test('a list is refused, and not cut short, while the store cannot be read', async () => {
  const { begin } = onOneStore({ say })
  await using served = await begin()
  await using client = await served.client()
  await startOne(client, 1, 'say')
  served.fail()
  client.send({ kind: 'list', sid: 2 })
  expect(await client.next('end', 2)).toMatchObject({ outcome: 'error', data: { code: 'store_unavailable' } })
})

test('a client follows a run that a list shows, also while the store has not said yet that it has begun', async () => {
  const store = holding(memoryStore())
  await using served = await testServer({ say }, { store })
  await using alice = await served.client()
  await using other = await served.client()
  const begun = store.holdBegins()
  alice.start(1, 'say', 'hello', { key: 'k' })
  let run: string | undefined
  for (let sid = 10; run === undefined; sid++) run = (await listOf(other, sid))[0]?.run
  other.attach(1_000, run, 0)
  await other.settle()
  expect(other.frames.some(({ kind }) => kind === 'end')).toBe(false)
  begun()
  expect(await other.next('end', 1_000)).toMatchObject({ outcome: 'done' })
})
