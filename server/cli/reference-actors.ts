import { z } from 'zod'
import { type Actor, actor } from '../actors/actor.ts'
import { tool } from '../actors/tool.ts'

const amount = z.int().min(0).max(100_000)

/** Waits until the run stops. */
function stopped(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const stop = (): void => reject(signal.reason)
    if (signal.aborted) stop()
    else signal.addEventListener('abort', stop, { once: true })
  })
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

const silent = actor({
  description: 'Says nothing until it is stopped.',
  async *stream(_, { signal }) {
    await stopped(signal)
    yield ''
  },
})

const wait = tool({
  description: 'Waits until it is stopped.',
  run: (_, { signal }) => stopped(signal),
})

const guarded = tool({
  description: 'Needs approval, and answers at once.',
  needsApproval: true,
  run: () => 'approved',
})

/** How long `babble` goes on talking when it was stopped, in milliseconds. */
const BABBLE_MS = 100

/** The actors that a server has when `millrace verify` judges it. docs/conformance.md says what each does. */
export const referenceActors: { readonly [name: string]: Actor } = {
  say: actor({
    description: 'Says the texts of its input.',
    input: z.strictObject({ texts: z.array(z.string()).max(1_000) }),
    async *stream({ texts }) {
      yield* texts
    },
  }),

  count: actor({
    description: 'Counts as fast as it is read.',
    input: z.strictObject({ to: amount }),
    async *stream({ to }) {
      for (let n = 1; n <= to; n++) yield `${n} `
      return { counted: to }
    },
  }),

  silent,

  stubborn: actor({
    description: 'Says nothing, and goes on for a time when it is stopped.',
    input: z.strictObject({ ms: amount }),
    async *stream({ ms }, { signal }) {
      await stopped(signal).catch(() => {})
      await pause(ms)
      yield ''
    },
  }),

  babble: actor({
    description: 'Says "early", and goes on to say "late" when it is stopped.',
    async *stream(_, { signal }) {
      yield 'early'
      await stopped(signal).catch(() => {})
      yield 'late'
      await pause(BABBLE_MS)
      yield 'late'
    },
  }),

  events: actor({
    description: 'Yields a data event for each size, with a text of so many bytes.',
    input: z.strictObject({ sizes: z.array(amount).max(1_000) }),
    async *stream({ sizes }) {
      for (const size of sizes) yield { type: 'data', name: 'size', value: 'x'.repeat(size) }
    },
  }),

  think: actor({
    description: 'Thinks "why" and says "because".',
    async *stream() {
      yield { type: 'thinking', text: 'why' }
      yield 'because'
    },
  }),

  fail: actor({
    description: 'Throws an error.',
    input: z.strictObject({ message: z.string() }),
    async *stream({ message }) {
      yield 'so far'
      throw new Error(message)
    },
  }),

  ask: actor({
    description: 'Asks for a name and greets it.',
    async *stream(_, { request }) {
      yield `hello ${String(await request({ kind: 'text', prompt: 'who?' }))}`
    },
  }),

  tool: actor({
    description: 'Calls a tool that waits until it is stopped, or one that needs approval.',
    input: z.strictObject({ approve: z.boolean().optional() }).nullable(),
    async *stream(input, { tools }) {
      const name = input?.approve === true ? 'guarded' : 'wait'
      const bound = tools({ wait, guarded })
      await bound.call({ call: bound.claimId('c1'), name, args: {} })
      yield 'after'
    },
  }),

  echo: actor({
    description: 'Repeats each message.',
    interactive: true,
    async *stream(_, { inputs }) {
      for await (const { type, data } of inputs) if (type === 'message') yield String(data)
    },
  }),

  deaf: actor({
    description: 'Takes no input.',
    interactive: true,
    async *stream(_, { signal }) {
      await stopped(signal)
      yield ''
    },
  }),

  parent: actor({
    description: 'Begins a child that says nothing, and goes on behind it.',
    async *stream(_, { spawn }) {
      yield* spawn(silent, null, { name: 'child' })
      yield 'after'
    },
  }),

  turns: actor({
    description: 'Makes two turns, and waits in the second one until it is stopped.',
    async *stream(_, { signal }) {
      yield { type: 'iteration', n: 1, max: 2 }
      yield 'one'
      yield { type: 'iteration.end', n: 1, stop: 'stop' }
      yield { type: 'iteration', n: 2, max: 2 }
      yield 'two'
      await stopped(signal)
    },
  }),
}
