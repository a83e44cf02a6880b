import { describe, expect, test } from 'vitest'
import type { InspectedRun, ListedRun } from '../../client-sdk/index.ts'
import { StuckWatch } from '../../dashboard/state/attention.ts'
import { filtered, stateOf } from '../../dashboard/state/filter.ts'
import { Fleet } from '../../dashboard/state/fleet.ts'

function inspected(id: string, changes: Partial<InspectedRun> = {}): InspectedRun {
  return {
    ...{ id, actor: 'chat', principal: 'ann', sessions: [], state: 'running', gated: false, detached: false },
    ...{ startedAt: 0, readerCount: 0, readers: [], items: 0, itemsPerSec: 0, bytesPerSec: 0 },
    ...changes,
  }
}
const listed = (id: string, changes: Partial<ListedRun> = {}): ListedRun => ({
  ...{ id, actor: 'chat', state: 'ended', outcome: 'done', gen: 1, seq: 7, startedAt: 0 },
  ...changes,
})
const none = { runs: [], goneRuns: [] }
const ids = (runs: readonly { id: string }[]): string[] => runs.map(({ id }) => id)
const all = { text: '', actor: '', state: '' } as const

describe('the list of all runs', () => {
  test('has those that go on first, of each the newest first, and no inspector', () => {
    const fleet = new Fleet()
    fleet.list([listed('r3', { startedAt: 30 }), listed('r1', { startedAt: 10 })])
    fleet.take(
      { ...none, runs: [inspected('r2', { startedAt: 20 }), inspected('r4', { inspector: true })] },
      'own',
      true,
    )
    expect(ids(fleet.runs().all)).toEqual(['r2', 'r3', 'r1'])
  })

  test('keeps the object of a run that did not change', () => {
    const fleet = new Fleet()
    fleet.take({ ...none, runs: [inspected('r1'), inspected('r2')] }, 'own', true)
    const before = fleet.runs().byId
    fleet.take({ ...none, runs: [inspected('r2', { items: 1 })] }, 'own', false)
    const { byId } = fleet.runs()
    expect(byId.get('r1')).toBe(before.get('r1'))
    expect(byId.get('r2')).toMatchObject({ items: 1 })
  })

  test('remembers the ended runs of others, and takes its own from the list of the server', () => {
    const fleet = new Fleet()
    fleet.take({ ...none, runs: [inspected('r1', { principal: 'bob' })] }, 'all', true)
    fleet.take(
      { runs: [], goneRuns: [inspected('r1', { principal: 'bob', state: 'ended', outcome: 'error' })] },
      'all',
      false,
    )
    const [run] = fleet.runs().all
    expect(run).toMatchObject({ state: 'ended', outcome: 'error', isOwn: false, live: undefined })
    expect(stateOf(run!)).toBe('error')
  })

  test('knows whose a child is by its first parent', () => {
    const fleet = new Fleet()
    fleet.list([listed('top', { state: 'running' })])
    const runs = [
      inspected('top'),
      inspected('mid', { parent: 'top' }),
      inspected('low', { parent: 'mid' }),
      inspected('else'),
    ]
    fleet.take({ ...none, runs }, 'all', true)
    const { byId, children } = fleet.runs()
    expect([...byId.values()].filter(({ isOwn }) => isOwn).map(({ id }) => id)).toEqual(['top', 'mid', 'low'])
    expect(ids(children.get('top')!)).toEqual(['mid'])
  })
})

describe('a filter', () => {
  const fleet = new Fleet()
  fleet.list([listed('r_done'), listed('r_wrong', { outcome: 'error' })])
  const runs = [
    inspected('r_asks', { actor: 'mail', state: 'waiting_input' }),
    inspected('r_child', { actor: 'helper', parent: 'r_asks' }),
  ]
  fleet.take({ ...none, runs }, 'own', true)
  const found = fleet.runs()

  test('leaves children to their parents, unless a text asks for them', () => {
    expect(ids(filtered(found, all))).toEqual(['r_asks', 'r_done', 'r_wrong'])
    expect(ids(filtered(found, { ...all, text: 'help' }))).toEqual(['r_child'])
  })

  test('takes all words of a text, an actor and a state', () => {
    expect(ids(filtered(found, { ...all, text: 'ANN wait' }))).toEqual(['r_asks'])
    expect(ids(filtered(found, { ...all, actor: 'chat' }))).toEqual(['r_done', 'r_wrong'])
    expect(ids(filtered(found, { ...all, state: 'error' }))).toEqual(['r_wrong'])
    expect(ids(filtered(found, { ...all, state: 'live' }))).toEqual(['r_asks'])
  })
})

describe('a run is stuck', () => {
  const stuckAfter = (ms: number, run: InspectedRun) => {
    const fleet = new Fleet()
    const watch = new StuckWatch()
    fleet.take({ ...none, runs: [run] }, 'own', true)
    expect(watch.look(fleet.runs().all, 1_000)).toEqual([])
    return watch.look(fleet.runs().all, 1_000 + ms).map(({ why, since }) => ({ why, since }))
  }
  const reader = { policy: 'pace', own: true, credit: 0, lag: 0 } as const

  test('when it has been told to stop for two seconds', () => {
    const run = inspected('r1', { state: 'settling' })
    expect(stuckAfter(1_999, run)).toEqual([])
    expect(stuckAfter(2_000, run)).toEqual([{ why: 'unstoppable', since: 1_000 }])
    expect(stuckAfter(2_000, { ...run, state: 'ended', outcome: 'cancelled' })).toHaveLength(1)
  })

  test('when it waits for ten seconds for a reader that does not read, and not for one that has paused it', () => {
    expect(stuckAfter(10_000, inspected('r1', { gated: true, readers: [reader] }))).toEqual([
      { why: 'unread', since: 1_000 },
    ])
    expect(stuckAfter(10_000, inspected('r1', { gated: true, readers: [{ ...reader, perSec: 0 }] }))).toEqual([])
    expect(stuckAfter(10_000, inspected('r1', { gated: true, itemsPerSec: 3 }))).toEqual([])
  })

  test('no longer when something of it changes', () => {
    const fleet = new Fleet()
    const watch = new StuckWatch()
    for (const [at, gated] of [
      [0, true],
      [9_000, false],
      [10_000, true],
      [15_000, true],
    ] as const) {
      fleet.take({ ...none, runs: [inspected('r1', { gated })] }, 'own', true)
      expect(watch.look(fleet.runs().all, at)).toEqual([])
    }
  })
})
