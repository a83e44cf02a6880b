import { expectTypeOf } from 'vitest'
import { z } from 'zod'
import type { DataOf, InputOf, ResultOf } from '../../protocol/actors.ts'
import { actor, type Sendable } from '../../server/index.ts'

// What can travel keeps its type, however it is declared.
interface Tree {
  name: string
  note?: string
  size: number | null
  children: readonly Tree[]
  raw: unknown
}
type Row = { id: string; cells: [string, number]; bytes: Uint8Array; flag: boolean | undefined }
declare const tree: Tree
declare const row: Row
declare const record: Record<string, unknown>

export const trees = actor({ ask: () => tree })
expectTypeOf<ResultOf<typeof trees>>().toEqualTypeOf<Tree>()
export const rows = actor({ ask: async () => [row] as readonly Row[] })
expectTypeOf<ResultOf<typeof rows>>().toEqualTypeOf<readonly Row[]>()
export const bytes = actor({ ask: () => new Uint8Array(4) })
expectTypeOf<ResultOf<typeof bytes>>().toEqualTypeOf<Uint8Array<ArrayBuffer>>()
export const anything = actor({ ask: (input) => input })
expectTypeOf<ResultOf<typeof anything>>().toEqualTypeOf<unknown>()
export const perhaps = actor({ ask: (input) => (input === 1 ? { at: 1 } : null) })
expectTypeOf<ResultOf<typeof perhaps>>().toEqualTypeOf<{ at: number } | null>()
export const either = actor({ ask: (input) => (input === 1 ? ['a'] : record) })
expectTypeOf<ResultOf<typeof either>>().toEqualTypeOf<string[] | Record<string, unknown>>()
export const streamed = actor({
  async *stream() {
    yield 'text'
    yield { type: 'data', name: 'tree', value: tree }
    return { row }
  },
})
expectTypeOf<ResultOf<typeof streamed>>().toEqualTypeOf<{ row: Row }>()
expectTypeOf<DataOf<typeof streamed>>().toEqualTypeOf<{ name: 'tree'; value: Tree }>()
export const nothing = actor({ ask: async () => {} })
expectTypeOf<ResultOf<typeof nothing>>().toEqualTypeOf<undefined>()

// A type parameter is checked by whoever makes the actor.
export const constant = <T>(make: () => Sendable<T>) => actor({ ask: make })

// Results that cannot travel.
// @ts-expect-error a date cannot travel
actor({ ask: () => new Date() })
// @ts-expect-error a promise of a map cannot travel
actor({ ask: async () => new Map<string, number>() })
// @ts-expect-error a set cannot travel
actor({ ask: () => ({ names: new Set(['a']) }) })
// @ts-expect-error a bigint cannot travel
actor({ ask: () => ({ total: 4n }) })
// @ts-expect-error a symbol cannot travel
actor({ ask: () => [Symbol('s')] })
// @ts-expect-error a function cannot travel
actor({ ask: () => ({ list: [{ next: () => 1 }] }) })
// @ts-expect-error a promise within cannot travel
actor({ ask: () => ({ later: Promise.resolve(1) }) })
// @ts-expect-error an instance of a class
actor({ ask: () => new URL('http://localhost') })
// @ts-expect-error one of several cannot travel
actor({ ask: (input) => (input === 1 ? { at: 1 } : new Date()) })
actor({
  // @ts-expect-error the result of a stream
  async *stream() {
    yield 'text'
    return { at: new Date() }
  },
})
actor({
  // @ts-expect-error the value of an event
  async *stream() {
    yield { type: 'data', name: 'at', value: { at: new Date() } }
  },
})

// Inputs that no client can send.
// @ts-expect-error a date cannot travel
actor({ input: z.object({ at: z.date() }), ask: ({ at }) => at.getTime() })
// @ts-expect-error a map cannot travel
actor({ input: z.map(z.string(), z.number()), ask: (map) => map.size })
export const dated = actor({
  input: z.object({ at: z.iso.datetime().transform((text) => new Date(text)), more: z.unknown().optional() }),
  ask: ({ at }) => {
    expectTypeOf(at).toEqualTypeOf<Date>()
    return at.getTime()
  },
})
expectTypeOf<InputOf<typeof dated>>().toEqualTypeOf<{ at: string; more?: unknown }>()
export const tagged = actor({
  input: z.discriminatedUnion('type', [
    z.object({ type: z.literal('a') }),
    z.object({ type: z.literal('b'), n: z.int() }),
  ]),
  ask: (input) => (input.type === 'b' ? input.n : 0),
})
