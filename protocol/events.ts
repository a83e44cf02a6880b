import * as EVENT from './event-type.ts'
import type { Key, WireMap } from './frames.ts'
import { type Receipt, type RunUsage, readReceipt, type TargetReceipt, type Usage, writeReceipt } from './receipt.ts'

/** How a tool call or sub-agent ended. The wire's number is the index. */
export const TOOL_OUTCOMES = ['ok', 'error', 'cancelled'] as const
/** One of `TOOL_OUTCOMES`. */
export type ToolOutcome = (typeof TOOL_OUTCOMES)[number]

/** Counted progress: `current` of `total`. */
export type Progress = {
  /** How much is done. */
  current: number
  /** How much there is, if it is known. */
  total?: number
  /** What is being done, for people. */
  message?: string
}

/** The name and the value of a `data` event of which nothing is known. */
export type AnyData = {
  /** The name of the event. */
  name: string
  /** What it holds. */
  value: unknown
}

/**
 * An event of a run. Actors yield or emit events; consumers read them, with `seq` and `at`.
 *
 * @typeParam Data The names and values of its `data` events, as a union: `{ name: 'price'; value: number } | ...`.
 */
export type RunEvent<Data extends AnyData = AnyData> = { agent?: string } & (
  | { type: 'token'; text: string }
  | { type: 'thinking'; text: string }
  /** A tool call with complete arguments. `client`: the tool runs at the client. */
  | { type: 'tool.call'; call: string; name: string; args: unknown; client?: boolean }
  /** A piece of a call's arguments, while the model writes them. */
  | { type: 'tool.args'; call: string; text: string; name?: string }
  | { type: 'tool.progress'; call: string; progress?: Progress; note?: string }
  | {
      type: 'tool.result'
      call: string
      outcome: ToolOutcome
      output?: unknown
      error?: string
      ms: number
      /** The arguments with which the call ran, if whoever approved it has changed them. */
      args?: unknown
      truncated?: boolean
      receipt?: TargetReceipt
    }
  /** A question to the people attached; an input of type `answer` or `approve` answers it. */
  | {
      type: 'request'
      id: string
      kind: string
      prompt?: string | undefined
      schema?: unknown
      call?: string | undefined
      expiresAt?: number
    }
  | { type: 'iteration'; n: number; max: number }
  | { type: 'iteration.end'; n: number; stop: string }
  | ({ type: 'usage' } & Usage)
  | { type: 'retry'; attempt: number; delayMs: number; code: string; provider?: string }
  /** `step`: the id of the step that reports it. */
  | ({ type: 'progress'; step?: string } & Progress)
  /**
   * A step of a workflow, at its place `id`. `attempt`: not the first one. `retryMs`: the failed one is tried again after
   * that time. `truncated`: its output cannot be sent.
   */
  | {
      type: 'step'
      id: string
      name: string
      status: 'start' | 'done' | 'failed' | 'skipped'
      ms?: number
      output?: unknown
      error?: string
      attempt?: number
      retryMs?: number
      truncated?: boolean
    }
  | { type: 'agent.start'; name: string; parent?: string; run?: string }
  | { type: 'agent.end'; outcome: ToolOutcome; usage?: RunUsage; receipt?: TargetReceipt }
  /** An event of the application's own. */
  | ({ type: 'data' } & Data)
  | { type: 'warning'; code: string; message: string }
  /**
   * Something happened to the run itself: `restarted`, `degraded`, `recovered`, `paused`, `resumed`, `governed`. `input_taken`: the actor took the input
   * of that id, an agent for its turn `n`.
   */
  | { type: 'notice'; code: string; input?: Key; n?: number }
)

/** Items `from` to `next - 1` are missing. `rewound`: items from `next` on that were already read no longer count. */
export type GapEvent = {
  /** Always `gap`. */
  type: 'gap'
  /** The number of the first missing item. */
  from: number
  /** The number of the first item after the gap. */
  next: number
  /** Why they are missing: the log is bounded, the policy skips, the store lost them, or the run was set back. */
  reason: 'retention' | 'policy' | 'store_lost' | 'rewound'
}

/** An event as a consumer reads it. `seq`: its number in the log; `at`: when it was logged, in epoch milliseconds. */
export type StreamEvent<Data extends AnyData = AnyData> =
  | (RunEvent<Data> & { seq: number; at: number })
  | (GapEvent & { seq: number; at: number })

/** The end of a run as its consumer sees it. `run.end` resolves with it; the iterator does not yield it. */
export type RunEnd<Result = unknown> = {
  /** How the run ended. */
  outcome: 'done' | 'error' | 'cancelled'
  /** The number of the end in the log, one above that of the last item. */
  seq: number
  /** The value that the actor returned; absent if it returned only text. */
  result?: Result
  /** The usage, as far as it is known. */
  usage?: RunUsage
  /** Why the model stopped, for a run that used one: `stop`, `length`. */
  stop?: string
  /** The number of turns of an agent. */
  iterations?: number
  /** The run's duration in milliseconds. */
  ms?: number
  /** The error, for the outcome `error`. */
  error?: { code: string; message: string; retryable: boolean; details?: unknown }
  /** The receipt, for the outcome `cancelled`. */
  receipt?: Receipt
}

/** The numbers of the event types on the wire. A string in place of a number is a type of the application's own. */
export * as EVENT from './event-type.ts'

/** The type of a lane, in the data of its `lane.start`. */
export type LaneType = 'text' | 'thinking' | 'tool_args' | 'data'

/** The names of the event types from `tool.call` on, in the order of their numbers. Lane events have no name here. */
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

/** The events that are text, which is sent on a lane. */
export type TextEvent = Extract<RunEvent, { text: string }>

/** The events that are sent as EVENT frames. */
export type PlainEvent = Exclude<RunEvent, TextEvent>

/** Returns the type and data with which an event is sent. The type is undefined for an unknown event. */
export function toWire(event: PlainEvent): { type: number | undefined; data: WireMap } {
  const { type, ...rest } = event
  const index = TYPES.indexOf(type)
  return { type: index < 0 ? undefined : index + EVENT.toolCall, data: toData(event, rest) }
}

function toData(event: PlainEvent, rest: WireMap): WireMap {
  switch (event.type) {
    case 'tool.result':
    case 'agent.end':
      return {
        ...rest,
        outcome: TOOL_OUTCOMES.indexOf(event.outcome),
        ...(event.receipt && { receipt: writeReceipt(event.receipt) }),
      }
    case 'request': {
      const { id, ...others } = rest
      return { ...others, request: id }
    }
    default:
      return rest
  }
}

/**
 * Returns the event of an EVENT frame. Undefined for an unknown type, and for those that consumers do not see:
 * `lane.start` and `lane.end`. A type of the application's own becomes a `data` event of that name.
 */
export function fromWire(type: number | string, data: WireMap): PlainEvent | undefined {
  if (typeof type === 'string') return { type: 'data', name: type, value: data }
  const name = TYPES[type - EVENT.toolCall]
  return name ? ({ ...fromData(type, data), type: name } as PlainEvent) : undefined
}

function fromData(type: number, data: WireMap): WireMap {
  if (type === EVENT.inputRequest) {
    const { request, ...rest } = data
    return { ...rest, id: String(request) }
  }
  const { receipt } = data
  return type !== EVENT.toolResult && type !== EVENT.agentEnd
    ? data
    : {
        ...data,
        outcome: TOOL_OUTCOMES[data['outcome'] as number] ?? 'error',
        ...(receipt ? { receipt: readReceipt(receipt) } : {}),
      }
}

/** Returns the event of a text. `lane` is the data of its lane's `lane.start`; undefined for plain text. */
export function textEvent(lane: WireMap | undefined, text: string): TextEvent {
  if (lane === undefined) return { type: 'token', text }
  const { agent: by, type } = lane
  const isNamed = typeof by === 'string'
  // Of most texts: a literal, which costs less than a spread.
  if (type === 'text' && isNamed) return { type: 'token', text, agent: by }
  const agent = isNamed ? { agent: by } : {}
  if (type === 'thinking') return { type: 'thinking', text, ...agent }
  if (type !== 'tool_args') return { type: 'token', text, ...agent }
  const name = typeof lane['name'] === 'string' ? { name: lane['name'] } : {}
  return { type: 'tool.args', call: String(lane['call']), text, ...name, ...agent }
}
