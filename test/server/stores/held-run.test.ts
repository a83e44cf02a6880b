import { expect, test } from 'vitest'
import { HeldRun } from '../../../server/stores/redis/held-run.ts'
import type { Batch } from '../../../server/stores/run-store.ts'

const LEASE_MS = 1_000

const BATCH: Batch = { gen: 1, first: 1, last: 1, at: 0, index: new Uint8Array(3), bodies: new Uint8Array(1) }

/** A run that is held since a time, in a Redis that confirms all at once. */
function held(): { run: HeldRun; clock: { ms: number }; told: boolean[] } {
  const clock = { ms: 5_000 }
  const answers = (): Promise<string[]> => Promise.resolve(['ok', '0', '0'])
  const run = new HeldRun(
    { id: 'r1', gen: 1, fence: 'f', next: 1, confirmedAt: clock.ms },
    {
      leaseMs: LEASE_MS,
      liveMs: 60_000,
      maxRunBytes: 1_000_000,
      keepMs: () => 1_000,
      channel: 'c',
      nodes: 'n',
      pools: 'p',
      outbox: 'o',
      now: () => clock.ms,
      wait: () => Promise.resolve(),
      append: answers,
      run: answers,
      dropped: () => {},
    },
  )
  const told: boolean[] = []
  run.heldBy({ lost: () => {}, doubted: () => told.push(run.isDoubtful), asked: () => {}, attended: () => {} })
  return { run, clock, told }
}

test.each([
  ['an append', (run: HeldRun) => run.append({ batch: BATCH })],
  ['a renewal', (run: HeldRun) => run.renew()],
])(
  'a holder that finds its lease doubtful hears that it is not any more, however soon %s confirms it',
  async (_, confirm) => {
    const { run, clock, told } = held()
    expect(run.isDoubtful).toBe(false)
    clock.ms += LEASE_MS * 0.9
    // Its actor waits from now on, before anybody has looked whether it is doubtful.
    expect(run.isDoubtful).toBe(true)
    await confirm(run)
    expect(run.isDoubtful).toBe(false)
    expect(told).toEqual([true, false])
  },
)

test('a holder is told nothing of a lease that is confirmed in time', async () => {
  const { run, clock, told } = held()
  clock.ms += LEASE_MS / 2
  await run.append({ batch: BATCH })
  clock.ms += LEASE_MS / 2
  await run.renew()
  run.doubt()
  expect(told).toEqual([])
})

test('a lease counts from when it was asked for, however late the answer came', () => {
  const { run, clock, told } = held()
  clock.ms += LEASE_MS
  run.doubt()
  expect(told).toEqual([true])
})
