/** One tool call, as far as a reader of another protocol has got it. */
export type Call = {
  readonly id: string
  name: string
  /** The sub-agent that made it. Undefined: the run itself. */
  readonly agent: string | undefined
  /**
   * `writing`: its arguments are being written. `running`: they are complete. `approval`: a person has to approve it.
   * `client`: a page runs it. `done`: it has its result.
   */
  state: 'writing' | 'running' | 'approval' | 'client' | 'done'
  /** The id of the request for its approval, once there was one. */
  approval?: string
  /** An earlier answer was over while its arguments were being written: they begin again. */
  isCut?: boolean
}

/** A call that an earlier answer has told the reader about. */
export type KnownCall = Readonly<Call>

/** The tool calls and questions of a run and of its sub-agents, and whether all work of it waits for a person or a page. */
export class OpenCalls {
  readonly #calls = new Map<string, Call>()
  /** The sub-agents that are at work, with the agent that started each. */
  readonly #agents: Map<string, string | undefined>

  /** The ids of the questions, about no call, that wait for their answer. */
  readonly questions: Set<string> = new Set()

  constructor(known: Iterable<KnownCall> = [], agents: ReadonlyMap<string, string | undefined> = new Map()) {
    for (const call of known) this.#calls.set(call.id, { ...call })
    this.#agents = new Map(agents)
  }

  /** The same calls and sub-agents, as they are now. */
  copy(): OpenCalls {
    return new OpenCalls(this.#calls.values(), this.#agents)
  }

  /** The call of that id, if it is known. */
  find(id: string): Call | undefined {
    return this.#calls.get(id)
  }

  /** A call is new. */
  add(id: string, name: string, agent: string | undefined, state: Call['state']): Call {
    const call: Call = { id, name, agent, state }
    this.#calls.set(id, call)
    return call
  }

  /** The calls without a result. */
  get open(): Call[] {
    return [...this.#calls.values()].filter(({ state }) => state !== 'done')
  }

  agentBegan(agent: string, parent: string | undefined): void {
    this.#agents.set(agent, parent)
  }

  agentEnded(agent: string): void {
    this.#agents.delete(agent)
  }

  /**
   * Whether something waits for a person or a page, and no call is at work. The call of an agent that waits for its
   * sub-agents is not at work.
   */
  get isWaiting(): boolean {
    const busy = new Set(this.#agents.values())
    const open = this.open
    const waits = ({ state }: Call): boolean => state === 'approval' || state === 'client'
    return (this.questions.size > 0 || open.some(waits)) && open.every((call) => waits(call) || busy.has(call.agent))
  }
}
