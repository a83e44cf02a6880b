import type { WireMap } from '../../protocol/frames.ts'
import { checkOptions, type OptionKinds } from '../../protocol/options.ts'
import type { Usage } from '../../protocol/receipt.ts'
import type { ModelCall, RunModel } from '../actors/actor.ts'
import type { Principal } from '../actors/principal.ts'
import type { RunTools, ToolMap } from '../actors/tool.ts'
import type { Message, Model } from '../models/model.ts'
import type { ModelSettings, ToolChoice } from '../models/model-settings.ts'
import type { AgentOutput } from './agent-output.ts'
import { type AgentSettings, settingsOfTurn } from './agent-settings.ts'
import { validConversation } from './conversation.ts'
import { misnamedTool } from './tool-names.ts'

/** What `turn` of an agent receives before each request to the model. */
export type AgentTurn<Context = unknown> = {
  /** The number of the turn, from 1. */
  readonly n: number
  /** The conversation so far, without instructions. A copy. */
  readonly messages: readonly Message[]
  /** What `context` made for this run. */
  readonly context: Context
  /** The owner of the run. */
  readonly principal: Principal
  /** The run's id, the name of its actor, and the `meta` that the client passed to `start`. */
  readonly run: { readonly id: string; readonly actor: string; readonly meta: WireMap | undefined }
  /** What the run and its children have cost so far. Undefined before any usage is reported. */
  readonly usage: (Usage & { exact: boolean }) | undefined
  /** Aborts when the run is stopped. */
  readonly signal: AbortSignal
}

/** What `turn` of an agent decides for one turn. What it leaves out is as the agent has it. */
export type TurnOptions<Context = unknown> = {
  /** Replaces the instructions of the agent. */
  instructions?: string | undefined
  /** What the model gets in place of the conversation, such as a shortened one. The agent keeps the whole conversation. */
  messages?: readonly Message[] | undefined
  /** The model of this turn, or its id. */
  model?: Model | string | undefined
  /** Replaces the tools of the agent. `{}`: none. */
  tools?: ToolMap<Context> | undefined
  /** Whether the model calls tools in this turn. Unlike that of `settings`, it also holds after the first turn. */
  toolChoice?: ToolChoice | undefined
  /** Settings that replace those of the agent and of the client, one by one. */
  settings?: ModelSettings | undefined
  /** Ends the run before this turn, with the text so far. Default false. */
  stop?: boolean | undefined
}

const OPTIONS: OptionKinds<TurnOptions> = {
  instructions: 'a string',
  messages: 'a list',
  model: 'a string or an object',
  tools: 'an object',
  toolChoice: 'anything',
  settings: 'an object',
  stop: 'true or false',
}

/** How one turn is to be made. */
export type TurnPlan = { readonly model: RunModel; readonly tools: RunTools; readonly call: ModelCall }

/** What the turns of a run have in common. */
export type TurnDefaults = {
  readonly model: RunModel
  readonly tools: RunTools
  readonly instructions: string | undefined
  readonly settings: ModelSettings
  readonly output: AgentOutput | undefined
}

/** What a plan takes from the run. */
type PlanCallbacks = {
  readonly settings: AgentSettings
  /** @throws MillraceError `not_found` for an unknown model. */
  model(which: Model | string): RunModel
  bind(tools: ToolMap<never>): RunTools
}

/**
 * Makes the plan of turn `n`.
 * @param options what `turn` decided.
 * @param isReask whether the model is asked again for an answer that fits the output.
 * @throws TypeError for invalid settings, and what `callbacks.model` throws.
 */
export function planTurn(
  n: number,
  conversation: readonly Message[],
  defaults: TurnDefaults,
  options: TurnOptions<never>,
  callbacks: PlanCallbacks,
  isReask: boolean,
): TurnPlan {
  // A model that is asked for its answer again has made its calls.
  const { instructions = defaults.instructions, messages, toolChoice = isReask ? 'none' : undefined } = options
  const tools = options.tools ? callbacks.bind(options.tools) : defaults.tools
  const settings: ModelSettings = {
    ...settingsOfTurn(defaults.settings, n),
    ...options.settings,
    ...(toolChoice !== undefined && { toolChoice }),
  }
  if (options.tools || options.settings || toolChoice !== undefined) {
    const names = tools.specs.map(({ name }) => name)
    const problem = callbacks.settings.problemIn(settings, names)
    if (problem !== undefined) throw new TypeError(`turn() returned invalid settings: ${problem}`)
  }
  const model = options.model === undefined ? defaults.model : callbacks.model(options.model)
  const { output } = defaults
  // A model that only tries to keep to a form often makes no calls while it does.
  const isFree = tools.specs.length === 0 || settings.toolChoice === 'none'
  const isSent = model.structured === 'enforced' || (model.structured === 'best-effort' && isFree)
  const words = [instructions, model.structured === 'enforced' ? undefined : output?.instructions]
  const system = words.filter((part) => part !== undefined).join('\n\n')
  return {
    model,
    tools,
    call: {
      messages: [
        ...(instructions === undefined && system === '' ? [] : [{ role: 'system', content: system } as const]),
        ...(messages ? validConversation(messages) : conversation),
      ],
      ...(tools.specs.length > 0 && { tools: tools.specs }),
      ...(output && isSent && { output: output.format }),
      ...settings,
    },
  }
}

/**
 * Checks what `turn` returned. It is the server's own code: what is wrong with it is nothing for clients to see.
 * @throws TypeError for what is not `TurnOptions`.
 */
export function checkTurn(options: TurnOptions<never>): void {
  try {
    checkOptions('turn()', options, OPTIONS)
  } catch (cause) {
    throw new TypeError(`invalid result of turn(): ${(cause as Error).message}`, { cause })
  }
  const misnamed = misnamedTool(options.tools ?? {})
  if (misnamed !== undefined) throw new TypeError(`turn() returned an ${misnamed}`)
}
