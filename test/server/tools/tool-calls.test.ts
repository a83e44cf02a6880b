import { runInNewContext } from 'node:vm'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { MillraceError } from '../../../protocol/errors.ts'
import { type Tool, type ToolMap, tool } from '../../../server/index.ts'
import { servedAgent, Watched } from '../../helpers/agent-run.ts'
import { calls, says, scriptedModel } from '../../helpers/scripted-model.ts'
import { eventually } from '../../helpers/server.ts'
import { latch } from '../../helpers/test-actors.ts'

const city = z.object({ city: z.string() })
const weather = tool({ description: 'Weather now', input: city, run: ({ city }) => ({ city, celsius: 7 }) })

/** The one call of a run: what its readers see of it, and what the model gets. */
async function oneCall(tools: ToolMap, args: unknown = {}, name = Object.keys(tools)[0]!) {
  const model = scriptedModel(calls({ call: 'c1', name, args }), says('ok'))
  await using served = await servedAgent({ model, tools })
  const watched = new Watched(served.client.start('agent', 'go'))
  const thrown = await watched.over
  if (thrown !== undefined) throw thrown as Error
  const seen = model.asked[1]!.at(-1)
  return { result: watched.all('tool.result')[0]!, seen, watched, errors: served.errors, text: watched.text }
}

function does(run: Tool['run'], more: Partial<Tool> = {}): ToolMap {
  return { it: { ...tool({ description: 'Does it', run: () => undefined }), run, ...more } }
}

describe('a tool', () => {
  test('is called with the output of its schema, and its own output goes to the model and to the reader', async () => {
    const double = tool({
      description: 'Doubles',
      input: z.object({ n: z.number(), times: z.number().default(2) }),
      run: ({ n, times }, { call, principal, fence }) => ({ is: n * times, call, by: principal.id, gen: fence.gen }),
    })
    const { result, seen, watched } = await oneCall({ double }, { n: 4 })
    const output = { is: 8, call: 'c1', by: 'alice', gen: 1 }
    expect(result).toMatchObject({ call: 'c1', outcome: 'ok', output, ms: expect.any(Number) })
    expect(seen).toEqual({ role: 'tool', call: 'c1', name: 'double', content: JSON.stringify(output) })
    expect(watched.all('tool.call')).toMatchObject([{ call: 'c1', name: 'double', args: { n: 4 } }])
  })

  test('is described to the model by the JSON Schema of its input', () => {
    expect(weather.parameters).toMatchObject({
      type: 'object',
      properties: { city: { type: 'string' } },
      required: ['city'],
    })
    expect(tool({ description: 'x', run: () => 1 }).parameters).toEqual({ type: 'object', properties: {} })
    const counts = tool({ description: 'x', input: z.record(z.string(), z.number()), run: () => 1 })
    expect(counts.parameters).toMatchObject({
      type: 'object',
      properties: {},
      additionalProperties: { type: 'number' },
    })
    expect(tool({ description: 'x', parameters: { type: 'object' }, run: () => 1 }).parameters).toEqual({
      type: 'object',
      properties: {},
    })
  })

  test.each<[string, Parameters<typeof tool>[0]]>([
    ['text', { description: 'x', input: z.string(), run: () => 1 }],
    ['a list', { description: 'x', input: z.array(z.string()), run: () => 1 }],
    [
      'a union',
      { description: 'x', input: z.union([z.object({ a: z.string() }), z.object({ b: z.string() })]), run: () => 1 },
    ],
    ['a value that may be missing', { description: 'x', input: z.object({}).nullable(), run: () => 1 }],
    ['parameters of type string', { description: 'x', parameters: { type: 'string' }, run: () => 1 }],
    ['parameters that are no schema', { description: 'x', parameters: true, run: () => 1 }],
  ])('is refused when its arguments are %s: providers take only objects', (_, definition) => {
    expect(() => tool(definition)).toThrow(
      expect.objectContaining({ code: 'bad_request', message: expect.stringContaining('{ value: ... }') }),
    )
  })

  test('is not run with arguments that are no object, and the model sees them', async () => {
    let runs = 0
    const counts = tool({ description: 'x', run: () => ++runs })
    for (const [args, quote] of [
      ['{"a": "Os', '{"a": "Os'],
      [[1], '[1]'],
      [7, '7'],
    ] as const) {
      const { result, seen } = await oneCall({ counts }, args)
      expect(result).toMatchObject({ outcome: 'error', error: `invalid arguments: not a JSON object: ${quote}` })
      expect(seen).toMatchObject({ role: 'tool', content: `Error: invalid arguments: not a JSON object: ${quote}` })
    }
    expect(runs).toBe(0)
  })

  test('takes any Standard Schema, with a JSON Schema where the schema cannot state its own', async () => {
    const schema = {
      '~standard': {
        version: 1 as const,
        vendor: 'test',
        validate: (value: unknown) =>
          (value as { word: string }).word === 'yes'
            ? { value: 'YES' }
            : { issues: [{ message: 'say yes', path: ['a', { key: 0 }] }] },
      },
    }
    expect(() => tool({ description: 'x', input: schema, run: () => 1 })).toThrow(
      'pass the JSON Schema as `parameters`',
    )
    const parameters = { type: 'object', properties: { word: { type: 'string' } } }
    const yes = tool({ description: 'x', input: schema, parameters, run: (word) => word })
    expect((await oneCall({ yes }, { word: 'yes' })).result).toMatchObject({ outcome: 'ok', output: 'YES' })
    expect((await oneCall({ yes }, { word: 'no' })).result).toMatchObject({
      outcome: 'error',
      error: 'invalid arguments: a.0: say yes',
    })
  })

  test.each([0, -1, Number.NaN])('cannot have a limit of %d', (timeoutMs) => {
    expect(() => tool({ description: 'x', timeoutMs, run: () => 1 })).toThrow('timeoutMs')
  })

  test('may be a plain generator, which yields progress and returns the output', async () => {
    const count = tool({
      description: 'Counts',
      *run() {
        yield 'one'
        yield { current: 2, total: 2 }
        return { counted: 2 }
      },
    })
    const { result, seen, watched } = await oneCall({ count }, {})
    expect(result).toMatchObject({ outcome: 'ok', output: { counted: 2 } })
    expect(seen).toMatchObject({ content: '{"counted":2}' })
    expect(watched.all('tool.progress')).toMatchObject([{ note: 'one' }, { progress: { current: 2, total: 2 } }])
  })

  class Secret {
    readonly #city = 'Oslo'
    city(): string {
      return this.#city
    }
  }
  class Lazy {
    get city(): string {
      return 'Oslo'
    }
  }

  test.each<[string, () => unknown]>([
    ['Response', () => new Response('rain')],
    ['ReadableStream', () => new Response('rain').body],
    ['Map', () => new Map([['city', 'Oslo']])],
    ['Set', () => ({ cities: new Set(['Oslo']) })],
    ['Promise', () => [Promise.resolve('rain')]],
    ['Error', () => ({ problem: new Error('hidden') })],
    ['Headers', () => new Headers({ a: 'b' })],
    ['ArrayBuffer', () => new ArrayBuffer(8)],
    ['Map Iterator', () => new Map([['city', 'Oslo']]).entries()],
    ['Secret', () => new Secret()],
    ['Lazy', () => [new Lazy()]],
    ['function', () => () => 'rain'],
    ['symbol', () => Symbol('rain')],
  ])('with an output that JSON would empty (%s) fails, and says what to return', async (name, run) => {
    const { result, seen } = await oneCall(does(run), {})
    expect(result).toMatchObject({ outcome: 'error', error: expect.stringContaining('return plain data') })
    if (name !== 'Map Iterator') expect(result.error).toContain(name)
    expect(seen).toMatchObject({ role: 'tool', content: expect.stringContaining('return plain data') })
  })

  test('may return empty objects, dates, addresses, its own classes and objects of another realm', async () => {
    class Point {
      x = 1
    }
    class Nothing extends Object {}
    const output = {
      none: {},
      bare: Object.create(null),
      list: [],
      at: new Date(0),
      url: new URL('http://a/'),
      point: new Point(),
      nothing: new Nothing(),
      boxed: [new Number(5), new Boolean(false), new String(''), new String('rain')],
      far: runInNewContext('({})'),
    }
    const { result } = await oneCall(
      does(() => output),
      {},
    )
    expect(result).toMatchObject({
      outcome: 'ok',
      output: {
        none: {},
        bare: {},
        list: [],
        at: '1970-01-01T00:00:00.000Z',
        url: 'http://a/',
        point: { x: 1 },
        nothing: {},
        boxed: [5, false, '', 'rain'],
        far: {},
      },
    })
  })

  test('reports its progress, and its generator returns the output', async () => {
    const walk = tool({
      description: 'Walks',
      async *run() {
        yield 'begins'
        yield { current: 1, total: 2, message: 'half' }
        return 'there'
      },
    })
    const { watched, result } = await oneCall({ walk })
    expect(watched.all('tool.progress')).toMatchObject([
      { call: 'c1', note: 'begins' },
      { call: 'c1', progress: { current: 1, total: 2, message: 'half' } },
    ])
    expect(result).toMatchObject({ outcome: 'ok', output: 'there' })
  })

  test('that reports a progress without a count shows what it says as text', async () => {
    const given: unknown[] = [{ percent: 40 }, { current: Number.NaN, message: 'half' }, { current: null }, 7, null]
    const loose = tool({
      description: 'x',
      async run(_, { progress }) {
        for (const progressed of given) await progress(progressed as never)
        await progress({ current: '3', total: Number.NaN } as never)
        return 'done'
      },
    })
    const { watched } = await oneCall({ loose })
    expect(watched.all('tool.progress').map(({ note, progress }) => note ?? progress)).toEqual([
      '{"percent":40}',
      '{"current":null,"message":"half"}',
      '{"current":null}',
      '7',
      'null',
      { current: 3 },
    ])
  })

  test('that reports a progress which cannot be read goes on with the next one, and the error is reported', async () => {
    const unreadable = {
      get current(): number {
        throw new Error('no current')
      },
    }
    const odd = tool({
      description: 'x',
      async run(_, { progress }) {
        await progress(unreadable)
        await progress(Symbol('odd') as never)
        void progress(unreadable)
        await progress({ current: 1 })
        return 'done'
      },
    })
    const { watched, result, errors } = await oneCall({ odd })
    expect(result).toMatchObject({ outcome: 'ok' })
    expect(watched.all('tool.progress')).toMatchObject([{ note: 'Symbol(odd)' }, { progress: { current: 1 } }])
    expect(errors).toEqual([new Error('no current'), new Error('no current')])
  })

  test('may report its progress a million times, and not once it is over', async () => {
    let late: () => Promise<void> = () => expect.unreachable()
    const chatty = tool({
      description: 'x',
      run: async (_, { progress }) => {
        for (let n = 1; n <= 1_000_000; n++) void progress({ current: n })
        await progress({ current: 1_000_001 })
        late = () => progress('too late')
        return 'done'
      },
    })
    const { watched } = await oneCall({ chatty })
    await late()
    const said = watched.all('tool.progress')
    expect(said.length).toBeLessThan(10)
    expect(said.at(-1)).toMatchObject({ progress: { current: 1_000_001 } })
    expect(watched.comparable.findLastIndex((event) => 'call' in event)).toBe(
      watched.events.findIndex(({ type }) => type === 'tool.result'),
    )
  })

  test('may send data of its own', async () => {
    const tools = does(async (_, { emit }) => {
      await emit({ type: 'data', name: 'picture', value: { bytes: 3 } })
      return 'drawn'
    })
    const { watched } = await oneCall(tools)
    expect(watched.all('data')).toMatchObject([{ name: 'picture', value: { bytes: 3 } }])
  })
})

describe('the model sees an error', () => {
  test.each(['__proto__', 'constructor', 'toString', 'made_up', ''])('for an unknown tool called %j', async (name) => {
    const { result, seen, text } = await oneCall({ weather }, {}, name)
    expect(result).toMatchObject({ outcome: 'error', error: `unknown tool ${name}; known tools: weather` })
    expect(seen).toMatchObject({ role: 'tool', content: expect.stringContaining('Error: unknown tool') })
    expect(text).toBe('ok')
  })

  test.each([
    [{}, 'city: '],
    [{ city: 7 }, 'city: '],
    ['{"city', 'invalid arguments'],
    [null, 'invalid arguments'],
    [JSON.parse('{"__proto__":{"city":"Oslo"}}'), 'city: '],
  ])('for arguments that do not fit: %j', async (args, says) => {
    const { result, seen } = await oneCall({ weather }, args)
    expect(result).toMatchObject({ outcome: 'error', error: expect.stringContaining(says) })
    expect(seen).toMatchObject({ content: expect.stringContaining(says) })
  })

  test('for what a tool throws, with its message when that is a MillraceError', async () => {
    const { result, seen, errors } = await oneCall(
      does(() => {
        throw new MillraceError('tool_failed', 'no such city')
      }),
    )
    expect(result).toMatchObject({ outcome: 'error', error: 'no such city' })
    expect(seen).toMatchObject({ content: 'Error: no such city' })
    expect(errors).toEqual([])
  })

  test.each<[string, unknown]>([
    ['an error', new Error('key sk-123 refused')],
    ['no error', 'sk-123'],
    ['nothing', undefined],
  ])('without the words of a foreign failure: %s', async (_, thrown) => {
    const throws = [
      () => Promise.reject(thrown),
      () => {
        throw thrown
      },
      async function* () {
        yield 'x'
        throw thrown
      },
    ]
    for (const run of throws) {
      const { result, seen, errors } = await oneCall(does(run))
      expect(result).toMatchObject({ outcome: 'error', error: 'the tool failed' })
      expect(seen).toMatchObject({ content: 'Error: the tool failed' })
      expect(errors).toEqual([thrown])
    }
  })

  test('for a tool that takes too long: its signal aborts and its clean-up runs', async () => {
    let cleaned = false
    let reason: unknown
    const tools = does(
      (_, { signal }) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => {
            cleaned = true
            reason = signal.reason
            reject(signal.reason)
          })
        }),
      { timeoutMs: 20 },
    )
    const { result } = await oneCall(tools)
    expect(result).toMatchObject({ outcome: 'error', error: 'the tool took longer than 20 ms and was stopped' })
    expect(cleaned).toBe(true)
    expect(reason).toMatchObject({ code: 'timeout' })
  })

  test('for a tool that takes too long and does not stop: the run goes on without it, its slot stays taken', async () => {
    const release = latch()
    const model = scriptedModel(calls({ call: 'c1', name: 'it', args: {} }), says('on'))
    await using served = await servedAgent({ model, tools: does(() => release.opened, { timeoutMs: 5 }) })
    expect(await served.client.start('agent', 'go').result).toBe('on')
    expect(served.server.liveRuns).toBe(1)
    release.open()
    await eventually(() => served.server.liveRuns === 0, 'the slot is free')
  })
})

describe('an output that is redacted', () => {
  const account = { iban: 'NO93 8601', balance: 12 }

  test('goes to the model whole, and to readers as its tool shows it', async () => {
    const look = tool({
      description: 'Looks',
      run: () => account,
      redact: ({ balance }) => ({ iban: '…', balance }),
    })
    const { result, seen, watched } = await oneCall({ look })
    expect(seen).toMatchObject({ role: 'tool', content: JSON.stringify(account) })
    expect(result).toMatchObject({ outcome: 'ok', output: { iban: '…', balance: 12 } })
    expect(JSON.stringify(watched.events)).not.toContain('NO93')
  })

  test('is not shown where the code that hides it fails, or makes what cannot be sent', async () => {
    const error = new Error('boom')
    const hide = () => {
      throw error
    }
    const { result, errors, seen } = await oneCall({
      look: tool({ description: 'x', run: () => 'NO93', redact: hide }),
    })
    expect(result).toMatchObject({ outcome: 'ok', output: '[redacted]' })
    expect([seen, errors]).toMatchObject([{ content: 'NO93' }, [error]])
    const { result: other } = await oneCall({
      look: tool({ description: 'x', run: () => 'NO93', redact: () => new Map([['NO93', 1]]) }),
    })
    expect(other).toMatchObject({ outcome: 'ok', output: '[redacted]' })
  })

  test('is cut as any other, and says of itself only whether it was', async () => {
    const look = tool({
      description: 'x',
      maxOutputBytes: 100,
      run: () => 'a'.repeat(1_000),
      redact: () => 'short',
    })
    const { result, seen } = await oneCall({ look })
    expect(result).toMatchObject({ output: 'short' })
    expect(result).not.toHaveProperty('truncated')
    expect(seen).toMatchObject({ content: expect.stringContaining('cut off') as string })
  })
})

describe('an output', () => {
  test.each([
    [undefined, 'null', null],
    ['plain', 'plain', 'plain'],
    [7, '7', 7],
    [{ at: new Date(0), no: undefined }, '{"at":"1970-01-01T00:00:00.000Z"}', { at: '1970-01-01T00:00:00.000Z' }],
    ['half \ud83d', 'half \ufffd', 'half \ufffd'],
  ])('of %j is given to the model as %j', async (given, content, output) => {
    const { result, seen } = await oneCall(does(() => given))
    expect(result).toMatchObject({ outcome: 'ok', output })
    expect(seen).toMatchObject({ content })
  })

  test('that is too long is cut off with a mark, for the model and the reader alike', async () => {
    const { result, seen } = await oneCall(does(() => 'é'.repeat(50_000_000)))
    expect(result).toMatchObject({ outcome: 'ok', truncated: true })
    expect(String(result.output)).toMatch(/^é+\n\[cut off: the output was longer than 64512 bytes\]$/)
    expect(seen).toMatchObject({ content: result.output })
    const short = await oneCall(does(() => ({ list: ['𝒳', '𝒳'] }), { maxOutputBytes: 12 }))
    expect(short.result.output).toBe('{"list":["\n[cut off: the output was longer than 12 bytes]')
  })

  test('that cannot be sent as it is becomes JSON text', async () => {
    let deep: unknown = 'bottom'
    for (let n = 0; n < 30; n++) deep = [deep]
    const { result, text } = await oneCall(does(() => deep))
    expect(result).toMatchObject({ outcome: 'ok', output: JSON.stringify(deep) })
    expect(text).toBe('ok')
    const proto = await oneCall(does(() => JSON.parse('{"__proto__":1}') as unknown))
    expect(proto.result).toMatchObject({ outcome: 'ok', output: '{"__proto__":1}' })
  })

  test('that cannot be written as JSON is an error', async () => {
    for (const given of [
      1n,
      {
        toJSON: () => {
          throw new Error('no')
        },
      },
    ]) {
      const { result } = await oneCall(does(() => given))
      expect(result).toMatchObject({
        outcome: 'error',
        error: 'the output of the tool cannot be written as JSON: return plain data',
      })
    }
  })

  test('comes also for arguments that cannot be sent, which are quoted', async () => {
    const args = { text: '\ud83d', more: 'x'.repeat(100_000) }
    const { watched, result } = await oneCall(
      does(() => 'fine'),
      args,
    )
    expect(watched.all('tool.call')[0]!.args).toMatch(/^\{"text":"\\ud83d","more":"x+…$/)
    expect(result.outcome).toBe('ok')
  })
})
