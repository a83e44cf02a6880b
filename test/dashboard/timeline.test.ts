import { describe, expect, test } from 'vitest'
import type { StreamEvent } from '../../client-sdk/index.ts'
import { Moment } from '../../dashboard/state/moment.ts'
import { lanesOf } from '../../dashboard/state/timeline-lanes.ts'

/** Events at these milliseconds. */
function log(...events: [at: number, event: object][]): StreamEvent[] {
  return events.map(([at, event], n) => ({ seq: n + 1, at: 1_000 + at, ...event }) as StreamEvent)
}

describe('the lines of a timeline', () => {
  test('join text that comes without a pause, and show each tool with its waits', () => {
    const events = log(
      [0, { type: 'token', text: 'a' }],
      [300, { type: 'token', text: 'b' }],
      [1_000, { type: 'token', text: 'c' }],
      [1_100, { type: 'tool.call', call: 'c1', name: 'mail', args: {} }],
      [1_200, { type: 'request', id: 'q1', kind: 'approve', call: 'c1', prompt: 'mail?' }],
      [3_000, { type: 'tool.progress', call: 'c1' }],
      [4_000, { type: 'tool.result', call: 'c1', outcome: 'ok', ms: 2_900 }],
    )
    const { lanes, totalMs } = lanesOf(events, events.length)
    const spans = Object.fromEntries(lanes.map(({ name, spans }) => [name, spans.map(({ from, to }) => [from, to])]))
    expect(totalMs).toBe(4_000)
    expect(spans).toEqual({
      answer: [
        [0, 300],
        [1_000, 1_000],
      ],
      mail: [[1_100, 4_000]],
      'waits for people': [[1_200, 3_000]],
    })
  })

  test('name agents as their parents do, and leave open what has not ended', () => {
    const events = log(
      [0, { type: 'agent.start', agent: 'r_1', name: 'critic' }],
      [100, { type: 'token', agent: 'r_1', text: 'no' }],
      [200, { type: 'step', id: '1', name: 'draft', status: 'start' }],
      [500, { type: 'step', id: '1', name: 'draft', status: 'done' }],
      [900, { type: 'token', agent: 'r_1', text: '!' }],
    )
    const { lanes } = lanesOf(events, events.length)
    expect(lanes.map(({ name }) => name)).toEqual(['critic', 'draft', 'agents'])
    expect(lanes[2]!.spans).toEqual([{ from: 0, to: 900, label: 'critic', kind: 'agent' }])
  })

  test('are at most twelve, of which the last has the rest', () => {
    const events = log(
      ...Array.from({ length: 40 }, (_, n): [number, object] => [n, { type: 'token', agent: `r_${n}`, text: 'x' }]),
    )
    const { lanes } = lanesOf(events, events.length)
    expect(lanes).toHaveLength(12)
    expect(lanes.at(-1)).toMatchObject({ name: 'others', spans: { length: 29 } })
    expect(lanesOf([], 0)).toEqual({ lanes: [], totalMs: 0 })
  })
})

test('a run at a moment has what it said until then, forward and back', () => {
  const events = log(...['a', 'b', 'c', 'd'].map((text, n): [number, object] => [n * 100, { type: 'token', text }]))
  const moment = new Moment()
  const textAt = (ms: number): string[] =>
    moment.partsAt(events, events.length, ms).map((part) => ('text' in part ? part.text : ''))
  expect([0, 150, 300, 99].map(textAt)).toEqual([['a'], ['ab'], ['abcd'], ['a']])
  expect(moment.read).toBe(1)
  const before = moment.partsAt(events, events.length, 120)
  expect(moment.partsAt(events, events.length, 120)).toBe(before)
})
