import { expect, test } from 'vitest'
import { decodeDown } from '../../../protocol/decode.ts'
import type { RunState } from '../../../protocol/frames.ts'
import { DEFAULT_LIMITS } from '../../../protocol/limits.ts'
import { Writer } from '../../../protocol/writer.ts'
import { Listing } from '../../../server/connections/listing.ts'
import type { ListableRun, ListedRun } from '../../../server/sessions/listed-run.ts'
import { RunLists } from '../../../server/sessions/run-lists.ts'
import { newestFirst } from '../../../server/stores/list-order.ts'
import type { StoredRunSummary } from '../../../server/stores/run-store.ts'
import { handClock } from '../../helpers/hand-clock.ts'
import { seededRandom } from '../../helpers/seeded-random.ts'

const alice = { id: 'alice' }

/** A run that a test moves through its states. */
function runOf(id: string, principal = alice): { run: ListableRun; become(state: RunState): void } {
  let state: RunState = 'running'
  const run: ListableRun = {
    ...{ id, actorName: 'chat', principal, options: { meta: undefined }, log: { gen: 1, last: 0 } },
    get state() {
      return state
    },
    get end() {
      return state === 'ended' ? { outcome: 'done' as const } : undefined
    },
  }
  return {
    run,
    become(next) {
      state = next
    },
  }
}

function idsOf(lists: RunLists, principal = alice): string[] {
  return [...lists.of(principal)].map(({ id }) => id)
}

function summaryOf(id: string, startedAt: number, principal = 'alice'): StoredRunSummary {
  return { id, actor: 'chat', principal, startedAt, gen: 1, next: 3, outcome: 'done', isParked: false }
}

/** A store of these runs, which counts what is read of it. */
function storeOf(runs: StoredRunSummary[]) {
  const read = { rows: 0 }
  return {
    read,
    past: {
      async list(principal: string, before: { startedAt: number; id: string } | undefined, most: number) {
        const rows = runs
          .filter((run) => run.principal === principal)
          .sort(newestFirst)
          .filter((run) => !before || newestFirst(before, run) < 0)
          .slice(0, most)
        read.rows += rows.length
        return rows
      },
      summary: async (id: string) => runs.find((run) => run.id === id),
    },
  }
}

const mayRead = (): boolean => true

test('a list of more than 10,000 runs leaves out the ended one that began first, and never a live one', () => {
  const lists = new RunLists(handClock())
  const runs = Array.from({ length: 10_000 }, (_, n) => runOf(`r_${n}`))
  for (const { run } of runs) lists.add(run, 10)
  for (const n of [3, 5]) {
    runs[n]?.become('ended')
    lists.changed(runs[n]!.run)
  }
  const gone: string[] = []
  const watcher = {
    changed({ id, isKept }: ListedRun) {
      if (!isKept) gone.push(id)
    },
  }
  lists.watch(alice, watcher)
  for (const n of [0, 1]) lists.add(runOf(`more_${n}`).run, 10)
  expect(gone).toEqual(['r_3', 'r_5'])
  const ids = idsOf(lists)
  expect([ids.length, ids[0], ids.at(-1)]).toEqual([10_000, 'r_0', 'more_1'])
  // Of a run that is not listed any more, nothing is reported.
  lists.changed(runs[3]!.run)
  lists.remove(runs[3]!.run)
  expect(gone).toEqual(['r_3', 'r_5'])
})

test('nothing is kept of a principal without runs that nobody watches', () => {
  const lists = new RunLists(handClock())
  const { run } = runOf('r_1')
  const seen: string[] = []
  const watcher = { changed: ({ id, isKept }: ListedRun) => void seen.push(`${id} ${isKept}`) }
  lists.add(run, 10)
  lists.watch(alice, watcher)
  lists.remove(run)
  expect(lists.size).toBe(1)
  lists.leave(alice, watcher)
  lists.leave(alice, watcher)
  expect(lists.size).toBe(0)
  lists.changed(run)
  lists.remove(run)
  expect([lists.size, seen]).toEqual([0, ['r_1 false']])
  const bob = { id: 'bob' }
  lists.add(runOf('r_2', bob).run, 10)
  expect([idsOf(lists), idsOf(lists, bob)]).toEqual([[], ['r_2']])
})

test('runs that only the store has are on a list while somebody reads it and 5 s longer, and so is one that the process forgets', async () => {
  const clock = handClock()
  const lists = new RunLists(clock, storeOf([summaryOf('r_0', 5)]).past)
  const { run, become } = runOf('r_1')
  lists.add(run, 10)
  expect(idsOf(lists)).toEqual(['r_1'])
  await lists.complete(alice)
  lists.enter(alice)
  expect(lists.complete(alice)).toBeUndefined()
  expect([...lists.of(alice)].map(({ n, id, startedAt }) => [n, id, startedAt < 10])).toEqual([
    [1, 'r_0', true],
    [2, 'r_1', false],
  ])
  expect(lists.find(alice, 'r_0')?.facts()).toEqual({
    ...{ actor: 'chat', state: 'ended', outcome: 'done', gen: 1, seq: 2, startedAt: 5 },
  })
  become('ended')
  lists.remove(run, true)
  expect(lists.find(alice, 'r_1')?.facts()).toMatchObject({ state: 'ended', outcome: 'done' })
  lists.exit(alice)
  // Others who ask share what was read.
  expect(lists.complete(alice)).toBeUndefined()
  clock.advance(5_000)
  expect([idsOf(lists), lists.size]).toEqual([[], 0])
  // Who asks and does not come leaves nothing behind.
  await lists.complete(alice)
  expect(idsOf(lists)).toEqual(['r_0'])
  clock.advance(5_000)
  expect(lists.size).toBe(0)
})

/** A list that somebody watches, of a store in which other nodes have runs. */
async function watchedList(stored: StoredRunSummary[]) {
  const clock = handClock()
  const told: { hear?: (id?: string) => void; followers: number } = { followers: 0 }
  const { past } = storeOf(stored)
  const lists = new RunLists(clock, {
    ...past,
    followList: async (_principal: string, heard: (id?: string) => void) => {
      told.hear = heard
      told.followers++
      return () => {
        told.followers--
      }
    },
  })
  const changes: string[] = []
  await lists.complete(alice)
  lists.enter(alice)
  const watcher = {
    changed: ({ id, isKept, run }: ListedRun) => void changes.push(`${id} ${isKept ? run.state : 'gone'}`),
  }
  lists.watch(alice, watcher)
  return {
    ...{ clock, lists, told, changes, watcher },
    async hear(id?: string): Promise<void> {
      told.hear?.(id)
      for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve))
    },
  }
}

const live = (id: string, startedAt: number, principal?: string): StoredRunSummary => ({
  ...summaryOf(id, startedAt, principal),
  outcome: undefined,
})

test('what other nodes say of their runs is on the list of who watches: one begins, waits, ends, and goes', async () => {
  const stored = [live('r_1', 1)]
  const { lists, told, changes, hear, watcher, clock } = await watchedList(stored)
  expect(lists.find(alice, 'r_1')?.facts()).toMatchObject({ state: 'running', seq: 2 })
  stored.push(live('r_2', 2), live('r_3', 3, 'bob'))
  await hear('r_2')
  // One of another principal is not on the list, whoever says so.
  await hear('r_3')
  stored[1] = { ...live('r_2', 2), isParked: true }
  await hear('r_2')
  // More items are no change of a list.
  stored[1] = { ...stored[1], next: 9 }
  await hear('r_2')
  stored[1] = summaryOf('r_2', 2)
  await hear('r_2')
  stored.splice(1, 1)
  await hear('r_2')
  expect(changes).toEqual(['r_2 running', 'r_2 waiting_input', 'r_2 ended', 'r_2 gone'])
  expect([idsOf(lists), told.followers]).toEqual([['r_1'], 1])
  lists.leave(alice, watcher)
  lists.exit(alice)
  clock.advance(5_000)
  expect([lists.size, told.followers]).toEqual([0, 0])
})

test('where nothing was heard, a look finds what has changed elsewhere, and reads no more than the newest and what goes on', async () => {
  const stored = [live('r_1', 1), ...Array.from({ length: 2_000 }, (_, n) => summaryOf(`r_old${n}`, 2 + n))]
  const { lists, changes, hear } = await watchedList(stored)
  stored[0] = summaryOf('r_1', 1)
  stored.push(live('r_new', 9_000))
  await hear()
  expect(changes.toSorted()).toEqual(['r_1 ended', 'r_new running'])
  expect(idsOf(lists)).toHaveLength(2_002)
})

test('a run that begins here is that of this node, whatever is heard of it', async () => {
  const stored: StoredRunSummary[] = []
  const { lists, changes, hear } = await watchedList(stored)
  const { run, become } = runOf('r_1')
  stored.push(live('r_1', 1))
  // The store had it first.
  await hear('r_1')
  lists.add(run, 1)
  become('waiting_input')
  lists.changed(run)
  await hear('r_1')
  expect(changes).toEqual(['r_1 running', 'r_1 running', 'r_1 waiting_input'])
  expect([idsOf(lists), lists.find(alice, 'r_1')?.isPast]).toEqual([['r_1'], false])
})

test('a page of a list reads what it shows from the store, and not the list', async () => {
  const stored = Array.from({ length: 5_000 }, (_, n) => summaryOf(`r_${String(n).padStart(4, '0')}`, n))
  const { read, past } = storeOf(stored)
  const lists = new RunLists(handClock(), past)
  lists.add(runOf('r_new').run, 10_000)
  const first = await lists.page(alice, { most: 2, mayRead })
  expect([first?.runs.map(({ run }) => run), first?.more]).toEqual([['r_new', 'r_4999'], true])
  expect(read.rows).toBe(3)
  const rest = await lists.page(alice, { before: 'r_0002', most: 2, mayRead })
  expect([rest?.runs.map(({ run }) => run), rest?.more]).toEqual([['r_0001', 'r_0000'], false])
  expect(read.rows).toBe(5)
  expect(lists.find(alice, 'r_0002')).toBeUndefined()
  // Not theirs, not there, and not to be read: the list has no such run.
  expect(await lists.page({ id: 'bob' }, { before: 'r_0002', most: 2, mayRead })).toBeUndefined()
  expect(await lists.page(alice, { before: 'r_none', most: 2, mayRead })).toBeUndefined()
  expect(await lists.page(alice, { before: 'r_0002', most: 2, mayRead: ({ id }) => id !== 'r_0002' })).toBeUndefined()
})

test('a page for which few runs may be read is filled from further back, and ends at 10,000', async () => {
  const stored = Array.from({ length: 12_000 }, (_, n) => summaryOf(`r_${String(n).padStart(5, '0')}`, n))
  const { read, past } = storeOf(stored)
  const lists = new RunLists(handClock(), past)
  const readable = new Set(['r_11000', 'r_10500', 'r_00600'])
  const only = ({ id }: { id: string }): boolean => readable.has(id)
  const first = await lists.page(alice, { most: 1, mayRead: only })
  expect([first?.runs.map(({ run }) => run), first?.more]).toEqual([['r_11000'], true])
  expect(read.rows).toBeLessThan(2_100)
  const second = await lists.page(alice, { before: 'r_11000', most: 2, mayRead: only })
  expect([second?.runs.map(({ run }) => run), second?.more]).toEqual([['r_10500'], true])
  const third = await lists.page(alice, { before: 'r_10500', most: 2, mayRead: only })
  expect([third?.runs.map(({ run }) => run), third?.more]).toEqual([['r_00600'], true])
  expect(await lists.page(alice, { before: 'r_00600', most: 2, mayRead: only })).toEqual({ runs: [], more: false })
  read.rows = 0
  expect(await lists.page(alice, { most: 2, mayRead: () => false })).toEqual({ runs: [], more: false })
  expect(read.rows).toBe(10_000)
})

test('pages have each run once and in order, while runs begin, and leave memory for the store', async () => {
  for (let seed = 1; seed <= 60; seed++) {
    const random = seededRandom(seed)
    const some = (most: number): number => Math.floor(random() * most)
    const stored: StoredRunSummary[] = []
    const lists = new RunLists(handClock(), storeOf(stored).past)
    const inMemory = new Map<string, ListableRun>()
    let at = 0
    let began = 0
    const begin = (): void => {
      at += some(2)
      // An id says nothing of when a run began.
      const id = `r_${String(some(1_000)).padStart(3, '0')}_${++began}`
      const { run, become } = runOf(id)
      become('ended')
      const kind = random()
      if (kind < 0.8) stored.push(summaryOf(id, at))
      if (kind > 0.4) {
        lists.add(run, at)
        inMemory.set(id, run)
      }
    }
    const forgetSome = (): void => {
      for (const [id, run] of inMemory)
        if (random() < 0.3 && stored.some((one) => one.id === id)) {
          inMemory.delete(id)
          lists.remove(run, true)
        }
    }
    for (let n = 0; n < 40; n++) begin()
    const whole = await lists.page(alice, { most: 1_000, mayRead })
    const ids: string[] = []
    for (let more = true; more; ) {
      const page = await lists.page(alice, { before: ids.at(-1), most: 1 + some(6), mayRead })
      ids.push(...(page?.runs ?? []).map(({ run }) => run))
      more = page?.more ?? false
      if (random() < 0.5) forgetSome()
      if (random() < 0.5) begin()
    }
    const before = whole?.runs.map(({ run }) => run) ?? []
    // One that began meanwhile may be among them, if it is of the same millisecond.
    expect([before.length, new Set(ids).size], `seed ${seed}`).toEqual([40, ids.length])
    expect(
      ids.filter((id) => before.includes(id)),
      `seed ${seed}`,
    ).toEqual(before)
  }
})

test('taking a run off a list looks at none of the others, where nothing is stored', () => {
  const lists = new RunLists(handClock())
  const runs = Array.from({ length: 100 }, (_, n) => runOf(`r_${n}`).run)
  for (const run of runs) lists.add(run, 10)
  let looked = 0
  for (const listed of lists.of(alice)) {
    const look = (): boolean => {
      looked++
      return false
    }
    Object.defineProperty(listed, 'isPast', { get: look })
  }

  for (const run of runs.slice(0, 50)) lists.remove(run)

  expect([idsOf(lists).length, looked]).toEqual([50, 0])
})

test('a run that was forgotten and whose id begins again is on the list of a client that was not told of either yet', () => {
  const lists = new RunLists(handClock())
  lists.add(runOf('again').run, 0)
  lists.add(runOf('other').run, 1)
  const sink = { flushMs: 0, hasBegun: false, begun: () => undefined, ready: () => {} }
  const settings = { sid: 1, isWatched: true }
  const listing = new Listing(sink as never, DEFAULT_LIMITS, lists, alice, settings, mayRead, () => {})
  const seen = new Set<string>()
  const pump = (most: number): void => {
    const out = new Writer()
    listing.pump(out, most)
    for (const frame of decodeDown(out.take(), { maxBytes: 65_536, maxDepth: 16, maxValues: 1_000 })) {
      if (frame.kind !== 'listed' || frame.run === undefined) continue
      if (frame.info) seen.add(frame.run)
      else seen.delete(frame.run)
    }
  }
  listing.open()
  pump(1)
  expect([...seen]).toEqual(['again'])
  lists.remove(runOf('again').run)
  lists.add(runOf('again').run, 2)
  pump(65_536)
  expect([...seen].sort()).toEqual(['again', 'other'])
  lists.remove(runOf('again').run)
  pump(65_536)
  expect([...seen]).toEqual(['other'])
})
