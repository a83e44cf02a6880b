import { z } from 'zod'
import { ON_DETACH, type OnDetach, OUTCOMES, POLICIES, type Policy, type WireMap } from '../../protocol/frames.ts'
import { CANCEL_CODES, type CancelReason } from '../../protocol/receipt.ts'
import { MAX_TICKET_MS } from './tickets.ts'

/** The longest wait of a request that asks for JSON, in milliseconds. */
const MAX_WAIT_MS = 30_000
const MAX_LISTED = 1_000
const MAX_NAME_CHARACTERS = 256
const MAX_KEY_BYTES = 64
const MAX_ID_BYTES = 32
const MAX_NOTE_BYTES = 256
/** No credit is larger: a server has a `maxCredit` far below it. */
const MAX_NUMBER = 1_000_000

const name = z.string().min(1).max(MAX_NAME_CHARACTERS)
const bytesAtMost = (most: number): z.ZodString =>
  z.string().refine((text) => Buffer.byteLength(text) <= most, `at most ${most} bytes of UTF-8`)
const map = z.record(z.string(), z.unknown())
const count = z.int().min(0)
const queryNumber = z.coerce.number().pipe(z.int().min(0).max(MAX_NUMBER))

/** How a stream reads, as a query says it. */
type Reading = { policy?: Policy; rate?: number; credit?: number; disconnect?: 'detach' | 'cancel' }

const READING = {
  policy: z.enum(POLICIES).exactOptional().meta({ description: 'How the stream reads: see docs/throttling.md' }),
  rate: queryNumber.exactOptional().meta({ description: 'Events a second; 0 begins paused. Default: no limit' }),
  credit: queryNumber
    .exactOptional()
    .meta({ description: 'How many events the run may be ahead of the stream. Default: initialCredit' }),
  disconnect: z
    .enum(['detach', 'cancel'])
    .exactOptional()
    .meta({ description: 'What becomes of the run when the client leaves the stream. Default: detach' }),
}

/** The query of a request that may open a stream. */
export const STREAM_QUERY: z.ZodType<Reading> = z.strictObject(READING)

/** The query of `GET /runs/:run/events`. */
export const EVENTS_QUERY: z.ZodType<Reading & { after?: string; wait?: number }> = z.strictObject({
  ...READING,
  after: z.string().exactOptional().meta({
    description: 'start, live, or the id of the last event that was seen. Default: start. Last-Event-ID wins',
  }),
  wait: z.coerce
    .number()
    .pipe(z.int().min(0).max(MAX_WAIT_MS))
    .exactOptional()
    .meta({ description: 'For an answer in JSON: how long it may wait for an event, in milliseconds. Default: 0' }),
})

/** The query of `GET /actors/:actor/stream`. */
export const ACTOR_QUERY: z.ZodType<Reading & { input?: string; key?: string }> = z.strictObject({
  ...READING,
  input: z.string().exactOptional().meta({ description: 'The input: JSON, or else a text' }),
  key: bytesAtMost(MAX_KEY_BYTES).exactOptional().meta({ description: 'Names one execution, as in POST /runs' }),
})

/** The query of `GET /runs`. */
export const LIST_QUERY: z.ZodType<{ limit: number; before?: string }> = z.strictObject({
  limit: z.coerce.number().pipe(z.int().min(1).max(MAX_LISTED)).default(100),
  before: z.string().exactOptional().meta({ description: 'A run of the list: only runs that began before it' }),
})

type StartBody = {
  actor: string
  input?: unknown
  key?: string
  onDetach?: OnDetach
  detachMs?: number
  timeoutMs?: number
  ask?: boolean
  meta?: WireMap
}

/** The body of `POST /runs`. */
export const START_BODY: z.ZodType<StartBody> = z.strictObject({
  actor: name.meta({ description: 'The name of the actor' }),
  input: z.unknown().optional().meta({ description: 'Its input. Default: null' }),
  key: bytesAtMost(MAX_KEY_BYTES)
    .exactOptional()
    .meta({ description: 'Names one execution: the same key and input give the same run' }),
  onDetach: z
    .enum(ON_DETACH)
    .exactOptional()
    .meta({ description: 'How the run goes on without a reader. Default: pause for a stream, else continue' }),
  detachMs: count.exactOptional(),
  timeoutMs: count.exactOptional(),
  ask: z.boolean().exactOptional().meta({ description: "Runs the actor's ask in place of its stream" }),
  meta: map.exactOptional().meta({ description: 'Data for the actor, at most 1,024 bytes encoded' }),
})

const reasons = Object.keys(CANCEL_CODES) as CancelReason[]
/** The body of `POST /runs/:run/cancel`. */
export const CANCEL_BODY: z.ZodType<{
  reason: CancelReason
  note?: string
  call?: string
  agent?: string
  cascade?: boolean
}> = z.strictObject({
  reason: z.enum(reasons).default('user'),
  note: bytesAtMost(MAX_NOTE_BYTES).exactOptional(),
  call: name.exactOptional().meta({ description: 'The id of a tool call: only that is stopped' }),
  agent: name.exactOptional().meta({ description: 'The id of a sub-agent: only that is stopped' }),
  cascade: z.boolean().exactOptional().meta({
    description: 'Whether the sub-agents of what is stopped are stopped, too. Default true. Not for a `call`',
  }),
})

/** The body of `POST /runs/:run/input`. */
export const INPUT_BODY: z.ZodType<{ type: string; data?: unknown; id?: string }> = z.strictObject({
  type: name.meta({ description: 'message, message.now, message.after, approve, answer, govern, stop, or your own' }),
  data: z.unknown().optional(),
  id: bytesAtMost(MAX_ID_BYTES)
    .exactOptional()
    .meta({ description: 'Names the input: the same id is taken once. Default: a random one' }),
})

/** The body of `POST /runs/:run/rate`. */
export const RATE_BODY: z.ZodType<{ perSec: number | null; stream?: string }> = z.strictObject({
  perSec: count.nullable().meta({ description: 'Events a second; 0 pauses, null removes the limit' }),
  stream: z.string().exactOptional().meta({ description: 'The id of one stream, from its event `opened`' }),
})

/** The body of `POST /tickets`. */
export const TICKET_BODY: z.ZodType<{ run?: string; actor?: string; ms: number }> = z
  .strictObject({
    run: name.exactOptional().meta({ description: 'The run that it lets a client read' }),
    actor: name.exactOptional().meta({ description: 'The actor of which it lets a client start one run' }),
    ms: z.int().min(1).max(MAX_TICKET_MS).default(MAX_TICKET_MS),
  })
  .refine(
    ({ run, actor }) => (run === undefined) !== (actor === undefined),
    'a ticket is for either a `run` or an `actor`',
  )

// --- answers

const outcome = z.enum(OUTCOMES).exclude(['unsubscribed'])
const usage = z.looseObject({ input: z.number(), output: z.number() })
const receipt = z.looseObject({
  reason: z.string(),
  by: z.enum(['client', 'server', 'parent']),
  settled: z.boolean(),
  ms: z.number(),
})

/** The end of a run. */
const RUN_END: z.ZodType = z.looseObject({
  outcome,
  seq: count,
  result: z.unknown().optional(),
  usage: usage.extend({ exact: z.boolean().exactOptional() }).exactOptional(),
  ms: z.number().exactOptional(),
  error: z.looseObject({ code: z.string(), message: z.string(), retryable: z.boolean() }).exactOptional(),
  receipt: receipt.exactOptional(),
})

/** The facts of a run. */
const RUN_FACTS: z.ZodType = z.object({
  run: z.string(),
  actor: z.string(),
  state: z.enum(['opening', 'running', 'waiting_input', 'settling', 'ended']),
  outcome: outcome.exactOptional(),
  gen: count,
  seq: count,
  startedAt: z.number().exactOptional(),
  meta: map.exactOptional(),
})

/** A run by itself: its facts, what it waits for, and its end. */
export const RUN: z.ZodType = z.looseObject({
  ...(RUN_FACTS as z.ZodObject).shape,
  pending: z.array(map).meta({ description: 'The requests that wait for an answer' }),
  end: RUN_END.optional(),
})

export const STARTED: z.ZodType = z.object({
  run: z.string(),
  actor: z.string(),
  gen: count,
  reused: z.boolean().meta({ description: 'The key named a run that existed' }),
})

export const RUN_LIST: z.ZodType = z.object({
  runs: z.array(RUN_FACTS).meta({ description: 'The newest first' }),
  more: z.boolean().meta({ description: 'There are older ones: ask with `before`' }),
})

export const EVENTS: z.ZodType = z.object({
  run: z.string(),
  events: z.array(z.looseObject({ type: z.string(), seq: count, at: z.number() })),
  next: z.string().meta({ description: 'Ask on with `after`' }),
  more: z.boolean().meta({ description: 'There are more events now' }),
  end: RUN_END.optional(),
})

export const CANCELLED: z.ZodType = z.object({
  run: z.string(),
  confirmed: z.boolean().meta({ description: 'false: the end had not come in time; read the run for it' }),
  outcome: z.enum(['done', 'error', 'cancelled', 'ok']).exactOptional(),
  receipt: receipt.exactOptional(),
})

export const INPUT_ANSWER: z.ZodType = z.object({
  run: z.string(),
  id: z.string(),
  status: z.enum(['accepted', 'duplicate', 'unwanted', 'invalid', 'busy']),
  note: z.string().exactOptional(),
})

export const RATE_ANSWER: z.ZodType = z.object({ run: z.string(), streams: count })

export const TICKET: z.ZodType = z.object({ ticket: z.string(), expiresAt: z.number() })

/** A problem of RFC 9457. */
export const PROBLEM: z.ZodType = z.looseObject({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  detail: z.string(),
  code: z.string(),
  retryable: z.boolean(),
  details: z.unknown().optional(),
})
