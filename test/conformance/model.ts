import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { getEventListeners } from 'node:events'
import type { Socket } from 'node:net'
import { inspect } from 'node:util'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { z } from 'zod'
import type { ErrorCode, MillraceError } from '../../protocol/errors.ts'
import type { Runtime } from '../../protocol/runtime.ts'
import { tool } from '../../server/index.ts'
import type { Message, Model, ModelEvent, ModelRequest } from '../../server/models/model.ts'
import { ModelFailure } from '../../server/models/model-failure.ts'
import { servedAgent } from '../helpers/agent-run.ts'
import { FakeProvider, wallMs } from '../helpers/fake-provider.ts'
import type { Behaviour } from '../helpers/fake-provider-wire.ts'
import { freePort } from '../helpers/free-port.ts'
import { heldByLoopback } from '../helpers/held-by-loopback.ts'
import { readToEnd } from '../helpers/read-all.ts'
import { checkConversation } from '../helpers/strict-conversation.ts'
import { repetitions } from '../helpers/tier.ts'

/** What a provider needs to know apart from its address. */
type Options = { maxRetries?: number; runtime?: Pick<Runtime, 'setTimer' | 'random'> }

/** One way to ask the fake provider. */
export type ModelUnderTest = {
  provider: string
  /** The model of that name at a provider with this address (without `/v1`). */
  make(name: string, host: string, options: Options): Model
  /** A key that must not be seen anywhere, if it sends one. */
  canary?: string
  /** Whether it streams a tool call's arguments before the call is complete. */
  streamsArgs: boolean
  /** Whether it skips malformed lines. Default true. False: the package that reads them makes an error of each. */
  skipsMalformed?: boolean
}

/** How often each moment is met: enough for a p99 worth printing. */
const CANCELS = 50

/** Any reason at all is thrown as it is. */
const REASON = new Error('stopped by the test')

function ask(signal: AbortSignal, ...messages: Message[]): ModelRequest {
  return { messages: messages.length > 0 ? messages : [{ role: 'user', content: 'hello' }], signal }
}

function textOf(events: readonly ModelEvent[]): string {
  return events.map((event) => (event.type === 'text' ? event.text : '')).join('')
}

/** A runtime whose timers fire when the test says so. */
function handmade(chance = 0.5): {
  runtime: Pick<Runtime, 'setTimer' | 'random'>
  timers: { ms: number; fire: () => void; cleared: boolean }[]
} {
  const timers: { ms: number; fire: () => void; cleared: boolean }[] = []
  return {
    timers,
    runtime: {
      random: () => chance,
      setTimer(ms, fire) {
        const timer = { ms, fire, cleared: false }
        timers.push(timer)
        return { clear: () => (timer.cleared = true) }
      },
    },
  }
}

/** A runtime whose timers fire at once. */
const impatient: Pick<Runtime, 'setTimer' | 'random'> = {
  random: () => 0.5,
  setTimer(_ms, fire) {
    const handle = setImmediate(fire)
    return { clear: () => clearImmediate(handle) }
  },
}

/** What every model does, wherever it gets its answer from. `make` gives one that answers `hello` with some text. */
export function modelSuite(name: string, make: () => Promise<Model>): void {
  describe(`${name}, as any model,`, () => {
    test('sends text, then its usage, and finish last', async () => {
      const model = await make()
      const { events, error } = await readToEnd(model.stream(ask(new AbortController().signal)))
      expect(error).toBeUndefined()
      expect(textOf(events)).not.toBe('')
      expect(events.at(-2)).toMatchObject({ type: 'usage', input: expect.any(Number), output: expect.any(Number) })
      expect(events.at(-1)).toEqual({ type: 'finish', stop: 'stop' })
      expect(events.filter(({ type }) => type === 'finish')).toHaveLength(1)
    })

    test('is named by its provider', async () => {
      const model = await make()
      expect(model.id.split(':')[0]).toBe(model.provider)
    })

    test('throws the reason of an abort and sends nothing after it', async () => {
      const model = await make()
      const controller = new AbortController()
      const events = model.stream(ask(controller.signal))[Symbol.asyncIterator]()
      expect((await events.next()).value).toMatchObject({ type: 'text' })
      controller.abort(REASON)
      await expect(events.next()).rejects.toBe(REASON)
      expect(await events.next()).toEqual({ done: true, value: undefined })
    })

    test('throws the reason of a signal that was aborted before the call', async () => {
      const model = await make()
      expect(await readToEnd(model.stream(ask(AbortSignal.abort(REASON))))).toEqual({ events: [], error: REASON })
    })

    test('leaves no listener on the signal, however it ends', async () => {
      const model = await make()
      const controller = new AbortController()
      await readToEnd(model.stream(ask(controller.signal)))
      for await (const _ of model.stream(ask(controller.signal))) break
      expect(getEventListeners(controller.signal, 'abort')).toEqual([])
    })
  })
}

/** What every model does that asks a provider over HTTP. */
export function providerSuite({
  provider: name,
  make,
  canary,
  streamsArgs,
  skipsMalformed = true,
}: ModelUnderTest): void {
  let provider: FakeProvider
  let lastModel = 0

  /** All output that is not of this suite. */
  const printed: unknown[][] = []

  beforeAll(async () => {
    // From the first use on: the providers' packages bind what they print with once.
    for (const method of ['log', 'warn', 'error', 'info', 'debug'] as const) {
      const print = console[method].bind(console)
      vi.spyOn(console, method).mockImplementation((...what: unknown[]) => {
        if (String(what[0]).startsWith(`${name}, `)) print(...what)
        else printed.push(what)
      })
    }
    provider = await FakeProvider.start()
  })
  afterAll(async () => {
    vi.restoreAllMocks()
    await provider[Symbol.asyncDispose]()
  })

  /** A model that is answered so, under a name of its own. */
  async function answered(...behaviours: Behaviour[]): Promise<(options?: Options) => { model: Model; at: string }> {
    const at = `model-${++lastModel}`
    await provider.behave(at, ...behaviours)
    return (options = {}) => ({ at, model: make(at, provider.host, { runtime: impatient, ...options }) })
  }

  async function events(...behaviours: Behaviour[]): Promise<{ events: ModelEvent[]; error?: unknown }> {
    const { model } = (await answered(...behaviours))({ maxRetries: 0 })
    return readToEnd(model.stream(ask(new AbortController().signal)))
  }

  modelSuite(name, async () => (await answered({ tokens: 5 }))().model)

  describe(`an answer of ${name}`, () => {
    test('is not requested until its first event is pulled', async () => {
      const { model, at } = (await answered({ tokens: 1 }))()
      const stream = model.stream(ask(new AbortController().signal))
      expect(await provider.count(at)).toBe(0)
      await readToEnd(stream)
      expect(await provider.count(at)).toBe(1)
    })

    test('is its tokens in order and the usage that the provider counted', async () => {
      const said = await events({ tokens: 100 })
      expect(textOf(said.events)).toBe(Array.from({ length: 100 }, (_, n) => `t${n} `).join(''))
      expect(said.events.at(-2)).toMatchObject({ type: 'usage', input: 11, output: 100 })
      expect(said.events.at(-1)).toEqual({ type: 'finish', stop: 'stop' })
    })

    test('shows thinking apart from text', async () => {
      const said = await events({ thinking: ['hmm, ', 'yes'], texts: ['Yes.'] })
      expect(said.events.slice(0, 3)).toEqual([
        { type: 'thinking', text: 'hmm, ' },
        { type: 'thinking', text: 'yes' },
        { type: 'text', text: 'Yes.' },
      ])
    })

    test('gives tool calls whole, with parsed arguments and an id each', async () => {
      const calls = [
        { name: 'weather', args: '{"city":"Oslo","days":[1,2]}' },
        { name: 'time', args: '{}' },
      ]
      const said = await events({ calls, finish: 'tool_calls' })
      const whole = said.events.filter((event) => event.type === 'tool.call')
      expect(whole).toMatchObject([
        { name: 'weather', args: { city: 'Oslo', days: [1, 2] } },
        { name: 'time', args: {} },
      ])
      expect(new Set(whole.map(({ call }) => call)).size).toBe(2)
      expect(whole.every(({ call }) => call !== '')).toBe(true)
      expect(said.events.at(-1)).toEqual({ type: 'finish', stop: 'tool_calls' })

      const pieces = said.events.filter((event) => event.type === 'tool.args' && event.call === whole[0]!.call)
      expect(pieces.map((piece) => ('text' in piece ? piece.text : '')).join('')).toBe(
        streamsArgs ? calls[0]!.args : '',
      )
    })

    test('says when it reached its length limit', async () => {
      const said = await events({ tokens: 3, finish: 'length' })
      expect(said.events.at(-1)).toEqual({ type: 'finish', stop: 'length' })
    })

    test('survives characters cut at every byte', async () => {
      const texts = ['smørrebrød ', '日本語 ', '👩‍👩‍👧 ', '𝄞']
      const said = await events({ texts, split: true })
      expect(said.error).toBeUndefined()
      expect(textOf(said.events)).toBe(texts.join(''))
    })

    test('shows bytes that are not UTF-8 as U+FFFD, and goes on', async () => {
      const said = await events({ tokens: 2, badUtf8: true })
      expect(said.error).toBeUndefined()
      expect(textOf(said.events)).toBe('t0 \u{fffd}\u{fffd}t1 ')
    })

    const malformed = skipsMalformed ? 'is skipped with a warning' : 'ends it with an error'
    test(`with a malformed line: the line ${malformed}`, async () => {
      const said = await events({ tokens: 2, malformed: true })
      if (!skipsMalformed) {
        expect(textOf(said.events)).toBe('t0 ')
        expect(said.error).toMatchObject({ code: 'provider_error' })
        expectNoSecret(said.error)
        return
      }
      expect(said.error).toBeUndefined()
      expect(textOf(said.events)).toBe('t0 t1 ')
      expect(said.events.filter(({ type }) => type === 'warning')).toMatchObject([{ code: 'malformed_line' }])
    })

    test('leaves its connection to the next request', async () => {
      const { model, at } = (await answered({ tokens: 3, lateEnd: true }))()
      const ports = new Set<number>()
      for (let n = 1; n <= 10; n++) {
        await readToEnd(model.stream(ask(new AbortController().signal)))
        ports.add((await provider.request(at, n)).port)
      }
      // The pool takes a second connection where the first is not quite free yet.
      expect(ports.size).toBeLessThan(5)
    })

    test('ends though the provider keeps its response open, and closes it', async () => {
      const { model, at } = (await answered({ tokens: 3, hold: 'after-end' }))()
      const said = await readToEnd(model.stream(ask(new AbortController().signal)))
      expect(said.error).toBeUndefined()
      expect(said.events.at(-1)).toEqual({ type: 'finish', stop: 'stop' })
      expect((await provider.closed((await provider.request(at)).id)).whole).toBe(false)
    })
  })

  describe(`an answer of ${name} that breaks off`, () => {
    test('without its end marker is truncated, though it ended cleanly', async () => {
      const said = await events({ tokens: 3, end: 'no-marker' })
      expect(textOf(said.events)).toBe('t0 t1 t2 ')
      expect(said.error).toMatchObject({ name: 'MillraceError', code: 'truncated', retryable: true })
    })

    test('with its socket is a provider error, and is not requested again', async () => {
      const { model, at } = (await answered({ tokens: 3, hold: 'tokens', end: 'cut' }))()
      const events = model.stream(ask(new AbortController().signal))[Symbol.asyncIterator]()
      for (let n = 0; n < 3; n++) expect((await events.next()).value).toMatchObject({ text: `t${n} ` })
      await provider.release((await provider.request(at)).id)
      await expect(events.next()).rejects.toMatchObject({
        code: 'provider_error',
        message: 'the connection to the provider was lost: try again later',
      })
      expect(await provider.count(at)).toBe(1)
    })

    test('with an error of the provider reports it without its words', async () => {
      const said = await events({ tokens: 3, end: 'error' })
      expect(textOf(said.events)).toBe('t0 t1 t2 ')
      expect(said.error).toMatchObject({ code: 'provider_error' })
      expectNoSecret(said.error)
    })

    test('in a line without end is a provider error, kept within bounds, and its socket is closed', async () => {
      const { model, at } = (await answered({ tokens: 1, end: 'endless-line' }))()
      const said = await readToEnd(model.stream(ask(new AbortController().signal)))
      expect(said.error).toMatchObject({ code: 'provider_error', retryable: false })
      const closed = await provider.closed((await provider.request(at)).id)
      expect(closed.whole).toBe(false)
      expect(closed.bytes).toBeLessThan(8 * 1_048_576 + 3 * (await heldByLoopback()))
    })
  })

  describe(`an error of ${name}`, () => {
    const words = { message: 'the words of the provider' }
    const table: [what: string, behaviour: Behaviour, code: ErrorCode, retryable: boolean, message?: string][] = [
      ['401', { status: 401 }, 'provider_error', false, "the provider refused the server's key"],
      ['403', { status: 403 }, 'provider_error', false, "the provider refused the server's key"],
      ['404', { status: 404 }, 'bad_request', false, 'unknown model m'],
      ['400', { status: 400, error: words }, 'bad_request', false, 'the provider refused the request (status 400)'],
      [
        '400 for a long conversation',
        { status: 400, error: { message: 'long', code: 'context_length_exceeded' } },
        'context_too_long',
        false,
      ],
      ['413', { status: 413 }, 'context_too_long', false],
      ['400 for its content', { status: 400, error: { code: 'content_filter' } }, 'content_filtered', false],
      [
        '400 for tools',
        { status: 400, error: 'm does not support tools' },
        'bad_request',
        false,
        'does not support tools',
      ],
      ['429', { status: 429 }, 'provider_rate_limited', true],
      [
        '429 of an empty account',
        { status: 429, error: { code: 'insufficient_quota' } },
        'provider_rate_limited',
        false,
      ],
      ['500', { status: 500 }, 'provider_error', true],
      ['502', { status: 502 }, 'provider_error', true],
      ['503', { status: 503 }, 'provider_overloaded', true],
      ['529', { status: 529 }, 'provider_overloaded', true],
      ['an overload within the answer', { end: 'error', error: 'model is overloaded' }, 'provider_overloaded', true],
      [
        'a rate limit within the answer',
        { end: 'error', error: { code: 'rate_limit_exceeded' } },
        'provider_rate_limited',
        true,
      ],
    ]
    for (const [what, behaviour, code, retryable, message = ''] of table) {
      test(`is ${code}${retryable ? ', retryable' : ''} for ${what}, in our words only`, async () => {
        const said = await events(behaviour)
        expect(said.events).toEqual([])
        expect(said.error).toMatchObject({ name: 'MillraceError', code, retryable })
        expect((said.error as Error).message).toContain(message)
        expectNoSecret(said.error)
      })
    }

    test.each<[string, Behaviour, number | undefined, string]>([
      ['of a refused key', { status: 401 }, 401, 'is not welcome'],
      [
        'of a refused schema',
        { status: 400, error: { message: "Invalid schema for function 'it'" } },
        400,
        "Invalid schema for function 'it'",
      ],
      ['within an answer', { end: 'error', error: 'the server is on fire' }, undefined, 'the server is on fire'],
      ['with a long text', { status: 500, error: 'no '.repeat(5_000) }, 500, 'no no no'],
    ])(
      '%s is reported to the operator with status, text and model, and to nobody else',
      async (_, behaviour, status, said) => {
        const { model } = (await answered(behaviour))({ maxRetries: 0 })
        await using served = await servedAgent({ model })
        const run = served.client.start('agent', 'hello')
        const error: unknown = await run.result.catch((thrown: unknown) => thrown)
        expect(JSON.stringify([error, await run.end])).not.toContain(said)
        expect(served.errors).toEqual([expect.any(ModelFailure)])
        const failure = served.errors[0] as ModelFailure
        expect(failure).toMatchObject({ model: model.id, status, body: expect.stringContaining(said) })
        expect(failure.message).toContain(model.id)
        expect(failure.message).toContain(said)
        expect(failure.body!.length).toBeLessThanOrEqual(2_001)
        if (canary !== undefined) expect(inspect(failure, { depth: 10 })).not.toContain(canary)
      },
    )

    test('says how long to wait when the provider does', async () => {
      const said = await events({ status: 429, headers: { 'retry-after': '7' } })
      expect(said.error).toMatchObject({ details: { afterMs: 7_000 } })
    })

    test('names an unknown model', async () => {
      const model = make('nobody', provider.host, { maxRetries: 0 })
      const said = await readToEnd(model.stream(ask(new AbortController().signal)))
      expect(said.error).toMatchObject({ code: 'bad_request' })
      expect((said.error as Error).message).toContain('unknown model nobody')
    })

    test('says of a provider that is not there that it cannot be reached', async () => {
      const model = make('any', `http://127.0.0.1:${await freePort()}`, { maxRetries: 0 })
      const said = await readToEnd(model.stream(ask(new AbortController().signal)))
      expect(said.error).toMatchObject({ code: 'provider_error', retryable: true })
      expect((said.error as Error).message).toContain('the provider cannot be reached')
      expectNoSecret(said.error)
    })
  })

  describe(`a retry of ${name}`, () => {
    test('before the first token is reported, waits longer each time, and ends in the answer', async () => {
      const { timers, runtime } = handmade(0.5)
      const { model, at } = (await answered({ status: 503 }, { status: 500 }, { end: 'cut' }, { tokens: 2 }))({
        runtime,
      })
      const said: ModelEvent[] = []
      const reading = (async () => {
        for await (const event of model.stream(ask(new AbortController().signal))) {
          said.push(event)
          // The wait begins when the next event is pulled.
          if (event.type === 'retry') setImmediate(() => timers.at(-1)!.fire())
        }
      })()
      await reading
      expect(said.slice(0, 3)).toEqual([
        { type: 'retry', attempt: 1, delayMs: 500, code: 'provider_overloaded' },
        { type: 'retry', attempt: 2, delayMs: 1_000, code: 'provider_error' },
        { type: 'retry', attempt: 3, delayMs: 2_000, code: 'provider_error' },
      ])
      expect(textOf(said)).toBe('t0 t1 ')
      expect(timers.map(({ ms }) => ms)).toEqual([500, 1_000, 2_000])
      expect(await provider.count(at)).toBe(4)
    })

    test('waits at least as long as the provider asks', async () => {
      const said = await readToEnd(
        (await answered({ status: 429, headers: { 'retry-after': '7' } }, { tokens: 1 }))().model.stream(
          ask(new AbortController().signal),
        ),
      )
      expect(said.events[0]).toMatchObject({ type: 'retry', delayMs: 7_000, code: 'provider_rate_limited' })
      expect(said.error).toBeUndefined()
    })

    test('is given up after maxRetries, with the last error', async () => {
      const { model, at } = (await answered({ status: 500 }, { status: 503 }))({ maxRetries: 2 })
      const said = await readToEnd(model.stream(ask(new AbortController().signal)))
      expect(said.events.map(({ type }) => type)).toEqual(['retry', 'retry'])
      expect(said.error).toMatchObject({ code: 'provider_overloaded' })
      expect(await provider.count(at)).toBe(3)
    })

    test('is not made where it cannot help', async () => {
      const { model, at } = (await answered({ status: 401 }))()
      expect((await readToEnd(model.stream(ask(new AbortController().signal)))).events).toEqual([])
      expect(await provider.count(at)).toBe(1)
    })

    test('that waits is stopped by a cancel at once: no further request, no timer left', async () => {
      const { timers, runtime } = handmade()
      const { model, at } = (await answered({ status: 503 }))({ runtime })
      const controller = new AbortController()
      const events = model.stream(ask(controller.signal))[Symbol.asyncIterator]()
      expect((await events.next()).value).toMatchObject({ type: 'retry' })
      const next = events.next()
      await vi.waitUntil(() => timers.length === 1)
      controller.abort(REASON)
      await expect(next).rejects.toBe(REASON)
      expect(timers).toMatchObject([{ cleared: true }])
      expect(getEventListeners(controller.signal, 'abort')).toEqual([])
      expect(await provider.count(at)).toBe(1)
    })
  })

  describe(`a cancel of ${name}`, () => {
    const calls = [{ name: 'weather', args: '{"city":"Reykjavik"}' }]
    const moments: [moment: string, behaviour: Behaviour, before: number][] = [
      ['before the headers', { hold: 'headers' }, 0],
      ['before the first token', { hold: 'first-token' }, 0],
      ['between two tokens', { tokens: 3, hold: 'tokens' }, 3],
      ...(streamsArgs
        ? [['within tool arguments', { tokens: 1, calls, hold: 'args' }, 1] satisfies [string, Behaviour, number]]
        : []),
      ['before the end marker', { tokens: 3, hold: 'end' }, 3],
    ]

    for (const [moment, behaviour, before] of moments) {
      test(`${moment} closes the socket of the provider before it settles, and nothing is sent after it`, async () => {
        await using sockets = socketsInUse()
        const { model, at } = (await answered(behaviour))()
        const closes: number[] = []
        for (let n = 1; n <= CANCELS; n++) {
          const controller = new AbortController()
          const events = model.stream(ask(controller.signal))[Symbol.asyncIterator]()
          for (let seen = 0; seen < before; seen++) await events.next()
          const next = drained(events)
          const request = await provider.request(at, n)
          await provider.seen(request.id, 'holding')
          // All items so far are read, so the abort meets a waiting reader.
          const abortedAt = wallMs()
          controller.abort(REASON)
          await expect(next).rejects.toBe(REASON)
          expect(sockets.last().destroyed).toBe(true)
          const closed = await provider.closed(request.id)
          expect(closed.whole).toBe(false)
          expect(await events.next()).toEqual({ done: true, value: undefined })
          expect(getEventListeners(controller.signal, 'abort')).toEqual([])
          closes.push(closed.at - abortedAt)
        }
        closes.sort((a, b) => a - b)
        const [p50, p99] = [closes[Math.floor(closes.length * 0.5)]!, closes[Math.floor(closes.length * 0.99)]!]
        console.log(
          `${name}, cancel ${moment}: provider's socket closed p50 ${p50.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms`,
        )
      })
    }

    test('closes the socket also while nothing reads, and hides what was read already', async () => {
      await using sockets = socketsInUse()
      const { model, at } = (await answered({ tokens: 100, hold: 'tokens' }))()
      const controller = new AbortController()
      const events = model.stream(ask(controller.signal))[Symbol.asyncIterator]()
      await events.next()
      const { id } = await provider.request(at)
      await provider.seen(id, 'holding')
      controller.abort(REASON)
      expect(sockets.last().destroyed).toBe(true)
      expect((await provider.closed(id)).whole).toBe(false)
      await expect(events.next()).rejects.toBe(REASON)
    })

    test('closes the socket while the provider cannot write', async () => {
      const { model, at } = (await answered({ tokens: 100_000, tokenBytes: 1_000 }))()
      const controller = new AbortController()
      const events = model.stream(ask(controller.signal))[Symbol.asyncIterator]()
      await events.next()
      const { id } = await provider.request(at)
      await provider.stalled(id)
      controller.abort(REASON)
      await expect(events.next()).rejects.toBe(REASON)
      expect((await provider.closed(id)).whole).toBe(false)
    })

    test('by leaving the loop closes the socket before the loop is left', async () => {
      await using sockets = socketsInUse()
      const { model, at } = (await answered({ tokens: 10, hold: 'tokens' }))()
      for await (const _ of model.stream(ask(new AbortController().signal))) break
      expect(sockets.last().destroyed).toBe(true)
      expect((await provider.closed((await provider.request(at)).id)).whole).toBe(false)
    })
  })

  describe(`a conversation with ${name}`, () => {
    const weather = tool({ description: 'Weather now', input: z.object({ city: z.string() }), run: () => 'rain' })
    const now = tool({ description: 'The time', run: () => '' })
    const calls = [
      { name: 'weather', args: '{"city":"Oslo"}' },
      { name: 'weather', args: '{"city":"Rome"}' },
      { name: 'now', args: '{}' },
    ]
    const answers: [what: string, answers: Behaviour[], outcome: string][] = [
      ['an answer', [{ thinking: ['hm', ' yes'], texts: ['Yes.'] }], 'done'],
      ['an empty answer', [{ texts: [] }], 'done'],
      ['parallel calls', [{ thinking: ['hm'], texts: ['I look.'], calls, finish: 'tool_calls' }], 'done'],
      ['calls without a word', [{ calls, finish: 'tool_calls' }], 'done'],
      [
        'calls in two turns',
        [
          { thinking: ['hm'], calls, finish: 'tool_calls' },
          { thinking: ['so'], texts: ['Again.'], calls, finish: 'tool_calls' },
        ],
        'done',
      ],
      ['calls of a tool that is not there', [{ calls: [{ name: 'gone', args: '{}' }], finish: 'tool_calls' }], 'done'],
      ['an answer that reached its limit', [{ thinking: ['hm'], tokens: 3, finish: 'length' }], 'done'],
      ['an answer that was filtered', [{ tokens: 3, finish: 'content_filter' }], 'error'],
      ['an answer that broke off', [{ thinking: ['hm'], tokens: 3, end: 'no-marker' }], 'error'],
      ['a socket that was cut', [{ tokens: 3, calls, end: 'cut' }], 'error'],
      ['an error of the provider', [{ tokens: 3, end: 'error' }], 'error'],
    ]
    test.each(answers)('goes on after %s: a strict server accepts it', async (_, behaviours, outcome) => {
      const { model, at } = (await answered(...behaviours, { texts: ['done'] }))({ maxRetries: 0 })
      let kept: Message[] = []
      const onFinish = (all: Message[]): void => void (kept = all)
      await using served = await servedAgent({ model, tools: { weather, now }, instructions: 'be brief', onFinish })
      expect((await served.client.start('agent', 'weather?').end).outcome).toBe(outcome)
      checkConversation(kept)
      const before = await provider.count(at)
      // As a client or a database gives it back.
      const messages = JSON.parse(JSON.stringify([...kept, { role: 'user', content: 'and?' }])) as Message[]
      const again = served.client.start('agent', { messages })
      expect(await again.result).toBe('done')
      expect(await provider.count(at)).toBe(before + 1)
    })

    test('goes on after a cancel in the arguments of a call', async () => {
      const { model, at } = (
        await answered({ thinking: ['hm'], tokens: 2, calls, hold: 'args' }, { texts: ['done'] })
      )()
      let kept: Message[] = []
      const onFinish = (all: Message[]): void => void (kept = all)
      await using served = await servedAgent({ model, tools: { weather, now }, onFinish })
      const run = served.client.start('agent', 'weather?')
      const { id } = await provider.request(at)
      await provider.seen(id, 'holding')
      expect(await run.cancel()).toMatchObject({ outcome: 'cancelled', settled: true, provider: 'closed' })
      expect((await provider.closed(id)).whole).toBe(false)
      checkConversation(kept)
      const again = served.client.start('agent', { messages: [...kept, { role: 'user', content: 'and?' }] })
      expect(await again.result).toBe('done')
    })
  })

  test(`a reader of ${name} that stops pulling stops the provider, and memory stays flat`, async () => {
    const tokens = 64_000
    const { model, at } = (await answered({ tokens, tokenBytes: 1_000 }))()
    const events = model.stream(ask(new AbortController().signal))[Symbol.asyncIterator]()
    await events.next()
    globalThis.gc?.()
    const before = memory()
    const { id } = await provider.request(at)
    const stalled = await provider.stalled(id)
    expect(stalled.tokens).toBeLessThan(tokens / 2)
    globalThis.gc?.()
    expect(memory() - before).toBeLessThan(4 * 1_048_576)

    // It goes on where it stopped; the rest is as the beginning, megabyte by megabyte.
    const enough = repetitions({ quick: Math.min(tokens, stalled.tokens + 2_000), full: tokens })
    let read = 1
    for (let item = await events.next(); !item.done; item = await events.next()) {
      if (item.value.type === 'text') read++
      if (read === enough && enough < tokens) break
    }
    expect(read).toBe(enough)
    await events.return?.()
    console.log(`${name}, not read: the provider stopped after ${(stalled.bytes / 1_048_576).toFixed(1)} MiB`)
  })

  test(`the package of ${name} printed nothing, whatever the provider answered`, () => {
    expect(printed).toEqual([])
  })

  /** Neither key nor address nor the provider's words, however the error is looked at. */
  function expectNoSecret(error: unknown): void {
    const { message, details } = error as MillraceError
    const shown = [message, JSON.stringify(details ?? null), JSON.stringify(error), String(error)].join(' ')
    for (const secret of [canary, 'Bearer', 'the words of', 'not welcome', '127.0.0.1']) {
      if (secret !== undefined) expect(shown).not.toContain(secret)
    }
    // An operator who prints it sees what was behind it, but still no key.
    if (canary !== undefined) expect(inspect(error, { depth: 10 })).not.toContain(canary)
  }
}

/** Reads on until the iterator ends, and throws what it throws. Anything it says instead fails the test. */
async function drained(events: AsyncIterator<ModelEvent>): Promise<void> {
  for (let item = await events.next(); !item.done; item = await events.next()) {
    if (item.value.type !== 'tool.args') throw new Error(`it said ${item.value.type}`)
  }
}

/** Heap and buffers, in bytes. */
function memory(): number {
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

/** The sockets over which this process's fetch sends requests. */
function socketsInUse(): AsyncDisposable & { last(): Socket } {
  const seen: Socket[] = []
  const take = (message: unknown): void => {
    seen.push((message as { socket: Socket }).socket)
  }
  subscribe('undici:client:sendHeaders', take)
  return {
    last: () => seen.at(-1)!,
    async [Symbol.asyncDispose]() {
      unsubscribe('undici:client:sendHeaders', take)
    },
  }
}
