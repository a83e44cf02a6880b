import { describe, expect, test } from 'vitest'
import { type DemoOptions, demo } from '../../../server/models/demo.ts'
import type { ModelEvent, ModelRequest } from '../../../server/models/model.ts'
import { modelSuite } from '../../conformance/model.ts'

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
    const events: ModelEvent[] = []
    for await (const event of model.stream({ messages, signal, ...request })) events.push(event)
    return { events, text: events.map((event) => (event.type === 'text' ? event.text : '')).join('') }
  }

  test('says the same to the same prompt, and something else to another or with another seed', async () => {
    const { text } = await said('Weather in Oslo?')
    expect((await said('Weather in Oslo?')).text).toBe(text)
    const others = await Promise.all([1, 2, 3, 4, 5].map((seed) => said('Weather in Oslo?', { seed })))
    expect(others.some((other) => other.text !== text)).toBe(true)
    expect((await said('Weather in Rome?')).text).not.toBe(text)
  })

  test('comes back to what it was asked, on one line and not at length', async () => {
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
})
