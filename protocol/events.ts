import type { WireMap } from './frames.ts'
import type { Receipt, Usage } from './receipt.ts'

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
      receipt?: WireMap
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
  | { type: 'agent.end'; outcome: ToolOutcome; usage?: Usage; receipt?: WireMap }
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
export const EVENT = {
  partStart: 1,
  partEnd: 2,
  toolCall: 3,
  toolResult: 4,
  toolProgress: 5,
  iterationStart: 6,
  iterationEnd: 7,
  inputRequest: 8,
  usage: 9,
  step: 10,
  agentStart: 11,
  agentEnd: 12,
  retry: 13,
  progress: 14,
  data: 15,
  warning: 16,
  notice: 17,
} as const

/** What a part of an answer is: the data of `part.start` beside its lane. */
export type PartType = 'text' | 'thinking' | 'tool_args' | 'data'

/** Names of the kinds whose data travels as it stands. The two below and text are turned by hand. */
const PLAIN = {
  'tool.call': EVENT.toolCall,
  'tool.progress': EVENT.toolProgress,
  iteration: EVENT.iterationStart,
  'iteration.end': EVENT.iterationEnd,
  usage: EVENT.usage,
  step: EVENT.step,
  'agent.start': EVENT.agentStart,
  'agent.end': EVENT.agentEnd,
  retry: EVENT.retry,
  progress: EVENT.progress,
  data: EVENT.data,
  warning: EVENT.warning,
  notice: EVENT.notice,
} as const satisfies { [type in RunEvent['type']]?: number }

const PLAIN_NAMES: ReadonlyMap<number, string> = new Map(Object.entries(PLAIN).map(([name, n]) => [n, name]))

/** The events that are text and travel on a lane. */
export type TextEvent = Extract<RunEvent, { text: string }>

/** The events that travel as EVENT frames. */
export type PlainEvent = Exclude<RunEvent, TextEvent>

/** The kind and data with which an event travels. */
export function toWire(event: PlainEvent): { type: number; data: WireMap } {
  const { type, ...rest } = event
  switch (event.type) {
    case 'tool.result':
      return { type: EVENT.toolResult, data: { ...rest, outcome: TOOL_OUTCOMES.indexOf(event.outcome) } }
    case 'agent.end':
      return { type: EVENT.agentEnd, data: { ...rest, outcome: TOOL_OUTCOMES.indexOf(event.outcome) } }
    case 'request': {
      const { type: _, id, ...data } = event
      return { type: EVENT.inputRequest, data: { ...data, request: id } }
    }
    default:
      // The name of a method that every object has is not the name of a kind.
      return {
        type: (Object.hasOwn(PLAIN, type) ? PLAIN[type as keyof typeof PLAIN] : undefined) as number,
        data: rest,
      }
  }
}

/**
 * The event that an EVENT frame says, or undefined for a kind that is not for consumers (a part's start and end) or not
 * known. An application's own kind arrives as `data` under that name.
 */
export function fromWire(type: number | string, data: WireMap): PlainEvent | undefined {
  if (typeof type === 'string') return { type: 'data', name: type, value: data }
  if (type === EVENT.toolResult)
    return { ...data, type: 'tool.result', outcome: outcomeOf(data['outcome']) } as PlainEvent
  if (type === EVENT.agentEnd) return { ...data, type: 'agent.end', outcome: outcomeOf(data['outcome']) }
  if (type === EVENT.inputRequest) {
    const { request, ...rest } = data
    return { ...rest, type: 'request', id: String(request) } as PlainEvent
  }
  const name = PLAIN_NAMES.get(type)
  return name === undefined ? undefined : ({ ...data, type: name } as PlainEvent)
}

/** What text on a lane says, by the data of the lane's `part.start`; plain text where there is none. */
export function textEvent(part: WireMap | undefined, text: string): TextEvent {
  if (part === undefined) return { type: 'token', text }
  const agent = typeof part['agent'] === 'string' ? { agent: part['agent'] } : {}
  if (part['type'] === 'thinking') return { type: 'thinking', text, ...agent }
  if (part['type'] !== 'tool_args') return { type: 'token', text, ...agent }
  const name = typeof part['name'] === 'string' ? { name: part['name'] } : {}
  return { type: 'tool.args', call: String(part['call']), text, ...name, ...agent }
}

function outcomeOf(n: unknown): ToolOutcome {
  return TOOL_OUTCOMES[n as number] ?? 'error'
}
