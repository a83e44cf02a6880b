import type OpenAI from 'openai'
import { ChatCompletionStream } from 'openai/lib/ChatCompletionStream'
import { ResponseStream } from 'openai/lib/responses/ResponseStream'
import { describe, expect, test } from 'vitest'
import { readCallId } from '../../formats/openai-calls.ts'
import { ChatAnswer, type ChatChunk, ChatChunks } from '../../formats/openai-chat.ts'
import type { OpenAiError } from '../../formats/openai-error.ts'
import { type ResponseEvent, ResponseEvents } from '../../formats/openai-responses.ts'
import { type RecordedRun, randomRun } from '../helpers/random-run.ts'
import { repetitions } from '../helpers/tier.ts'

const seeds = Array.from({ length: repetitions({ quick: 80, full: 3_000 }) }, (_, n) => 2_000 + n)
const CHAT = { run: 'r_1', model: 'chat', created: 1_700_000_000, client: 'p', includeUsage: true }
const RESPONSE = { id: 'r_1', run: 'r_1', model: 'chat', created: 1_700_000_000, client: 'p' }

/** What a stock stream of the package reads: one JSON text a line. */
function linesOf(pieces: readonly object[]): ReadableStream<Uint8Array> {
  const lines = pieces.map((piece) => `${JSON.stringify(piece)}\n`).join('')
  return new Blob([lines]).stream() as ReadableStream<Uint8Array>
}

function chunksOf({ events, end }: RecordedRun): { pieces: (ChatChunk | OpenAiError)[]; isOver: boolean } {
  const format = new ChatChunks(CHAT)
  const pieces: (ChatChunk | OpenAiError)[] = format.begin()
  for (const event of events) pieces.push(...format.take(event))
  const { isOver } = format
  return { pieces: [...pieces, ...format.end(end)], isOver }
}

function responseEventsOf({ events, end }: RecordedRun): {
  pieces: ResponseEvent[]
  format: ResponseEvents
  isOver: boolean
} {
  const format = new ResponseEvents(RESPONSE)
  const pieces = format.begin()
  for (const event of events) pieces.push(...format.take(event))
  const { isOver } = format
  pieces.push(...format.end(end))
  return { pieces, format, isOver }
}

/** The text that a run says by itself, up to the event at which an answer was over. */
function textOf({ events }: RecordedRun): string {
  return events.map((event) => (event.type === 'token' && event.agent === undefined ? event.text : '')).join('')
}

describe('the chunks of a chat completion', () => {
  test('are read by the stock package, whatever the run says, and end as it did', async () => {
    for (const seed of seeds) {
      const run = randomRun(seed)
      const { pieces, isOver } = chunksOf(run)
      const errors = pieces.filter((piece): piece is OpenAiError => 'error' in piece)
      const hasGap = run.events.some(({ type }) => type === 'gap')
      const message = `seed ${seed}`
      if (!isOver && run.end.outcome !== 'done') expect(errors, message).toHaveLength(1)
      else if (!hasGap) expect(errors, message).toHaveLength(0)
      if (errors.length > 0) {
        const reasons = pieces
          .flatMap((piece) => ('choices' in piece ? piece.choices : []))
          .map((one) => one.finish_reason)
        expect(
          reasons.every((reason) => reason === null),
          message,
        ).toBe(true)
        continue
      }
      const read = ChatCompletionStream.fromReadableStream(linesOf(pieces))
      const { choices, usage } = await read.finalChatCompletion()
      const [choice] = choices
      const text = choice?.message.content ?? ''
      expect(textOf(run).startsWith(text) || run.end.result !== undefined, message).toBe(true)
      expect(choice?.finish_reason === 'tool_calls', message).toBe(isOver)
      expect(usage?.total_tokens, message).toBe((usage?.prompt_tokens ?? 0) + (usage?.completion_tokens ?? 0))
      const answer = new ChatAnswer()
      for (const piece of pieces) answer.add(piece as ChatChunk)
      expect(answer.completion().choices[0]?.message.content ?? '', message).toBe(text)
    }
  })

  test('never say that a run which was cancelled has stopped by itself', () => {
    for (const seed of seeds) {
      const run = { ...randomRun(seed), end: { outcome: 'cancelled', seq: 1_000 } } as RecordedRun
      const { pieces, isOver } = chunksOf(run)
      if (isOver) continue
      expect(pieces.at(-1), `seed ${seed}`).toMatchObject({ error: { code: 'cancelled' } })
    }
  })
})

describe('the events of a response', () => {
  test('are read by the stock package, whatever the run says, and end as it did', async () => {
    for (const seed of seeds) {
      const run = randomRun(seed)
      const { pieces, format, isOver } = responseEventsOf(run)
      const read = ResponseStream.fromReadableStream(linesOf(pieces))
      const response = (await read.finalResponse()) as OpenAI.Responses.Response
      const message = `seed ${seed}`
      expect(response.output_text, message).toBe(format.response.output_text)
      expect(response.output, message).toMatchObject(format.response.output)
      const done = isOver
        ? ['completed', 'failed']
        : { done: ['completed', 'incomplete'], error: ['failed'], cancelled: ['cancelled'] }[run.end.outcome]
      expect(done, message).toContain(response.status)
    }
  })

  test('have numbers that rise, and that are the same wherever a reader began', () => {
    for (const seed of seeds) {
      const run = randomRun(seed)
      const { pieces } = responseEventsOf(run)
      const numbers = pieces.map(({ sequence_number: n }) => n)
      expect(
        [...numbers].sort((a, b) => a - b),
        `seed ${seed}`,
      ).toEqual(numbers)
      expect(new Set(numbers).size, `seed ${seed}`).toBe(numbers.length)
      expect(responseEventsOf(run).pieces).toEqual(pieces)
    }
  })
})

test('the id of a call names its run and the call', () => {
  expect(readCallId('r_a-b_c.call.1')).toEqual({ run: 'r_a-b_c', call: 'call.1' })
  for (const id of ['', 'call_1', 'r_x', '.x', 'r_.']) expect(readCallId(id)).toBeUndefined()
})
