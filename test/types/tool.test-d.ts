import { expectTypeOf } from 'vitest'
import { z } from 'zod'
import { partialObject } from '../../client-sdk/index.ts'
import type { AnswerOf, ResultOf } from '../../protocol/actors.ts'
import {
  type ApprovalContext,
  actor,
  agent,
  agentTool,
  type Message,
  type Tool,
  type ToolContext,
  tool,
} from '../../server/index.ts'

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

// What an agent makes for a run is what its tools and its own functions are given.
type Shop = { orders: Map<string, number> }
const order = tool({
  description: 'x',
  input: z.object({ id: z.string() }),
  needsApproval: ({ id }, { context }: ApprovalContext<Shop>) => (context.orders.get(id) ?? 0) > 20,
  run: ({ id }, { context }: ToolContext<Shop>) => {
    expectTypeOf(context).toEqualTypeOf<Shop>()
    return context.orders.get(id)
  },
})
expectTypeOf(order).toEqualTypeOf<Tool<{ id: string }, number | undefined, Shop>>()
agent({
  context: async ({ principal, meta, input, signal }) => {
    expectTypeOf(principal.id).toEqualTypeOf<string>()
    expectTypeOf(meta).toEqualTypeOf<{ [key: string]: unknown } | undefined>()
    expectTypeOf(input.messages[0]?.role).toEqualTypeOf<Message['role'] | undefined>()
    expectTypeOf(signal).toEqualTypeOf<AbortSignal>()
    return { orders: new Map<string, number>(), extra: Boolean(meta) }
  },
  tools: {
    order,
    weather,
    inline: tool({ description: 'x', run: (_, { context }: ToolContext<{ extra: boolean }>) => context.extra }),
  },
  turn: ({ context }) => {
    expectTypeOf(context).toEqualTypeOf<{ orders: Map<string, number>; extra: boolean }>()
    return { tools: { order } }
  },
  onStep: ({ context }) => {
    expectTypeOf(context.extra).toEqualTypeOf<boolean>()
  },
  onFinish: (_, { context, outcome, error, usage, run }) => {
    expectTypeOf(context.extra).toEqualTypeOf<boolean>()
    expectTypeOf(outcome).toEqualTypeOf<'done' | 'error' | 'cancelled'>()
    expectTypeOf(error?.code).toExtend<string | undefined>()
    expectTypeOf(usage?.input).toEqualTypeOf<number | undefined>()
    expectTypeOf(run.id).toEqualTypeOf<string>()
  },
})
const dated = tool({ description: 'x', run: (_, { context }: ToolContext<Date>) => context.getTime() })
// @ts-expect-error the agent makes no context, and the tool needs one
agent({ tools: { order } })
// @ts-expect-error the agent makes another context
agent({ context: () => ({ orders: 1 }), tools: { order } })
// @ts-expect-error a turn may not use a tool that needs another context either
agent({ context: (): Shop => ({ orders: new Map() }), turn: () => ({ tools: { dated } }) })
// @ts-expect-error a turn decides nothing of that name
agent({ turn: () => ({ instruction: 'x' }) })

// An actor of its own hands a context to the tools that need one.
actor({
  ask: (_: unknown, { tools }) => {
    tools({ weather })
    tools({ order, weather }, { orders: new Map() })
    // @ts-expect-error the tool needs a context
    tools({ order })
  },
})

// An agent as a tool takes a prompt, or what its schema makes an input of it of.
expectTypeOf(agentTool(agent({}), { description: 'x' })).toEqualTypeOf<Tool<{ prompt: string }, string>>()
const city = z.object({ city: z.string() }).transform((given) => ({ prompt: given.city }))
expectTypeOf(agentTool(agent({}), { description: 'x', input: city })).toEqualTypeOf<Tool<{ city: string }, string>>()
agent({ tools: { research: agentTool(agent({}), { description: 'x' }) } })
// @ts-expect-error an agent takes no such input
agentTool(agent({}), { description: 'x', input: z.object({ city: z.string() }) })

// The output of an agent is the result of its runs, and of the call where it is a tool.
const forecast = agent({ output: z.object({ city: z.string(), celsius: z.number().transform(String) }) })
type Forecast = { city: string; celsius: string }
expectTypeOf<ResultOf<typeof forecast>>().toEqualTypeOf<Forecast>()
expectTypeOf<AnswerOf<typeof forecast>>().toEqualTypeOf<Forecast>()
export const plain = agent({})
expectTypeOf<AnswerOf<typeof plain>>().toEqualTypeOf<string>()
expectTypeOf(agentTool(forecast, { description: 'x' })).toEqualTypeOf<Tool<{ prompt: string }, Forecast>>()
expectTypeOf(partialObject<Forecast>('{')).toEqualTypeOf<{ city?: string; celsius?: string } | undefined>()
expectTypeOf(partialObject<{ list: { n: number }[] }>('{')?.list?.[0]?.n).toEqualTypeOf<number | undefined>()
// @ts-expect-error a date cannot travel
agent({ output: z.object({ at: z.string().transform((text) => new Date(text)) }) })
