import { expect, test } from 'vitest'
import type { ListedRun } from '../../client-sdk/index.ts'
import { createRunFinder } from '../../react/run-finder.ts'

const listed = (id: string, meta?: ListedRun['meta'], actor = 'chat'): ListedRun => ({
  id,
  actor,
  ...(meta && { meta }),
  state: 'running',
  seq: 1,
  gen: 1,
  startedAt: 0,
})

test('the newest run of the actor that has all the values is found, whatever else its meta has', () => {
  const find = createRunFinder('chat', { chat: 1, place: { room: 'a' } })
  const wanted = { chat: 1, place: { room: 'a' }, title: 'x' }
  const runs = [
    listed('r1', wanted),
    listed('r2', wanted),
    listed('r3', { chat: 1 }),
    listed('r4', { chat: '1', place: { room: 'a' } }),
    listed('r5', wanted, 'other'),
    listed('r6'),
  ]
  expect(find(runs)?.id).toBe('r2')
})

test('a list that is older than the run that is shown brings back none that was there before', () => {
  const find = createRunFinder('chat', { chat: 1 })
  expect(find([listed('r1', { chat: 1 })])?.id).toBe('r1')
  // The page has started another one meanwhile, and the list does not know that yet.
  expect(find([listed('r1', { chat: 1 })])).toBeUndefined()
  expect(find([listed('r1', { chat: 1 }), listed('r2', { chat: 1 })])?.id).toBe('r2')
  expect(find([listed('r2', { chat: 1 })])).toBeUndefined()
})
