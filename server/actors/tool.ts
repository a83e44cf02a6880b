import { MillraceError } from '../../protocol/errors.ts'
import type { Progress, RunEvent, ToolOutcome } from '../../protocol/events.ts'
import { checkOptions, type OptionKinds } from '../../protocol/options.ts'
import type { ToolCall, ToolSpec } from '../models/model.ts'
import type { Spawn } from './child-run.ts'
import { jsonSchemaOf, objectSchema } from './json-schema.ts'
import type { Principal } from './principal.ts'
import type { Question } from './question.ts'
import type { ServerView } from './server-view.ts'
import type { InferInput, InferOutput, StandardSchema } from './standard-schema.ts'

const DEFAULT_TIMEOUT_MS = 30_000
const DEFAULT_APPROVAL_MS = 300_000
const DEFAULT_MAX_OUTPUT_BYTES = 65_536

/** The progress of a tool: a short text, or a count. */
export type ToolProgress = string | Progress

/**
 * The second argument of a tool: its access to the call and the run.
 *
 * @typeParam Context What `context` of the agent made for the run: declare it where a tool reads it, as in
 *   `run: (input, { context }: ToolContext<{ db: Database }>) => ...`. An agent without it then does not take the tool.
 */
export interface ToolContext<Context = unknown> {
  /** What `context` of the agent made for this run. Undefined if the agent has none. */
  readonly context: Context
  /** Aborts when this call is cancelled or times out, or the run stops; `reason` is a `MillraceError`. Pass it on. */
  readonly signal: AbortSignal
  /** The id of this call. */
  readonly call: string
  /** The owner of the run. */
  readonly principal: Principal
  /** Identifies this life of the run. Together with `call` it names a side effect that must not happen twice. */
  readonly fence: { readonly run: string; readonly gen: number }
  /**
   * Reports the progress of the call. Resolves when the report is logged, or replaced by a newer one because the reader
   * is slow. Awaiting it is optional. It never rejects, and does nothing when the call is over.
   */
  readonly progress: (progress: ToolProgress) => Promise<void>
  /** Sends an event to the readers of the run, like `emit` of `ActorContext`. */
  readonly emit: (event: string | RunEvent) => Promise<number>
  /**
   * Asks the attached clients and resolves with the first answer, like `request` of `ActorContext`. The question names
   * this call, unless it names another. The time limit of the tool stands still until the answer.
   */
  readonly request: (question: Question) => Promise<unknown>
  /**
   * Starts another actor as a child of the run, like `spawn` of `ActorContext`. A stop of this call cancels the child.
   */
  readonly spawn: Spawn
}

/**
 * The return type of `run`: the output, a promise of it, or a generator that yields progress and returns the output.
 */
type Running<Output> = Output | Promise<Output> | AsyncGenerator<ToolProgress, Output> | Generator<ToolProgress, Output>

/** What decides whether a call needs approval: the second argument of `needsApproval`. */
export type ApprovalContext<Context = unknown> = Pick<ToolContext<Context>, 'signal' | 'call' | 'principal' | 'context'>

/** The argument of `tool()`. */
export type ToolDefinition<Schema extends StandardSchema | undefined, Output, Context = unknown> = {
  /** Tells the model what the tool does and when to use it. */
  description: string
  /** Checks and transforms the arguments; any Standard Schema. The model sees the issues. Default: accepts anything. */
  input?: Schema | undefined
  /**
   * JSON Schema of the arguments, for the model; its root is an object. Default: taken from `input`, if its library provides it, as zod does.
   */
  parameters?: unknown
  /**
   * Runs the call. The output is text or data that JSON can write. A generator yields progress and returns it. The model sees every thrown error: a
   * `MillraceError` with its message, any other error without.
   */
  run: (input: InferOutput<Schema>, context: ToolContext<Context>) => Running<Output>
  /** Whether an attached client must approve a call before it runs, or a function that decides it. Default false. */
  needsApproval?:
    | boolean
    | ((input: InferOutput<Schema>, context: ApprovalContext<Context>) => boolean | Promise<boolean>)
    | undefined
  /**
   * Whether a principal may approve or refuse a call, of those whom the server's `authorize` allows to answer. Default: all
   * of them: the owner of the run, and principals with the right `approve`.
   */
  approvedBy?:
    | ((principal: Principal, input: InferOutput<Schema>, context: ApprovalContext<Context>) => boolean)
    | undefined
  /** Time limit for an approval, in milliseconds. A call without an answer is refused. Default 300,000. */
  approvalMs?: number | undefined
  /** Time limit for `run`, in milliseconds, without the time for an approval. Default 30,000. */
  timeoutMs?: number | undefined
  /** Maximum output, in bytes of UTF-8; the rest is cut off. The limit `maxEvent` also applies. Default 65,536. */
  maxOutputBytes?: number | undefined
  /**
   * Makes what the readers of a run or a conversation see in place of an output, of which only the model gets the whole.
   * If it throws, the error goes to `onError`, and they see `[redacted]`. It is not asked about progress and errors, and a
   * model may repeat what it was given. Default: readers see the output.
   */
  redact?: ((output: NoInfer<Output>) => unknown) | undefined
}

/**
 * A function that a model may call. Made by `tool()`.
 *
 * @typeParam Context The run context that it needs. Default: any.
 */
export interface Tool<Input = unknown, Output = unknown, Context = unknown> {
  /** Tells the model what the tool does and when to use it. */
  readonly description: string
  /** Checks the arguments. Undefined: it takes anything. */
  readonly input: StandardSchema | undefined
  /** JSON Schema of the arguments. */
  readonly parameters: unknown
  /** Runs one call. */
  readonly run: (input: never, context: ToolContext<Context>) => Running<unknown>
  /** Whether a call must be approved, or a function that decides it. */
  readonly needsApproval: boolean | ((input: never, context: ApprovalContext<Context>) => boolean | Promise<boolean>)
  /** Whether a principal may approve or refuse a call. Default: whoever may answer for the run. */
  readonly approvedBy?: ((principal: Principal, input: never, context: ApprovalContext<Context>) => boolean) | undefined
  /** Time limit for an approval, in milliseconds. */
  readonly approvalMs: number
  /** Time limit for `run`, in milliseconds. */
  readonly timeoutMs: number
  /** Maximum output, in bytes of UTF-8. */
  readonly maxOutputBytes: number
  /** Makes what readers see in place of an output. Default: they see the output. */
  readonly redact?: ((output: never) => unknown) | undefined
  /** A client performs it: while it does, the run only waits. Default false. */
  readonly atClient?: boolean | undefined
  /** For a tool that needs something of its server: each server that registers an agent with the tool calls it. */
  readonly onRegister?: ((view: ServerView) => void) | undefined
  /**
   * Ends what the tool keeps open between calls, such as a process. A server whose agents have the tool calls it when it
   * has closed. The next call may open it again.
   */
  readonly close?: (() => Promise<void>) | undefined
  /** For the type checker only. */
  readonly '~types'?: { readonly input: Input; readonly output: Output }
}

/** Tools by the names that models use. They need no run context but `Context`. */
export type ToolMap<Context = unknown> = { readonly [name: string]: Tool<unknown, unknown, Context> }

/** The tools of which all further calls are approved, each with the principal that did so, if its `approvedBy` asked. */
export type ApprovedTools = Map<Tool<unknown, unknown, never>, Principal | undefined>

/** The outcome of a call, and the text for the model. */
export type ToolAnswer = {
  /** How the call ended. */
  readonly outcome: ToolOutcome
  /** The text for the model. */
  readonly content: string
  /** The text for readers, if it is another one. */
  readonly shown?: string | undefined
}

/** Tools that are bound to one run. Made by `context.tools`. */
export interface RunTools {
  /** Names, descriptions and parameters of the tools, for a model request. */
  readonly specs: readonly ToolSpec[]
  /**
   * Returns a unique id for a tool call. It is the model's own id, unless that cannot be encoded, or another call of
   * this run, its parents or its children has it.
   * @param given The id that the model gave.
   */
  claimId(given: string): string
  /**
   * Runs one call and logs it: `tool.call`, its progress, its request for approval, `tool.result`. Every tool error, an
   * unknown name included, becomes an answer for the model. Clients can cancel the call by its id. The id must differ
   * from the ids of all other open calls of this run; `claimId` returns such ids.
   * @param options.signal Aborting it cancels this call alone. Default: none.
   * @throws MillraceError only the reason for which the run stops, and that of a signal which has aborted before.
   */
  call(call: ToolCall, options?: { signal?: AbortSignal | undefined }): Promise<ToolAnswer>
}

const OPTIONS: OptionKinds<ToolDefinition<undefined, unknown>> = {
  description: 'a string',
  input: 'anything',
  parameters: 'anything',
  run: 'a function',
  needsApproval: 'a function, or true or false',
  approvedBy: 'a function',
  approvalMs: 'a number',
  timeoutMs: 'a number',
  maxOutputBytes: 'a number',
  redact: 'a function',
}

/**
 * Makes a tool.
 * @throws MillraceError `bad_request` for an unknown or invalid option, when the schema provides no JSON Schema and `parameters` is missing, when the
 * arguments are not an object, or a limit is not a number above 0.
 */
export function tool<const Schema extends StandardSchema | undefined = undefined, Output = unknown, Context = unknown>(
  definition: ToolDefinition<Schema, Output, Context>,
): Tool<InferInput<Schema>, Output, NoInfer<Context>> {
  checkOptions('tool()', definition, OPTIONS)
  if (definition.run === undefined) throw new MillraceError('bad_request', 'a tool needs `run`, the code of a call')
  const { description, input, run, needsApproval = false, approvedBy, redact } = definition
  const {
    approvalMs = DEFAULT_APPROVAL_MS,
    timeoutMs = DEFAULT_TIMEOUT_MS,
    maxOutputBytes = DEFAULT_MAX_OUTPUT_BYTES,
  } = definition
  for (const [name, value] of Object.entries({ approvalMs, timeoutMs, maxOutputBytes })) {
    if (!(value > 0)) throw new MillraceError('bad_request', `a tool's ${name} must be above 0, not ${String(value)}`)
  }
  return {
    description,
    input,
    parameters: objectSchema(
      definition.parameters ?? jsonSchemaOf(input, 'pass the JSON Schema as `parameters`'),
      'the arguments of a tool',
    ),
    run,
    needsApproval,
    approvedBy,
    approvalMs,
    timeoutMs,
    maxOutputBytes,
    redact,
  }
}
