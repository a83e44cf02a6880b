import { MillraceError } from '../../protocol/errors.ts'
import { checkOptions, type OptionKinds } from '../../protocol/options.ts'
import { type Actor, type ActorContext, actor, type RunInput } from '../actors/actor.ts'
import type { ServerView } from '../actors/server-view.ts'
import type { ToolMap } from '../actors/tool.ts'
import type { Message, Model } from '../models/model.ts'
import type { ModelSettings, SettingName } from '../models/model-settings.ts'
import { type AgentInput, type Asked, agentInput } from './agent-input.ts'
import { AgentSettings, settingsOfTurn } from './agent-settings.ts'
import { validConversation } from './conversation.ts'
import { Turn, type TurnOutput } from './turn.ts'

const DEFAULT_MAX_ITERATIONS = 8
/** Tool names that every provider accepts. */
const TOOL_NAME = /^[a-zA-Z0-9_-]{1,64}$/

/** The argument of `agent()`. */
export type AgentDefinition = {
  /** A model, or the id of one that the server has (`openai:gpt-5-mini`). Default: the server's default model. */
  model?: Model | string | undefined
  /** The tools that the model may call, by name: 1 to 64 of the characters `a-z A-Z 0-9 _ -`. Default: none. */
  tools?: ToolMap | undefined
  /** The system message that precedes every conversation. Default: none. */
  instructions?: string | undefined
  /** Maximum number of turns in one run; a run that needs more fails with `max_iterations`. Default 8. */
  maxIterations?: number | undefined
  /**
   * Whether the run takes inputs of type `message`. The model gets them as user messages before its next turn. One that
   * arrives while the model gives its final answer starts another turn. In the last turn that `maxIterations` allows,
   * and once the agent has decided to end, messages are refused. Inputs of other types become a `warning` event. Default
   * true.
   */
  interactive?: boolean | undefined
  /** Whether the input may have messages of role `system`. Clients could then overrule the instructions. Default false. */
  allowSystem?: boolean | undefined
  /** How the model answers. Default: as its provider does. */
  settings?: ModelSettings | undefined
  /**
   * The settings that a client may set for its run, in `settings` of the input. A client's `maxTokens` never exceeds the
   * agent's own. Default: none.
   */
  clientSettings?: readonly SettingName[] | undefined
  /** Short for `settings.temperature`. */
  temperature?: number | undefined
  /** Short for `settings.maxTokens`. */
  maxTokens?: number | undefined
  /** One sentence for people and for inspectors. Default: none. */
  description?: string | undefined
  /**
   * Receives the conversation when the agent ends, for any reason. The conversation has no instructions, has all text
   * up to the end, and is valid as the input of another run. The run settles after the returned promise. If it throws, a
   * run that would be done fails; any other run keeps its end, and `onError` receives the error. Default: none.
   */
  onFinish?: ((conversation: Message[], context: ActorContext) => void | Promise<void>) | undefined
}

const OPTIONS: OptionKinds<AgentDefinition> = {
  model: 'a string or an object',
  tools: 'an object',
  instructions: 'a string',
  maxIterations: 'a number',
  interactive: 'true or false',
  allowSystem: 'true or false',
  temperature: 'a number',
  maxTokens: 'a number',
  settings: 'an object',
  clientSettings: 'a list',
  description: 'a string',
  onFinish: 'a function',
}

/**
 * Makes an actor that asks a model, runs the tools that the model calls, and asks again. The loop ends when the model
 * makes no more tool calls. Text is sent as tokens, everything else as events, and the result of the run is the text.
 *
 * The tool calls of one turn run in parallel, at most 32 of them. Tool errors are reported to the model. A model error
 * ends the run with that error.
 * @throws MillraceError `bad_request` for an unknown or invalid option, for a tool name that providers reject, for invalid
 * settings, and for a `maxIterations` below 1. `createServer` throws it for an agent whose model the server does not have.
 */
export function agent(definition: AgentDefinition): Actor<AgentInput, undefined, never> {
  checkOptions('agent()', definition, OPTIONS)
  const { description, interactive = true, tools = {}, maxIterations = DEFAULT_MAX_ITERATIONS } = definition
  const misnamed = Object.keys(tools).find((name) => !TOOL_NAME.test(name))
  if (misnamed !== undefined)
    throw new MillraceError('bad_request', `invalid tool name ${misnamed}: use 1 to 64 of a-z A-Z 0-9 _ -`)
  if (!(maxIterations >= 1))
    throw new MillraceError('bad_request', `maxIterations must be at least 1, not ${String(maxIterations)}`)
  const { temperature, maxTokens, clientSettings = [] } = definition
  const own = {
    ...(temperature !== undefined && { temperature }),
    ...(maxTokens !== undefined && { maxTokens }),
    ...definition.settings,
  }
  const settings = new AgentSettings(own, clientSettings, Object.keys(tools))
  const input = agentInput(definition.allowSystem ?? false, settings)
  const made = actor<typeof input, TurnOutput>({
    ...(description !== undefined && { description }),
    interactive,
    input,
    stream: (asked, context) =>
      converse(
        { ...definition, tools, maxIterations },
        { messages: asked.messages, settings: settings.forRun(asked.settings) },
        context,
      ),
  })
  return Object.assign(made, {
    onRegister(server: ServerView): Actor {
      server.findModel(definition.model)
      return made
    },
  })
}

async function* converse(
  definition: AgentDefinition & { tools: ToolMap; maxIterations: number },
  asked: Asked,
  context: ActorContext,
): AsyncGenerator<TurnOutput, void> {
  const { instructions, maxIterations, onFinish } = definition
  const model = context.model(definition.model)
  const tools = context.tools(definition.tools)
  const system: Message[] = instructions === undefined ? [] : [{ role: 'system', content: instructions }]
  const conversation = validConversation(asked.messages)
  for (const message of conversation) if (message.role === 'tool') tools.claimId(message.call)
  /** The messages of the current turn, until it is complete. */
  let unfinished: Message[] = []
  /** Messages that were accepted and that no turn will answer: the next run gets them. */
  const unread: Message[] = []
  /** The warnings about settings that readers have got: every turn gives them again. */
  const unsupported = new Set<string>()
  let turn: Turn | undefined
  let failed = false
  try {
    for (let n = 1; ; n++) {
      // No turn follows the last one, so a later message would never reach the model.
      if (n >= maxIterations) context.refuseInputs()
      yield* takeInputs(context, conversation)
      yield { type: 'iteration', n, max: maxIterations }
      turn = new Turn(tools, model.provider)
      const call = {
        messages: [...system, ...conversation],
        ...(tools.specs.length > 0 && { tools: tools.specs }),
        ...settingsOfTurn(asked.settings, n),
      }
      for await (const event of model.stream(call)) {
        const output = turn.take(event)
        if (output !== undefined && !isRepeated(output, unsupported)) yield output
      }
      if (turn.dropped > 0) yield tooManyCalls(turn.dropped)
      const { calls, stop } = turn
      unfinished = [turn.message(true)]
      turn = undefined
      if (calls.length > 0 && n >= maxIterations) {
        yield { type: 'iteration.end', n, stop }
        throw new MillraceError(
          'max_iterations',
          `the model needs more than ${maxIterations} turns: raise maxIterations`,
        )
      }
      await Promise.all(
        calls.map(async (call) => {
          const { content } = await tools.call(call)
          unfinished.push({ role: 'tool', call: call.call, name: call.name, content })
        }),
      )
      conversation.push(...validConversation(unfinished))
      unfinished = []
      yield { type: 'iteration.end', n, stop }
      const answered = conversation.length
      yield* takeInputs(context, conversation)
      if (calls.length === 0 && conversation.length === answered) {
        context.refuseInputs()
        return
      }
    }
  } catch (error) {
    failed = true
    context.refuseInputs()
    if (!context.signal.aborted) yield* takeInputs(context, unread)
    throw error
  } finally {
    context.refuseInputs()
    if (turn) unfinished = [turn.message(false)]
    unread.push(...messagesOf(context.takeInputs()))
    try {
      await onFinish?.(validConversation([...conversation, ...unfinished, ...unread]), context)
    } catch (error) {
      // The run has its end already. The failure of a run that would be done is that run's own.
      if (!failed && !context.signal.aborted) throw error
      context.reportError(error)
    }
  }
}

/**
 * Adds the messages that wait to a conversation, and warns about other inputs. More may arrive while a warning waits for
 * a slow reader, and the run may stop there: messages are kept first.
 */
function* takeInputs(context: ActorContext, conversation: Message[]): Generator<TurnOutput> {
  for (let inputs = context.takeInputs(); inputs.length > 0; inputs = context.takeInputs()) {
    conversation.push(...messagesOf(inputs))
    for (const input of inputs) if (input.type !== 'message') yield ignoredInput(input)
  }
}

/** Whether an output is a warning about settings that is among `seen`. Adds it. */
function isRepeated(output: TurnOutput, seen: Set<string>): boolean {
  if (typeof output === 'string' || output.type !== 'warning' || output.code !== 'unsupported_setting') return false
  if (seen.has(output.message)) return true
  seen.add(output.message)
  return false
}

function messagesOf(inputs: readonly RunInput[]): Message[] {
  return inputs.filter(({ type }) => type === 'message').map((input) => ({ role: 'user', content: wordsOf(input) }))
}

function wordsOf({ data }: RunInput): string {
  return typeof data === 'string' && data !== '' ? data : JSON.stringify(data)
}

function ignoredInput({ type }: RunInput): TurnOutput {
  return {
    type: 'warning',
    code: 'input_ignored',
    message: `an agent ignores inputs of type ${type}; it takes type message`,
  }
}

function tooManyCalls(dropped: number): TurnOutput {
  const calls = dropped === 1 ? 'a tool call' : `${dropped} tool calls`
  return { type: 'warning', code: 'too_many_calls', message: `too many tool calls in one turn: ${calls} left out` }
}
