import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { MillraceError } from '../../protocol/errors.ts'
import { pack } from '../../protocol/pack.ts'
import { scanValue } from '../../protocol/scan.ts'
import { Writer } from '../../protocol/writer.ts'
import { bytes, hex, msgpackr, plain, scanLimits } from '../helpers/codec-paths.ts'

/** What a writer writes, and `pack` writes as well. */
function written(value: unknown, depth?: number): Uint8Array {
  const writer = new Writer(1)
  writer.value(value, depth)
  const packed: number[] = []
  pack(packed, value, depth ?? 15)
  expect(hex(Uint8Array.from(packed))).toBe(hex(writer.view()))
  return writer.take()
}

/** Plain data of every type and size class. */
const plainData = fc.letrec((tie) => ({
  text: fc.oneof(
    fc.string({ unit: 'grapheme', maxLength: 40 }),
    fc.string({ unit: 'binary', maxLength: 40 }),
    fc.string({ minLength: 250, maxLength: 260 }),
    fc.string({ unit: 'grapheme', minLength: 20, maxLength: 140 }),
  ),
  number: fc.oneof(
    fc.integer(),
    fc.integer({ min: -40_000, max: 70_000 }),
    fc.maxSafeInteger(),
    fc.double(),
    fc.constantFrom(127, 128, 255, 256, 65_535, 65_536, 2 ** 32 - 1, 2 ** 32, -32, -33, -128, -129, -32_768, -32_769),
    fc.constantFrom(-(2 ** 31), -(2 ** 31) - 1, -0, Number.NaN, Number.POSITIVE_INFINITY),
  ),
  value: fc.oneof(
    { maxDepth: 4 },
    tie('text'),
    tie('number'),
    fc.boolean(),
    fc.constant(null),
    fc.constant(undefined),
    fc.uint8Array({ maxLength: 300 }),
    fc.array(tie('value'), { maxLength: 20 }),
    fc.dictionary(
      fc.string({ maxLength: 20 }).filter((key) => key !== '__proto__'),
      tie('value'),
      { maxKeys: 20, noNullPrototype: true },
    ),
  ),
})).value

class Url {
  readonly href: string
  constructor(href: string) {
    this.href = href
  }
}

/** The value as msgpackr must get it: it writes nil where a map leaves `undefined` out. */
function travelling(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(travelling)
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value
  const there = Object.entries(value).filter(([, inner]) => inner !== undefined)
  return Object.fromEntries(there.map(([key, inner]) => [key, travelling(inner)]))
}

describe('a writer', () => {
  test('writes plain data byte for byte as msgpackr does, and counts its values as a scan does', () => {
    fc.assert(
      fc.property(plainData, (value) => {
        const writer = new Writer(16)
        writer.value(value)
        expect(hex(writer.view())).toBe(hex(msgpackr.pack(travelling(value))))
        expect(writer.values).toBe(scanValue(writer.view(), scanLimits.up))
        expect(hex(written(value))).toBe(hex(writer.view()))
      }),
      { numRuns: 2_000 },
    )
  })

  test.each([31, 32, 255, 256, 65_535, 65_536])('writes text and binary of %i bytes as msgpackr does', (length) => {
    for (const unit of ['x', 'é', '€', '😀']) {
      const text = unit.repeat(length).slice(0, length)
      if (!/\p{Surrogate}/u.test(text)) expect(hex(written(text))).toBe(hex(msgpackr.pack(text)))
      const fitting = unit.repeat(Math.floor(length / Buffer.byteLength(unit)))
      expect(hex(written(fitting))).toBe(hex(msgpackr.pack(fitting)))
    }
    expect(hex(written(new Uint8Array(length)))).toBe(hex(msgpackr.pack(new Uint8Array(length))))
  })

  test.each([15, 16, 65_535, 65_536])('writes arrays and maps of %i elements as msgpackr does', (length) => {
    const array = Array.from({ length }, () => null)
    const map = Object.fromEntries(Array.from({ length }, (_, i) => [`k${i}`, i]))
    expect(hex(written(array))).toBe(hex(msgpackr.pack(array)))
    expect(hex(written(map))).toBe(hex(msgpackr.pack(map)))
  })

  test.each([
    ['\ud800', 'efbfbd'],
    ['a\udc00b', '61efbfbd62'],
    ['\ud83d\ud83d\ude00', 'efbfbdf09f9880'],
    [`${'x'.repeat(40)}\udfff`, `${'78'.repeat(40)}efbfbd`],
  ])('writes half of a surrogate pair as U+FFFD: %j', (text, expected) => {
    expect(hex(written(text))).toMatch(new RegExp(`${expected}$`))
    expect(() => scanValue(written(text), scanLimits.up)).not.toThrow()
  })

  test.each([0, 127, 128, 2 ** 32 - 1, 2 ** 32, 1_754_006_400_123, Number.MAX_SAFE_INTEGER])(
    'writes %i as an unsigned integer and as a number alike',
    (n) => {
      const writer = new Writer()
      writer.uint(n)
      expect(hex(writer.view())).toBe(hex(msgpackr.pack(n)))
    },
  )

  test('keeps its content when it grows, and appends encoded values unchanged', () => {
    const writer = new Writer(1)
    writer.array(5)
    writer.str('é'.repeat(30))
    writer.raw(bytes('93010203'), 4)
    writer.bin(new Uint8Array(300))
    writer.number(-1)
    writer.nil()
    expect(writer.values).toBe(9)
    expect(plain(msgpackr.unpack(writer.take()))).toEqual([
      'é'.repeat(30),
      [1, 2, 3],
      { $bin: '00'.repeat(300) },
      -1,
      null,
    ])
  })

  test('hands out a copy that the next message does not change, and forgets the last', () => {
    const writer = new Writer()
    writer.str('first')
    const first = writer.take()
    writer.reset()
    expect(writer).toMatchObject({ length: 0, values: 0 })
    writer.str('later')
    expect(msgpackr.unpack(first)).toBe('first')
    expect(msgpackr.unpack(writer.view())).toBe('later')
  })

  test('forgets what is behind a length', () => {
    const writer = new Writer()
    writer.uint(1)
    writer.str('gone')
    writer.truncate(1)
    expect(hex(writer.view())).toBe('01')
  })

  test.each<[string, unknown]>([
    ['Date', new Date(0)],
    ['Map', new Map()],
    ['Set', new Set()],
    ['RegExp', /x/],
    ['Error', new Error('x')],
    ['ArrayBuffer', new ArrayBuffer(2)],
    ['Promise', Promise.resolve()],
    ['Url', new Url('x')],
    ['bigint', 1n],
    ['function', () => 1],
    ['symbol', Symbol('x')],
  ])('refuses a %s and names it', (name, value) => {
    const error = refusalOf(() => written({ deep: [value] }))
    expect(error.code).toBe('bad_request')
    expect(error.message).toContain(name)
  })

  test('writes a view of a buffer as the bytes that it shows, and knows bytes of another realm', () => {
    const { buffer } = Uint8Array.of(1, 2, 3, 4, 5, 6)
    for (const view of [new DataView(buffer, 2, 2), new Uint16Array(buffer, 2, 1), Buffer.from(buffer, 2, 2)])
      expect(hex(written(view))).toBe('c4020304')
    expect(hex(written(runInNewContext('Uint8Array.of(3, 4)')))).toBe('c4020304')
  })

  test('refuses data that refers to itself', () => {
    const loop: { [key: string]: unknown } = {}
    loop['again'] = [loop]
    expect(refusalOf(() => written(loop)).message).toContain('refers to itself')
  })

  test('refuses data that would not fit into a frame of the depth allowed', () => {
    const nested = (depth: number): unknown => (depth === 0 ? 'x' : [nested(depth - 1)])
    expect(written(nested(15))).toHaveLength(17)
    expect(refusalOf(() => written(nested(16))).message).toContain('deep')
    expect(written(nested(3), 3)).toHaveLength(5)
    expect(refusalOf(() => written(nested(4), 3)).message).toContain('deep')
  })

  test('refuses the key __proto__, which no receiver accepts', () => {
    expect(refusalOf(() => written(JSON.parse('{"__proto__":1}'))).message).toContain('__proto__')
  })

  test('takes objects without a prototype, and keys that are names of methods', () => {
    const bare = Object.assign(Object.create(null) as object, { constructor: 'x', toJSON: 1, hasOwnProperty: null })
    expect(hex(written(bare))).toBe(hex(written({ constructor: 'x', toJSON: 1, hasOwnProperty: null })))
  })

  test('writes an array as long as it was when it began, whatever its elements do to it', () => {
    const array: unknown[] = [1, 2]
    Object.defineProperty(array, 0, { enumerable: true, get: () => array.push(3) })
    const writer = new Writer()
    writer.value(array)
    expect(() => scanValue(writer.view(), scanLimits.up)).not.toThrow()
  })
})

function refusalOf(act: () => unknown): MillraceError {
  try {
    act()
  } catch (error) {
    if (MillraceError.is(error)) return error
    throw error
  }
  throw new Error('nothing was refused')
}
