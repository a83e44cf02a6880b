import type { RunEnd, StreamEvent } from '../protocol/events.ts'
import { addUsage, type Usage } from '../protocol/receipt.ts'
import type { DataChunk, MessageFacts, UiChunk } from './ai-sdk-chunk.ts'
import { defined, eventFacts } from './event-facts.ts'
import type { Format } from './format.ts'
import { type Call, type KnownCall, OpenCalls } from './open-calls.ts'
import { textOf } from './plain-text.ts'

/** The options of `UiChunks`. */
export type UiChunkOptions = {
  /** The id of the run, which becomes that of the message. */
  readonly run: string
  /** Returns the life of the run's log that the items read last are of. Default: the first one. */
  readonly gen?: (() => number | undefined) | undefined
  /** The major version of the package `ai` that reads the chunks. Default 7. */
  readonly version?: 6 | 7 | undefined
  /**
   * Whether a run that is set back begins its step again, for which the data parts with an id, and the events of the step,
   * are kept. Otherwise the stream ends with an error. Default: only where the run is read by version 7.
   */
  readonly resets?: boolean | undefined
  /** The page runs the calls that are given to this name. Default: every call that is given to a page counts as its own. */
  readonly page?: string | undefined
  /** The message has these calls already: the chunks continue it. Default: a new message. */
  readonly known?: readonly KnownCall[] | undefined
  /** Of those, the calls that a person has just refused. Default: none. */
  readonly refused?: ReadonlySet<string> | undefined
  /**
   * The number of the last item that was logged before its reader came. What waited earlier has been answered if it waits
   * no longer at that item. Default: all is new.
   */
  readonly past?: number | undefined
}

type EventOf<Type extends StreamEvent['type']> = Extract<StreamEvent, { type: Type }>

/** The chunk types that name a part of text, and the one that is open. */
type OpenPart = { readonly kind: 'text' | 'reasoning'; readonly id: string }

/** The current step: what was known before it, and what was said in it. From this, a run that is set back begins it again. */
type Step = {
  readonly first: number
  readonly calls: OpenCalls
  readonly agents: ReadonlyMap<string, object>
  readonly hasResult: boolean
  events: StreamEvent[]
}

/** What a call without a result gets when the run has ended. */
const UNFINISHED = 'stopped before it was finished'
/** How the error of a call begins that a person has refused. */
const REFUSED = 'refused by the user'

/**
 * A run as the UI message chunks of the AI SDK. Texts, thinking and tool calls become their parts. Everything else
 * becomes data parts: `data-agent`, `data-step`, `data-progress`, `data-request`, `data-gap`, and `data-NAME` for the
 * application's own events; and, transient, `data-agent-token`, `data-agent-thinking`, `data-retry`, `data-warning` and
 * `data-notice`.
 *
 * The answer is over when all work of the run waits for an approval or for a tool of the page: the AI SDK sends those in
 * its next request. A cancelled run ends with `abort`, and never with a reason of success.
 */
export class UiChunks implements Format<UiChunk> {
  isOver = false
  readonly #options: UiChunkOptions
  readonly #resets: boolean
  #calls: OpenCalls
  /** The data parts that have an id, as they were before the current step. None where no step can begin again. */
  readonly #shown = new Map<string, DataChunk>()
  /** Those of the current step. */
  readonly #new = new Map<string, DataChunk>()
  /** What the beginnings of sub-agents said. Where no step can begin again, of those at work. */
  #agents = new Map<string, object>()
  #pieces: UiChunk[] = []
  #part: OpenPart | undefined
  #isInStep: boolean
  /** Whether the current step has tool calls. A message that ends with such a step would be sent again by itself. */
  #stepHasCalls: boolean
  /** Undefined: there is none that could begin again. */
  #step: Step | undefined
  /** The number of the last item. */
  #seq: number | undefined
  #usage: Usage | undefined
  #hasResult = false

  constructor(options: UiChunkOptions) {
    const { known = [], version = 7, resets = version === 7 } = options
    this.#options = options
    this.#resets = resets
    this.#calls = new OpenCalls(known.map((call) => ({ ...call, isCut: call.state === 'writing' })))
    this.#isInStep = this.#stepHasCalls = known.length > 0
  }

  begin(): UiChunk[] {
    const { run } = this.#options
    return [{ type: 'start', messageId: run, messageMetadata: { millrace: { run } } }]
  }

  take(event: StreamEvent): UiChunk[] {
    if (this.isOver) return []
    this.#seq = event.type === 'gap' ? event.next - 1 : event.seq
    this.#take(event)
    if (this.#step && !isRewind(event)) this.#step.events.push(event)
    if (!this.isOver && this.#calls.isWaiting && event.seq >= (this.#options.past ?? 0)) {
      this.#closeStep()
      this.#finish('tool-calls', {})
    }
    return this.#taken()
  }

  end(how: RunEnd): UiChunk[] {
    if (this.isOver) return []
    if (how.usage) this.#usage = how.usage
    if (how.outcome === 'done' && how.result !== undefined) this.#result(how.result)
    for (const call of this.#calls.open) this.#failed(call, UNFINISHED)
    this.#closeStep()
    if (this.#stepHasCalls) this.#pieces.push({ type: 'start-step' }, { type: 'finish-step' })
    const { outcome, receipt } = how
    const facts = { outcome, ...(receipt && { receipt }) }
    if (outcome === 'done') this.#finish(reasonOf(how.stop), facts)
    else this.#stop(how, facts)
    return this.#taken()
  }

  #taken(): UiChunk[] {
    const pieces = this.#pieces
    this.#pieces = []
    return pieces
  }

  #take(event: StreamEvent): void {
    const { agent } = event as { agent?: string }
    switch (event.type) {
      case 'token':
      case 'thinking':
        if (agent !== undefined) return this.#aside(`agent-${event.type}`, { agent, text: textOf(event.text) })
        return this.#text(event.type === 'token' ? 'text' : 'reasoning', textOf(event.text))
      case 'iteration':
        if (agent === undefined) this.#openStep()
        return
      case 'iteration.end':
        if (agent === undefined) this.#closeStep()
        return
      case 'tool.args':
      case 'tool.call':
      case 'tool.progress':
      case 'tool.result':
      case 'request':
        return this.#called(event)
      case 'agent.start': {
        if (agent === undefined) return
        const facts = { ...told(event), status: 'running' }
        // It may begin a step, which begins before it.
        this.#data('agent', facts, textOf(agent))
        this.#agents.set(agent, facts)
        return this.#calls.agentBegan(agent, event.parent)
      }
      case 'agent.end': {
        const { outcome, usage, receipt } = event
        if (agent === undefined) return
        const facts = { agent, ...this.#agents.get(agent), status: outcome, usage, receipt }
        this.#data('agent', defined(facts), textOf(agent))
        if (!this.#resets) this.#agents.delete(agent)
        return this.#calls.agentEnded(agent)
      }
      case 'step':
        return this.#data('step', told(event), textOf(event.id))
      case 'progress':
        return this.#data('progress', told(event), textOf(agent ?? 'run'))
      case 'data':
        return this.#own(event)
      case 'usage':
        this.#usage ??= { input: 0, output: 0 }
        addUsage(this.#usage, event)
        this.#pieces.push({ type: 'message-metadata', messageMetadata: { millrace: this.#facts({}) } })
        return
      case 'retry':
      case 'warning':
      case 'notice':
        return this.#aside(event.type, told(event))
      case 'gap':
        return this.#gap(event)
    }
  }

  #called(event: EventOf<'tool.args' | 'tool.call' | 'tool.progress' | 'tool.result' | 'request'>): void {
    const { agent } = event
    if (event.call === undefined && event.type === 'request') {
      const { id, kind, prompt, schema, expiresAt } = event
      return this.#data('request', defined({ id, kind, prompt, schema, expiresAt, agent }), textOf(id))
    }
    const id = textOf(event.call)
    const known = this.#calls.find(id)
    if (event.type === 'tool.args') {
      if (known && known.state !== 'writing') return
      if (!known || known.isCut) this.#written(id, textOf(event.name ?? known?.name ?? 'tool'), agent)
      this.#pieces.push({ type: 'tool-input-delta', toolCallId: id, inputTextDelta: textOf(event.text) })
      return
    }
    if (event.type === 'tool.call') {
      this.#complete(id, textOf(event.name), agent, event.args, event.client ? 'client' : 'running')
      return
    }
    const call = known ?? this.#complete(id, 'tool', agent)
    switch (event.type) {
      case 'tool.progress': {
        if (call.state !== 'running') return
        const { progress, note } = event
        const output = defined({ progress, note })
        this.#pieces.push({ type: 'tool-output-available', toolCallId: id, output, preliminary: true })
        return
      }
      case 'tool.result':
        return this.#finished(call, event)
      case 'request':
        // A reader that attaches gets the requests once more that still wait, also one that it has just answered.
        if (call.state === 'done' || call.approval === textOf(event.id)) return
        // Of arguments that are still being written, the AI SDK asks no approval.
        if (call.state === 'writing') this.#complete(id, call.name, agent)
        call.state = 'approval'
        call.approval = textOf(event.id)
        this.#pieces.push({ type: 'tool-approval-request', approvalId: call.approval, toolCallId: id })
    }
  }

  #beginCall(): void {
    this.#begin()
    this.#closePart()
    this.#stepHasCalls = true
  }

  #written(id: string, name: string, agent: string | undefined): void {
    this.#beginCall()
    this.#calls.add(id, name, agent, 'writing')
    this.#pieces.push({ type: 'tool-input-start', toolCallId: id, toolName: name, ...dynamic(agent) })
  }

  /** The arguments of a call are complete. */
  #complete(
    id: string,
    name: string,
    agent: string | undefined,
    args: unknown = {},
    state: Call['state'] = 'running',
  ): Call {
    this.#beginCall()
    const call = this.#calls.find(id) ?? this.#calls.add(id, name, agent, state)
    call.name = name
    call.state = state
    this.#pieces.push({
      type: 'tool-input-available',
      toolCallId: id,
      toolName: name,
      input: args ?? {},
      ...dynamic(call.agent),
      ...(call.agent !== undefined && { providerMetadata: { millrace: { agent: textOf(call.agent) } } }),
    })
    return call
  }

  #finished(call: Call, { outcome, output, error }: EventOf<'tool.result'>): void {
    if (call.state === 'writing') this.#complete(call.id, call.name, call.agent)
    const isRefused = this.#approved(call, outcome !== 'ok' && textOf(error ?? '').startsWith(REFUSED))
    call.state = 'done'
    if (isRefused) this.#pieces.push({ type: 'tool-output-denied', toolCallId: call.id })
    else if (outcome === 'ok')
      this.#pieces.push({ type: 'tool-output-available', toolCallId: call.id, output: output ?? null })
    else this.#failed(call, textOf(error ?? outcome))
  }

  /**
   * A call has its result that waited for an approval. Somebody else may have given it, which a message must say before
   * the result. Returns whether the call was refused, as far as the reader can be told.
   */
  #approved(call: Call, isRefused: boolean): boolean {
    const { refused, version = 7 } = this.#options
    if (refused?.has(call.id)) return true
    if (call.state !== 'approval' || call.approval === undefined || version === 6) return false
    this.#pieces.push({ type: 'tool-approval-response', approvalId: call.approval, approved: !isRefused })
    return isRefused
  }

  #failed(call: Call, errorText: string): void {
    const { id: toolCallId, name: toolName, agent } = call
    if (call.state === 'writing')
      this.#pieces.push({
        type: 'tool-input-error',
        toolCallId,
        toolName,
        input: {},
        errorText,
        ...dynamic(agent),
      })
    else this.#pieces.push({ type: 'tool-output-error', toolCallId, errorText })
    call.state = 'done'
  }

  #text(kind: OpenPart['kind'], delta: string): void {
    this.#begin()
    if (this.#part?.kind !== kind) {
      this.#closePart()
      this.#part = { kind, id: `${kind}-${this.#seq}` }
      this.#pieces.push({ type: `${kind}-start`, id: this.#part.id })
    }
    this.#pieces.push({ type: `${kind}-delta`, id: this.#part.id, delta })
  }

  /** An event of the application's own. */
  #own({ agent, name, value }: EventOf<'data'>): void {
    const { to, call } = Object(value) as { to?: unknown; call?: unknown }
    if (name === 'client.tool') {
      const given = this.#calls.find(textOf(call))
      const { page } = this.#options
      if (given && given.state !== 'done') given.state = page === undefined || to === page ? 'client' : 'running'
      return
    }
    if (agent !== undefined) return this.#aside('agent-data', { agent, name, value })
    const { id } = Object(value) as { id?: unknown }
    this.#data(textOf(name), value, typeof id === 'string' ? id : undefined)
    if (name === 'result') this.#hasResult = true
  }

  /** The value that the actor returned in addition to its text, or instead of it. */
  #result(value: unknown): void {
    if (!this.#hasResult) this.#data('result', value)
  }

  #gap(event: EventOf<'gap'>): void {
    const { from, next, reason } = event
    if (reason === 'policy') return
    if (!isRewind(event)) {
      this.#closePart()
      return this.#data('gap', { from, next, reason })
    }
    const step = this.#step
    // From before this step on, nothing can be taken back.
    if (!step || next < step.first) return this.#lost()
    // The part of a call stays where the call was made: a void item about one of an earlier step would stay with it.
    const isLost = step.events.some((one) => one.seq >= next && 'call' in one && step.calls.find(textOf(one.call)))
    // A reset forgets what is written of the arguments of all calls.
    if (isLost || step.calls.open.some(({ state }) => state === 'writing')) return this.#lost()
    this.#reset(step, next)
  }

  /** Begins the current step again, and says once more what still counts of it. */
  #reset(step: Step, next: number): void {
    // What was used is used, whether it counts or not.
    const events = step.events.filter(({ seq, type }) => seq < next && type !== 'usage')
    this.#part = undefined
    this.#isInStep = true
    this.#stepHasCalls = false
    this.#calls = step.calls.copy()
    this.#agents = new Map(step.agents)
    this.#hasResult = step.hasResult
    step.events = []
    this.#pieces.push({ type: 'reset-step' })
    for (const key of this.#new.keys()) {
      const piece = this.#shown.get(key)
      if (piece) this.#pieces.push(piece)
    }
    this.#new.clear()
    for (const event of events) {
      this.#seq = event.seq
      this.#take(event)
      step.events.push(event)
    }
    // What is for the page that runs now was not taken back.
    this.#pieces = this.#pieces.filter((piece) => !('transient' in piece))
    this.#seq = next - 1
  }

  /** What was sent no longer counts, and cannot be taken back. */
  #lost(): void {
    this.#closeStep()
    this.isOver = true
    this.#pieces.push({ type: 'error', errorText: 'the run was set back: load the chat again' })
  }

  #data(name: string, data: unknown, id?: string): void {
    this.#begin()
    const piece: DataChunk = { type: `data-${name}`, ...(id !== undefined && { id }), data: data ?? null }
    this.#pieces.push(piece)
    if (id !== undefined && this.#resets) this.#new.set(`${name} ${id}`, piece)
  }

  /** Something for the page that runs now, and not for the message. */
  #aside(name: string, data: unknown): void {
    this.#pieces.push({ type: `data-${name}`, data, transient: true })
  }

  #begin(): void {
    if (!this.#isInStep) this.#openStep()
  }

  #openStep(): void {
    // It has just begun again.
    if (this.#isInStep && this.#step?.events.length === 0) return
    this.#closeStep()
    this.#isInStep = true
    this.#stepHasCalls = false
    this.#pieces.push({ type: 'start-step' })
    if (!this.#resets) return
    for (const [key, piece] of this.#new) this.#shown.set(key, piece)
    this.#new.clear()
    this.#step = {
      first: this.#seq ?? 0,
      calls: this.#calls.copy(),
      agents: new Map(this.#agents),
      hasResult: this.#hasResult,
      events: [],
    }
  }

  #closeStep(): void {
    this.#closePart()
    if (this.#isInStep) this.#pieces.push({ type: 'finish-step' })
    this.#isInStep = false
  }

  #closePart(): void {
    if (this.#part) this.#pieces.push({ type: `${this.#part.kind}-end`, id: this.#part.id })
    this.#part = undefined
  }

  #finish(finishReason: Extract<UiChunk, { type: 'finish' }>['finishReason'], how: Partial<MessageFacts>): void {
    this.isOver = true
    this.#pieces.push({ type: 'finish', finishReason, messageMetadata: { millrace: this.#facts(how) } })
  }

  /** The run failed or was cancelled. */
  #stop({ outcome, error, receipt }: RunEnd, how: Partial<MessageFacts>): void {
    const { version = 7 } = this.#options
    this.#pieces.push({ type: 'message-metadata', messageMetadata: { millrace: this.#facts(how) } })
    if (outcome === 'error') this.#pieces.push({ type: 'error', errorText: textOf(error?.message ?? 'the run failed') })
    else this.#pieces.push({ type: 'abort', reason: textOf(receipt?.note ?? receipt?.reason ?? 'cancelled') })
    // Version 7 sends nothing by itself after this one. Version 6 does not know it.
    if (outcome === 'cancelled' && version === 7) this.#finish('interrupted', {})
    this.isOver = true
  }

  #facts(how: Partial<MessageFacts>): MessageFacts {
    const gen = this.#options.gen?.() ?? 1
    return {
      run: this.#options.run,
      ...(this.#seq !== undefined && { seq: this.#seq }),
      ...(gen > 1 && { gen }),
      ...(this.#usage && { usage: { ...this.#usage } }),
      ...how,
    }
  }
}

/** A sub-agent's call is one of a tool that the page does not know. */
function dynamic(agent: string | undefined): { dynamic?: true } {
  return agent === undefined ? {} : { dynamic: true }
}

/** The run was set back. */
function isRewind(event: StreamEvent): boolean {
  return event.type === 'gap' && event.reason === 'rewound'
}

/** What an event says, with the sub-agent that says it. */
function told(event: StreamEvent): object {
  const { agent } = event as { agent?: string }
  return { ...(agent !== undefined && { agent }), ...eventFacts(event) }
}

function reasonOf(stop: string | undefined): 'stop' | 'length' | 'content-filter' | 'other' {
  if (stop === 'length') return stop
  if (stop === 'content_filter') return 'content-filter'
  return (stop ?? 'stop') === 'stop' ? 'stop' : 'other'
}
