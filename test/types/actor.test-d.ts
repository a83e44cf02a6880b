import { expectTypeOf } from 'vitest'
import { z } from 'zod'
import type { DataOf, InputOf, ResultOf } from '../../protocol/actors.ts'
import { actor } from '../../server/actors/actor.ts'

// An actor that only yields returns nothing: its answer is its text.
export const says = actor({
  async *stream() {
    yield 'text'
  },
})
expectTypeOf<ResultOf<typeof says>>().toEqualTypeOf<undefined>()
expectTypeOf<InputOf<typeof says>>().toEqualTypeOf<unknown>()
expectTypeOf<DataOf<typeof says>>().toEqualTypeOf<never>()

export const counts = actor({
  input: z.object({ to: z.number().default(3) }),
  async *stream({ to }) {
    expectTypeOf(to).toEqualTypeOf<number>()
    yield { type: 'data' as const, name: 'half', value: to / 2 }
    return { counted: to }
  },
})
expectTypeOf<ResultOf<typeof counts>>().toEqualTypeOf<{ counted: number }>()
expectTypeOf<InputOf<typeof counts>>().toEqualTypeOf<{ to?: number | undefined }>()
expectTypeOf<DataOf<typeof counts>>().toEqualTypeOf<number>()

export const asked = actor({ ask: async () => 'answer' })
expectTypeOf<ResultOf<typeof asked>>().toEqualTypeOf<string>()

// A child's events and results are those of its actor, and passing them on types the parent.
export const parent = actor({
  async *stream(_: unknown, { spawn }) {
    const child = spawn(counts, { to: 4 })
    expectTypeOf(child.result).toEqualTypeOf<Promise<{ counted: number }>>()
    const counted = yield* child
    expectTypeOf(counted).toEqualTypeOf<{ counted: number } | undefined>()
    expectTypeOf(spawn(says, undefined).result).toEqualTypeOf<Promise<string>>()
    // @ts-expect-error the input is that of the actor
    spawn(counts, { to: 'four' })
    // @ts-expect-error only actors are spawned
    spawn({ stream: () => [] }, undefined)
    return counted?.counted ?? 0
  },
})
expectTypeOf<DataOf<typeof parent>>().toEqualTypeOf<number>()
expectTypeOf<ResultOf<typeof parent>>().toEqualTypeOf<number>()
