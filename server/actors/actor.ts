import type { ActorTypes } from '../../protocol/actors.ts'
import { MillraceError } from '../../protocol/errors.ts'
import type { RunEvent } from '../../protocol/events.ts'
import type { WireMap } from '../../protocol/frames.ts'
import type { Message, Model, ModelEvent, ToolSpec } from '../models/model.ts'
import type { Spawn } from './child-run.ts'
import type { Principal } from './principal.ts'
import type { ServerView } from './server-view.ts'
import type { InferInput, InferOutput, StandardSchema } from './standard-schema.ts'
import type { RunTools, ToolMap } from './tool.ts'

export type { Principal }

/** Something a client said to a run while it goes on. */
export type RunInput = {
  /** `message`, `approve`, `tool.result`, `answer`, or the application's own. */
  readonly type: string
  readonly data: unknown
}

/** A question to the people attached. */
export type Question = {
  /** What sort of answer is wanted: `confirm`, `text`, `choice`, or the application's own. */
  kind: string
  prompt?: string
  /** JSON Schema of the answer. */
  schema?: unknown
  /** The tool call it is about; an input of type `approve` for that call answers it. */
  call?: string
  /** After this many milliseconds `request` rejects with `timeout`. Default: no limit of its own. */
  expiresMs?: number
  /** Aborting it withdraws the question: `request` rejects with its reason. */
  signal?: AbortSignal
}

/** What a call of a model takes from its caller; signal and books are the run's. */
export type ModelCall = {
  messages: readonly Message[]
  tools?: readonly ToolSpec[]
  temperature?: number
  maxTokens?: number
}

/** A model in the hands of one run. */
export interface RunModel {
  readonly id: string
  /**
   * Asks the model. The run's cancel closes the provider's socket, and the run's receipt says so; usage is added to the
   * run's. Throws what `Model.stream` throws.
   */
  stream(call: ModelCall): AsyncIterable<ModelEvent>
  /** As `stream`, its text only; `retry`, `warning`, `usage` and thinking become events of the run. */
  text(call: ModelCall | string): AsyncIterable<string>
}

/** What an actor is given beside its input. */
export interface ActorContext {
  /** Aborts when the run is cancelled or times out; `reason` is a `MillraceError`. Hand it on to whatever takes one. */
  readonly signal: AbortSignal
  readonly run: { readonly id: string; readonly actor: string; readonly meta: WireMap | undefined }
  readonly principal: Principal
  /**
   * Says something without yielding it (from a callback, from inside a tool). Resolves when it is logged, with its number;
   * waits like `yield` while the reader is slow. Await it: more than 1,000 waiting events end the run with `bad_event`.
   */
  readonly emit: (event: string | RunEvent) => Promise<number>
  /**
   * Asks the people attached, with a `request` event, and resolves with the value of the first answer.
   * @throws MillraceError `timeout` after `expiresMs`; the signal's reason when the run is stopped.
   */
  readonly request: (question: Question) => Promise<unknown>
  /**
   * What clients say to this run, in order, each once; only for an actor declared `interactive`. Ends with the run.
   */
  readonly inputs: AsyncIterable<RunInput>
  /** Takes what clients have said and `inputs` has not given yet, without waiting. */
  readonly takeInputs: () => RunInput[]
  /** Tools whose calls are entered in this run's books: a cancel reaches them, of the run or of one call. */
  readonly tools: (tools: ToolMap) => RunTools
  /** Begins another actor as a child of this run. */
  readonly spawn: Spawn
  /** A model by id (`openai:gpt-5-mini`), the server's default one, or a model object. Throws `not_found`. */
  readonly model: (which?: string | Model) => RunModel
  /** Identifies this life of this run: pass it on where a side effect must not happen twice. */
  readonly fence: { readonly run: string; readonly gen: number }
}

/** Registered code. Made by `actor()` or `agent()`. */
export interface Actor<Input = unknown, Result = unknown, Data = unknown> extends ActorTypes<Input, Result, Data> {
  readonly description: string | undefined
  /** Whether its runs take inputs beside answers to their own requests. */
  readonly interactive: boolean
  readonly input: StandardSchema | undefined
  readonly ask: ((input: never, context: ActorContext) => unknown) | undefined
  readonly stream: ((input: never, context: ActorContext) => AsyncIterable<string | RunEvent, unknown>) | undefined
  /** For an actor that watches its server: each server it is registered at calls it, and runs what it returns instead. */
  readonly onRegister?: (view: ServerView) => Actor
}

/** The value type of the `data` events among what an actor yields. */
type DataAmong<Item> = Item extends { type: 'data'; value: infer Data } ? Data : never

/** What an actor returns; an async generator that returns nothing is inferred to return `void` or a promise of it. */
type Returned<Result> = Awaited<Result> extends infer Value ? (Value extends void ? undefined : Value) : never

type Definition<Schema extends StandardSchema | undefined, Item extends string | RunEvent, Result> = {
  /** One sentence for people and for inspectors. */
  description?: string
  /** Whether it reads `context.inputs`. Without it only answers to its own requests are accepted. Default false. */
  interactive?: boolean
  /** Checks and turns the input; any Standard Schema (zod, valibot, arktype). Without one the input is `unknown`. */
  input?: Schema
  /** One answer. */
  ask?: (input: InferOutput<Schema>, context: ActorContext) => Promise<Result> | Result
  /** Text and events as they come; what it returns is the result. */
  stream?: (input: InferOutput<Schema>, context: ActorContext) => AsyncIterable<Item, Result | undefined | void>
}

/**
 * Makes an actor from an `ask`, a `stream` or both. A `stream` of one that has only `ask` yields its one answer.
 * @throws MillraceError `bad_request` when it has neither.
 */
export function actor<
  const Schema extends StandardSchema | undefined = undefined,
  Item extends string | RunEvent = string,
  Result = undefined,
>(definition: Definition<Schema, Item, Result>): Actor<InferInput<Schema>, Returned<Result>, DataAmong<Item>> {
  if (!definition.ask && !definition.stream) {
    throw new MillraceError('bad_request', 'an actor needs `ask` (one answer), `stream` (an async generator) or both')
  }
  return {
    description: definition.description,
    interactive: definition.interactive ?? false,
    input: definition.input,
    ask: definition.ask,
    stream: definition.stream as Actor['stream'],
  }
}
