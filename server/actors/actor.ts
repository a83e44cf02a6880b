import type { ActorTypes } from '../../protocol/actors.ts'
import { MillraceError } from '../../protocol/errors.ts'
import type { AnyData, PlainEvent, RunEvent, StreamEvent } from '../../protocol/events.ts'
import type { Key, WireMap } from '../../protocol/frames.ts'
import { checkOptions, type OptionKinds } from '../../protocol/options.ts'
import type { Usage } from '../../protocol/receipt.ts'
import type { Runtime } from '../../protocol/runtime.ts'
import type { Sendable } from '../../protocol/sendable.ts'
import type { Message, Model, ModelEvent, OutputFormat, Structured, ToolSpec } from '../models/model.ts'
import type { ModelSettings } from '../models/model-settings.ts'
import type { GovernOptions, Spawn } from './child-run.ts'
import type { Principal } from './principal.ts'
import type { Question } from './question.ts'
import type { ServerView } from './server-view.ts'
import type { InferInput, InferOutput, StandardSchema } from './standard-schema.ts'
import type { ApprovedTools, RunTools, ToolMap } from './tool.ts'

export type { Principal, Question }

/** An input that a client sends to a live run. */
export type RunInput = {
  /**
   * Names it. An actor that yields `{ type: 'notice', code: 'input_taken', input: id }` tells its sender that it took it;
   * an agent does so by itself.
   */
  readonly id: Key
  /** `message`, `message.now`, `message.after`, `tool.result`, or a type of the application. */
  readonly type: string
  /** The data that the client sent; no schema checks it. */
  readonly data: unknown
}

/** A request to a model. The run adds its own signal. */
export type ModelCall = ModelSettings & {
  /** Aborting it ends this request alone, and the iterator throws its reason. Default: none. */
  signal?: AbortSignal | undefined
  /** The conversation. The model answers its last message. */
  messages: readonly Message[]
  /** Tools that the model may call. Default: none. */
  tools?: readonly ToolSpec[] | undefined
  /** The form of the answer. Only for a model whose `structured` is not `none`. Default: text. */
  output?: OutputFormat | undefined
}

/** A model that is bound to one run: a cancel of the run stops its requests. */
export interface RunModel {
  /** The id of the model, such as `openai:gpt-5-mini`. */
  readonly id: string
  /** The name of the provider, such as `openai`. */
  readonly provider: string
  /** Whether it takes the `output` of a request. */
  readonly structured: Structured
  /**
   * Sends a request to the model. A cancel of the run closes the provider's socket, and the run's receipt reports it.
   * Yield or emit the model's `usage` events to add them to the usage of the run.
   * @throws MillraceError what `Model.stream` throws, and the signal's reason when the run is stopped.
   */
  stream(call: ModelCall): AsyncIterable<ModelEvent>
  /**
   * Sends a request like `stream` and yields the text of the answer only. The run logs all other events except
   * `finish`: thinking, `tool.args`, `tool.call`, `retry`, `warning` and `usage`.
   * @param call A string is a single user message.
   */
  text(call: ModelCall | string): AsyncIterable<string>
}

/** The default model of the server, or the one that `model` names, for a single prompt. */
export interface ContextAi {
  /**
   * Asks for one answer, and returns its text.
   * @param prompt One user message, or a whole request.
   * @throws MillraceError what `RunModel.text` throws.
   */
  complete(prompt: ModelCall | string, options?: { model?: string | Model | undefined }): Promise<string>
  /** Asks for one answer, and yields its text as it comes. @throws MillraceError what `RunModel.text` throws. */
  streamCompletion(prompt: ModelCall | string, options?: { model?: string | Model | undefined }): AsyncIterable<string>
}

/** A run that has ended, as `context.earlierRun` gives it. */
export type EarlierRun = {
  /** The name of its actor. */
  readonly actor: string
  /** The `meta` that the client passed to `start`. */
  readonly meta: WireMap | undefined
  /** Its events, from the first one. They can be read once. */
  readonly events: AsyncIterable<StreamEvent>
}

/** The second argument of an actor: its access to the run, the clients and the server. */
export interface ActorContext {
  /** Aborts when the run is cancelled or times out; `reason` is a `MillraceError`. Pass it on. */
  readonly signal: AbortSignal
  /** The run's id, the name of its actor, and the `meta` that the client passed to `start`. */
  readonly run: { readonly id: string; readonly actor: string; readonly meta: WireMap | undefined }
  /** The owner of the run. */
  readonly principal: Principal
  /**
   * Sends an event without yielding it, such as from a callback. Resolves with its item number when it is logged. Like
   * `yield`, it waits while the reader is slow. Await it: more than 1,000 waiting events end the run with `bad_event`.
   * Events that still wait when the actor finishes are logged before the end of the run. Later calls reject.
   * @throws MillraceError `bad_event` for an event that cannot be encoded; the reason of the stop when the run is over.
   */
  readonly emit: (event: string | RunEvent) => Promise<number>
  /**
   * Sends a `request` event to the attached clients and resolves with the value of the first answer.
   * @throws MillraceError `timeout` after `expiresMs`; `bad_event` when the waiting requests are too large together;
   * the reason of the stop when the run is over.
   */
  readonly request: (question: Question) => Promise<unknown>
  /**
   * Tells a server with a store how this actor goes on after a restart. While the run only waits, for an answer or a
   * pause, the server calls `state` and stores what it returns. If the process dies then, another one calls the actor
   * again with that as `restored`; what the actor asks again is the request that clients see already. Calling this
   * again replaces `state`. Without a store it has no effect, and a run that was not waiting ends as `interrupted`.
   * @param state returns plain data, or undefined when the actor could not go on from here. `waiting` has the ids of the
   * tool calls that wait; every other call must have its result in the state.
   */
  readonly checkpoint: (state: (waiting: readonly string[]) => unknown) => void
  /** What `checkpoint` gave before the process died that had begun this run. Undefined: the run begins. */
  readonly restored: unknown
  /** The inputs of clients, in order, each once; only for an actor declared `interactive`. Ends with the run. */
  readonly inputs: AsyncIterable<RunInput>
  /** Returns the inputs that `inputs` has not yielded yet, without waiting. */
  readonly takeInputs: () => RunInput[]
  /**
   * Calls back for each input that is accepted from now on, before it is taken. At most one callback is kept.
   */
  readonly onInput: (callback: (input: RunInput) => void) => void
  /**
   * Refuses all further inputs, except answers to requests. Call it when you have decided to end, directly after a
   * `takeInputs` that returned none: no input that was accepted is lost then.
   */
  readonly refuseInputs: () => void
  /** Whether an order of a client pauses this run, or a run above it. A request to a model waits by itself. */
  readonly paused: boolean
  /**
   * Waits while the run is paused: not at all, if it is not. Its time limit stands still meanwhile.
   * @throws MillraceError the reason of the stop when the run is over.
   */
  readonly resumed: () => Promise<void>
  /**
   * Binds tools to this run: a cancel of the run, or of one call, stops them.
   * @param context What the tools find as `context`. Default: undefined.
   */
  readonly tools: <Context = undefined>(
    tools: ToolMap<Context>,
    ...context: undefined extends Context ? [context?: Context] : [context: Context]
  ) => RunTools
  /**
   * The tools of which all further calls in this run need no approval, because it was `remember`ed. An actor that keeps
   * approvals over several runs adds to it before its first call, and reads it at the end.
   */
  readonly approved: ApprovedTools
  /** Starts another actor as a child of this run. */
  readonly spawn: Spawn
  /**
   * Binds a model to this run: one found by its id (`openai:gpt-5-mini`), or a model object.
   * @param which Default: the default model of the server.
   * @throws MillraceError `not_found` for an unknown id, and when the server has no default model.
   */
  readonly model: (which?: string | Model) => RunModel
  /**
   * What the run and its children have cost so far. Undefined before any usage is reported. `exact` is false while a
   * request is open, and after one was cut off.
   */
  readonly usage: (Usage & { exact: boolean }) | undefined
  /** The default model, for a single prompt. */
  readonly ai: ContextAi
  /** The clock, timers and randomness of the server. In a simulation they are virtual. */
  readonly runtime: Runtime
  /** Whether an event can be encoded. One that cannot would end the run with `bad_event`. */
  readonly canEmit: (event: PlainEvent) => boolean
  /**
   * Waits until a time, in epoch milliseconds. It is a wait like that for an answer: the clocks of the run stand still
   * meanwhile, and an actor with a `checkpoint` waits on after a restart. Rejects with the reason of the stop.
   */
  readonly sleepUntil: (time: number) => Promise<void>
  /**
   * Pauses, resumes or slows down the run or one of its children, or sets what it may cost, as clients do with the input
   * `govern`.
   * @throws MillraceError `bad_request` for an invalid order; `not_found` when no child of that id goes on.
   */
  readonly govern: (order: GovernOptions) => void
  /**
   * Finds a run that has ended, to read what it said. The principal of this run must be allowed to attach to it.
   * @throws MillraceError `not_found` for an unknown run, and where the beginning of its log is no longer kept;
   * `bad_request` for one that has not ended.
   */
  readonly earlierRun: (run: string) => Promise<EarlierRun>
  /** Reports an error to the server's `onError`. The run goes on, and clients do not learn of it. */
  readonly reportError: (error: unknown) => void
  /** Identifies this life of this run. Pass it on where a side effect must not happen twice. */
  readonly fence: { readonly run: string; readonly gen: number }
}

/** Where the runs of a remote actor are executed, and how they wait until then. */
export type RemoteActor = {
  /** The name of the actor there. */
  readonly actor: string
  /** The pool of the workers that have it. */
  readonly pool: string
  /** How long a run may wait for a worker, in milliseconds. */
  readonly waitMs: number
  /** The most runs that may wait in the pool. */
  readonly maxWaiting: number
}

/** Code that a server runs under a name. Made by `actor()` or `agent()`. */
export interface Actor<Input = unknown, Result = unknown, Data extends AnyData = AnyData>
  extends ActorTypes<Input, Result, Data> {
  /** One sentence for people and inspectors, if it has one. */
  readonly description: string | undefined
  /** Whether its runs take inputs other than answers to their own requests. */
  readonly interactive: boolean
  /**
   * The names that its own tools have, if clients may declare tools of its runs. False: such a declaration is refused.
   * Undefined: it is an input like others.
   */
  readonly clientTools?: { readonly reserved: readonly string[] } | false | undefined
  /**
   * Whether a server with a store keeps its runs there: all of them or none, or as a function decides of an input that no
   * schema has checked yet. If not, they end with the process. Default true.
   */
  readonly stored?: boolean | ((input: unknown) => boolean) | undefined
  /**
   * Whether its runs are on the list of their principal, as a function decides like that of `stored`. False for what a page
   * opens to look at something, or to send it: nobody comes back to such a run. Default true.
   */
  readonly listed?: boolean | ((input: unknown) => boolean) | undefined
  /** Where its code is, if not in this process. Made by `remote()`. */
  readonly remote?: RemoteActor | undefined
  /** The schema of its input. Undefined: it takes anything. */
  readonly input: StandardSchema | undefined
  /** Returns one answer. */
  readonly ask: ((input: never, context: ActorContext) => unknown) | undefined
  /** Yields texts and events, and may return a result. */
  readonly stream: ((input: never, context: ActorContext) => AsyncIterable<string | RunEvent, unknown>) | undefined
  /**
   * For an actor that watches its server, or needs something of it: each server that registers it calls this and runs
   * the returned actor instead. `createServer` throws what this throws.
   */
  readonly onRegister?: (view: ServerView) => Actor
  /** Ends what it keeps open between runs. A server that registered it calls this when it has closed. */
  readonly close?: () => Promise<void>
}

/** A `data` event as an actor writes it. The empty name keeps the type checker from widening a literal name to `string`. */
type WrittenData = { agent?: string; type: 'data'; name: '' | (string & {}); value: unknown }

/** The name and value of each `data` event that an actor yields; `never` if it yields none. */
type DataAmong<Item> = Item extends { type: 'data'; name: infer Name extends string; value: infer Value }
  ? [Value] extends [never]
    ? never
    : { name: Name; value: Value }
  : never

/** The type of an actor's result. `void`, which is inferred for a generator without a result, becomes `undefined`. */
type Returned<Result> = Awaited<Result> extends infer Value ? (Value extends void ? undefined : Value) : never

/** `Returned`, from which `Result` is inferred; or, if that cannot travel, what a type error compares it with. */
type Sent<Result, Returned> = [Result] extends [Sendable<Result>] ? Returned : Sendable<Result>

/** A schema whose input can travel. */
type Accepts<Input> = { readonly '~standard': { readonly types?: { readonly input: Sendable<Input> } | undefined } }

/** An item whose data can travel, if it is a `data` event. */
type SendableEvent<Item> = Item extends { type: 'data'; value: infer Value } ? { value: Sendable<Value> } : Item

type Definition<Schema extends StandardSchema | undefined, Item extends string | RunEvent | WrittenData, Result> = {
  /** One sentence for people and for inspectors. Default: none. */
  description?: string | undefined
  /** Whether it reads `context.inputs`. If false, its runs accept only answers to their own requests. Default false. */
  interactive?: boolean | undefined
  /** Whether a server with a store keeps its runs there. If false, they end with the process. Default true. */
  stored?: boolean | undefined
  /**
   * Checks and transforms the input; any Standard Schema (zod, valibot, arktype). Without one the input is `unknown`.
   */
  input?: (Schema & Accepts<InferInput<Schema>>) | undefined
  /** Returns one answer. */
  ask?: ((input: InferOutput<Schema>, context: ActorContext) => Sent<Result, Promise<Result> | Result>) | undefined
  /** Yields text and events; its return value is the result of the run. */
  stream?:
    | ((
        input: InferOutput<Schema>,
        context: ActorContext,
      ) => AsyncIterable<Item & SendableEvent<Item>, Sent<Result, Result | undefined | void>>)
    | undefined
}

const OPTIONS: OptionKinds<Definition<undefined, string, unknown>> = {
  description: 'a string',
  interactive: 'true or false',
  stored: 'true or false',
  input: 'anything',
  ask: 'a function',
  stream: 'a function',
}

/**
 * Makes an actor from an `ask`, a `stream` or both. If it has only `ask`, a client that streams it gets that one
 * answer.
 * @throws MillraceError `bad_request` when both are missing, and for an unknown or invalid option.
 */
export function actor<
  const Schema extends StandardSchema | undefined = undefined,
  Item extends string | RunEvent | WrittenData = string,
  Result = undefined,
>(definition: Definition<Schema, Item, Result>): Actor<InferInput<Schema>, Returned<Result>, DataAmong<Item>> {
  checkOptions('actor()', definition, OPTIONS)
  if (!definition.ask && !definition.stream) {
    throw new MillraceError(
      'bad_request',
      'an actor needs `ask` (one answer), `stream` (an async generator) or both: add one',
    )
  }
  return {
    description: definition.description,
    interactive: definition.interactive ?? false,
    ...(definition.stored === false && { stored: false }),
    input: definition.input,
    ask: definition.ask,
    stream: definition.stream as Actor['stream'],
  }
}
