import { describe, expect, test } from 'vitest'
import { MillraceError } from '../../../protocol/errors.ts'
import { actor } from '../../../server/actors/actor.ts'
import type { StandardSchema } from '../../../server/actors/standard-schema.ts'
import { testServer } from '../../helpers/server.ts'

const PROMPT = 'a'.repeat(10)
const circular: { self?: unknown } = {}
circular.self = circular

/** An error of a user that cannot travel as it is, and what a client must get of it. */
const failures: [what: string, error: () => MillraceError, message: RegExp, details?: unknown][] = [
  ['a message that is cut inside an emoji', () => failure(`${PROMPT}\u{1f600}`.slice(0, 11)), /^a{10}\ufffd$/],
  ['a message of 200 KB', () => failure('m'.repeat(200_000)), /^m{1000,}…$/],
  ['a message of 200 KB of emojis', () => failure('\u{1f600}'.repeat(50_000)), /^\u{1f600}{1000,}…$/u],
  ['details that hold a BigInt', () => failure('no', { n: 5n }), /^no \(.*details.*\)$/],
  ['details that are a function', () => failure('no', () => 1), /^no \(.*details.*\)$/],
  ['details that refer to themselves', () => failure('no', circular), /^no \(.*details.*\)$/],
  ['details of 200 KB', () => failure('no', { text: 'x'.repeat(200_000) }), /^no \(.*details.*\)$/],
  ['details with half a character', () => failure('no', { text: '\ud83d' }), /^no \(.*details.*\)$/],
  ['details that cannot be read', () => failure('no', unreadable()), /^no \(.*details.*\)$/],
  [
    'a long message and details that fit',
    () => failure('m'.repeat(200_000), { afterMs: 5 }),
    /^m{1000,}…$/,
    { afterMs: 5 },
  ],
  ['nothing unusual', () => failure('try later', { afterMs: 5 }), /^try later$/, { afterMs: 5 }],
]

function failure(message: string, details?: unknown): MillraceError {
  return new MillraceError('provider_overloaded', message, { details })
}

function unreadable(): object {
  return Object.defineProperty({}, 'n', {
    enumerable: true,
    get: () => {
      throw new Error('no')
    },
  })
}

describe.each(failures)(
  'an error that has %s keeps its code, and whether to try again,',
  (_, error, message, details) => {
    const expected = {
      code: 'provider_overloaded',
      message: expect.stringMatching(message) as string,
      retryable: true,
      ...(details === undefined ? {} : { details }),
    }

    test('as the end of its run', async () => {
      const failing = actor({
        async *stream() {
          yield { type: 'usage', input: 3, output: 4 }
          throw error()
        },
      })
      await using served = await testServer({ failing })
      await using client = await served.client()
      client.start(1, 'failing')
      const end = await client.next('end')
      expect(end).toEqual({
        kind: 'end',
        sid: 1,
        seq: 2,
        outcome: 'error',
        data: { ...expected, usage: { input: 3, output: 4 } },
      })
    })

    test('from a child that its parent awaits', async () => {
      const child = actor({
        async *stream() {
          yield 'x'
          throw error()
        },
      })
      const parent = actor({ ask: (_: unknown, { spawn }) => spawn(child, null).result })
      await using served = await testServer({ parent })
      await using client = await served.client()
      client.start(1, 'parent')
      expect(await client.next('end')).toMatchObject({ outcome: 'error', data: expected })
    })
  },
)

describe('the refusal of a start', () => {
  test('keeps its code when the schema quotes half a character', async () => {
    const schema: StandardSchema = {
      '~standard': { version: 1, vendor: 'test', validate: () => ({ issues: [{ message: 'not \ud83d' }] }) },
    }
    const refusing = actor({ input: schema, ask: () => 'never' })
    await using served = await testServer({ refusing })
    await using client = await served.client()
    client.start(1, 'refusing')
    expect(await client.next('end')).toMatchObject({
      seq: 0,
      outcome: 'error',
      data: {
        code: 'invalid_input',
        message: expect.stringMatching(/^the input does not fit: not \ufffd \(.*details.*\)$/) as string,
        retryable: false,
      },
    })
  })
})

describe('a result that cannot travel', () => {
  test('ends its run as bad_event, and what it has cost is still said', async () => {
    const unsendable: unknown = 5n
    const failing = actor({
      async *stream() {
        yield { type: 'usage', input: 3, output: 4 }
        return unsendable
      },
    })
    await using served = await testServer({ failing })
    await using client = await served.client()
    client.start(1, 'failing')
    expect(await client.next('end')).toMatchObject({
      outcome: 'error',
      data: { code: 'bad_event', usage: { input: 3, output: 4 } },
    })
  })
})

/** Figures that are no figures, by the field that has one. */
const wrongUsage: [what: string, usage: object, field: string][] = [
  ['text for a number', { input: '5', output: 0 }, 'input'],
  ['a missing number', { input: 5 }, 'output'],
  ['a negative number', { input: -1, output: 0 }, 'input'],
  ['a fraction of a token', { input: 0, output: 0.5 }, 'output'],
  ['NaN', { input: 0, output: Number.NaN }, 'output'],
  ['Infinity', { input: 0, output: 0, cost: Number.POSITIVE_INFINITY }, 'cost'],
  ['more than a number holds', { input: 2 ** 60, output: 0 }, 'input'],
  ['null', { input: 0, output: 0, cached: null }, 'cached'],
  ['a BigInt', { input: 0, output: 0, thinking: 5n }, 'thinking'],
  ['a negative price', { input: 0, output: 0, cost: -0.5 }, 'cost'],
]

describe('a usage event', () => {
  test.each(wrongUsage)('with %s ends its run as bad_event that names the field', async (_, usage, field) => {
    const failing = actor({
      async *stream() {
        yield { type: 'usage', input: 3, output: 4 }
        yield { type: 'usage', ...usage } as never
      },
    })
    await using served = await testServer({ failing })
    await using client = await served.client()
    client.start(1, 'failing')
    expect(await client.next('end')).toMatchObject({
      outcome: 'error',
      seq: 2,
      data: {
        code: 'bad_event',
        message: expect.stringContaining(`usage.${field} `) as string,
        usage: { input: 3, output: 4 },
      },
    })
  })

  test('may have a price with decimals, and leave out what the provider does not state', async () => {
    const honest = actor({
      async *stream() {
        yield { type: 'usage', input: 3, output: 4, cost: 0.25 }
        yield { type: 'usage', input: 1, output: 0, cached: 1, thinking: undefined } as never
      },
    })
    await using served = await testServer({ honest })
    await using client = await served.client()
    client.start(1, 'honest')
    expect(await client.next('end')).toMatchObject({
      outcome: 'done',
      data: { usage: { input: 4, output: 4, cost: 0.25, cached: 1 } },
    })
  })
})
