import { describe, expect, test } from 'vitest'
import { MillraceError } from '../../../protocol/errors.ts'
import {
  fallback,
  type Model,
  type ModelEvent,
  type ModelMiddleware,
  type ModelRequest,
  priced,
  route,
  unstreamed,
  withMiddleware,
} from '../../../server/index.ts'
import { modelSuite } from '../../conformance/model.ts'
import { servedAgent, Watched } from '../../helpers/agent-run.ts'
import { readToEnd } from '../../helpers/read-all.ts'

const END: ModelEvent = { type: 'finish', stop: 'stop' }
const USAGE: ModelEvent = { type: 'usage', input: 1, output: 1 }

/** A model that yields these events, and then throws. */
function scripted(id: string, events: readonly ModelEvent[], error?: Error): Model & { asked: number } {
  const model = {
    id,
    provider: id,
    asked: 0,
    async *stream({ signal }: ModelRequest): AsyncGenerator<ModelEvent, void, undefined> {
      signal.throwIfAborted()
      model.asked++
      for (const event of events) {
        yield event
        signal.throwIfAborted()
      }
      if (error) throw error
    },
  }
  return model
}

const text = (text: string): ModelEvent => ({ type: 'text', text })
const good = (id = 'good'): Model & { asked: number } => scripted(id, [text('Yes.'), USAGE, END])
const down = (): Model => scripted('down', [], new MillraceError('provider_overloaded', 'busy'))

function said(model: Model, request: Partial<ModelRequest> = {}) {
  const { signal } = new AbortController()
  return readToEnd(model.stream({ messages: [{ role: 'user', content: 'hi' }], signal, ...request }))
}

modelSuite('fallback() with a first model that answers', () => Promise.resolve(fallback(good(), good())))
modelSuite('unstreamed()', () =>
  Promise.resolve(
    unstreamed({
      id: 'whole',
      provider: 'whole',
      complete: async () => ({ text: 'Yes.', usage: { input: 1, output: 1 } }),
    }),
  ),
)
modelSuite('withMiddleware()', () => Promise.resolve(withMiddleware(good(), (request, next) => next(request))))

modelSuite('priced()', () => Promise.resolve(priced(good(), { input: 1, output: 2 })))

describe('priced()', () => {
  const prices = { input: 2, cached: 0.5, output: 10 }
  const usageOf = async (model: Model): Promise<ModelEvent | undefined> =>
    (await said(model)).events.find(({ type }) => type === 'usage')

  test('adds to each usage what it costs, cached input at its own price and thinking as output', async () => {
    const usage: ModelEvent = { type: 'usage', input: 1_000_000, cached: 400_000, output: 100_000, thinking: 90_000 }
    const model = scripted('m', [usage, END])
    expect(await usageOf(priced(model, prices))).toEqual({ ...usage, cost: 1.2 + 0.2 + 1 })
    expect(await usageOf(priced(model, { input: 2, output: 10 }))).toEqual({ ...usage, cost: 2 + 1 })
  })

  test('leaves a cost as it is that the model states itself', async () => {
    const model = scripted('m', [{ type: 'usage', input: 1, output: 1, cost: 7 }, END])
    expect(await usageOf(priced(model, prices))).toMatchObject({ cost: 7 })
  })

  test('prices each model of a fallback by itself', async () => {
    const model = fallback(priced(down(), { input: 1, output: 1 }), priced(good(), { input: 0, output: 1_000_000 }))
    expect(await usageOf(model)).toMatchObject({ cost: 1 })
  })

  test.each([
    [{ input: 1 }, 'output'],
    [{ input: -1, output: 1 }, 'input'],
    [{ input: 1, output: Number.NaN }, 'output'],
    [{ input: 1, output: 1, cached: Number.POSITIVE_INFINITY }, 'cached'],
    [{ input: 1, output: 1, cache: 1 }, 'cached'],
    [undefined, 'priced'],
  ])('refuses the prices %j, and names what is wrong', (given, name) => {
    expect(() => priced(good(), given as never)).toThrow(
      expect.objectContaining({ code: 'bad_request', message: expect.stringContaining(name) }),
    )
  })
})

describe('a model around others', () => {
  const enforced: Model = { ...good(), structured: 'enforced' }
  const effort: Model = { ...good(), structured: 'best-effort' }

  test('takes the form of an output as the model within it does', () => {
    expect(withMiddleware(enforced, (request, next) => next(request)).structured).toBe('enforced')
    expect(priced(enforced, { input: 1, output: 1 }).structured).toBe('enforced')
  })

  test.each([
    [[enforced, enforced], 'enforced'],
    [[enforced, effort], 'best-effort'],
    [[effort, enforced, good()], 'none'],
  ])('takes it as the weakest of a fallback does', (models, structured) => {
    expect(fallback(...(models as [Model, Model])).structured).toBe(structured)
  })
})

describe('fallback()', () => {
  test('asks the next model when one fails before its first word, and says so', async () => {
    const { events, error } = await said(fallback(down(), scripted('gone', [END]), good('last')))
    expect(error).toBeUndefined()
    expect(events).toEqual([
      {
        type: 'warning',
        code: 'model_fallback',
        message: 'the model down failed (provider_overloaded): the model gone answers',
      },
      END,
    ])
  })

  test('passes on retries and warnings of a model that fails later', async () => {
    const retry: ModelEvent = { type: 'retry', attempt: 1, delayMs: 5, code: 'provider_error' }
    const first = scripted('first', [retry], new MillraceError('provider_error', 'no'))
    expect((await said(fallback(first, good()))).events.map(({ type }) => type)).toEqual([
      'retry',
      'warning',
      'text',
      'usage',
      'finish',
    ])
  })

  test('never gives up an answer that has begun', async () => {
    const begun = scripted('begun', [text('Ye')], new MillraceError('provider_error', 'cut'))
    const second = good()
    const { events, error } = await said(fallback(begun, second))
    expect(events).toEqual([text('Ye')])
    expect(error).toMatchObject({ code: 'provider_error' })
    expect(second.asked).toBe(0)
  })

  test('takes an iterator that ends at once for a failure', async () => {
    const { events } = await said(fallback(scripted('mute', []), good()))
    expect(events[0]).toMatchObject({ code: 'model_fallback', message: expect.stringContaining('(truncated)') })
  })

  test.each([
    ['a filtered request', new MillraceError('content_filtered', 'no')],
    ['an error of the code of a model', new TypeError('undefined is not a function')],
  ])('does not ask another model after %s', async (_, thrown) => {
    const second = good()
    expect((await said(fallback(scripted('a', [], thrown), second))).error).toBe(thrown)
    expect(second.asked).toBe(0)
  })

  test('ends with the error of the last model', async () => {
    const last = new MillraceError('bad_request', 'unknown model')
    expect((await said(fallback(down(), scripted('b', [], last)))).error).toBe(last)
  })

  test('asks nobody else after an abort', async () => {
    const controller = new AbortController()
    const second = good()
    const first: Model = {
      id: 'first',
      provider: 'first',
      // biome-ignore lint/correctness/useYield: it is stopped before it says anything.
      async *stream() {
        controller.abort(new Error('stop'))
        throw new MillraceError('provider_error', 'cut')
      },
    }
    const { error } = await said(fallback(first, second), { signal: controller.signal })
    expect(error).toBeInstanceOf(Error)
    expect(second.asked).toBe(0)
  })

  test('shows the readers of a run which model answers', async () => {
    await using served = await servedAgent({ model: fallback(down(), good()) })
    const watched = new Watched(served.client.start('agent', 'hi'))
    await watched.over
    expect(watched.text).toBe('Yes.')
    expect(watched.all('warning')).toMatchObject([{ code: 'model_fallback' }])
  })

  test('needs two models', () => {
    expect(() => fallback(...([good()] as unknown as [Model, Model]))).toThrow('at least two')
    expect(() => fallback(good(), {} as Model)).toThrow('a model must have an `id` and `stream`')
  })
})

describe('route()', () => {
  test('asks the model that is chosen for the request, and says which', async () => {
    const [small, large] = [good('small'), good('large')]
    const model = route(async ({ messages }) => (messages.length > 1 ? large : small), { id: 'by-length' })
    expect(model.id).toBe('by-length')
    const { events } = await said(model)
    expect(events[0]).toEqual({ type: 'warning', code: 'model_routed', message: 'the model small answers' })
    await said(model, { messages: Array.from({ length: 3 }, () => ({ role: 'user', content: 'hi' })) })
    expect([small.asked, large.asked]).toEqual([1, 1])
  })

  test('reports a choice that is no model', async () => {
    expect((await said(route(() => undefined as never))).error).toMatchObject({ code: 'bad_request' })
  })
})

describe('withMiddleware()', () => {
  test('passes requests inwards and events outwards, the first one outermost', async () => {
    const steps: string[] = []
    const step = (name: string): ModelMiddleware =>
      async function* (request, next) {
        steps.push(`${name} asks`)
        for await (const event of next({ ...request, seed: (request.seed ?? 0) * 10 + steps.length })) {
          yield event.type === 'text' ? { ...event, text: `${name}(${event.text})` } : event
        }
        steps.push(`${name} ends`)
      }
    let seed: number | undefined
    const inner = good()
    const model: Model = {
      ...inner,
      stream(request) {
        seed = request.seed
        return inner.stream(request)
      },
    }
    const { events } = await said(withMiddleware(model, step('a'), step('b')))
    expect(events[0]).toEqual(text('a(b(Yes.))'))
    expect(steps).toEqual(['a asks', 'b asks', 'b ends', 'a ends'])
    expect(seed).toBe(12)
  })

  test('may answer without the model', async () => {
    const model = good()
    async function* cached(): AsyncGenerator<ModelEvent> {
      yield text('Again.')
      yield END
    }
    expect((await said(withMiddleware(model, cached))).events).toEqual([text('Again.'), END])
    expect(model.asked).toBe(0)
  })
})

describe('unstreamed()', () => {
  test('gives the parts of the answer in the order of a stream', async () => {
    const calls = [{ call: 'c', name: 'look', args: {} }]
    const model = unstreamed({
      id: 'a',
      provider: 'a',
      complete: async () => ({ text: 'So.', thinking: 'hm', calls, usage: { input: 1, output: 2 }, extra: { a: 1 } }),
    })
    expect((await said(model)).events).toEqual([
      { type: 'thinking', text: 'hm' },
      text('So.'),
      { type: 'tool.call', call: 'c', name: 'look', args: {} },
      { type: 'usage', input: 1, output: 2 },
      { type: 'finish', stop: 'tool_calls', extra: { a: 1 } },
    ])
  })

  test('needs a model that completes', () => {
    expect(() => unstreamed(good() as never)).toThrow('needs a model with `complete`')
  })
})
