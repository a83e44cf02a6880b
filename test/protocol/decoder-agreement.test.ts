import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ProtocolFault } from '../../protocol/errors.ts'
import { scan } from '../../protocol/scan.ts'
import { type Direction, decoders, encoders, msgpackr, outcomeOf, scanLimits } from '../helpers/codec-paths.ts'
import { firstSeed, repetitions } from '../helpers/tier.ts'
import { messageOf, vectors } from '../helpers/vectors.ts'

/** Bytes at which the meaning of MessagePack turns. */
const sharp = [0x00, 0x01, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xff, 0xe0, 0xed, 0xf4, 0x60, 0x40, 0x10].concat(
  Array.from({ length: 32 }, (_, i) => 0xc0 + i),
)

const kinds = ['set', 'letter', 'nudge', 'flip', 'insert', 'drop', 'cut', 'copy'] as const
type Kind = (typeof kinds)[number]

type Mutation = { at: number; kind: Kind; byte: number; length: number }

const mutation: fc.Arbitrary<Mutation> = fc.record({
  at: fc.nat(0xffff),
  kind: fc.constantFrom(...kinds),
  byte: fc.oneof(fc.constantFrom(...sharp), fc.nat(255)),
  length: fc.integer({ min: 1, max: 8 }),
})

/** Whole messages to damage; a good one is damaged more often than one that is refused as it is. */
const bases = vectors
  .map((vector) => ({ direction: vector.direction, message: messageOf(vector), good: vector.meaning !== undefined }))
  .filter(({ message }) => message.length <= 400)
const base = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...bases.filter(({ good }) => good)) },
  { weight: 1, arbitrary: fc.constantFrom(...bases.filter(({ good }) => !good)) },
)

type Tally = { accepted: number; refused: number }

const COUNT = repetitions({ quick: 3_000, full: 200_000, long: 2_000_000 })

test(`the strict decoder and msgpackr behind the scan agree on ${COUNT} damaged messages`, () => {
  const seed = firstSeed()
  const tally = { accepted: 0, refused: 0 }
  fc.assert(
    fc.property(
      base,
      fc.oneof({ weight: 3, arbitrary: fc.tuple(mutation) }, fc.array(mutation, { minLength: 2, maxLength: 4 })),
      ({ direction, message }, mutations) => {
        check(direction, mutations.reduce(mutated, message), tally)
      },
    ),
    { numRuns: COUNT, seed },
  )
  const { accepted, refused } = tally
  console.log(`decoder agreement: seed ${seed}, ${accepted} accepted, ${refused} refused`)
  expect(accepted).toBeGreaterThan(COUNT / 20)
  expect(refused).toBeGreaterThan(COUNT / 20)
})

/**
 * Both decoders must make the same frames of `message`, or refuse it alike. What the scan passes must be what msgpackr can
 * read. What was accepted, once encoded again, must mean the same.
 */
function check(direction: Direction, message: Uint8Array, tally: Tally): void {
  const own = outcomeOf(() => decoders[direction].own(message))
  const scanned = outcomeOf(() => decoders[direction].scanned(message))
  expect(same(own, scanned), 'both decoders say the same').toBe(true)

  const starts = startsOf(message, direction)
  if (starts !== undefined) {
    const values = msgpackr.unpackMultiple(message) as unknown[]
    expect(values, 'msgpackr reads as many frames as the scan found').toHaveLength(starts.length)
  }
  if (typeof own === 'number') {
    tally.refused++
    return
  }
  tally.accepted++
  expect(starts, 'what is accepted passes the scan').toBeDefined()
  if (own.length === 0) return
  const again = decoders[direction].own(encoders[direction](own))
  expect(same(again, own, isWrittenAs), 'what was accepted means the same when encoded again').toBe(true)
}

function startsOf(message: Uint8Array, direction: Direction): number[] | undefined {
  try {
    return scan(message, scanLimits[direction])
  } catch (error) {
    if (error instanceof ProtocolFault) return undefined
    throw error
  }
}

function mutated(message: Uint8Array, { at, kind, byte, length }: Mutation): Uint8Array {
  const index = Math.floor((at / 0x10000) * message.length)
  const before = message.subarray(0, index)
  switch (kind) {
    case 'set':
      return joined(before, [byte], message.subarray(index + 1))
    case 'letter':
      return joined(before, [byte & 0x7f], message.subarray(index + 1))
    case 'nudge':
      return joined(before, [(message[index] ?? 0) + 1], message.subarray(index + 1))
    case 'flip':
      return joined(before, [(message[index] ?? 0) ^ (1 << (byte & 7))], message.subarray(index + 1))
    case 'insert':
      return joined(before, [byte], message.subarray(index))
    case 'drop':
      return joined(before, [], message.subarray(index + length))
    case 'cut':
      return before
    case 'copy':
      return joined(message.subarray(0, index + length), message.subarray(index))
  }
}

function joined(...parts: (Uint8Array | number[])[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts.map((part) => Uint8Array.from(part))))
}

/** Whether `again` is what `value` is once written: a negative zero, which damage can make, is the integer 0. */
const isWrittenAs = (again: unknown, value: unknown): boolean => Object.is(again, value === 0 ? 0 : value)

/** Deep equality in which bytes are equal whatever class holds them: and quick enough for a million mutants. */
function same(a: unknown, b: unknown, is: (a: unknown, b: unknown) => boolean = Object.is): boolean {
  if (is(a, b)) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (a instanceof Uint8Array) return b instanceof Uint8Array && Buffer.compare(a, b) === 0
  if (Array.isArray(a) !== Array.isArray(b) || b instanceof Uint8Array) return false
  const keys = Object.keys(a)
  if (keys.length !== Object.keys(b).length) return false
  return keys.every((key) => Object.hasOwn(b, key) && same(a[key as keyof typeof a], b[key as keyof typeof b], is))
}
