import type { RunEnd, StreamEvent } from '../protocol/events.ts'
import { isMap } from '../protocol/map.ts'
import { addUsage, type Usage } from '../protocol/receipt.ts'
import type { AgUiEvent, AgUiInterrupt } from './ag-ui-event.ts'
import { OpenMessages, tagOf } from './ag-ui-open.ts'
import { eventFacts } from './event-facts.ts'
import type { Format } from './format.ts'
import { type Call, OpenCalls } from './open-calls.ts'
import { jsonOf, plainOf, textOf } from './plain-text.ts'

/** The options of `AgUiEvents`. */
export type AgUiOptions = {
  /** The id of the thread, as AG-UI names it. */
  readonly thread: string
  /** The id of the run, as AG-UI names it. */
  readonly run: string
  /** The id of the run, as millrace names it. Ids of messages begin with it. */
  readonly source: string
  /** The version of AG-UI: 0 for 0.0.x, which knows no cancelled run. */
  readonly version: 0 | 1
  /** Earlier messages of the thread, in AG-UI's form. Default: none are sent. */
  readonly history?: readonly unknown[] | undefined
  /**
   * The requests, and the calls of the page's tools, that are answered with this run of AG-UI. It begins behind the place
   * where they were asked; its source begins at item 1. Default: all of the source is new.
   */
  readonly answered?: ReadonlySet<string> | undefined
  /**
   * The number of the last item that was logged before its reader came. What waited earlier has been answered if it waits
   * no longer at that item. Default: all is new.
   */
  readonly past?: number | undefined
}

type EventOf<Type extends StreamEvent['type']> = Extract<StreamEvent, { type: Type }>

/**
 * A run as the events of AG-UI. What AG-UI has no event for becomes `CUSTOM`: `run`, `data` under its own name,
 * `progress`, `tool.progress`, `retry`, `warning`, `notice`, `gap` and `end`, which has the receipt of a cancel.
 *
 * The run of AG-UI ends where all work waits for a person or for a tool of the page: with an interrupt for each question.
 * A cancelled run ends with the outcome `cancelled` in version 1, and with the error `cancelled` before.
 */
export class AgUiEvents implements Format<AgUiEvent> {
  isOver = false
  readonly #options: AgUiOptions
  readonly #calls = new OpenCalls()
  readonly #messages: OpenMessages
  /** The questions that wait, by the id of their request. */
  readonly #questions = new Map<string, AgUiInterrupt>()
  /** The sub-agents that have begun. One that is over cannot begin again. */
  readonly #agents = new Map<
    string,
    { readonly name: string; readonly parent: string | undefined; isAtWork: boolean }
  >()
  /** Those that this run of AG-UI has begun. */
  readonly #told = new Set<string>()
  #events: AgUiEvent[] = []
  #usage: Usage | undefined
  readonly #past: number
  /** What comes was told in an earlier run of AG-UI. */
  #isKnown: boolean

  constructor(options: AgUiOptions) {
    this.#options = options
    this.#past = options.past ?? 0
    this.#isKnown = (options.answered?.size ?? 0) > 0
    this.#messages = new OpenMessages(options.source, (event) => this.#events.push(event))
  }

  begin(): AgUiEvent[] {
    const { thread, run, source, history } = this.#options
    return [
      { type: 'RUN_STARTED', threadId: thread, runId: run },
      ...snapshot(history),
      { type: 'CUSTOM', name: 'run', value: { run: source } },
    ]
  }

  take(event: StreamEvent): AgUiEvent[] {
    if (this.isOver) return []
    this.#take(event)
    if (!this.isOver && this.#calls.isWaiting && (this.#isKnown || event.seq >= this.#past)) this.#wait()
    return this.#taken()
  }

  end(how: RunEnd): AgUiEvent[] {
    if (this.isOver) return []
    if (this.#isKnown) this.#beginHere()
    const { outcome, receipt, error, result, usage } = how
    if (usage) this.#usage = usage
    this.#messages.closeAll()
    const told = { outcome, ...(receipt && { receipt }) }
    this.#events.push({ type: 'CUSTOM', name: 'end', value: told })
    // AG-UI has no result of null.
    const hasResult = result !== undefined && result !== null
    if (outcome === 'done') this.#finish({ type: 'success' }, hasResult ? plainOf(result) : undefined)
    else if (outcome === 'cancelled' && this.#options.version === 1) this.#finish({ type: 'cancelled' })
    else if (outcome === 'cancelled') this.#fail('cancelled', textOf(receipt?.note ?? 'the run was cancelled'))
    else this.#fail(textOf(error?.code ?? 'internal'), textOf(error?.message ?? 'the run failed'))
    return this.#taken()
  }

  #taken(): AgUiEvent[] {
    const events = this.#isKnown ? [] : this.#events
    this.#events = []
    return events
  }

  #take(event: StreamEvent): void {
    const { agent } = event as { agent?: string }
    switch (event.type) {
      case 'token':
        return this.#messages.text(agent, textOf(event.text), event.seq)
      case 'thinking':
        return this.#messages.thinking(agent, textOf(event.text), event.seq)
      case 'iteration':
        this.#messages.closeTurn(agent)
        return this.#messages.beginStep(agent, `turn ${textOf(event.n)}`)
      case 'iteration.end':
        this.#messages.closeTurn(agent)
        return this.#messages.endStep(agent, `turn ${textOf(event.n)}`)
      case 'step': {
        const { id, name, status } = event
        const step = `${textOf(name)} (${textOf(id)})`
        if (status === 'start') this.#messages.beginStep(agent, step)
        else this.#messages.endStep(agent, step)
        return this.#custom('step', eventFacts(event), agent)
      }
      case 'tool.args':
      case 'tool.call':
      case 'tool.result':
        return this.#called(event)
      case 'request':
        return this.#asked(event)
      case 'agent.start':
        return this.#began(event)
      case 'agent.end':
        return this.#ended(event)
      case 'usage':
        this.#usage ??= { input: 0, output: 0 }
        return addUsage(this.#usage, event)
      case 'data':
        this.#given(event)
        return this.#custom(textOf(event.name), event.value, agent)
      case 'gap':
        if (event.reason === 'rewound') return this.#lost()
        return this.#custom('gap', eventFacts(event))
      case 'tool.progress':
      case 'progress':
      case 'retry':
      case 'warning':
      case 'notice':
        return this.#custom(event.type, eventFacts(event), agent)
    }
  }

  #called(event: EventOf<'tool.args' | 'tool.call' | 'tool.result'>): void {
    const { agent, seq } = event
    const id = textOf(event.call)
    const known = this.#calls.find(id)
    if (event.type === 'tool.args') {
      if (known && known.state !== 'writing') return
      if (!known) this.#begin(id, textOf(event.name ?? 'tool'), agent, seq)
      this.#messages.args(id, textOf(event.text))
      return
    }
    if (event.type === 'tool.call') {
      if (known && known.state !== 'writing') return
      const call = known ?? this.#begin(id, textOf(event.name), agent, seq)
      if (!known) this.#messages.args(id, jsonOf(event.args ?? {}))
      this.#messages.endCall(id)
      call.state = event.client ? 'client' : 'running'
      return
    }
    const call = known ?? this.#begin(id, 'tool', agent, seq)
    if (call.state === 'done') return
    this.#messages.endCall(id)
    call.state = 'done'
    if (call.approval !== undefined) this.#questions.delete(call.approval)
    const { outcome, output, error } = event
    const content = outcome === 'ok' ? textOf(output ?? '') : `Error: ${textOf(error ?? outcome)}`
    this.#messages.result(call, content)
  }

  #begin(id: string, name: string, agent: string | undefined, seq: number): Call {
    const call = this.#calls.add(id, name, agent, 'writing')
    this.#messages.beginCall(call, seq)
    return call
  }

  #asked({ id, kind, prompt, schema, call: about, expiresAt, agent, seq }: EventOf<'request'>): void {
    const request = textOf(id)
    if (this.#questions.has(request)) return
    if (about === undefined) this.#calls.questions.add(request)
    else {
      const call = this.#calls.find(textOf(about)) ?? this.#begin(textOf(about), 'tool', agent, seq)
      if (call.state === 'done') return
      this.#messages.endCall(call.id)
      call.state = 'approval'
      call.approval = request
    }
    this.#questions.set(request, {
      id: request,
      reason: textOf(kind),
      ...(prompt !== undefined && { message: textOf(prompt) }),
      ...(about !== undefined && { toolCallId: textOf(about) }),
      ...(isMap(schema) && { responseSchema: schema }),
      ...(Number.isFinite(expiresAt) && { expiresAt: new Date(expiresAt as number).toISOString() }),
      ...tagOf(agent),
    })
  }

  /** A call is given to a page. */
  #given({ name, value }: EventOf<'data'>): void {
    if (name !== 'client.tool') return
    const call = this.#calls.find(textOf((Object(value) as { call?: unknown }).call))
    // A page that declares its tools once more is given its calls again, also one whose output it has just sent.
    const isAnswered = !this.#isKnown && call && this.#options.answered?.has(call.id)
    if (call?.state === 'running' && !isAnswered) call.state = 'client'
  }

  #began({ agent, name, parent }: EventOf<'agent.start'>): void {
    if (agent === undefined) return
    const id = textOf(agent)
    this.#calls.agentBegan(agent, parent)
    if (this.#agents.has(id)) return
    this.#agents.set(id, {
      name: textOf(name),
      parent: parent === undefined ? undefined : textOf(parent),
      isAtWork: true,
    })
    this.#tellAgent(id)
  }

  /** A sub-agent begins, or was at work when this run of AG-UI began. */
  #tellAgent(id: string): void {
    const { name, parent } = this.#agents.get(id)!
    const isKnown = parent !== undefined && parent !== id && this.#told.has(parent)
    this.#told.add(id)
    const under = isKnown ? { parentSubagentRunId: parent } : {}
    this.#events.push({ type: 'SUBAGENT_STARTED', subagentRunId: id, name, ...under })
  }

  #ended({ agent, outcome, receipt }: EventOf<'agent.end'>): void {
    if (agent === undefined) return
    const subagentRunId = textOf(agent)
    this.#calls.agentEnded(agent)
    this.#messages.closeAgent(agent)
    const known = this.#agents.get(subagentRunId)
    if (!known?.isAtWork) return
    known.isAtWork = false
    if (outcome === 'ok') this.#events.push({ type: 'SUBAGENT_FINISHED', subagentRunId, outcome: { type: 'success' } })
    else {
      const message = textOf(receipt?.note ?? `the agent ended as ${textOf(outcome)}`)
      this.#events.push({ type: 'SUBAGENT_ERROR', subagentRunId, message, code: textOf(outcome) })
    }
  }

  /** All work waits. What waits here is answered with this run of AG-UI, or ends it. */
  #wait(): void {
    if (this.#isKnown) {
      if (this.#passOver()) this.#beginHere()
      return
    }
    const interrupts = [...this.#questions.values()]
    this.#messages.closeAll()
    if (interrupts.length > 0) return this.#finish({ type: 'interrupt', interrupts })
    const pendingToolCallIds = this.#calls.open.filter(({ state }) => state === 'client').map(({ id }) => id)
    this.#finish({ type: 'success', ...(this.#options.version === 1 && { pendingToolCallIds }) })
  }

  /**
   * An earlier run of AG-UI ended here, and all that waits has been answered since: a client answers all of it together.
   * Returns whether it is answered with this run of AG-UI.
   */
  #passOver(): boolean {
    const { answered = new Set<string>() } = this.#options
    const waiting = this.#calls.open.filter(({ state }) => state === 'client' || state === 'approval')
    const isAnswered = [...this.#questions.keys(), ...waiting.map(({ id }) => id)].some((id) => answered.has(id))
    for (const call of waiting) call.state = 'running'
    this.#questions.clear()
    this.#calls.questions.clear()
    return isAnswered
  }

  /** What came up to here was told in an earlier run of AG-UI, which has closed everything. */
  #beginHere(): void {
    this.#messages.closeAll()
    this.#isKnown = false
    this.#events = []
    this.#told.clear()
    for (const [id, { isAtWork }] of this.#agents) if (isAtWork) this.#tellAgent(id)
  }

  #finish(outcome: Extract<AgUiEvent, { type: 'RUN_FINISHED' }>['outcome'], result?: unknown): void {
    this.isOver = true
    for (const [subagentRunId, { isAtWork }] of this.#agents) {
      if (!isAtWork) continue
      if (outcome.type === 'interrupt') {
        const interruptIds = outcome.interrupts.filter((one) => one.subagentRunId === subagentRunId).map(({ id }) => id)
        this.#events.push({ type: 'SUBAGENT_FINISHED', subagentRunId, outcome: { type: 'suspended', interruptIds } })
      } else if (outcome.type === 'success')
        this.#events.push({ type: 'SUBAGENT_FINISHED', subagentRunId, outcome: { type: 'success' } })
      else
        this.#events.push({
          type: 'SUBAGENT_ERROR',
          subagentRunId,
          message: 'the run was cancelled',
          code: 'cancelled',
        })
    }
    const { thread, run } = this.#options
    this.#events.push({
      type: 'RUN_FINISHED',
      threadId: thread,
      runId: run,
      ...(result !== undefined && { result }),
      outcome,
      ...this.#spent(),
    })
  }

  #fail(code: string, message: string): void {
    this.isOver = true
    this.#events.push({ type: 'RUN_ERROR', message, code, ...this.#spent() })
  }

  /** What was sent no longer counts, and cannot be taken back. */
  #lost(): void {
    if (this.#isKnown) this.#beginHere()
    this.#messages.closeAll()
    this.#fail('rewound', 'the run was set back to an earlier state: connect again')
  }

  #spent(): Pick<Extract<AgUiEvent, { type: 'RUN_ERROR' }>, 'usage'> {
    if (!this.#usage) return {}
    const { input, output, cached, thinking } = this.#usage
    const more = {
      ...(cached !== undefined && { cachedInputTokens: cached }),
      ...(thinking !== undefined && { reasoningTokens: thinking }),
    }
    return { usage: [{ inputTokens: input, outputTokens: output, totalTokens: input + output, ...more }] }
  }

  #custom(name: string, value: unknown, agent?: string): void {
    this.#events.push({ type: 'CUSTOM', name, value: plainOf(value), ...tagOf(agent) })
  }
}

/** The events for a client that connects to a thread of which no run goes on. */
export function noRunEvents(threadId: string, runId: string, history?: readonly unknown[]): AgUiEvent[] {
  return [
    { type: 'RUN_STARTED', threadId, runId },
    ...snapshot(history),
    { type: 'RUN_FINISHED', threadId, runId, outcome: { type: 'success' } },
  ]
}

function snapshot(history: readonly unknown[] | undefined): AgUiEvent[] {
  return history ? [{ type: 'MESSAGES_SNAPSHOT', messages: [...history] }] : []
}
