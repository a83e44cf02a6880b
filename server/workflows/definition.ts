import { z } from 'zod'
import { MillraceError } from '../../protocol/errors.ts'
import { issueWords } from '../actors/issue-words.ts'

/** A step of a definition that is data. */
export type StepData =
  | ActorStepData
  | { type: 'parallel'; name: string; branches: { [name: string]: StepData[] } }
  | { type: 'route'; name: string; by: string; cases: { [name: string]: StepData[] } }
  | { type: 'loop'; name: string; steps: StepData[]; until: ConditionData; max?: number }
  | {
      type: 'map'
      name: string
      /** A reference to a list. */
      over: string
      steps: StepData[]
      chunk?: number
      concurrency?: number
    }
  | { type: 'approve'; name: string; prompt?: string; expiresMs?: number }
  | { type: 'ask'; name: string; kind?: string; prompt?: string; schema?: unknown; expiresMs?: number }
  /** `ms` or `until`: an ISO time, or a reference to one. */
  | { type: 'wait'; name: string; ms?: number; until?: string }

/** A step that is one of the named actors. */
export type ActorStepData = {
  type: 'actor'
  /** Default: the name of the actor, with a number if there are several. */
  name?: string
  /** The name of the actor. */
  actorType: string
  /** What it gets, with references. Default: what the step before gave. */
  input?: unknown
  /** Whether its events are shown, and not only its result. Default false. */
  streaming?: boolean
  retry?: { attempts: number; delayMs?: number; maxDelayMs?: number }
  timeoutMs?: number
  /** What takes its place when it has failed, with references. Default: the workflow fails. */
  recover?: unknown
}

/** Holds when what `value` refers to is `is`; without that, when it is neither empty, zero, false nor missing. */
export type ConditionData = { value: string; is?: unknown }

/** A workflow as data, such as from a file. */
export type WorkflowData = {
  /** A name for people. */
  name?: string
  /** One sentence for people and for inspectors. */
  description?: string
  steps: StepData[]
}

const name = z.string()
const count = z.int().min(1).exactOptional()
const ms = z.number().min(0).exactOptional()
const steps: z.ZodType<StepData[]> = z.lazy(() => z.array(step).min(1))
// A record would leave a way of this name out without a word.
const ways = z
  .unknown()
  .refine((given) => !Object.hasOwn(Object(given) as object, '__proto__'), { error: 'nothing may be named __proto__' })
  .pipe(z.record(z.string(), steps))

const actorStep: z.ZodType<ActorStepData> = z.strictObject({
  type: z.literal('actor'),
  name: name.exactOptional(),
  actorType: z.string().min(1),
  input: z.unknown().exactOptional(),
  streaming: z.boolean().exactOptional(),
  retry: z.strictObject({ attempts: z.int().min(1), delayMs: ms, maxDelayMs: ms }).exactOptional(),
  timeoutMs: z.number().gt(0).exactOptional(),
  recover: z.unknown().exactOptional(),
})

const step: z.ZodType<StepData> = z.lazy(
  () =>
    z.discriminatedUnion('type', [
      actorStep as never,
      z.strictObject({ type: z.literal('parallel'), name, branches: ways }),
      z.strictObject({ type: z.literal('route'), name, by: z.string(), cases: ways }),
      z.strictObject({
        type: z.literal('loop'),
        name,
        steps,
        until: z.strictObject({ value: z.string(), is: z.unknown().exactOptional() }),
        max: count,
      }),
      z.strictObject({ type: z.literal('map'), name, over: z.string(), steps, chunk: count, concurrency: count }),
      z.strictObject({ type: z.literal('approve'), name, prompt: z.string().exactOptional(), expiresMs: ms }),
      z.strictObject({
        type: z.literal('ask'),
        name,
        kind: z.string().exactOptional(),
        prompt: z.string().exactOptional(),
        schema: z.unknown().exactOptional(),
        expiresMs: ms,
      }),
      z.strictObject({ type: z.literal('wait'), name, ms, until: z.string().exactOptional() }),
    ]) as never,
)

const about = { name: z.string().exactOptional(), description: z.string().exactOptional() }

/** The form of a definition. */
const CURRENT: z.ZodType<WorkflowData> = z.strictObject({ ...about, steps })

/** The form of earlier systems, which said `actions` for its steps, and gave it an `id`. */
const EARLIER: z.ZodType<WorkflowData> = z
  .strictObject({ ...about, id: z.string().exactOptional(), actions: z.array(actorStep).min(1) })
  .transform(({ id: _, actions, ...others }) => ({ ...others, steps: actions }))

/**
 * Reads a definition.
 * @throws MillraceError `bad_request` for anything else, with the path to each problem.
 */
export function readDefinition(given: unknown): WorkflowData {
  const isEarlier = typeof given === 'object' && given !== null && 'actions' in given
  const { data, error } = (isEarlier ? EARLIER : CURRENT).safeParse(given)
  if (data) return data
  throw new MillraceError('bad_request', `this is no workflow: ${issueWords(error.issues).join('; ')}`)
}
