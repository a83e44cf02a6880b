import type { RunEnd, RunEvent, StreamEvent } from '../../protocol/events.ts'
import { seededRandom } from './seeded-random.ts'

/** The events of a run as its readers get them, and its end. */
export type RecordedRun = { events: StreamEvent[]; end: RunEnd }

const CALLS = ['c1', 'c2', 'c3', '__proto__', '']
const AGENTS = [undefined, undefined, undefined, 'a1', 'a2'] as const
const VALUES = [undefined, null, 0, '', 'some text', { id: 'x', a: [1] }, [], new Uint8Array([1, 255]), true]

/**
 * A run that no agent would have: events of all types in any order, of unknown and repeated calls, of sub-agents that
 * never began, with values of any sort in places for text. The same seed gives the same run.
 * @param rewinds whether it is set back at times.
 */
export function randomRun(seed: number, { rewinds = false }: { rewinds?: boolean } = {}): RecordedRun {
  const random = seededRandom(seed)
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T
  const events: StreamEvent[] = []
  let seq = 0
  const count = Math.floor(random() * 60)
  for (let n = 0; n < count; n++) {
    const agent = pick(AGENTS)
    const at = 1_700_000_000_000 + n
    const said = randomEvent(pick, random, n)
    seq++
    if (said.type !== 'gap') events.push({ ...said, ...(agent !== undefined && { agent }), seq, at })
    else if (said.reason === 'rewound' && !rewinds) seq--
    else if (said.reason === 'rewound') {
      const next = Math.max(1, seq - Math.floor(random() * 5))
      events.push({ type: 'gap', from: next, next, reason: 'rewound', seq: next - 1, at })
      seq = next - 1
    } else {
      events.push({ type: 'gap', from: seq, next: seq + 3, reason: said.reason, seq: seq + 2, at })
      seq += 2
    }
  }
  return { events, end: randomEnd(pick, seq + 1) }
}

type Said = RunEvent | { type: 'gap'; reason: 'retention' | 'policy' | 'store_lost' | 'rewound' }

function randomEvent(pick: <T>(list: readonly T[]) => T, random: () => number, n: number): Said {
  const call = pick(CALLS)
  const outcome = pick(['ok', 'error', 'cancelled'] as const)
  const usage = { input: n, output: 1 }
  switch (pick(TYPES)) {
    case 'token':
      return { type: 'token', text: pick([`t${n} `, 'ä🎉', '\n', '"}']) }
    case 'thinking':
      return { type: 'thinking', text: `h${n} ` }
    case 'tool.args':
      return { type: 'tool.args', call, text: pick(['{"a', '":1', '}', 'no json']), name: pick(['pay', 'look up']) }
    case 'tool.call':
      return { type: 'tool.call', call, name: pick(['pay', 'look-up', '']), args: pick(VALUES), client: random() < 0.1 }
    case 'tool.progress':
      return { type: 'tool.progress', call, progress: { current: n, total: 60 }, note: 'at it' }
    case 'tool.result':
      return {
        type: 'tool.result',
        call,
        outcome,
        output: pick(VALUES),
        error: pick(['no', 'refused by the user']),
        ms: 1,
      }
    case 'request':
      return { type: 'request', id: `q${n}`, kind: pick(['approve', 'choose']), call: pick([call, undefined]) }
    case 'iteration':
      return { type: 'iteration', n, max: 60 }
    case 'iteration.end':
      return { type: 'iteration.end', n, stop: 'stop' }
    case 'usage':
      return { type: 'usage', ...usage }
    case 'retry':
      return { type: 'retry', attempt: 1, delayMs: 10, code: 'timeout' }
    case 'progress':
      return { type: 'progress', current: n }
    case 'step':
      return {
        type: 'step',
        id: `s${n % 3}`,
        name: 'cook',
        status: pick(['start', 'done', 'failed', 'skipped'] as const),
      }
    case 'agent.start':
      return { type: 'agent.start', agent: pick(['a1', 'a2']), name: 'helper', ...(random() < 0.5 && { parent: 'a1' }) }
    case 'agent.end':
      return { type: 'agent.end', agent: pick(['a1', 'a2']), outcome, usage }
    case 'data':
      return {
        type: 'data',
        name: pick(['price', 'client.tool', 'result', '']),
        value: pick([...VALUES, { to: 'p', call }]),
      }
    case 'warning':
      return { type: 'warning', code: 'odd', message: 'odd' }
    case 'notice':
      return { type: 'notice', code: 'paused' }
    case 'gap':
      return { type: 'gap', reason: pick(['retention', 'policy', 'store_lost', 'rewound', 'rewound'] as const) }
    case 'misshapen':
      return pick([
        { type: 'tool.call', call: 7, name: {}, args: 1n } as unknown as RunEvent,
        { type: 'tool.result', call: null, outcome: 'odd', error: { a: 1 } } as unknown as RunEvent,
        { type: 'data', name: 7, value: undefined } as unknown as RunEvent,
        { type: 'request', id: n, kind: 1, call } as unknown as RunEvent,
        { type: 'step', id: 1 } as unknown as RunEvent,
        { type: 'agent.start', agent: 3, name: null } as unknown as RunEvent,
      ])
  }
}

const TYPES = [
  ...['token', 'token', 'token', 'thinking', 'tool.args', 'tool.args', 'tool.call', 'tool.call', 'tool.progress'],
  ...['tool.result', 'tool.result', 'request', 'iteration', 'iteration.end', 'usage', 'retry', 'progress', 'step'],
  ...['agent.start', 'agent.end', 'data', 'warning', 'notice', 'gap', 'misshapen'],
] as (RunEvent['type'] | 'gap' | 'misshapen')[]

function randomEnd(pick: <T>(list: readonly T[]) => T, seq: number): RunEnd {
  const usage = { input: 5, output: 7 }
  switch (pick(['done', 'done', 'error', 'cancelled'] as const)) {
    case 'done':
      return { outcome: 'done', seq, usage, stop: pick(['stop', 'length', 'other']), result: pick(VALUES) }
    case 'error':
      return { outcome: 'error', seq, error: { code: 'provider_error', message: 'the model failed', retryable: true } }
    case 'cancelled':
      return {
        outcome: 'cancelled',
        seq,
        receipt: {
          ...{ reason: 'user', by: 'client', settled: true, unsettled: [], provider: 'closed', tools: [], ms: 3 },
          kept: seq - 1,
        },
      }
  }
}
