import * as client1 from '@ag-ui/client'
import * as client0 from '@ag-ui/client-0'
import { EventSchemas as schema0 } from '@ag-ui/core-0'
import { lastValueFrom, Observable, toArray } from 'rxjs'
import { describe, expect, test } from 'vitest'
import type { AgUiEvent } from '../../formats/ag-ui-event.ts'
import { AgUiEvents, type AgUiOptions } from '../../formats/ag-ui-events.ts'
import { jsonOf } from '../../formats/plain-text.ts'
import type { RunEnd, RunEvent, StreamEvent } from '../../protocol/events.ts'
import { type RecordedRun, randomRun } from '../helpers/random-run.ts'
import { repetitions } from '../helpers/tier.ts'

const seeds = Array.from({ length: repetitions({ quick: 60, full: 3_000 }) }, (_, n) => 1_000 + n)
const IDS = { thread: 't1', run: 'run-1', source: 'r_1' }

/** Rejects if the stock package refuses the events, which come as JSON, by its schema or for their order. */
async function verify(version: 0 | 1, events: readonly AgUiEvent[]): Promise<void> {
  const sent = events.map((event) => JSON.parse(jsonOf(event)) as client1.BaseEvent)
  if (version === 0) for (const event of sent as unknown[]) schema0.parse(event)
  const source = new Observable<client1.BaseEvent>((subscriber) => {
    for (const event of sent) subscriber.next(event)
    subscriber.complete()
  })
  const enforced = version === 1 ? client1.enforceEvents()(source) : source
  const { verifyEvents } = (version === 1 ? client1 : client0) as unknown as typeof client1
  const verified = await lastValueFrom(verifyEvents()(enforced).pipe(toArray()))
  expect(verified).toHaveLength(events.length)
}

function eventsOf(
  { events, end }: Partial<RecordedRun>,
  version: 0 | 1,
  options: Partial<AgUiOptions> = {},
): { sent: AgUiEvent[]; taken: number; isOver: boolean } {
  const format = new AgUiEvents({ ...IDS, version, ...options })
  const sent = format.begin()
  let taken = 0
  for (const event of events ?? []) {
    if (format.isOver) break
    taken++
    sent.push(...format.take(event))
  }
  const { isOver } = format
  if (end) sent.push(...format.end(end))
  return { sent, taken, isOver }
}

function textOf(events: readonly AgUiEvent[]): string {
  return events
    .map((event) => (event.type === 'TEXT_MESSAGE_CONTENT' && event.subagentRunId === undefined ? event.delta : ''))
    .join('')
}

const at = 1_700_000_000_000
let lastSeq = 0
function event(said: RunEvent): StreamEvent {
  return { ...said, seq: ++lastSeq, at }
}

describe.each([0, 1] as const)('the events of a run for AG-UI %i', (version) => {
  test('are valid for any run, cut anywhere, and end as the run did', { timeout: 60_000 }, async () => {
    for (const seed of seeds) {
      const run = randomRun(seed, { rewinds: true })
      try {
        const cut = seed % (run.events.length + 1)
        await verify(version, eventsOf({ events: run.events.slice(0, cut) }, version).sent)
        const { sent, isOver } = eventsOf(run, version)
        await verify(version, sent)
        expectEnd(version, sent, isOver, run.end)
      } catch (cause) {
        throw new Error(`seed ${seed}`, { cause })
      }
    }
  })

  test('give the whole answer once, also where the run waits and goes on in further runs of AG-UI', async () => {
    for (const seed of seeds) {
      const run = randomRun(seed)
      let options: Partial<AgUiOptions> = {}
      let { sent, isOver } = eventsOf(run, version, options)
      const texts = [textOf(sent)]
      for (let n = 0; isOver && n < run.events.length; n++) {
        options = { answered: waitingAfter(eventsOf(run, 1, options).sent) }
        ;({ sent, isOver } = eventsOf(run, version, options))
        await verify(version, sent)
        texts.push(textOf(sent))
      }
      const whole = run.events.map((one) => (one.type === 'token' && one.agent === undefined ? one.text : '')).join('')
      expect(texts.join(''), `seed ${seed}`).toBe(whole)
    }
  })

  test('put the text and the calls of one turn into one message', async () => {
    const events = [
      event({ type: 'iteration', n: 1, max: 2 }),
      event({ type: 'token', text: 'I look.' }),
      event({ type: 'tool.call', call: 'c1', name: 'weather', args: { city: 'Oslo' } }),
      event({ type: 'tool.call', call: 'c2', name: 'weather', args: { city: 'Lima' } }),
      event({ type: 'tool.result', call: 'c1', outcome: 'ok', output: { degrees: 4 }, ms: 1 }),
      event({ type: 'tool.result', call: 'c2', outcome: 'error', error: 'no such city', ms: 1 }),
      event({ type: 'iteration.end', n: 1, stop: 'tool_calls' }),
      event({ type: 'token', text: 'Four degrees.' }),
    ]
    const { sent } = eventsOf({ events, end: { outcome: 'done', seq: 99 } }, version)
    await verify(version, sent)
    const starts = sent.filter((one) => one.type === 'TOOL_CALL_START')
    const [first] = sent.filter((one) => one.type === 'TEXT_MESSAGE_START')
    expect(starts.map(({ parentMessageId }) => parentMessageId)).toEqual([first!.messageId, first!.messageId])
    const results = sent.filter((one) => one.type === 'TOOL_CALL_RESULT')
    expect(results.map(({ content }) => content)).toEqual(['{"degrees":4}', 'Error: no such city'])
  })

  test('say what a person is asked as interrupts, and close the sub-agents that wait', async () => {
    const events = [
      event({ type: 'agent.start', agent: 'a1', name: 'helper' }),
      event({ type: 'tool.call', agent: 'a1', call: 'c1', name: 'pay', args: {} }),
      event({ type: 'request', agent: 'a1', id: 'q1', kind: 'approve', prompt: 'Pay?', call: 'c1', expiresAt: at }),
    ]
    const { sent, isOver } = eventsOf({ events }, version)
    await verify(version, sent)
    expect(isOver).toBe(true)
    expect(sent.at(-1)).toMatchObject({
      type: 'RUN_FINISHED',
      outcome: {
        type: 'interrupt',
        interrupts: [
          { id: 'q1', reason: 'approve', message: 'Pay?', toolCallId: 'c1', expiresAt: new Date(at).toISOString() },
        ],
      },
    })
    expect(sent).toContainEqual({
      type: 'SUBAGENT_FINISHED',
      subagentRunId: 'a1',
      outcome: { type: 'suspended', interruptIds: ['q1'] },
    })
  })
})

/** The questions and calls that wait after these events of AG-UI 1. */
function waitingAfter(sent: readonly AgUiEvent[]): Set<string> {
  const last = sent.at(-1)
  if (last?.type !== 'RUN_FINISHED') throw new Error(`nothing waits after ${String(last?.type)}`)
  const { outcome } = last
  if (outcome.type === 'interrupt') return new Set(outcome.interrupts.map(({ id }) => id))
  return new Set(outcome.type === 'success' ? outcome.pendingToolCallIds : [])
}

function expectEnd(version: 0 | 1, sent: readonly AgUiEvent[], isOver: boolean, { outcome }: RunEnd): void {
  const last = sent.at(-1)
  expect(sent.filter(({ type }) => type === 'RUN_FINISHED' || type === 'RUN_ERROR')).toEqual([last])
  if (isOver) return
  if (outcome === 'done') expect(last).toMatchObject({ type: 'RUN_FINISHED', outcome: { type: 'success' } })
  else if (outcome === 'error') expect(last).toMatchObject({ type: 'RUN_ERROR', code: 'provider_error' })
  else if (version === 1) expect(last).toMatchObject({ type: 'RUN_FINISHED', outcome: { type: 'cancelled' } })
  else expect(last).toMatchObject({ type: 'RUN_ERROR', code: 'cancelled' })
}
