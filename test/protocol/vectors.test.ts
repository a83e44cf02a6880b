import { describe, expect, test } from 'vitest'
import { TAG } from '../../protocol/frames.ts'
import { binary, decoders, encoders, hex, outcomeOf, plain } from '../helpers/codec-paths.ts'
import { messageOf, vectors } from '../helpers/vectors.ts'

describe('the test vectors', () => {
  test('are unique by direction and name, and each says either a meaning or a refusal', () => {
    expect(new Set(vectors.map(({ direction, name }) => `${direction} ${name}`)).size).toBe(vectors.length)
    for (const { meaning, refusal } of vectors) expect(meaning === undefined).toBe(refusal !== undefined)
  })

  test('have every tag of the wire among the accepted and among the refused', () => {
    const tagsOf = (accepted: boolean) =>
      new Set(vectors.filter(({ meaning }) => (meaning !== undefined) === accepted).map((one) => messageOf(one)[1]))
    expect([...tagsOf(true)]).toEqual(expect.arrayContaining(Object.values(TAG)))
    expect([...tagsOf(false)]).toEqual(expect.arrayContaining(Object.values(TAG)))
  })
})

describe.each(['own', 'scanned'] as const)('the %s decoder', (decoder) => {
  test.each(vectors.filter(({ meaning }) => meaning !== undefined))('accepts $direction: $name', (vector) => {
    expect(plain(decoders[vector.direction][decoder](messageOf(vector)))).toEqual(vector.meaning)
  })

  test.each(vectors.filter(({ refusal }) => refusal !== undefined))('refuses $direction: $name', (vector) => {
    expect(outcomeOf(() => decoders[vector.direction][decoder](messageOf(vector)))).toBe(vector.refusal?.close)
  })
})

describe('the encoder', () => {
  test.each(vectors.filter(({ canonical }) => canonical))('gives exactly the bytes of $direction: $name', (vector) => {
    expect(hex(encoders[vector.direction](binary(vector.meaning) as unknown[]))).toBe(vector.hex)
  })
})
