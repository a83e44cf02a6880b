import { expect, test } from 'vitest'
import type { RunState } from '../../../protocol/frames.ts'
import { type ListableRun, type ListedRun, RunLists } from '../../../server/sessions/run-lists.ts'
import { handClock } from '../../helpers/hand-clock.ts'

const alice = { id: 'alice' }

/** A run that a test moves through its states. */
function runOf(id: string, principal = alice): { run: ListableRun; become(state: RunState): void } {
  let state: RunState = 'running'
  const run: ListableRun = {
    ...{ id, actorName: 'chat', principal, options: { meta: undefined }, log: { gen: 1, last: 0 }, startedAt: 0 },
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

test('a list of more than 10,000 runs leaves out the ended one that began first, and never a live one', () => {
  const lists = new RunLists(handClock())
  const runs = Array.from({ length: 10_000 }, (_, n) => runOf(`r_${n}`))
  for (const { run } of runs) lists.add(run)
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
  for (const n of [0, 1]) lists.add(runOf(`more_${n}`).run)
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
  lists.add(run)
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
  lists.add(runOf('r_2', bob).run)
  expect([idsOf(lists), idsOf(lists, bob)]).toEqual([[], ['r_2']])
})

test('runs that only the store has are on a list while somebody reads it, and so is one that the process forgets', async () => {
  const past = [
    { id: 'r_0', actor: 'chat', principal: 'alice', startedAt: 5, gen: 1, next: 3, outcome: 'done' } as const,
  ]
  const clock = handClock()
  const lists = new RunLists(clock, async () => past.map((run) => ({ ...run, isParked: false })))
  const { run, become } = runOf('r_1')
  lists.add(run)
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
  expect([idsOf(lists), lists.size]).toEqual([[], 0])
  // Who asks and does not come leaves nothing behind.
  await lists.complete(alice)
  expect(idsOf(lists)).toEqual(['r_0'])
  clock.advance(0)
  await new Promise((resolve) => setImmediate(resolve))
  expect(lists.size).toBe(0)
})
