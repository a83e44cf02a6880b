import { EVENT, type LaneType, type PlainEvent, type TextEvent } from '../../protocol/events.ts'
import type { WireMap } from '../../protocol/frames.ts'
import { AgentTree } from './agent-tree.ts'

/** Writes the event that opens or closes a lane. */
export type WriteLane = (type: typeof EVENT.laneStart | typeof EVENT.laneEnd, data: WireMap) => void

const TYPES = { token: 'text', thinking: 'thinking', 'tool.args': 'tool_args' } as const satisfies {
  [type in TextEvent['type']]: LaneType
}

/**
 * The lanes of a run's text. `lane.start` describes a lane once; each text then carries only the lane's small number.
 * Plain text of no agent is lane 0, which is never declared. An agent's plain text closes its thinking, and vice versa.
 */
export class Lanes {
  readonly #write: WriteLane
  readonly #open = new Map<string, { readonly lane: number; readonly agent: string | undefined }>()
  readonly #agents = new AgentTree()
  #next: number
  /** The last text and its lane, on which the next one probably is as well. Undefined: lanes were opened or closed since. */
  #last: { readonly text: TextEvent; readonly lane: number } | undefined
  /** Whether no lane is open, so that plain text needs no lookup. */
  plain = true

  /**
   * @param first The number of the first lane.
   * @param agents Agents that have begun, each with the one that began it.
   */
  constructor(
    write: WriteLane,
    first: number,
    agents: readonly (readonly [agent: string, parent: string | null])[] = [],
  ) {
    this.#write = write
    this.#next = first
    for (const [agent, parent] of agents) this.#agents.begin(agent, parent ?? undefined)
  }

  /** The number of the next lane. */
  get next(): number {
    return this.#next
  }

  /** Returns the lane of a text. Declares the lane if it is new. */
  laneOf(event: TextEvent): number {
    if (this.#last && isSameLane(this.#last.text, event)) return this.#last.lane
    const lane = this.#find(event)
    this.#last = { text: { ...event, text: '' }, lane }
    return lane
  }

  #find(event: TextEvent): number {
    if (event.type === 'token') this.#close(identity('thinking', event))
    if (event.type === 'thinking') this.#close(identity('token', event))
    if (event.type === 'token' && event.agent === undefined) return 0
    const key = identity(event.type, event)
    const open = this.#open.get(key)
    if (open) return open.lane
    const lane = this.#next++
    this.#open.set(key, { lane, agent: event.agent })
    this.plain = false
    const data: WireMap = { lane, type: TYPES[event.type] }
    if (event.agent !== undefined) data['agent'] = event.agent
    if (event.type === 'tool.args') {
      data['call'] = event.call
      if (event.name !== undefined) data['name'] = event.name
    }
    this.#write(EVENT.laneStart, data)
    return lane
  }

  /** Closes the lanes that `event` completes. Call it before the event is written. */
  before(event: PlainEvent): void {
    if (event.type === 'agent.start' && event.agent !== undefined) this.#agents.begin(event.agent, event.parent)
    if (event.type === 'agent.end' && event.agent !== undefined) this.#closeAll(this.#agents.end(event.agent))
    if (event.type === 'tool.call') {
      this.#close(identity('thinking', event))
      this.#close(identity('tool.args', event))
    }
  }

  #closeAll(agents: readonly string[]): void {
    for (const [key, { agent }] of [...this.#open]) if (agent !== undefined && agents.includes(agent)) this.#close(key)
  }

  #close(key: string): void {
    const open = this.#open.get(key)
    if (!open) return
    this.#open.delete(key)
    this.#last = undefined
    this.plain = this.#open.size === 0
    this.#write(EVENT.laneEnd, { lane: open.lane })
  }
}

function isSameLane(one: TextEvent, other: TextEvent): boolean {
  if (one.type !== other.type || one.agent !== other.agent) return false
  return one.type !== 'tool.args' || one.call === (other as typeof one).call
}

/** No type has a space. */
function identity(type: TextEvent['type'], event: { agent?: string; call?: string }): string {
  if (type === 'tool.args') return JSON.stringify([type, event.agent, event.call])
  return event.agent === undefined ? type : `${type} ${event.agent}`
}
