import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { type DemoOptions, demo } from '../../../server/models/demo.ts'
import type { ModelEvent, ModelRequest } from '../../../server/models/model.ts'
import { modelSuite } from '../../conformance/model.ts'
import { readAll } from '../../helpers/read-all.ts'

modelSuite('demo', async () => demo({ tokensPerSec: Number.POSITIVE_INFINITY }))

/** Its timers fire as soon as they are set, and are remembered. */
function immediate(waits: number[]): NonNullable<DemoOptions['runtime']> {
  return {
    setTimer(ms, callback) {
      waits.push(ms)
      queueMicrotask(callback)
      return { clear: () => {} }
    },
  }
}

describe('the demo model', () => {
  async function said(
    prompt: string,
    options: DemoOptions = {},
    request: Partial<ModelRequest> = {},
  ): Promise<{ events: ModelEvent[]; text: string }> {
    const model = demo({ tokensPerSec: Number.POSITIVE_INFINITY, ...options })
    const { signal } = new AbortController()
    const messages = [{ role: 'user', content: prompt }] as const
    const events = await readAll(model.stream({ messages, signal, ...request }))
    return { events, text: events.map((event) => (event.type === 'text' ? event.text : '')).join('') }
  }

  test('gives the same answer to the same prompt, and another to another prompt or with another seed', async () => {
    const { text } = await said('Weather in Oslo?')
    expect((await said('Weather in Oslo?')).text).toBe(text)
    const others = await Promise.all([1, 2, 3, 4, 5].map((seed) => said('Weather in Oslo?', { seed })))
    expect(others.some((other) => other.text !== text)).toBe(true)
    expect((await said('Weather in Rome?')).text).not.toBe(text)
  })

  test('quotes its prompt, on one line and shortened', async () => {
    expect((await said('Weather\n  in Oslo?')).text).toContain('“Weather in Oslo?”')
    const { text } = await said('👩 '.repeat(200))
    expect(text).toContain('…”')
    expect(text.length).toBeLessThan(1_000)
    expect((await said('')).text).toContain('“nothing”')
  })

  test('counts its tokens, and stops at maxTokens', async () => {
    const { events } = await said('one two', {}, { maxTokens: 4 })
    expect(events.map(({ type }) => type)).toEqual(['text', 'text', 'text', 'text', 'usage', 'finish'])
    expect(events[4]).toEqual({ type: 'usage', input: 2, output: 4 })
    expect(events[5]).toEqual({ type: 'finish', stop: 'length' })
  })

  const weather = {
    name: 'get_weather',
    description: 'Weather now',
    parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
  }
  const order = {
    name: 'order',
    description: 'Orders',
    parameters: {
      type: 'object',
      properties: {
        size: { enum: ['small', 'large'] },
        pieces: { type: 'integer' },
        gift: { type: 'boolean' },
        to: { type: 'string' },
        note: { type: 'string' },
      },
      required: ['size', 'pieces', 'gift', 'to'],
    },
  }
  const callsOf = (events: ModelEvent[]) =>
    events.flatMap((event) => (event.type === 'tool.call' ? [[event.call, event.name, event.args]] : []))

  test('calls the tools that the question mentions, once for each name in it', async () => {
    const { events, text } = await said('Weather in Oslo, Rome and Lima?', {}, { tools: [weather, order] })
    expect(callsOf(events)).toEqual([
      ['call_1', 'get_weather', { city: 'Oslo' }],
      ['call_2', 'get_weather', { city: 'Rome' }],
      ['call_3', 'get_weather', { city: 'Lima' }],
    ])
    expect(text).toBe('')
    expect(events.at(-1)).toEqual({ type: 'finish', stop: 'tool_calls' })
    const pieces = events.filter((event) => event.type === 'tool.args' && event.call === 'call_2')
    expect(pieces.map((event) => 'text' in event && event.text).join('')).toBe('{"city":"Rome"}')
    expect(events[0]).toMatchObject({ type: 'thinking' })
  })

  test('finds arguments of every sort in the question', async () => {
    const { events } = await said('Please order 3 large ones for Anna', {}, { tools: [weather, order] })
    expect(callsOf(events)).toEqual([['call_1', 'order', { size: 'large', pieces: 3, gift: true, to: 'Anna' }]])
  })

  test.each([
    ['order', z.int().min(2), 2],
    ['order', z.int().positive(), 1],
    ['order', z.int().gt(4), 5],
    ['order 7', z.int().max(6), 6],
    ['order 7', z.int().lt(6), 5],
    ['order 7', z.int().min(2).max(12), 7],
  ])('sends for “%s” a number within the bounds that the tool states (%#)', async (question, pieces, sent) => {
    const parameters = z.toJSONSchema(z.object({ pieces }))
    const { events } = await said(question, {}, { tools: [{ ...order, parameters }] })
    expect(callsOf(events)).toEqual([['call_1', 'order', { pieces: sent }]])
  })

  test('calls nothing that is not mentioned, and thinks when thinking is on', async () => {
    const { events } = await said('Think about mills', {}, { tools: [weather, order] })
    expect(callsOf(events)).toEqual([])
    expect(events[0]).toMatchObject({ type: 'thinking' })
    expect(events.at(-1)).toEqual({ type: 'finish', stop: 'stop' })
  })

  test('repeats the outputs of its tools, and does not call them again', async () => {
    const { events, text } = await said(
      'unused',
      {},
      {
        tools: [weather],
        messages: [
          { role: 'user', content: 'Weather in Oslo?' },
          { role: 'assistant', content: '', calls: [{ call: 'a', name: 'get_weather', args: {} }] },
          { role: 'tool', call: 'a', name: 'get_weather', content: 'rain' },
          { role: 'tool', call: 'b', name: 'get_weather', content: 'Error: no such city' },
        ],
      },
    )
    expect(callsOf(events)).toEqual([])
    expect(text).toContain('get_weather says: rain. get_weather did not work: no such city.')
  })

  test('types: it waits a thirtieth of a second before each token', async () => {
    const waits: number[] = []
    const runtime = immediate(waits)
    await said('hello', { tokensPerSec: 30, runtime }, { maxTokens: 3 })
    expect(waits).toEqual([1000 / 30, 1000 / 30, 1000 / 30])
  })

  test('keeps its pace where it is faster than a timer', async () => {
    const waits: number[] = []
    const runtime = immediate(waits)
    await said('hello', { tokensPerSec: 4_000, runtime }, { maxTokens: 8 })
    expect(waits).toEqual([1, 1])
  })

  test('stops typing at once when it is stopped', async () => {
    const controller = new AbortController()
    let cleared = false
    const model = demo({ runtime: { setTimer: () => ({ clear: () => (cleared = true) }) } })
    const next = model.stream({ messages: [], signal: controller.signal })[Symbol.asyncIterator]().next()
    const reason = new Error('stop')
    controller.abort(reason)
    await expect(next).rejects.toBe(reason)
    expect(cleared).toBe(true)
  })

  test.each([0, -1, Number.NaN])('cannot type %d tokens a second', (tokensPerSec) => {
    expect(() => demo({ tokensPerSec })).toThrow('tokensPerSec')
  })

  test('takes the seed of a request before its own', async () => {
    const { text } = await said('Weather in Oslo?', { seed: 3 })
    expect((await said('Weather in Oslo?', { seed: 1 }, { seed: 3 })).text).toBe(text)
  })

  test('calls no tools with the tool choice `none`', async () => {
    const { events } = await said('weather in Oslo', {}, { tools: [weather], toolChoice: 'none' })
    expect(events.filter(({ type }) => type === 'tool.call' || type === 'warning')).toEqual([])
  })

  test('warns about settings that it does not have', async () => {
    const settings = { temperature: 1, topP: 1, stop: ['x'], effort: 'low', toolChoice: 'required' } as const
    const { events } = await said('hi', {}, { ...settings, parallelToolCalls: false, tools: [weather] })
    expect(events[0]).toEqual({
      type: 'warning',
      code: 'unsupported_setting',
      message: expect.stringMatching(
        /no temperature, no topP, no stop, no effort, no toolChoice, no parallelToolCalls/,
      ),
    })
  })
})
