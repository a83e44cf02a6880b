import { expectTypeOf } from 'vitest'
import { z } from 'zod'
import type { Run } from '../../client-sdk/index.ts'
import { createClient } from '../../client-sdk/index.ts'
import type { DataOf, InputOf, ResultOf } from '../../protocol/actors.ts'
import type { AnyData, RunEvent } from '../../protocol/events.ts'
import { actor } from '../../server/actors/actor.ts'

// An actor that only yields returns nothing: its answer is its text.
export const says = actor({
  async *stream() {
    yield 'text'
  },
})
expectTypeOf<ResultOf<typeof says>>().toEqualTypeOf<undefined>()
expectTypeOf<InputOf<typeof says>>().toEqualTypeOf<unknown>()
expectTypeOf<DataOf<typeof says>>().toEqualTypeOf<AnyData>()

export const counts = actor({
  input: z.object({ to: z.number().default(3) }),
  async *stream({ to }) {
    expectTypeOf(to).toEqualTypeOf<number>()
    yield { type: 'data', name: 'half', value: to / 2 }
    return { counted: to }
  },
})
expectTypeOf<ResultOf<typeof counts>>().toEqualTypeOf<{ counted: number }>()
expectTypeOf<InputOf<typeof counts>>().toEqualTypeOf<{ to?: number | undefined }>()
expectTypeOf<DataOf<typeof counts>>().toEqualTypeOf<{ name: 'half'; value: number }>()

export const asked = actor({ ask: async () => 'answer' })
expectTypeOf<ResultOf<typeof asked>>().toEqualTypeOf<string>()

// A child's events and results are those of its actor, and passing them on types the parent.
export const parent = actor({
  async *stream(_: unknown, { spawn }) {
    const child = spawn(counts, { to: 4 })
    expectTypeOf(child.result).toEqualTypeOf<Promise<{ counted: number }>>()
    yield { type: 'data', name: 'depth', value: 1 }
    yield* spawn(says, undefined)
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
expectTypeOf<DataOf<typeof parent>>().toEqualTypeOf<
  { name: 'depth'; value: number } | { name: 'half'; value: number }
>()
expectTypeOf<ResultOf<typeof parent>>().toEqualTypeOf<number>()

// The name of a `data` event narrows its value, from what the actor yields to what a client reads.
export const market = actor({
  async *stream(_: unknown, { emit }) {
    yield 'open: '
    yield { type: 'data', name: 'price', value: 4.5 }
    yield { type: 'data', name: 'price', value: null }
    yield { type: 'data', name: 'trade', value: { shares: 7, by: 'alice' } }
    yield { type: 'progress', current: 1 }
    await emit({ type: 'data', name: 'seen', value: true })
    return 'closed'
  },
})
type Market =
  | { name: 'price'; value: number }
  | { name: 'price'; value: null }
  | { name: 'trade'; value: { shares: number; by: string } }
expectTypeOf<DataOf<typeof market>>().toEqualTypeOf<Market>()
for await (const event of createClient<{ market: typeof market }>('ws://localhost').start('market', undefined)) {
  if (event.type !== 'data') continue
  expectTypeOf(event.name).toEqualTypeOf<'price' | 'trade'>()
  if (event.name === 'price') expectTypeOf(event.value).toEqualTypeOf<number | null>()
  else expectTypeOf(event.value).toEqualTypeOf<{ shares: number; by: string }>()
  // @ts-expect-error the actor yields no such event
  if (event.name === 'prize') continue
  // @ts-expect-error before the name is known, the value is one of several
  expectTypeOf(event.value.shares)
}

// Names that are known at run time only keep the type of their values.
export const named = actor({
  async *stream(name: unknown) {
    yield { type: 'data', name: String(name), value: 1 }
  },
})
expectTypeOf<DataOf<typeof named>>().toEqualTypeOf<{ name: string; value: number }>()
export const mixed = actor({
  async *stream(name: unknown) {
    yield { type: 'data', name: 'fixed', value: 'text' }
    yield { type: 'data', name: String(name), value: 1 }
  },
})
expectTypeOf<DataOf<typeof mixed>['value']>().toEqualTypeOf<string | number>()

// Where nothing is known of the names, a value may be anything.
declare const unknownEvent: RunEvent
if (unknownEvent.type === 'data') expectTypeOf(unknownEvent).toExtend<{ name: string; value: unknown }>()
for await (const event of createClient<{ says: typeof says }>('ws://localhost').start('says', undefined))
  if (event.type === 'data' && event.name === 'emitted') expectTypeOf(event.value).toEqualTypeOf<unknown>()

// What a run is to be read for can be written down.
declare const typed: Run<{ name: 'price'; value: number }, string>
for await (const event of typed)
  if (event.type === 'data' && event.name === 'price') expectTypeOf(event.value).toEqualTypeOf<number>()
expectTypeOf(typed).toExtend<Run>()
// @ts-expect-error data has a name
expectTypeOf<Run<number>>()
