import { z } from 'zod'
import type { InspectorUpdate } from '../../protocol/inspector.ts'
import { type Actor, actor } from '../actors/actor.ts'
import { agent } from '../agents/agent.ts'
import type { AgentInput } from '../agents/agent-input.ts'
import { type InspectorInput, inspector } from '../inspector/inspector.ts'
import { wait } from '../streams/wait.ts'
import { demoTools } from './demo-tools.ts'

/** The actors of `millrace serve`, unless a config file has its own. Tests and benchmarks use them too. */
export type DemoActors = {
  chat: Actor<AgentInput, undefined, never>
  assistant: Actor<AgentInput, undefined, never>
  team: Actor<string | { prompt: string }, string | undefined, never>
  count: Actor<{ to: number; delayMs?: number | undefined }, undefined, never>
  flood: Actor<{ tokens: number; bytes?: number | undefined }, undefined, never>
  echo: Actor<unknown, undefined, never>
  sleep: Actor<{ ms: number }, { sleptMs: number }, never>
  stubborn: Actor<{ ms: number }, { sleptMs: number }, never>
  inspector: Actor<InspectorInput | undefined, undefined, { name: 'inspector'; value: InspectorUpdate }>
}

const amount = z.number().int().min(1)
/** A delay in milliseconds, up to the maximum of a timer. */
const delay = z
  .number()
  .int()
  .min(0)
  .max(2 ** 31 - 1)

/** The error for an input that is not an object: it shows a valid one. */
const like = (example: string): z.core.$ZodObjectParams => ({
  error: ({ code }) => (code === 'invalid_type' ? `expected an object such as ${example}` : undefined),
})

const words = z.string().min(1)
const advocate = agent({ instructions: 'Give the case for the subject, in three sentences.' })
const critic = agent({ instructions: 'Give the case against the subject, in three sentences.' })
const editor = agent({ instructions: 'Sum up the two cases, in two sentences.' })

export const demoActors: DemoActors = {
  chat: agent({
    description: 'Answers a prompt with the model of the server.',
    instructions: 'You are a friendly assistant. Answer in a few short paragraphs of plain text.',
  }),

  assistant: agent({
    description: 'Answers with tools: weather, research (slow) and mail (needs approval). Mention one of them.',
    instructions: 'You are a helpful assistant. Use your tools where they help, and answer in plain text.',
    tools: demoTools,
  }),

  team: actor({
    description: 'Two agents answer in parallel, and a third sums up. Every event names its agent.',
    input: z.union([words, z.object({ prompt: words }).transform(({ prompt }) => prompt)], {
      error: 'expected a question: a string or { prompt }',
    }),
    async *stream(question, { spawn, emit }) {
      const sides = [
        spawn(advocate, `The case for this: ${question}`, { name: 'advocate' }),
        spawn(critic, `The case against this: ${question}`, { name: 'critic' }),
      ]
      const cases = await Promise.all(
        sides.map(async (side) => {
          for await (const event of side) await emit(event)
          return side.result.catch(() => '(was cancelled)')
        }),
      )
      return yield* spawn(editor, `Sum up: ${cases.join(' But: ')}`, { name: 'editor' })
    },
  }),

  count: actor({
    description: 'Counts, one token per number.',
    input: z.strictObject({ to: amount, delayMs: delay.optional() }, like('{"to":10}')),
    async *stream({ to, delayMs = 0 }, { signal }) {
      for (let n = 1; n <= to; n++) {
        if (delayMs > 0) await wait(delayMs, signal)
        yield `${n} `
      }
    },
  }),

  flood: actor({
    description: 'Sends random tokens of 3 to 6 characters, or of a given size, as fast as clients read them.',
    input: z.strictObject({ tokens: amount, bytes: amount.max(65_536).optional() }, like('{"tokens":1000}')),
    async *stream({ tokens, bytes }) {
      const noise = randomText((bytes ?? 6) + NOISE_CHARACTERS)
      for (let n = 0; n < tokens; n++) {
        const at = Math.floor(Math.random() * NOISE_CHARACTERS)
        yield noise.slice(at, at + (bytes ?? 3 + (n & 3)))
      }
    },
  }),

  echo: actor({
    description: 'Answers each `message` with a token, until it is cancelled.',
    interactive: true,
    async *stream(_, { inputs }) {
      for await (const { type, data } of inputs) {
        if (type === 'message') yield typeof data === 'string' ? data : JSON.stringify(data)
      }
    },
  }),

  sleep: actor({
    description: 'Waits for the given time. A cancel stops it at once.',
    input: z.strictObject({ ms: delay }, like('{"ms":1000}')),
    async *stream({ ms }, { signal }) {
      await wait(ms, signal)
      return { sleptMs: ms }
    },
  }),

  stubborn: actor({
    description: 'Waits for the given time, and ignores a cancel.',
    input: z.strictObject({ ms: delay }, like('{"ms":1000}')),
    async *stream({ ms }) {
      await new Promise((resolve) => setTimeout(resolve, ms))
      return { sleptMs: ms }
    },
  }),

  inspector: inspector(),
}

const NOISE_CHARACTERS = 4_096
const ALPHABET = 'abcdefghijklmnopqrstuvwxyz     '

function randomText(length: number): string {
  let text = ''
  while (text.length < length) text += ALPHABET[Math.floor(Math.random() * ALPHABET.length)]!
  return text
}
