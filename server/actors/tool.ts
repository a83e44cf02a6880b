import { z } from 'zod'
import { MillraceError } from '../../protocol/errors.ts'
import type { Progress, RunEvent, ToolOutcome } from '../../protocol/events.ts'
import type { ToolCall, ToolSpec } from '../models/model.ts'
import type { Spawn } from './child-run.ts'
import type { Principal } from './principal.ts'
import type { InferInput, InferOutput, StandardSchema } from './standard-schema.ts'

const DEFAULT_TIMEOUT_MS = 30_000
const DEFAULT_APPROVAL_MS = 300_000
const DEFAULT_MAX_OUTPUT_BYTES = 65_536

/** How far a tool is: a few words, or something to count. */
export type ToolProgress = string | Progress

/** What a tool is given beside its input. */
export interface ToolContext {
  /** Aborts when this call is cancelled, takes too long, or the run stops; `reason` is a `MillraceError`. Hand it on. */
  readonly signal: AbortSignal
  /** The id of this call. */
  readonly call: string
  readonly principal: Principal
  /** Identifies this life of the run: with `call` it names a side effect that must not happen twice. */
  readonly fence: { readonly run: string; readonly gen: number }
  /**
   * Says how far the call is. Resolves when that is logged, or when something newer took its place because the reader is
   * slow. It need not be awaited, never rejects, and does nothing once the call is over.
   */
  readonly progress: (progress: ToolProgress) => Promise<void>
  /** Says something to the reader of the run, as the actor's own `emit` does. */
  readonly emit: (event: string | RunEvent) => Promise<number>
  /** Begins another actor as a child of the run, as the actor's own `spawn` does. The stop of this call stops it. */
  readonly spawn: Spawn
}

/** What `run` gives: the output, a promise of it, or a generator that yields progress and returns it. */
type Running<Output> = Output | Promise<Output> | AsyncGenerator<ToolProgress, Output>

export type ToolDefinition<Schema extends StandardSchema | undefined, Output> = {
  /** What the model is told that the tool does, and when to use it. */
  description: string
  /** Checks and turns the arguments; any Standard Schema. What it refuses is told to the model. Default: anything. */
  input?: Schema
  /** JSON Schema of the arguments, for the model. Needed for schemas that cannot state it themselves; zod's can. */
  parameters?: unknown
  /**
   * Does it. A generator's yields are progress and what it returns is the output. What it throws is an error that the
   * model sees: with its message when it is a `MillraceError`, else without.
   */
  run: (input: InferOutput<Schema>, context: ToolContext) => Running<Output>
  /** Whether the people attached must allow the call first, or which calls. Default false. */
  needsApproval?: boolean | ((input: InferOutput<Schema>) => boolean | Promise<boolean>)
  /** How long an approval is waited for, in milliseconds. Unanswered, the call is refused. Default 300,000. */
  approvalMs?: number
  /** How long the tool may run, in milliseconds. Default 30,000. */
  timeoutMs?: number
  /** Longest output, in bytes of text; the rest is cut off. An event's `maxEvent` bounds it as well. Default 65,536. */
  maxOutputBytes?: number
}

/** Something that a model may call. Made by `tool()`. */
export interface Tool<Input = unknown, Output = unknown> {
  readonly description: string
  readonly input: StandardSchema | undefined
  /** JSON Schema of the arguments. */
  readonly parameters: unknown
  readonly run: (input: never, context: ToolContext) => Running<unknown>
  readonly needsApproval: boolean | ((input: never) => boolean | Promise<boolean>)
  readonly approvalMs: number
  readonly timeoutMs: number
  readonly maxOutputBytes: number
  /** For the type checker only. */
  readonly '~types'?: { readonly input: Input; readonly output: Output }
}

/** Tools by the name that models call them by. */
export type ToolMap = Readonly<Record<string, Tool>>

/** How a call ended, and what the model is to see of it. */
export type ToolAnswer = { readonly outcome: ToolOutcome; readonly content: string }

/** Tools in the hands of one run. */
export interface RunTools {
  /** What a model is told of them. */
  readonly specs: readonly ToolSpec[]
  /**
   * An id for a call that a model named so: the same, where it can travel and no other call of this run, its parents
   * and its children was given it.
   */
  claimId(given: string): string
  /**
   * Runs one call and logs it: `tool.call`, its progress, its request for approval, `tool.result`. Whatever goes wrong
   * with the tool is an answer for the model, also a name that no tool has. Clients may cancel the call by its id, which
   * must differ from those of other calls that go on in this run. Rejects only with the reason for which the run stops.
   */
  call(call: ToolCall): Promise<ToolAnswer>
}

/**
 * Makes a tool.
 * @throws MillraceError `bad_request` when its schema cannot be told to a model, or a limit is no number above zero.
 */
export function tool<const Schema extends StandardSchema | undefined = undefined, Output = unknown>(
  definition: ToolDefinition<Schema, Output>,
): Tool<InferInput<Schema>, Output> {
  const { description, input, run, needsApproval = false } = definition
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
    parameters: definition.parameters ?? parametersOf(input),
    run,
    needsApproval,
    approvalMs,
    timeoutMs,
    maxOutputBytes,
  }
}

/** What schemas can offer beside validation: https://standardschema.dev/json-schema. */
type StatesItself = { readonly jsonSchema?: { input(options: { target: string }): unknown } }

function parametersOf(schema: StandardSchema | undefined): unknown {
  if (schema === undefined) return { type: 'object' }
  const standard = schema['~standard'] as StandardSchema['~standard'] & StatesItself
  try {
    if (standard.jsonSchema) return standard.jsonSchema.input({ target: 'draft-2020-12' })
    if (standard.vendor === 'zod') return z.toJSONSchema(schema as unknown as z.ZodType, { io: 'input' })
  } catch (cause) {
    throw new MillraceError(
      'bad_request',
      'this schema cannot be told to a model: give its JSON Schema as `parameters`',
      {
        cause,
      },
    )
  }
  throw new MillraceError(
    'bad_request',
    `a schema of ${standard.vendor} does not state its JSON Schema: give it as \`parameters\``,
  )
}
