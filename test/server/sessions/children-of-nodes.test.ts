import { expect, test } from 'vitest'
import {
  packedChildren,
  packQuestion,
  type RunHere,
  unpackChildren,
} from '../../../server/sessions/children-of-nodes.ts'
import { handClock } from '../../helpers/hand-clock.ts'

type Facts = { stored?: boolean; parent?: RunHere; isChild?: boolean; end?: 'done' }

function run(id: string, { stored = false, parent, isChild = parent !== undefined, end }: Facts = {}): RunHere {
  const facts = { id, actorName: 'worker', principal: { id: 'alice' }, startedAt: 0, state: end ? 'ended' : 'running' }
  const rest = { log: { last: 3 }, isStored: stored, parent, isChild, end: end && { outcome: end } }
  return { ...facts, ...rest } as Partial<RunHere> as RunHere
}

/** What a node says that has these runs, of which those go on that have no end. */
function answer(runs: readonly RunHere[], known: readonly string[] = []) {
  const byId = new Map(runs.map((each) => [each.id, each]))
  const live = new Set(runs.filter(({ end }) => !end))
  const said = packedChildren(packQuestion(known), live, (id) => byId.get(id), handClock())
  return unpackChildren(said!)
}

test('a node tells of the children below the runs that others see, and of those that were let go', () => {
  const stored = run('r_stored', { stored: true })
  const child = run('r_child', { parent: stored })
  const hidden = run('r_hidden')
  const runs = [stored, child, run('r_below', { parent: child }), hidden, run('r_of_hidden', { parent: hidden })]
  const { live, gone } = answer([...runs, run('r_free', { isChild: true })])
  expect(live.map(({ id, parent }) => [id, parent])).toEqual([
    ['r_child', 'r_stored'],
    ['r_below', 'r_child'],
    ['r_free', undefined],
  ])
  expect(live[0]).toMatchObject({ actorName: 'worker', principal: 'alice', state: 'running', last: 3 })
  expect(gone).toEqual([])
})

test('a node says how those ended that it is asked for, as far as it knows, and none of which it was not asked', () => {
  const stored = run('r_stored', { stored: true })
  const runs = ['r_1', 'r_2'].map((id) => run(id, { parent: stored, end: 'done' }))
  const { live, gone } = answer([stored, ...runs, run('r_3', { parent: stored })], ['r_1', 'r_3', 'r_forgotten'])
  expect(live.map(({ id }) => id)).toEqual(['r_3'])
  expect(gone).toMatchObject([{ id: 'r_1', state: 'ended', outcome: 'done' }])
})

test('a node tells of at most 1,000 children, of those that have gone on longest', () => {
  const stored = run('r_stored', { stored: true })
  const children = Array.from({ length: 1_500 }, (_, n) => run(`r_${n}`, { parent: stored }))
  const { live } = answer([stored, ...children])
  expect([live.length, live[0]?.id, live.at(-1)?.id]).toEqual([1_000, 'r_0', 'r_999'])
})
