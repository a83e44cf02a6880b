import { expect, test } from 'vitest'
import { createRunDraft } from '../../react/run-draft.ts'
import { createRunParts } from '../../react/run-parts.ts'
import { numbered } from '../helpers/shown-runs.ts'

test('text of one agent is one part until it does something else, however the agents alternate', () => {
  const parts = createRunParts()
  for (const event of numbered(
    { type: 'token', text: 'a', agent: 'x' },
    { type: 'token', text: 'b', agent: 'y' },
    { type: 'token', text: 'c', agent: 'x' },
    { type: 'thinking', text: 'hm', agent: 'y' },
    { type: 'token', text: 'd', agent: 'y' },
    { type: 'token', text: 'own' },
    { type: 'iteration', n: 2, max: 8 },
    { type: 'token', text: 'next' },
  ))
    parts.read(event)
  expect(parts.list()).toEqual([
    { type: 'text', text: 'ac', agent: 'x' },
    { type: 'text', text: 'b', agent: 'y' },
    { type: 'thinking', text: 'hm', agent: 'y' },
    { type: 'text', text: 'd', agent: 'y' },
    { type: 'text', text: 'own' },
    { type: 'text', text: 'next' },
  ])
})

test('a tool call is one part from its first argument to its result', () => {
  const parts = createRunParts()
  const states: unknown[] = []
  for (const event of numbered(
    { type: 'tool.args', call: 'c', name: 'pay', text: '{"to":' },
    { type: 'tool.args', call: 'c', text: '"Al"}' },
    { type: 'tool.call', call: 'c', name: 'pay', args: { to: 'Al' } },
    { type: 'request', id: 'q', kind: 'approve', call: 'c' },
    { type: 'tool.progress', call: 'c', progress: { current: 1, total: 2 } },
    { type: 'tool.result', call: 'c', outcome: 'ok', output: 'paid', ms: 3, args: { to: 'Bo' } },
  )) {
    parts.read(event)
    states.push((parts.list()[0] as { state: string }).state)
  }
  expect(states).toEqual(['writing', 'writing', 'running', 'waiting', 'running', 'ok'])
  expect(parts.list()).toEqual([
    expect.objectContaining({
      type: 'tool',
      name: 'pay',
      argsText: '{"to":"Al"}',
      args: { to: 'Bo' },
      output: 'paid',
      ms: 3,
    }),
  ])
})

test('parts that did not change stay the same objects, and what was listed never changes', () => {
  const parts = createRunParts()
  const events = numbered(
    { type: 'token', text: 'a' },
    { type: 'data', name: 'price', value: 4 },
    { type: 'token', text: 'b' },
    { type: 'token', text: 'c' },
  )
  for (const event of events.slice(0, 3)) parts.read(event)
  const before = parts.list()
  expect(parts.list()).toBe(before)
  const copy = structuredClone(before)
  parts.read(events[3]!)
  const after = parts.list()
  expect(before).toEqual(copy)
  expect([after[0] === before[0], after[1] === before[1], after[2] === before[2]]).toEqual([true, true, false])
  expect(after[2]).toEqual({ type: 'text', text: 'bc' })
})

test('steps, agents and gaps are parts, and a gap of the policy is none', () => {
  const parts = createRunParts()
  for (const event of [
    ...numbered(
      { type: 'step', id: 's', name: 'load', status: 'start' },
      { type: 'agent.start', name: 'Writer', agent: 'w' },
      { type: 'step', id: 's', name: 'load', status: 'done', ms: 5 },
      { type: 'agent.end', outcome: 'cancelled', agent: 'w' },
    ),
    { type: 'gap', from: 5, next: 9, reason: 'retention', seq: 8, at: 0 } as const,
    { type: 'gap', from: 9, next: 12, reason: 'policy', seq: 11, at: 0 } as const,
  ])
    parts.read(event)
  expect(parts.list()).toEqual([
    { type: 'step', id: 's', name: 'load', status: 'done', ms: 5 },
    { type: 'agent', name: 'Writer', agent: 'w', state: 'cancelled' },
    { type: 'gap', from: 5, next: 9, reason: 'retention' },
  ])
})

test('a run of any length keeps a bounded number of parts and events, the latest ones', () => {
  const draft = createRunDraft()
  for (let seq = 1; seq <= 100_000; seq++) draft.read({ type: 'data', name: 'n', value: seq, seq, at: 0 })
  const { parts, events, data } = draft.findings()
  expect(parts.length).toBeLessThanOrEqual(2_000)
  expect(parts.length).toBeGreaterThanOrEqual(1_000)
  expect(events.length).toBeLessThanOrEqual(1_000)
  expect(events.length).toBeGreaterThanOrEqual(500)
  expect([parts.at(-1), events.at(-1), data]).toEqual([
    { type: 'data', name: 'n', value: 100_000 },
    { type: 'data', name: 'n', value: 100_000, seq: 100_000, at: 0 },
    { n: 100_000 },
  ])
})

test('usage adds up, progress and requests are the latest, and text is without that of sub-agents', () => {
  const draft = createRunDraft()
  for (const event of numbered(
    { type: 'token', text: 'mine' },
    { type: 'token', text: 'theirs', agent: 'x' },
    { type: 'usage', input: 1, output: 2, cached: 1 },
    { type: 'usage', input: 3, output: 4, cost: 0.5 },
    { type: 'progress', current: 1, total: 3 },
    { type: 'progress', current: 9, agent: 'x' },
    { type: 'request', id: 'q1', kind: 'approve', call: 'c1' },
    { type: 'request', id: 'q2', kind: 'text' },
    { type: 'tool.result', call: 'c1', outcome: 'ok', ms: 1 },
  ))
    draft.read(event)
  expect(draft.findings()).toMatchObject({
    text: 'mine',
    usage: { input: 4, output: 6, cached: 1, cost: 0.5 },
    progress: { current: 1, total: 3 },
    requests: [{ id: 'q2' }],
    seq: 9,
  })
  draft.answered('q2')
  expect(draft.findings().requests).toEqual([])
})
