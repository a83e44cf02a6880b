import { describe, expect, test } from 'vitest'
import { TAG } from '../../protocol/frames.ts'
import { decoders, encoders, hex, outcomeOf, plain } from '../helpers/codec-paths.ts'
import { tableUnder } from '../helpers/protocol-document.ts'
import { givenOf, meaningOf, messageOf, readVectorsReadme, vectors } from '../helpers/vectors.ts'

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

  test('have no field in a meaning that their README does not name, and every field that it names', () => {
    const fields = new Map<string, Set<string>>()
    const note = (kind: string, frame: object, within = ''): void => {
      const known = fields.get(kind) ?? new Set()
      fields.set(kind, known)
      for (const [name, value] of Object.entries(frame)) {
        if (name === 'kind') continue
        known.add(within + name)
        if (['options', 'target', 'ref'].includes(name)) note(kind, value as object, `${name}.`)
      }
    }
    for (const { meaning = [] } of vectors) for (const frame of meaning as { kind: string }[]) note(frame.kind, frame)

    const named = tableUnder(readVectorsReadme(), '## What a meaning says').map(
      ([, kind = '', elements = '', keys = '']) =>
        [
          kind,
          `${elements} ${keys}`
            .split(/[ ?]+/)
            .filter((word) => word !== '')
            .sort(),
        ] as const,
    )
    expect(named.length).toBe(Object.keys(TAG).length)
    expect(Object.fromEntries([...fields].map(([kind, known]) => [kind, [...known].sort()]))).toEqual(
      Object.fromEntries(named),
    )
  })
})

describe.each(['own', 'scanned'] as const)('the %s decoder', (decoder) => {
  test.each(vectors.filter(({ meaning }) => meaning !== undefined))('accepts $direction: $name', (vector) => {
    expect(plain(decoders[vector.direction][decoder](messageOf(vector)))).toEqual(plain(meaningOf(vector)))
  })

  test.each(vectors.filter(({ refusal }) => refusal !== undefined))('refuses $direction: $name', (vector) => {
    expect(outcomeOf(() => decoders[vector.direction][decoder](messageOf(vector)))).toBe(vector.refusal?.close)
  })
})

describe('the encoder', () => {
  test.each(vectors.filter(({ canonical }) => canonical))('gives exactly the bytes of $direction: $name', (vector) => {
    expect(hex(encoders[vector.direction](givenOf(vector)))).toBe(hex(messageOf(vector)))
  })
})
