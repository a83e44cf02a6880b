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
