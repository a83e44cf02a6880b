import { z } from 'zod'
import type { RunEvent } from '../../protocol/events.ts'
import { type Actor, actor } from '../actors/actor.ts'
import type { Message, Model } from '../models/model.ts'

/** What an agent is asked: a prompt, or the messages so far (the last one is answered). A plain string is a prompt. */
export type AgentInput =
  | string
  | { prompt: string }
  | { messages: { role: 'system' | 'user' | 'assistant'; content: string }[] }

export type AgentDefinition = {
  /** A model, or the id of one the server knows (`openai:gpt-5-mini`). Default: the server's default model. */
  model?: Model | string
  /** What the model is told before every conversation. */
  instructions?: string
  /** How freely the model chooses, as its provider understands it. Default: the provider's own. */
  temperature?: number
  /** Most tokens of one answer. Default: the provider's own. */
  maxTokens?: number
  /** One sentence for people and for inspectors. */
  description?: string
}

/**
 * Makes an actor that answers with a model: its text as tokens, and the model's thinking, retries, warnings and usage
 * as events. The run's result is the text. A model that fails ends the run with the error the model threw.
 */
export function agent(definition: AgentDefinition): Actor<AgentInput, undefined, never> {
  const { model: which, instructions, temperature, maxTokens, description } = definition
  const system: Message[] = instructions === undefined ? [] : [{ role: 'system', content: instructions }]
  return actor<typeof input, Said>({
    ...(description !== undefined && { description }),
    input,
    async *stream(messages, context) {
      const model = context.model(which)
      const call = {
        messages: [...system, ...messages],
        ...(temperature !== undefined && { temperature }),
        ...(maxTokens !== undefined && { maxTokens }),
      }
      for await (const event of model.stream(call)) {
        switch (event.type) {
          case 'text':
            yield event.text
            break
          case 'retry':
            yield { ...event, provider: model.id.split(':')[0]! }
            break
          case 'thinking':
          case 'usage':
          case 'warning':
            yield event
            break
          case 'tool.call':
            // It was given no tools, so it made this one up.
            yield { type: 'warning', code: 'unknown_tool', message: `the model called a tool it was not given` }
            break
          case 'tool.args':
          case 'finish':
            break
        }
      }
    },
  })
}

/** What an agent yields: text, and what its model says beside it. */
type Said = string | Exclude<RunEvent, { type: 'data' }>

const text = z.string().min(1)
const message = z.strictObject({ role: z.enum(['system', 'user', 'assistant']), content: z.string() })

const input = z
  .union([text, z.strictObject({ prompt: text }), z.strictObject({ messages: z.array(message).min(1) })], {
    error: 'an agent takes a prompt (a string or { prompt }) or { messages: [{ role, content }, ...] }',
  })
  .transform((asked): Message[] => {
    if (typeof asked === 'string') return [{ role: 'user', content: asked }]
    return 'prompt' in asked ? [{ role: 'user', content: asked.prompt }] : asked.messages
  })
