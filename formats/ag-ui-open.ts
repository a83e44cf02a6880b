import type { AgUiEvent } from './ag-ui-event.ts'
import type { Call } from './open-calls.ts'
import { textOf } from './plain-text.ts'

/** What is open of one agent: at most one message, of text or of thinking, and its steps. */
type AgentTurn = {
  /** The message to which the calls of this turn belong. Undefined: none has begun. */
  id: string | undefined
  open: 'text' | 'thinking' | undefined
  /** The id of the open message. */
  openId: string
  readonly steps: Set<string>
}

/** The messages, calls and steps of an AG-UI stream that have begun and not ended: it opens and closes them in order. */
export class OpenMessages {
  readonly #source: string
  readonly #send: (event: AgUiEvent) => void
  /** By agent. Undefined is the run itself. */
  readonly #turns = new Map<string | undefined, AgentTurn>()
  /** The calls whose arguments are being written, with the agent that makes each. */
  readonly #calls = new Map<string, string | undefined>()
  /** How many results each call has had. */
  readonly #results = new Map<string, number>()

  /** @param source The id of the run, with which the ids of messages begin. */
  constructor(source: string, send: (event: AgUiEvent) => void) {
    this.#source = source
    this.#send = send
  }

  text(agent: string | undefined, delta: string, seq: number): void {
    const turn = this.#turn(agent)
    if (turn.open !== 'text') {
      this.#close(agent, turn)
      this.#open(turn, 'text', seq)
      turn.id = turn.openId
      this.#send({ type: 'TEXT_MESSAGE_START', messageId: turn.openId, role: 'assistant', ...tagOf(agent) })
    }
    if (delta !== '') this.#send({ type: 'TEXT_MESSAGE_CONTENT', messageId: turn.openId, delta, ...tagOf(agent) })
  }

  thinking(agent: string | undefined, delta: string, seq: number): void {
    const turn = this.#turn(agent)
    const tag = tagOf(agent)
    if (turn.open !== 'thinking') {
      this.#close(agent, turn)
      this.#open(turn, 'thinking', seq)
      this.#send({ type: 'REASONING_START', messageId: turn.openId, ...tag })
      this.#send({ type: 'REASONING_MESSAGE_START', messageId: turn.openId, role: 'reasoning', ...tag })
    }
    if (delta !== '') this.#send({ type: 'REASONING_MESSAGE_CONTENT', messageId: turn.openId, delta, ...tag })
  }

  beginCall({ id, name, agent }: Call, seq: number): void {
    const turn = this.#turn(agent)
    this.#close(agent, turn)
    turn.id ??= `${this.#source}-calls-${seq}`
    this.#calls.set(id, agent)
    const parentMessageId = turn.id
    this.#send({ type: 'TOOL_CALL_START', toolCallId: id, toolCallName: name, parentMessageId, ...tagOf(agent) })
  }

  args(id: string, delta: string): void {
    if (delta === '' || !this.#calls.has(id)) return
    this.#send({ type: 'TOOL_CALL_ARGS', toolCallId: id, delta, ...tagOf(this.#calls.get(id)) })
  }

  endCall(id: string): void {
    if (!this.#calls.has(id)) return
    const tag = tagOf(this.#calls.get(id))
    this.#calls.delete(id)
    this.#send({ type: 'TOOL_CALL_END', toolCallId: id, ...tag })
  }

  result({ id, agent }: Call, content: string): void {
    const n = (this.#results.get(id) ?? 0) + 1
    this.#results.set(id, n)
    const messageId = `${this.#source}-result-${id}-${n}`
    this.#send({ type: 'TOOL_CALL_RESULT', messageId, toolCallId: id, content, role: 'tool', ...tagOf(agent) })
  }

  beginStep(agent: string | undefined, stepName: string): void {
    const { steps } = this.#turn(agent)
    if (steps.has(stepName)) return
    steps.add(stepName)
    this.#send({ type: 'STEP_STARTED', stepName, ...tagOf(agent) })
  }

  endStep(agent: string | undefined, stepName: string): void {
    if (this.#turn(agent).steps.delete(stepName)) this.#send({ type: 'STEP_FINISHED', stepName, ...tagOf(agent) })
  }

  /** A turn of an agent is over: the next one has a message of its own. */
  closeTurn(agent: string | undefined): void {
    const turn = this.#turn(agent)
    this.#close(agent, turn)
    turn.id = undefined
  }

  /** An agent is over. */
  closeAgent(agent: string | undefined): void {
    for (const [call, maker] of [...this.#calls]) if (maker === agent) this.endCall(call)
    this.closeTurn(agent)
    for (const step of [...this.#turn(agent).steps]) this.endStep(agent, step)
  }

  closeAll(): void {
    for (const call of [...this.#calls.keys()]) this.endCall(call)
    for (const agent of [...this.#turns.keys()]) this.closeAgent(agent)
  }

  #turn(agent: string | undefined): AgentTurn {
    const turn = this.#turns.get(agent) ?? { id: undefined, open: undefined, openId: '', steps: new Set() }
    this.#turns.set(agent, turn)
    return turn
  }

  #open(turn: AgentTurn, kind: 'text' | 'thinking', seq: number): void {
    turn.open = kind
    turn.openId = `${this.#source}-${kind}-${seq}`
  }

  #close(agent: string | undefined, turn: AgentTurn): void {
    const { open, openId: messageId } = turn
    const tag = tagOf(agent)
    turn.open = undefined
    if (open === 'text') this.#send({ type: 'TEXT_MESSAGE_END', messageId, ...tag })
    if (open !== 'thinking') return
    this.#send({ type: 'REASONING_MESSAGE_END', messageId, ...tag })
    this.#send({ type: 'REASONING_END', messageId, ...tag })
  }
}

/** The sub-agent that an event belongs to, as the event says it. */
export function tagOf(agent: string | undefined): { subagentRunId?: string } {
  return agent === undefined ? {} : { subagentRunId: textOf(agent) }
}
