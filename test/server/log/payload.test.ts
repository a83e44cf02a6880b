import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decodeDown } from '../../../protocol/decode.ts'
import { encodeUp } from '../../../protocol/encode.ts'
import { MillraceError } from '../../../protocol/errors.ts'
import { DEFAULT_LIMITS } from '../../../protocol/limits.ts'
import { element, scanValue } from '../../../protocol/scan.ts'
import { Writer } from '../../../protocol/writer.ts'
import { decodeClient, packPayload, unpackPayload } from '../../../server/log/payload.ts'
import { bytes, hex, msgpackr, plain, scanLimits } from '../../helpers/codec-paths.ts'

const { maxEvent, maxDepth, maxValues } = DEFAULT_LIMITS
const pack = (value: unknown) => packPayload(value, DEFAULT_LIMITS)
const nested = (depth: number): unknown => (depth === 0 ? 'x' : [nested(depth - 1)])

describe('a payload', () => {
  test.each([
    ['nothing', null],
    ['text', 'aé€😀'],
    ['numbers', [0, -1, 1.5, 2 ** 40, Number.NaN]],
    ['binary', new Uint8Array([1, 2, 255])],
    ['maps', { a: { b: [1, { c: null }] } }],
    ['keys that are names of methods', { constructor: 1, toJSON: 2, hasOwnProperty: 3 }],
    ['an object without a prototype', Object.assign(Object.create(null) as object, { a: 1 })],
  ])('of %s arrives as it left', (_, value) => {
    expect(plain(unpackPayload(pack(value)))).toEqual(plain(value))
  })

  test('of undefined is nil, as it is inside an array; a map leaves it out', () => {
    expect(unpackPayload(pack([undefined, { a: undefined, b: 1 }]))).toStrictEqual([null, { b: 1 }])
  })

  test('of a negative zero is zero, which has no sign as an integer', () => {
    expect(unpackPayload(pack([-0, { z: -0 }]))).toStrictEqual([0, { z: 0 }])
  })

  test('of any JSON is the bytes that msgpackr makes, and passes a scan', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 8 }), (value) => {
        if (JSON.stringify(value).includes('"__proto__"')) return
        const packed = pack(value)
        expect(hex(packed)).toBe(hex(msgpackr.pack(value)))
        scanValue(packed, { maxDepth: maxDepth - 4, maxValues, maxBytes: maxEvent })
      }),
      { numRuns: 1_000 },
    )
  })

  test('is bytes of its own: the next one does not change it', () => {
    const first = pack({ text: 'first' })
    pack({ text: 'later' })
    expect(unpackPayload(first)).toEqual({ text: 'first' })
  })

  test('of exactly the largest size is accepted, one byte more is refused', () => {
    expect(pack('x'.repeat(maxEvent - 3))).toHaveLength(maxEvent)
    expect(refusalOf('x'.repeat(maxEvent - 2))).toContain('maxEvent')
    expect(pack(new Uint8Array(maxEvent - 3))).toHaveLength(maxEvent)
    expect(refusalOf(new Uint8Array(maxEvent - 2))).toContain('maxEvent')
    expect(refusalOf('é'.repeat(maxEvent / 2))).toContain('maxEvent')
    expect(refusalOf(Array.from({ length: 20 }, () => 'x'.repeat(4_000)))).toContain('maxEvent')
  })

  test('of the largest depth fits in the deepest place there is: the data of an open lane', () => {
    const lanes = pack({ part: nested(maxDepth - 5) })
    expect(decodeDown(openedWithLane(lanes), scanLimits.down)).toHaveLength(1)
    expect(refusalOf({ part: nested(maxDepth - 4) })).toContain('maxDepth')
  })

  test('of the most values fits in a frame', () => {
    const most = pack({ rows: Array.from({ length: maxValues - 36 }, () => 0) })
    expect(decodeDown(framed([0x41, 1, 1, 15], most), scanLimits.down)).toHaveLength(1)
    expect(decodeDown(openedWithLane(most), scanLimits.down)).toHaveLength(1)
    expect(refusalOf(Array.from({ length: maxValues - 32 }, () => 0))).toContain('maxValues')
  })

  test.each<[string, unknown, string]>([
    ['a Date', new Date(0), 'Date'],
    ['a Map', new Map(), 'Map'],
    ['a Set', new Set(), 'Set'],
    ['an Error', new Error('x'), 'Error'],
    ['a regular expression', /x/, 'RegExp'],
    ['an instance of a class', new URL('http://localhost'), 'URL'],
    ['a promise', Promise.resolve(), 'Promise'],
    ['a bigint', 1n, 'bigint'],
    ['a function', () => 1, 'function'],
    ['a symbol', Symbol('x'), 'symbol'],
    ['half a surrogate pair', 'a\ud83d', 'surrogate'],
    ['half a surrogate pair in a key', { '\udc00': 1 }, 'surrogate'],
    ['the key __proto__', JSON.parse('{"__proto__":1}'), '__proto__'],
    ['a toJSON of its own', { toJSON: () => 1 }, 'function'],
  ])('of %s is refused as bad_event, and the message names the rule', (_, value, rule) => {
    expect(refusalOf(value)).toContain(rule)
    expect(refusalOf({ nested: [value] })).toContain(rule)
  })

  test('that refers to itself is refused', () => {
    const loop: unknown[] = []
    loop.push({ loop })
    expect(refusalOf(loop)).toContain('refers to itself')
  })

  test('that throws when it is read is refused, and its error stays inside', () => {
    const secret = new Error('hunter2')
    const hostile = Object.defineProperty({}, 'x', {
      enumerable: true,
      get: () => {
        throw secret
      },
    })
    const error = errorOf(hostile)
    expect(error.message).not.toContain('hunter2')
    expect(error.cause).toBe(secret)
    expect(unpackPayload(pack('next'))).toBe('next')
  })

  test('that packs another while it is read spoils neither', () => {
    let inner: Uint8Array | undefined
    const outer = pack({
      before: 1,
      get during() {
        inner = pack({ inner: true })
        return 2
      },
      after: 3,
    })
    expect(unpackPayload(outer)).toEqual({ before: 1, during: 2, after: 3 })
    expect(inner && unpackPayload(inner)).toEqual({ inner: true })
  })

  test.each<[string, () => unknown]>([
    ['an array of 10 million elements', () => new Array<number>(10_000_000).fill(0)],
    ['a sparse array of 4 billion elements', () => new Array<unknown>(2 ** 32 - 1)],
    ['an array of 10 million elements, four deep', () => [[[new Array<number>(10_000_000).fill(0)]]]],
    ['100 million characters', () => 'x'.repeat(100_000_000)],
    ['100 MB of binary', () => new Uint8Array(100_000_000)],
    ['an array that holds one array ten times, ten deep', () => shared(10, 10)],
  ])('of %s is refused without being copied', (_, make) => {
    const value = make()
    globalThis.gc?.()
    const before = process.memoryUsage()
    expect(refusalOf(value)).toMatch(/maxValues|maxEvent/)
    const after = process.memoryUsage()
    expect(after.heapUsed + after.external - before.heapUsed - before.external).toBeLessThan(8 * 1_048_576)
  })
})

describe('the server', () => {
  test('keeps with each frame its bytes as received, so that the input can be hashed', () => {
    const start = '9402 01 a463686174 81a161cb3ff0000000000000'
    const message = bytes(`921001 92600 1 ${start} 930401 01`.replace('92600 1', '926001'))
    const received = decodeClient(message, scanLimits.up)
    expect(received.map(({ frame }) => frame.kind)).toEqual(['ping', 'start', 'credit'])
    expect(received.map((one) => hex(one.bytes))).toEqual(['921001', start.replaceAll(' ', ''), '93040101'])
    const input = element(received[1]?.bytes ?? new Uint8Array(), 3)
    expect(hex(input)).toBe('81a161cb3ff0000000000000')
    expect(createHash('sha256').update(input).digest()).toHaveLength(32)
  })

  test('keeps binary that does not pin or share the message', () => {
    const message = encodeUp([{ kind: 'input', sid: 1, mid: bytes('0102'), type: 'x', data: bytes('0304') }])
    const [received] = decodeClient(message, scanLimits.up)
    message.fill(0xff)
    expect(plain(received?.frame)).toEqual({
      kind: 'input',
      sid: 1,
      mid: { $bin: '0102' },
      type: 'x',
      data: { $bin: '0304' },
    })
  })
})

/** One array held ten times by the next: small in memory, 10 to the power of `depth` values on the wire. */
function shared(width: number, depth: number): unknown {
  let value: unknown = 'x'
  for (let i = 0; i < depth; i++) value = new Array<unknown>(width).fill(value)
  return value
}

function openedWithLane(data: Uint8Array): Uint8Array {
  const writer = new Writer()
  writer.array(4)
  for (const n of [0x21, 1, 1]) writer.uint(n)
  writer.map(4)
  for (const one of ['run', 'r', 'gen', 1, 'credit', 1, 'lanes']) writer.value(one)
  writer.array(1)
  writer.array(2)
  writer.uint(1)
  writer.raw(data)
  return writer.take()
}

function framed(head: number[], data: Uint8Array): Uint8Array {
  const writer = new Writer()
  writer.array(head.length + 1)
  for (const n of head) writer.uint(n)
  writer.raw(data)
  return writer.take()
}

function errorOf(value: unknown): MillraceError {
  try {
    pack(value)
  } catch (error) {
    if (MillraceError.is(error, 'bad_event')) return error
    throw error
  }
  throw new Error('nothing was refused')
}

function refusalOf(value: unknown): string {
  return errorOf(value).message
}
