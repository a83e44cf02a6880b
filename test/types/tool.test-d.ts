import { expectTypeOf } from 'vitest'
import { z } from 'zod'
import { agent, type Tool, tool } from '../../server/index.ts'

// A tool's `run` takes what its schema makes of the arguments.
export const weather = tool({
  description: 'Weather now',
  input: z.object({ city: z.string(), days: z.number().default(1) }),
  needsApproval: ({ days }) => days > 7,
  run: ({ city, days }, { signal }) => {
    expectTypeOf(city).toEqualTypeOf<string>()
    expectTypeOf(days).toEqualTypeOf<number>()
    expectTypeOf(signal).toEqualTypeOf<AbortSignal>()
    return { city, celsius: 7 }
  },
})
expectTypeOf(weather).toEqualTypeOf<
  Tool<{ city: string; days?: number | undefined }, { city: string; celsius: number }>
>()

// One that is async, and one that yields progress, have the output they come to.
export const slow = tool({ description: 'x', run: async () => 'done' })
expectTypeOf(slow).toEqualTypeOf<Tool<unknown, string>>()
export const steps = tool({
  description: 'x',
  async *run() {
    yield 'half'
    yield { current: 1, total: 2 }
    return 42
  },
})
expectTypeOf(steps).toEqualTypeOf<Tool<unknown, number>>()

// Progress is words, or something to count.
tool({
  description: 'x',
  // @ts-expect-error a number alone is neither
  async *run() {
    yield 7
    return 1
  },
})

agent({ tools: { weather, slow, steps } })
// @ts-expect-error a tool is made by tool()
agent({ tools: { made: { description: 'x', run: () => 1 } } })
