import type { AnyData, GapEvent, Progress, StreamEvent, TargetReceipt } from '../client-sdk/index.ts'

/** What a sub-agent said, or did, names the agent. Parts of the run itself have none. */
type Said = { readonly agent?: string | undefined }

/** A text of the answer, as far as it was read. */
export type TextPart = Said & { readonly type: 'text' | 'thinking'; readonly text: string }

/** A tool call. */
export type ToolPart = Said & {
  readonly type: 'tool'
  /** Its id: what `stop({ call })` and `approve` take. */
  readonly call: string
  /** The name of the tool. Empty while the model has not written it. */
  readonly name: string
  /** `writing`: the model writes the arguments. `waiting`: it needs an approval or an answer. */
  readonly state: 'writing' | 'waiting' | 'running' | 'ok' | 'error' | 'cancelled'
  /** The arguments as they are written: the beginning of a JSON text, which `partialObject` reads. */
  readonly argsText: string
  /** The arguments, once they are complete; those that it ran with, if an approver has changed them. */
  readonly args?: unknown
  /** Counted progress, if the tool reports it. */
  readonly progress?: Progress | undefined
  /** Progress in words. */
  readonly note?: string | undefined
  /** What it returned. */
  readonly output?: unknown
  /** Why it failed. */
  readonly error?: string | undefined
  /** How long it took, in milliseconds. */
  readonly ms?: number | undefined
  /** Whether a client runs it. */
  readonly client?: boolean | undefined
  /** Whether its output was cut. */
  readonly truncated?: boolean | undefined
  /** The receipt, if it was stopped. */
  readonly receipt?: TargetReceipt | undefined
}

/** A step of a workflow. */
export type StepPart = Said & Omit<Extract<StreamEvent, { type: 'step' }>, 'seq' | 'at'>

/** The beginning of a sub-agent, and its outcome once it has ended. */
export type AgentPart = Said & {
  readonly type: 'agent'
  /** What it is called. */
  readonly name: string
  /** How far it is. */
  readonly state: 'running' | 'ok' | 'error' | 'cancelled'
}

/** An event of the application's own. */
export type DataPart<Data extends AnyData = AnyData> = Said & { readonly type: 'data' } & Readonly<Data>

/** Items are missing here. */
export type GapPart = Said & Readonly<GapEvent>

/** One part of what a run has said, in the order in which the parts began. */
export type RunPart<Data extends AnyData = AnyData> =
  | TextPart
  | ToolPart
  | StepPart
  | AgentPart
  | DataPart<Data>
  | GapPart

/** Parts that are kept: the oldest are dropped. Text of one agent that is not interrupted is one part. */
const MAX_PARTS = 2_000

type Writable<Part> = { -readonly [Name in keyof Part]: Part[Name] }

/** The parts of a run, made from its events one by one. Parts that did not change stay the same objects. */
export interface RunParts {
  /** Takes over the next event. */
  read(event: StreamEvent): void
  /** A request of this call was answered: it runs, unless it has ended. */
  answered(call: string): void
  /** The parts as they are now, in an array that never changes. */
  list(): readonly RunPart[]
}

/**
 * Makes the parts of a run from its events, as `useRun` does: for a page that has the events already, such as one that
 * shows a run as it was at an earlier time. It keeps the latest 1,000 parts at least.
 */
export function createRunParts(): RunParts {
  let parts: Writable<RunPart>[] = []
  /** They as they were listed last, unless they have changed since. */
  let listed: readonly RunPart[] | undefined
  /** The parts that nobody has seen: they may still be changed. */
  const unseen = new Set<object>()
  /** The part that each text, call, step and agent goes on in, by a name for it. */
  const open = new Map<string, Writable<RunPart>>()

  const add = (part: Writable<RunPart>, name?: string): void => {
    listed = undefined
    unseen.add(part)
    parts.push(part)
    if (name !== undefined) open.set(name, part)
    if (parts.length > MAX_PARTS) parts = parts.slice(MAX_PARTS / 2)
  }

  /** The open part of that name, to be changed. */
  const change = (name: string): Writable<RunPart> | undefined => {
    const part = open.get(name)
    if (!part || unseen.has(part)) return part
    const copy = { ...part }
    const at = parts.lastIndexOf(part)
    // It was dropped.
    if (at < 0) return undefined
    listed = undefined
    unseen.add(copy)
    parts[at] = copy
    open.set(name, copy)
    return copy
  }

  const changeCall = (call: string, to: Partial<ToolPart>): void => {
    const part = change(`call ${call}`)
    if (part) Object.assign(part, to)
  }

  const text = (type: TextPart['type'], piece: string, agent: string | undefined): void => {
    const name = `text ${agent ?? ''}`
    if (open.get(name)?.type !== type) add({ type, text: '', agent }, name)
    const part = change(name) as Writable<TextPart> | undefined
    if (part) part.text += piece
  }

  const self: RunParts = {
    read(event) {
      const { agent } = event as { agent?: string }
      // Whatever else an agent does comes between two texts of it.
      const interrupt = (): void => void open.delete(`text ${agent ?? ''}`)
      switch (event.type) {
        case 'token':
        case 'thinking':
          text(event.type === 'token' ? 'text' : 'thinking', event.text, agent)
          return
        case 'iteration':
          interrupt()
          return
        case 'tool.args':
        case 'tool.call': {
          const name = `call ${event.call}`
          interrupt()
          if (!open.has(name))
            add({ type: 'tool', call: event.call, name: '', state: 'writing', argsText: '', agent }, name)
          const part = change(name) as Writable<ToolPart> | undefined
          if (!part) return
          part.name = event.name ?? part.name
          if (event.type === 'tool.args') part.argsText += event.text
          else Object.assign(part, { state: 'running', args: event.args, client: event.client })
          return
        }
        case 'request':
          if (event.call !== undefined) changeCall(event.call, { state: 'waiting' })
          return
        case 'tool.progress':
          changeCall(event.call, { state: 'running', progress: event.progress, note: event.note })
          return
        case 'tool.result': {
          const { type: _, seq: __, at: ___, agent: ____, outcome, ...rest } = event
          changeCall(event.call, { ...rest, state: outcome })
          open.delete(`call ${event.call}`)
          return
        }
        case 'step': {
          const { seq: _, at: __, ...step } = event
          const name = `step ${step.id}`
          interrupt()
          if (!open.has(name)) add({ ...step }, name)
          else Object.assign(change(name) ?? {}, step)
          return
        }
        case 'agent.start':
          add({ type: 'agent', name: event.name, state: 'running', agent }, `agent ${agent ?? ''}`)
          return
        case 'agent.end': {
          const part = change(`agent ${agent ?? ''}`)
          if (part) Object.assign(part, { state: event.outcome })
          return
        }
        case 'data': {
          const { seq: _, at: __, ...data } = event
          interrupt()
          add(data)
          return
        }
        case 'gap': {
          const { seq: _, at: __, ...gap } = event
          if (gap.reason === 'policy') return
          for (const name of open.keys()) if (name.startsWith('text ')) open.delete(name)
          add(gap)
          return
        }
        default:
      }
    },

    answered: (call) => changeCall(call, { state: 'running' }),

    list() {
      unseen.clear()
      return (listed ??= [...parts])
    },
  }
  return self
}
