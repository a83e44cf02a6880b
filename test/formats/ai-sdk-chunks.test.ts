import type { UIMessage } from 'ai'
import { describe, expect, test } from 'vitest'
import type { UiChunk } from '../../formats/ai-sdk-chunk.ts'
import { type UiChunkOptions, UiChunks } from '../../formats/ai-sdk-chunks.ts'
import { continuationOf } from '../../formats/ai-sdk-messages.ts'
import type { RunEnd, RunEvent, StreamEvent } from '../../protocol/events.ts'
import { collected } from '../helpers/garbage.ts'
import { type RecordedRun, randomRun } from '../helpers/random-run.ts'
import { repetitions } from '../helpers/tier.ts'
import { AI, type Generation, readMessage } from '../helpers/ui-messages.ts'

const RUN = 'r_1'
const seeds = Array.from({ length: repetitions({ quick: 40, full: 2_000 }) }, (_, n) => 1_000 + n)

function chunksOf(
  { events, end }: Partial<RecordedRun>,
  options: Partial<UiChunkOptions> = {},
): { chunks: UiChunk[]; taken: number; isOver: boolean } {
  const format = new UiChunks({ run: RUN, ...options })
  const chunks = format.begin()
  let taken = 0
  for (const event of events ?? []) {
    if (format.isOver) break
    taken++
    chunks.push(...format.take(event))
  }
  const { isOver } = format
  if (end) chunks.push(...format.end(end))
  return { chunks, taken, isOver }
}

function textOf({ parts }: UIMessage): string {
  return parts.map((part) => (part.type === 'text' ? part.text : '')).join('')
}

function answerOf(events: readonly StreamEvent[]): string {
  return events.map((event) => (event.type === 'token' && event.agent === undefined ? event.text : '')).join('')
}

/** The chunks of `types`, in order. */
function ofType<Type extends UiChunk['type']>(
  chunks: readonly UiChunk[],
  type: Type,
): Extract<UiChunk, { type: Type }>[] {
  return chunks.filter((chunk): chunk is Extract<UiChunk, { type: Type }> => chunk.type === type)
}

const at = 1_700_000_000_000
let lastSeq = 0
function event(said: RunEvent): StreamEvent {
  return { ...said, seq: ++lastSeq, at }
}
const done: RunEnd = { outcome: 'done', seq: 99 }

describe.each([6, 7] as const)('the chunks of a run, read by ai %i,', (version: Generation) => {
  test('are valid for any run, cut anywhere, and end as the run did', { timeout: 60_000 }, async () => {
    for (const seed of seeds) {
      const run = randomRun(seed, { rewinds: true })
      try {
        const cut = seed % (run.events.length + 1)
        await readMessage(version, chunksOf({ events: run.events.slice(0, cut) }, { version }).chunks)
        const { chunks, isOver } = chunksOf(run, { version })
        await readMessage(version, chunks)
        expectEnd(chunks, isOver, run.end)
      } catch (cause) {
        throw new Error(`seed ${seed}`, { cause })
      }
    }
  })

  test('give the whole answer, also where it was interrupted for approvals and goes on in further requests', async () => {
    for (const seed of seeds) {
      const run = randomRun(seed)
      let { chunks, taken, isOver } = chunksOf(run, { version })
      let { message } = await readMessage(version, chunks)
      const calls = new Set(run.events.map((event) => String((event as { call?: string }).call)))
      while (isOver) {
        const answered = answerAll(message as UIMessage)
        const continued = continuationOf([answered])
        if (!continued) throw new Error(`seed ${seed}: the message continues nothing`)
        expect(calls).toEqual(new Set([...calls, ...continued.known.map(({ id }) => id)]))
        const rest = { ...run, events: run.events.slice(taken) }
        const next = chunksOf(rest, { version, known: continued.known, refused: continued.refused })
        ;({ isOver } = next)
        taken += next.taken
        chunks = next.chunks
        ;({ message } = await readMessage(version, chunks, answered))
      }
      expect(textOf(message as UIMessage), `seed ${seed}`).toBe(answerOf(run.events))
      expectEnd(chunks, false, run.end)
    }
  })

  test('write the arguments of a call from their beginning when the request before ended within them', async () => {
    const begun = [
      event({ type: 'agent.start', agent: 'a1', name: 'clerk' }),
      event({ type: 'tool.args', call: 'c1', name: 'weather', text: '{"city":' }),
      event({ type: 'tool.call', call: 'c2', name: 'pay', args: {}, agent: 'a1' }),
      event({ type: 'request', id: 'q1', kind: 'approve', call: 'c2', agent: 'a1' }),
    ]
    const first = await readMessage(version, chunksOf({ events: begun }, { version }).chunks)
    const answered = answerAll(first.message as UIMessage)
    const { known, refused } = continuationOf([answered])!
    const events = [
      event({ type: 'tool.result', call: 'c2', outcome: 'ok', output: 'paid', ms: 1, agent: 'a1' }),
      event({ type: 'tool.args', call: 'c1', text: '"Oslo"}' }),
      event({ type: 'tool.call', call: 'c1', name: 'weather', args: { city: 'Oslo' } }),
      event({ type: 'tool.result', call: 'c1', outcome: 'ok', output: 4, ms: 1 }),
    ]
    const { message } = await readMessage(
      version,
      chunksOf({ events, end: done }, { version, known, refused }).chunks,
      answered,
    )
    const calls = message!.parts.filter((part) => 'toolCallId' in part)
    expect(calls).toMatchObject([
      { toolCallId: 'c1', state: 'output-available', input: { city: 'Oslo' } },
      { toolCallId: 'c2', state: 'output-available', output: 'paid' },
    ])
  })

  test('give the same message when they are replayed from the beginning', async () => {
    for (const seed of seeds.slice(0, 10)) {
      const run = randomRun(seed)
      const whole = await readMessage(version, chunksOf(run, { version }).chunks)
      const again = await readMessage(version, chunksOf(structuredClone(run), { version }).chunks)
      expect(again.message).toEqual(whole.message)
    }
  })

  test('of one turn with tools make a message that the AI SDK would store', async () => {
    const events = [
      event({ type: 'iteration', n: 1, max: 5 }),
      event({ type: 'thinking', text: 'hm' }),
      event({ type: 'token', text: 'I look. ' }),
      event({ type: 'tool.args', call: 'c1', name: 'weather', text: '{"city":' }),
      event({ type: 'tool.args', call: 'c1', text: '"Oslo"}' }),
      event({ type: 'tool.call', call: 'c1', name: 'weather', args: { city: 'Oslo' } }),
      event({ type: 'tool.progress', call: 'c1', note: 'asking' }),
      event({ type: 'tool.result', call: 'c1', outcome: 'ok', output: { degrees: 4 }, ms: 3 }),
      event({ type: 'iteration.end', n: 1, stop: 'tool_calls' }),
      event({ type: 'iteration', n: 2, max: 5 }),
      event({ type: 'token', text: 'Four degrees.' }),
      event({ type: 'iteration.end', n: 2, stop: 'stop' }),
    ]
    const { message } = await readMessage(version, chunksOf({ events, end: done }, { version }).chunks)
    expect(message).toMatchObject({
      id: RUN,
      role: 'assistant',
      metadata: { millrace: { run: RUN, outcome: 'done' } },
      parts: [
        { type: 'step-start' },
        { type: 'reasoning', text: 'hm', state: 'done' },
        { type: 'text', text: 'I look. ', state: 'done' },
        { type: 'tool-weather', state: 'output-available', input: { city: 'Oslo' }, output: { degrees: 4 } },
        { type: 'step-start' },
        { type: 'text', text: 'Four degrees.', state: 'done' },
      ],
    })
    const valid = await AI[version].safeValidateUIMessages({ messages: [message] })
    expect(valid.success).toBe(true)
  })

  test('never let a message be sent again by itself, however the run ends after a tool', async () => {
    const events = [
      event({ type: 'tool.call', call: 'c1', name: 'weather', args: {} }),
      event({ type: 'tool.result', call: 'c1', outcome: 'ok', output: 1, ms: 3 }),
      event({ type: 'tool.call', call: 'c2', name: 'weather', args: {} }),
    ]
    for (const seed of [1, 2, 3, 4, 5, 6]) {
      const { message } = await readMessage(version, chunksOf({ events, end: randomRun(seed).end }, { version }).chunks)
      const { lastAssistantMessageIsCompleteWithToolCalls: resends } = AI[version]
      expect(resends({ messages: [message as UIMessage] })).toBe(false)
    }
  })

  test('do not mix the words and calls of sub-agents with the answer', async () => {
    const events = [
      event({ type: 'agent.start', agent: 'a1', name: 'helper', run: 'r_2' }),
      event({ type: 'token', agent: 'a1', text: 'aside' }),
      event({ type: 'tool.call', agent: 'a1', call: 'c1', name: 'find', args: {} }),
      event({ type: 'tool.result', agent: 'a1', call: 'c1', outcome: 'ok', output: 1, ms: 1 }),
      event({ type: 'agent.end', agent: 'a1', outcome: 'ok' }),
      event({ type: 'token', text: 'answer' }),
    ]
    const { chunks } = chunksOf({ events, end: done }, { version })
    const { message } = await readMessage(version, chunks)
    expect(textOf(message as UIMessage)).toBe('answer')
    expect(chunks).toContainEqual({
      type: 'data-agent-token',
      data: { agent: 'a1', text: 'aside' },
      transient: true,
    })
    expect(message?.parts).toMatchObject([
      { type: 'step-start' },
      { type: 'data-agent', id: 'a1', data: { status: 'ok' } },
      { type: 'dynamic-tool', toolName: 'find', callProviderMetadata: { millrace: { agent: 'a1' } } },
      { type: 'text' },
      { type: 'step-start' },
    ])
  })
})

test('the answer is over once all that goes on waits for approvals, and not while another tool is at work', () => {
  const format = new UiChunks({ run: RUN })
  format.begin()
  format.take(event({ type: 'tool.call', call: 'c1', name: 'pay', args: {} }))
  format.take(event({ type: 'tool.call', call: 'c2', name: 'look', args: {} }))
  format.take(event({ type: 'request', id: 'q1', kind: 'approve', call: 'c1' }))
  expect(format.isOver).toBe(false)
  const last = format.take(event({ type: 'tool.result', call: 'c2', outcome: 'ok', output: 1, ms: 1 }))
  expect(format.isOver).toBe(true)
  expect(last.at(-1)).toMatchObject({ type: 'finish', finishReason: 'tool-calls' })
})

test('the approval of a sub-agent is not hidden behind the call of the agent that waits for it', () => {
  const format = new UiChunks({ run: RUN })
  format.begin()
  format.take(event({ type: 'tool.call', call: 'c1', name: 'helper', args: {} }))
  format.take(event({ type: 'agent.start', agent: 'a1', name: 'helper' }))
  format.take(event({ type: 'tool.call', agent: 'a1', call: 'c2', name: 'pay', args: {} }))
  format.take(event({ type: 'request', agent: 'a1', id: 'q1', kind: 'approve', call: 'c2' }))
  expect(format.isOver).toBe(true)
})

test('a call that is given to a page ends the answer, and one that another page runs does not', () => {
  for (const [to, isOver] of [
    ['mine', true],
    ['other', false],
  ] as const) {
    const format = new UiChunks({ run: RUN, page: 'mine' })
    format.begin()
    format.take(event({ type: 'tool.call', call: 'c1', name: 'ask', args: {} }))
    format.take(event({ type: 'data', name: 'client.tool', value: { to, call: 'c1', name: 'ask', args: {} } }))
    expect(format.isOver).toBe(isOver)
  }
})

describe('a run that is set back', () => {
  const step = [
    event({ type: 'iteration', n: 1, max: 2 }),
    event({ type: 'token', text: 'kept ' }),
    event({ type: 'iteration.end', n: 1, stop: 'stop' }),
  ]
  const second = [
    event({ type: 'iteration', n: 2, max: 2 }),
    event({ type: 'token', text: 'also ' }),
    event({ type: 'tool.call', call: 'c1', name: 'look', args: {} }),
    event({ type: 'token', text: 'void' }),
    event({ type: 'tool.result', call: 'c1', outcome: 'ok', output: 'void', ms: 1 }),
  ]
  const [begun, , , voided] = second as [StreamEvent, StreamEvent, StreamEvent, StreamEvent]
  const back = (next: number): StreamEvent => ({ type: 'gap', from: next, next, reason: 'rewound', seq: next - 1, at })

  test('to the beginning of its step begins that step again', async () => {
    const again = [event({ type: 'iteration', n: 2, max: 2 }), event({ type: 'token', text: 'said again' })]
    const { chunks } = chunksOf({ events: [...step, ...second, back(begun.seq), ...again], end: done })
    expect(ofType(chunks, 'reset-step')).toHaveLength(1)
    const { message } = await readMessage(7, chunks)
    expect(message?.parts).toMatchObject([
      { type: 'step-start' },
      { type: 'text', text: 'kept ' },
      { type: 'step-start' },
      { type: 'text', text: 'said again' },
    ])
  })

  test('to an item within its step takes back what is behind it, and nothing else', async () => {
    const again = [event({ type: 'tool.result', call: 'c1', outcome: 'ok', output: 'real', ms: 1 })]
    const { chunks } = chunksOf({ events: [...step, ...second, back(voided.seq), ...again], end: done })
    const { message, errors } = await readMessage(7, chunks)
    expect(errors).toEqual([])
    expect(message?.parts).toMatchObject([
      { type: 'step-start' },
      { type: 'text', text: 'kept ' },
      { type: 'step-start' },
      { type: 'text', text: 'also ', state: 'done' },
      { type: 'tool-look', state: 'output-available', output: 'real' },
      { type: 'step-start' },
    ])
  })

  const earlier = { id: 'c0', name: 'look', agent: undefined, state: 'done' } as const
  test.each([
    ['', undefined],
    [', also in a message that it continues', [earlier]],
  ] as const)('shows each part again as it was before the step%s', async (_, known) => {
    const shows = (id: string, status: 'start' | 'done'): StreamEvent => event({ type: 'step', id, name: id, status })
    const begins = [shows('a', 'start'), shows('b', 'start'), shows('c', 'start')]
    const next = [
      event({ type: 'iteration', n: 2, max: 3 }),
      shows('a', 'done'),
      shows('b', 'done'),
      shows('d', 'start'),
    ]
    const voids = back(next[2]!.seq)
    const again = [event({ type: 'token', text: 'on' }), shows('c', 'done'), shows('d', 'start')]
    const events = [...begins, ...next, voids, ...again, back(again[1]!.seq)]
    const { chunks } = chunksOf({ events, end: done }, known && { known })
    expect(ofType(chunks, 'reset-step')).toHaveLength(2)
    const { message } = await readMessage(7, chunks)
    const parts = message?.parts.flatMap((part) => (part.type === 'data-step' ? [part.data] : []))
    expect(parts).toMatchObject([
      { id: 'a', status: 'done' },
      { id: 'b', status: 'start' },
      { id: 'c', status: 'start' },
    ])
  })

  test('has the sub-agents at work that were so before, and their ends say again what they are', async () => {
    const [a1, a2] = ['a1', 'a2'].map((agent) => event({ type: 'agent.start', agent, name: `${agent} name`, run: RUN }))
    const ends = (agent: string): StreamEvent => event({ type: 'agent.end', agent, outcome: 'ok' })
    const begins = event({ type: 'iteration', n: 2, max: 3 })
    const first = [ends('a1'), ends('a2')]
    const events = [a1!, a2!, begins, ...first, back(first[1]!.seq), ends('a2'), back(first[0]!.seq), ends('a2')]
    const { message } = await readMessage(7, chunksOf({ events, end: done }).chunks)
    const parts = message?.parts.flatMap((part) => (part.type === 'data-agent' ? [part.data] : []))
    expect(parts).toMatchObject([
      { name: 'a1 name', status: 'running' },
      { name: 'a2 name', status: 'ok' },
    ])
  })

  test('to an earlier step, or for version 6, ends the stream with an error that says what to do', () => {
    for (const [version, next] of [
      [6, voided.seq],
      [7, begun.seq - 1],
    ] as const) {
      const { chunks, isOver } = chunksOf({ events: [...step, ...second, back(next)], end: done }, { version })
      expect(isOver).toBe(true)
      expect(chunks.at(-1)).toMatchObject({ type: 'error', errorText: expect.stringContaining('load the chat again') })
    }
  })

  test('within a step becomes the message of a run that said only what counts, whatever it said', async () => {
    let count = 0
    for (const seed of Array.from({ length: 10 * seeds.length }, (_, n) => 1_000 + n)) {
      const { events, end } = randomRun(seed, { rewinds: true })
      const { chunks, taken, isOver } = chunksOf({ events, end })
      if (ofType(chunks, 'reset-step').length === 0 || (isOver && chunks.at(-1)?.type === 'error')) continue
      const { message } = await readMessage(7, chunks)
      const kept = counting(events.slice(0, taken))
      expect(textOf(message as UIMessage), `seed ${seed}`).toBe(answerOf(kept))
      const { message: straight } = await readMessage(7, chunksOf({ events: kept, end }).chunks)
      const [said, meant] = [contentOf(message), contentOf(straight)]
      // A call that is made again has a part for each step.
      if ([said, meant].some((parts) => new Set(parts.flatMap(callOf)).size < parts.flatMap(callOf).length)) continue
      count++
      expect(said, `seed ${seed}`).toEqual(meant)
    }
    expect(count).toBeGreaterThan(10)
  })
})

test('a reader whose steps cannot begin again keeps nothing of the parts that it was sent', async () => {
  const format = new UiChunks({ run: RUN, resets: false })
  format.begin()
  format.take(event({ type: 'agent.start', agent: 'a1', name: 'writer', run: 'r_2' }))
  const outputs = Array.from({ length: 100 }, (_, n) => {
    const output = { n }
    const id = `each[${n}]`
    const pieces = [
      ...format.take(event({ type: 'step', id, name: 'each', status: 'done', output })),
      ...format.take(event({ type: 'data', name: 'agent', value: { id, output } })),
    ]
    expect(pieces).toMatchObject([{ data: { output } }, { data: { output } }])
    return [id, new WeakRef(output)] as const
  })
  await collected(Object.fromEntries(outputs))
  const ended = format.take(event({ type: 'agent.end', agent: 'a1', outcome: 'ok' }))
  expect(ended).toMatchObject([{ type: 'data-agent', data: { name: 'writer', run: 'r_2', status: 'ok' } }])
})

/**
 * What a message has, without its division into steps: where the beginning of a step no longer counts, that step stays,
 * and what comes next is in it.
 */
function contentOf(message: UIMessage | undefined): UIMessage['parts'] {
  const parts: UIMessage['parts'] = []
  for (const part of message?.parts ?? []) {
    const last = parts.at(-1)
    if (part.type === 'step-start') continue
    if (last && 'text' in last && 'text' in part && last.type === part.type)
      parts[parts.length - 1] = { ...last, text: `${last.text}${part.text}` }
    else parts.push(part)
  }
  return parts
}

function callOf(part: UIMessage['parts'][number]): string[] {
  return 'toolCallId' in part ? [part.toolCallId] : []
}

/** The events that count after all rewinds. */
function counting(events: readonly StreamEvent[]): StreamEvent[] {
  let kept: StreamEvent[] = []
  for (const one of events) {
    if (one.type === 'gap' && one.reason === 'rewound') kept = kept.filter(({ seq }) => seq < one.next)
    else kept.push(one)
  }
  return kept
}

/** The end of the chunks says how the run ended, and nothing else does. */
function expectEnd(chunks: readonly UiChunk[], isOver: boolean, end: RunEnd): void {
  const reasons = ofType(chunks, 'finish').map(({ finishReason }) => finishReason)
  const { outcome } = end
  if (isOver) {
    expect([['tool-calls'], []]).toContainEqual(reasons)
    return
  }
  expect(ofType(chunks, 'abort')).toHaveLength(outcome === 'cancelled' ? 1 : 0)
  expect(ofType(chunks, 'error')).toHaveLength(outcome === 'error' ? 1 : 0)
  if (outcome === 'done') expect([['stop'], ['length'], ['other']]).toContainEqual(reasons)
  else expect([[], ['interrupted']]).toContainEqual(reasons)
}

/** The message after a person has answered everything in it. */
function answerAll(message: UIMessage): UIMessage {
  const parts = message.parts.map((part) => {
    const { state, approval } = part as { state?: string; approval?: { id: string } }
    if (state === 'approval-requested')
      return { ...part, state: 'approval-responded', approval: { ...approval, approved: true } }
    return part
  })
  return { ...message, parts } as UIMessage
}
