import { describe, expect, test } from 'vitest'
import { CLOSE, ProtocolFault } from '../../protocol/errors.ts'
import { element, scan, scanValue } from '../../protocol/scan.ts'
import { bytes, type Direction, decoders, hex, outcomeOf, scanLimits } from '../helpers/codec-paths.ts'
import { messageOf, vectors } from '../helpers/vectors.ts'

const limits = scanLimits.up
const small = { maxDepth: 3, maxValues: 8, maxBytes: 16 }

describe('a scan', () => {
  test('returns where each frame begins', () => {
    expect(scan(bytes('921001 dc00021001 dd000000021101'), limits)).toEqual([0, 3, 8])
  })

  test.each(vectors.filter(({ meaning }) => meaning !== undefined))('accepts $direction: $name', (vector) => {
    expect(scan(messageOf(vector), scanLimits[vector.direction]).length).toBeGreaterThan(0)
  })

  test.each([
    ['d40100', 'extension'],
    ['c1', '0xc1'],
    ['8101c0', 'key'],
    ['81a95f5f70726f746f5f5fc0', '__proto__'],
    ['919190', 'deep'],
    ['98c0c0c0c0c0c0c0c0', 'values'],
    ['a578', 'cut short'],
    ['a1ff', 'UTF-8'],
    ['cf0020000000000000', '2^53'],
  ])('refuses %s and says why: %s', (inner, reason) => {
    const fault = faultOf(() => scan(bytes(`9210${inner}`), small))
    expect(fault.closeCode).toBe(CLOSE.malformed)
    expect(fault.message).toContain(reason)
  })

  test.each([
    ['an empty message', '', 'empty'],
    ['a value that is no frame', '01', 'not an array'],
  ])('refuses %s and says why', (_, text, reason) => {
    expect(faultOf(() => scan(bytes(text), small)).message).toContain(reason)
  })

  test('refuses a message one byte above the limit as too large, whatever is in it', () => {
    expect(scan(bytes('dc000d'.padEnd(32, 'c0')), { ...small, maxValues: 99 })).toEqual([0])
    const fault = faultOf(() => scan(bytes('c1'.repeat(17)), small))
    expect(fault.closeCode).toBe(CLOSE.tooLarge)
  })

  test('counts the values of each frame anew', () => {
    expect(scan(bytes('9700000000000000 9700000000000000'), small)).toEqual([0, 8])
    expect(faultOf(() => scan(bytes('91 00 9800000000000000 00'), small)).message).toContain('values')
    expect(decoders.up.own(bytes('921001'.repeat(20_000)))).toHaveLength(20_000)
  })

  test('allows exactly the depth of the limit, for each frame anew', () => {
    expect(scan(bytes('919190 919180'), small)).toEqual([0, 3])
    expect(faultOf(() => scan(bytes('91919190'), small)).message).toContain('deep')
    expect(faultOf(() => scan(bytes('91919180'), small)).message).toContain('deep')
  })

  test('accepts a key that only ends like the forbidden one', () => {
    const long = `${'x'.repeat(0x0109 - 10)}\t__proto__`
    const key = `da0109${Buffer.from(long).toString('hex')}`
    expect(scan(bytes(`9181${key}c0`), limits)).toEqual([0])
    expect(scan(bytes('9181aa785f5f70726f746f5f5fc0'), limits)).toEqual([0])
    expect(scan(bytes('91a95f5f70726f746f5f5f'), limits)).toEqual([0])
  })
})

describe('a scan of one value', () => {
  test('counts its values', () => {
    expect(scanValue(bytes('82 a161 9201c0 a162 80'), limits)).toBe(7)
    expect(scanValue(bytes('c0'), limits)).toBe(1)
  })

  test.each([
    ['nothing', ''],
    ['two values', 'c0c0'],
    ['an extension', 'd40100'],
    ['half a value', '92c0'],
  ])('refuses %s', (_, text) => {
    expect(faultOf(() => scanValue(bytes(text), limits)).closeCode).toBe(CLOSE.malformed)
  })

  test('refuses one that is too large as too large', () => {
    expect(faultOf(() => scanValue(bytes('c0'.repeat(17)), small)).closeCode).toBe(CLOSE.tooLarge)
  })
})

describe('an element of a frame', () => {
  test('is the range of its bytes, as received', () => {
    const frame = bytes('94 02 01 a463686174 82 a161 cb3ff0000000000000 a162 dc0001c0')
    expect([0, 1, 2, 3].map((index) => hex(element(frame, index)))).toEqual([
      '02',
      '01',
      'a463686174',
      '82a161cb3ff0000000000000a162dc0001c0',
    ])
  })

  test('is empty beyond the end', () => {
    expect(element(bytes('9107'), 1)).toHaveLength(0)
  })

  test.each(['dc0002 05 c3', 'dd00000002 05 c3'])('is found in a frame with a longer header: %s', (text) => {
    expect(hex(element(bytes(text), 1))).toBe('c3')
  })
})

describe('a bomb', () => {
  const bombs = vectors.filter(({ name }) => name.startsWith('bomb'))

  test.each(bombs)('is refused with flat memory by both decoders: $direction, $name', (vector) => {
    const message = messageOf(vector)
    for (const decoder of ['own', 'scanned'] as const) {
      expect(allocatedBy(vector.direction, decoder, message)).toBeLessThan(4 * 1_048_576)
    }
  })

  test('of declared lengths is refused with flat memory wherever it stands', () => {
    for (const head of ['dbffffffff', 'c6ffffffff', 'ddffffffff', 'dfffffffff', 'dd7fffffff', 'c9ffffffff01']) {
      for (const frame of [head, `940201a161${head}`, `91${head}`, `92100181${head}`]) {
        expect(allocatedBy('up', 'own', bytes(frame))).toBeLessThan(4 * 1_048_576)
        expect(allocatedBy('up', 'scanned', bytes(frame))).toBeLessThan(4 * 1_048_576)
      }
    }
  })
})

/** Bytes that 100 refusals of a message leave on the heap and outside it before a garbage collection. */
function allocatedBy(direction: Direction, decoder: 'own' | 'scanned', message: Uint8Array): number {
  const used = () => {
    const { heapUsed, external } = process.memoryUsage()
    return heapUsed + external
  }
  globalThis.gc?.()
  const before = used()
  for (let i = 0; i < 100; i++) {
    expect(outcomeOf(() => decoders[direction][decoder](message))).toBe(CLOSE.malformed)
  }
  return used() - before
}

function faultOf(act: () => unknown): ProtocolFault {
  try {
    act()
  } catch (error) {
    if (error instanceof ProtocolFault) return error
    throw error
  }
  throw new Error('nothing was refused')
}
