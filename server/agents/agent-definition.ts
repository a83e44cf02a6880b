import type { MillraceError } from '../../protocol/errors.ts'
import type { WireMap } from '../../protocol/frames.ts'
import type { OptionKinds } from '../../protocol/options.ts'
import type { Usage } from '../../protocol/receipt.ts'
import type { Sendable } from '../../protocol/sendable.ts'
import type { ActorContext } from '../actors/actor.ts'
import type { Principal } from '../actors/principal.ts'
import type { InferOutput, StandardSchema } from '../actors/standard-schema.ts'
import type { Tool, ToolMap } from '../actors/tool.ts'
import type { Message, Model, StopReason } from '../models/model.ts'
import type { ModelSettings, SettingName } from '../models/model-settings.ts'
import type { ClientFiles } from './client-files.ts'
import type { AgentTurn, TurnOptions } from './turn-plan.ts'

/** A schema whose output can travel. */
type Gives<Output> = { readonly '~standard': { readonly types?: { readonly output: Sendable<Output> } | undefined } }

/** What `context` of an agent receives when a run begins. */
export type AgentStart = {
  /** The owner of the run. */
  readonly principal: Principal
  /** The run's id, the name of its actor, and the `meta` that the client passed to `start`. */
  readonly run: ActorContext['run']
  /** The `meta` that the client passed to `start`. */
  readonly meta: WireMap | undefined
  /** The messages and settings that the client sent. */
  readonly input: { readonly messages: readonly Message[]; readonly settings: ModelSettings }
  /** Aborts when the run is stopped. */
  readonly signal: AbortSignal
}

/** What `onStep` of an agent receives after each turn. */
export type AgentStep<Context = unknown> = Pick<AgentStart, 'principal' | 'run' | 'signal'> & {
  /** The number of the turn, from 1. */
  readonly n: number
  /** Why the model stopped. `interrupted`: a message cut its answer short. */
  readonly stop: StopReason | 'interrupted'
  /** The messages of this turn: what the model said, and the results of the tools that it called. */
  readonly messages: readonly Message[]
  /** What the turn cost, as far as the provider states it. Without the children of tools. */
  readonly usage: Usage
  /** The id of its model. */
  readonly model: string
  /** What `context` made for this run. */
  readonly context: Context
}

/** The second argument of `onFinish`: the context of the run, with how it ends. */
export type FinishContext<Context = unknown> = ActorContext & {
  /** How the run ends. One that would be done fails if `onFinish` throws. */
  readonly outcome: 'done' | 'error' | 'cancelled'
  /** The error, for the outcome `error`. An error that is not a `MillraceError` is its `cause`. */
  readonly error: MillraceError | undefined
  /** What `context` made for this run. */
  readonly context: Context
}

/**
 * The argument of `agent()`.
 *
 * @typeParam Context What its `context` makes for each run.
 * @typeParam Tools Its tools.
 * @typeParam Schema The schema of its output.
 */
export type AgentDefinition<
  Context = unknown,
  Tools extends ToolMap<never> = ToolMap<Context>,
  Schema extends StandardSchema | undefined = StandardSchema | undefined,
> = {
  /** A model, or the id of one that the server has (`openai:gpt-5-mini`). Default: the server's default model. */
  model?: Model | string | undefined
  /** The tools that the model may call, by name: 1 to 64 of the characters `a-z A-Z 0-9 _ -`. Default: none. */
  tools?: Tools | undefined
  /**
   * Whether clients may declare tools that they run themselves, with `clientTools` of `millrace/client`. Their names and
   * descriptions go to the model, with the tools of each turn. Default false.
   */
  clientTools?: boolean | undefined
  /**
   * Makes what belongs to one run, such as the customer or a connection. Tools, `needsApproval`, `turn`, `onStep` and
   * `onFinish` are given it. It is called once, before the first turn. If it throws, the run fails, and `onFinish` is
   * not called. Default: the context is undefined.
   */
  context?: ((start: AgentStart) => Context | Promise<Context>) | undefined
  /**
   * Decides about each turn before its request is sent: its instructions, messages, model, tools and settings, or that
   * the run ends. Undefined: all as the agent has it. If it throws, the run fails. Default: none.
   */
  turn?:
    | ((
        turn: AgentTurn<Context>,
      ) => TurnOptions<Context> | undefined | void | Promise<TurnOptions<Context> | undefined | void>)
    | undefined
  /** The system message that precedes every conversation. Default: none. */
  instructions?: string | undefined
  /** Maximum number of turns in one run; a run that needs more fails with `max_iterations`. Default 8. */
  maxIterations?: number | undefined
  /**
   * Whether the run takes messages of clients. The model gets them as user messages in its next turn: at once, with
   * `message.now`, which cuts its answer short; or behind its answer, with `message.after`. One that arrives while the
   * model gives its final answer starts another turn. In the last turn that `maxIterations` allows,
   * and once the agent has decided to end, messages are refused. Inputs of other types become a `warning` event. Default
   * true.
   */
  interactive?: boolean | undefined
  /** Whether the input may have messages of role `system`. Clients could then overrule the instructions. Default false. */
  allowSystem?: boolean | undefined
  /**
   * Makes the answer an object of this schema, checked and transformed by it, which is the result of the run; any Standard
   * Schema that provides its JSON Schema, as zod does. A model that supports it is sent the schema, any other is told. An
   * answer that does not fit is a `warning` event, and the model is asked again in a further turn, at most twice; then
   * the run fails with `invalid_output`. The text of the run is the JSON as the model writes it. Default: text.
   */
  output?: (Schema & Gives<InferOutput<Schema>>) | undefined
  /** How the model answers. Default: as its provider does. */
  settings?: ModelSettings | undefined
  /**
   * The settings that a client may set for its run, in `settings` of the input. A client's `maxTokens` never exceeds the
   * agent's own. Default: none.
   */
  clientSettings?: readonly SettingName[] | undefined
  /** The images and files that clients may send in messages. false: none. Default: the defaults of `ClientFiles`. */
  files?: ClientFiles | false | undefined
  /** Short for `settings.temperature`. */
  temperature?: number | undefined
  /** Short for `settings.maxTokens`. */
  maxTokens?: number | undefined
  /** One sentence for people and for inspectors. Default: none. */
  description?: string | undefined
  /**
   * Is called after each turn, when the tools that the model called have ended. The next turn waits for the returned
   * promise. If it throws, the run fails. Default: none.
   */
  onStep?: ((step: AgentStep<Context>) => void | Promise<void>) | undefined
  /**
   * Receives the conversation when the agent ends, for any reason. The conversation has no instructions, has all text
   * up to the end, and is valid as the input of another run. The run settles after the returned promise. If it throws, a
   * run that would be done fails; any other run keeps its end, and `onError` receives the error. Default: none.
   */
  onFinish?: ((conversation: Message[], context: FinishContext<Context>) => void | Promise<void>) | undefined
}

/** The run context that all of these tools need. */
type ContextFor<Tools> = (
  Tools[keyof Tools] extends infer Each
    ? Each extends Tool<unknown, unknown, infer Context>
      ? (of: Context) => void
      : never
    : never
) extends (of: infer All) => void
  ? All
  : never

/** Requires of an agent the `context` that its tools need, unless it has one that fits. */
export type NeedsContext<Context, Tools> =
  Tools extends ToolMap<Context>
    ? unknown
    : [ContextFor<Tools>] extends [never]
      ? unknown
      : { context: (start: AgentStart) => ContextFor<Tools> | Promise<ContextFor<Tools>> }

/** What kind of value each option takes. */
export const AGENT_OPTIONS: OptionKinds<AgentDefinition> = {
  model: 'a string or an object',
  tools: 'an object',
  clientTools: 'true or false',
  instructions: 'a string',
  maxIterations: 'a number',
  interactive: 'true or false',
  allowSystem: 'true or false',
  temperature: 'a number',
  maxTokens: 'a number',
  settings: 'an object',
  clientSettings: 'a list',
  files: 'an object or false',
  description: 'a string',
  output: 'anything',
  context: 'a function',
  turn: 'a function',
  onStep: 'a function',
  onFinish: 'a function',
}
