import * as EVENT from './event-type.ts'
import type { WireMap } from './frames.ts'
import type { Receipt, TargetReceipt, Usage } from './receipt.ts'

/** How a tool call or sub-agent ended. The wire's number is the index. */
export const TOOL_OUTCOMES = ['ok', 'error', 'cancelled'] as const
export type ToolOutcome = (typeof TOOL_OUTCOMES)[number]

/** Something to count: `current` of `total`. */
export type Progress = { current: number; total?: number; message?: string }

/** What a run says beside plain text: what an actor yields or emits, and, with `seq` and `at`, what a consumer reads. */
export type RunEvent<Data = unknown> = { agent?: string } & (
  | { type: 'token'; text: string }
  | { type: 'thinking'; text: string }
  /** A tool is called with complete arguments. `client`: the tool runs at the client. */
  | { type: 'tool.call'; call: string; name: string; args: unknown; client?: boolean }
  /** A piece of a call's arguments, as the model writes them. */
  | { type: 'tool.args'; call: string; text: string; name?: string }
  | { type: 'tool.progress'; call: string; progress?: Progress; note?: string }
  | {
      type: 'tool.result'
      call: string
      outcome: ToolOutcome
      output?: unknown
      error?: string
      ms: number
      truncated?: boolean
      receipt?: TargetReceipt
    }
  /** A question to the people attached; an input of type `answer` or `approve` answers it. */
  | { type: 'request'; id: string; kind: string; prompt?: string; schema?: unknown; call?: string; expiresAt?: number }
  | { type: 'iteration'; n: number; max: number }
  | { type: 'iteration.end'; n: number; stop: string }
  | ({ type: 'usage' } & Usage)
  | { type: 'retry'; attempt: number; delayMs: number; code: string; provider?: string }
  | ({ type: 'progress' } & Progress)
  | {
      type: 'step'
      id: string
      name: string
      status: 'start' | 'done' | 'failed' | 'skipped'
      ms?: number
      output?: unknown
      error?: string
    }
  | { type: 'agent.start'; name: string; parent?: string; run?: string }
  | { type: 'agent.end'; outcome: ToolOutcome; usage?: Usage; receipt?: TargetReceipt }
  /** Anything of the application's own. */
  | { type: 'data'; name: string; value: Data }
  | { type: 'warning'; code: string; message: string }
  /** Something happened to the run itself: `restarted`, `degraded`, `recovered`. */
  | { type: 'notice'; code: string }
)

/** What is missing from a consumer's list: items `from` to `next - 1`. */
export type GapEvent = {
  type: 'gap'
  from: number
  next: number
  reason: 'retention' | 'policy' | 'store_lost' | 'rewound'
}

/** One event as a consumer reads it. `seq`: its number in the run's log; `at`: when it was logged, epoch milliseconds. */
export type StreamEvent<Data = unknown> =
  | (RunEvent<Data> & { seq: number; at: number })
  | (GapEvent & { seq: number; at: number })

/** The end of a run as its consumer sees it. `run.end` resolves with it; the iterator does not yield it. */
export type RunEnd<Result = unknown> = {
  outcome: 'done' | 'error' | 'cancelled'
  seq: number
  /** What the actor returned; absent when it returned nothing beyond its text. */
  result?: Result
  usage?: Usage
  stop?: string
  iterations?: number
  /** The run's duration in milliseconds. */
  ms?: number
  error?: { code: string; message: string; retryable: boolean; details?: unknown }
  receipt?: Receipt
}

/** The wire's numbers of event kinds. A string in their place is an application's own kind. */
export * as EVENT from './event-type.ts'

/** What a part of an answer is: the data of `lane.start` beside its lane. */
export type LaneType = 'text' | 'thinking' | 'tool_args' | 'data'

/** What readers and actors call the kinds, from the first that is for them: a part's start and end are not. */
const TYPES: readonly string[] = [
  'tool.call',
  'tool.result',
  'tool.progress',
  'iteration',
  'iteration.end',
  'request',
  'usage',
  'step',
  'agent.start',
  'agent.end',
  'retry',
  'progress',
  'data',
  'warning',
  'notice',
] satisfies RunEvent['type'][]

/** The events that are text and travel on a lane. */
export type TextEvent = Extract<RunEvent, { text: string }>

/** The events that travel as EVENT frames. */
export type PlainEvent = Exclude<RunEvent, TextEvent>

/** The kind and data with which an event travels. The kind is undefined for a type that does not exist. */
export function toWire(event: PlainEvent): { type: number | undefined; data: WireMap } {
  const { type, ...rest } = event
  const index = TYPES.indexOf(type)
  return { type: index < 0 ? undefined : index + EVENT.toolCall, data: toData(event, rest) }
}

function toData(event: PlainEvent, rest: WireMap): WireMap {
  switch (event.type) {
    case 'tool.result':
    case 'agent.end':
      return { ...rest, outcome: TOOL_OUTCOMES.indexOf(event.outcome) }
    case 'request': {
      const { id, ...others } = rest
      return { ...others, request: id }
    }
    default:
      return rest
  }
}

/**
 * The event that an EVENT frame says, or undefined for a kind that is not for consumers (a part's start and end) or not
 * known. An application's own kind arrives as `data` under that name.
 */
export function fromWire(kind: number | string, data: WireMap): PlainEvent | undefined {
  if (typeof kind === 'string') return { type: 'data', name: kind, value: data }
  const type = TYPES[kind - EVENT.toolCall]
  return type ? ({ ...fromData(kind, data), type } as PlainEvent) : undefined
}

function fromData(kind: number, data: WireMap): WireMap {
  const { request, ...rest } = data
  if (kind === EVENT.inputRequest) return { ...rest, id: String(request) }
  if (kind !== EVENT.toolResult && kind !== EVENT.agentEnd) return data
  return { ...data, outcome: TOOL_OUTCOMES[data['outcome'] as number] ?? 'error' }
}

/** What text on a lane says, by the data of the lane's `lane.start`; plain text where there is none. */
export function textEvent(part: WireMap | undefined, text: string): TextEvent {
  if (part === undefined) return { type: 'token', text }
  const agent = typeof part['agent'] === 'string' ? { agent: part['agent'] } : {}
  if (part['type'] === 'thinking') return { type: 'thinking', text, ...agent }
  if (part['type'] !== 'tool_args') return { type: 'token', text, ...agent }
  const name = typeof part['name'] === 'string' ? { name: part['name'] } : {}
  return { type: 'tool.args', call: String(part['call']), text, ...name, ...agent }
}
