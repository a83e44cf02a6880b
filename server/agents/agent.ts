import { z } from 'zod'
import { MillraceError } from '../../protocol/errors.ts'
import { type Actor, type ActorContext, actor, type RunInput } from '../actors/actor.ts'
import type { ToolMap } from '../actors/tool.ts'
import type { Message, Model } from '../models/model.ts'
import { validConversation } from './conversation.ts'
import { Turn, type TurnOutput } from './turn.ts'

const DEFAULT_MAX_ITERATIONS = 8
/** What every provider takes as the name of a tool. */
const TOOL_NAME = /^[a-zA-Z0-9_-]{1,64}$/

/**
 * What an agent is asked: a prompt, or the messages so far, such as `onFinish` handed them out, with what is to be
 * answered at the end. A plain string is a prompt.
 */
export type AgentInput = string | { prompt: string } | { messages: Message[] }

export type AgentDefinition = {
  /** A model, or the id of one the server knows (`openai:gpt-5-mini`). Default: the server's default model. */
  model?: Model | string
  /** What the model may call, by name. */
  tools?: ToolMap
  /** What the model is told before every conversation. */
  instructions?: string
  /** Most turns of the model in one run; a run that wants more fails with `max_iterations`. Default 8. */
  maxIterations?: number
  /**
   * Whether it takes `message` inputs while it runs. They are told to the model as the user's words before its next turn,
   * and one that comes during the last turn makes another. Default true.
   */
  interactive?: boolean
  /** How freely the model chooses, as its provider understands it. Default: the provider's own. */
  temperature?: number
  /** Most tokens of one answer. Default: the provider's own. */
  maxTokens?: number
  /** One sentence for people and for inspectors. */
  description?: string
  /**
   * Given the conversation when the agent is over, however it ended: without the instructions, with all that was said
   * until then, and such that every model takes it as the beginning of another run. The run settles after it.
   */
  onFinish?: (conversation: Message[], context: ActorContext) => void | Promise<void>
}

/**
 * Makes an actor that answers with a model and lets it call tools until it is content: text as tokens, all else as
 * events. The run's result is the text. Tools of one turn run side by side, at most 32 of them; what goes wrong with one
 * is told to the model. A model that fails ends the run with the error the model threw.
 * @throws MillraceError `bad_request` for a name of a tool that no model takes, and a `maxIterations` below 1.
 */
export function agent(definition: AgentDefinition): Actor<AgentInput, undefined, never> {
  const { description, interactive = true, tools = {}, maxIterations = DEFAULT_MAX_ITERATIONS } = definition
  const misnamed = Object.keys(tools).find((name) => !TOOL_NAME.test(name))
  if (misnamed !== undefined)
    throw new MillraceError('bad_request', `a tool cannot be called ${misnamed}: use up to 64 of a-z A-Z 0-9 _ -`)
  if (!(maxIterations >= 1))
    throw new MillraceError('bad_request', `maxIterations must be at least 1, not ${String(maxIterations)}`)
  return actor<typeof input, TurnOutput>({
    ...(description !== undefined && { description }),
    interactive,
    input,
    stream: (messages, context) => converse({ ...definition, tools, maxIterations }, messages, context),
  })
}

async function* converse(
  definition: AgentDefinition & { tools: ToolMap; maxIterations: number },
  asked: readonly Message[],
  context: ActorContext,
): AsyncGenerator<TurnOutput, void> {
  const { instructions, temperature, maxTokens, maxIterations, onFinish } = definition
  const model = context.model(definition.model)
  const tools = context.tools(definition.tools)
  const system: Message[] = instructions === undefined ? [] : [{ role: 'system', content: instructions }]
  const conversation = validConversation(asked)
  for (const message of conversation) if (message.role === 'tool') tools.claimId(message.call)
  /** What came of the present turn, while it is under way. */
  let underWay: Message[] = []
  let turn: Turn | undefined
  try {
    for (let n = 1; ; n++) {
      yield { type: 'iteration', n, max: maxIterations }
      turn = new Turn(tools, model.id.split(':')[0]!)
      const call = {
        messages: [...system, ...conversation],
        ...(tools.specs.length > 0 && { tools: tools.specs }),
        ...(temperature !== undefined && { temperature }),
        ...(maxTokens !== undefined && { maxTokens }),
      }
      for await (const event of model.stream(call)) {
        const said = turn.take(event)
        if (said !== undefined) yield said
      }
      if (turn.dropped > 0) yield tooManyCalls(turn.dropped)
      const { calls, stop } = turn
      underWay = [turn.message(true)]
      turn = undefined
      if (calls.length > 0 && n >= maxIterations) {
        yield { type: 'iteration.end', n, stop }
        throw new MillraceError('max_iterations', `the model wanted more than ${maxIterations} turns`)
      }
      await Promise.all(
        calls.map(async (call) => {
          const { content } = await tools.call(call)
          underWay.push({ role: 'tool', call: call.call, name: call.name, content })
        }),
      )
      conversation.push(...validConversation(underWay))
      underWay = []
      yield { type: 'iteration.end', n, stop }
      let steered = false
      for (const input of n < maxIterations ? context.takeInputs() : []) {
        if (input.type === 'message') {
          conversation.push({ role: 'user', content: wordsOf(input) })
          steered = true
        } else yield ignoredInput(input)
      }
      if (calls.length === 0 && !steered) return
    }
  } finally {
    if (turn) underWay = [turn.message(false)]
    await onFinish?.(validConversation([...conversation, ...underWay]), context)
  }
}

function wordsOf({ data }: RunInput): string {
  return typeof data === 'string' && data !== '' ? data : JSON.stringify(data)
}

function ignoredInput({ type }: RunInput): TurnOutput {
  return { type: 'warning', code: 'input_ignored', message: `an agent does not know inputs of type ${type}` }
}

function tooManyCalls(dropped: number): TurnOutput {
  const calls = dropped === 1 ? 'a tool call' : `${dropped} tool calls`
  return { type: 'warning', code: 'too_many_calls', message: `the model made too many at once: ${calls} left out` }
}

const text = z.string().min(1)
const call = z.strictObject({ call: text, name: text, args: z.unknown() })
const message = z.discriminatedUnion('role', [
  z.strictObject({ role: z.enum(['system', 'user']), content: z.string() }),
  z.strictObject({
    role: z.literal('assistant'),
    content: z.string(),
    thinking: z.string().exactOptional(),
    calls: z.array(call).exactOptional(),
  }),
  z.strictObject({ role: z.literal('tool'), call: text, name: text, content: z.string() }),
])

const input = z
  .union([text, z.strictObject({ prompt: text }), z.strictObject({ messages: z.array(message).min(1) })], {
    error: 'an agent takes a prompt (a string or { prompt }) or { messages: [{ role, content }, ...] }',
  })
  .transform((asked): Message[] => {
    if (typeof asked === 'string') return [{ role: 'user', content: asked }]
    return 'prompt' in asked ? [{ role: 'user', content: asked.prompt }] : asked.messages
  })
