/** One tool call, as far as a reader of another protocol has got it. */
export type Call = {
  readonly id: string
  name: string
  /** The sub-agent that made it. Undefined: the run itself. */
  readonly agent: string | undefined
  /**
   * `writing`: its arguments are being written. `running`: they are complete. `approval`: a person has to approve it.
   * `client`: a page runs it.
   */
  state: 'writing' | 'running' | 'approval' | 'client'
  /** The id of the request for its approval, once there was one. */
  approval?: string
}

/** A call that an earlier answer has told the reader about. `done`: it has its result. */
export type KnownCall = Readonly<Omit<Call, 'state'>> & { readonly state: Call['state'] | 'done' }

/** The tool calls and questions of a run and of its sub-agents, and whether all work of it waits for a person or a page. */
export class OpenCalls {
  readonly #open = new Map<string, Call>()
  /** The calls that have their result, each with the number of the item that gave it. */
  readonly #done: Map<string, number>
  /** The sub-agents that are at work, with the agent that started each. */
  readonly #agents: Map<string, string | undefined>

  /** The ids of the questions, about no call, that wait for their answer. */
  readonly questions: Set<string> = new Set()

  constructor(
    known: Iterable<KnownCall> = [],
    agents: ReadonlyMap<string, string | undefined> = new Map(),
    done: Map<string, number> = new Map(),
  ) {
    this.#agents = new Map(agents)
    this.#done = done
    for (const call of known) {
      this.#open.set(call.id, { ...call } as Call)
      if (call.state === 'done') this.finish(call.id, -1)
    }
  }

  /** The same open calls and sub-agents, as they are now. */
  copy(): OpenCalls {
    return new OpenCalls(this.#open.values(), this.#agents, this.#done)
  }

  /** The call of that id, if it is known and has no result. */
  find(id: string): Call | undefined {
    return this.#open.get(id)
  }

  /** A call is new. */
  add(id: string, name: string, agent: string | undefined, state: Call['state']): Call {
    const call: Call = { id, name, agent, state }
    this.#open.set(id, call)
    return call
  }

  /** The calls without a result. */
  get open(): Call[] {
    return [...this.#open.values()]
  }

  /** A call has its result. */
  finish(id: string, seq: number): void {
    this.#open.delete(id)
    this.#done.set(id, seq)
  }

  /** Whether a call has its result. */
  isDone(id: string): boolean {
    return this.#done.has(id)
  }

  /** The results from an item on count no more. */
  undo(from: number): void {
    for (const [id, seq] of this.#done) if (seq >= from) this.#done.delete(id)
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
    const { open, questions } = this
    const waits = ({ state }: Call): boolean => state === 'approval' || state === 'client'
    if (questions.size === 0 && !open.some(waits)) return false
    const busy = new Set(this.#agents.values())
    return open.every((call) => waits(call) || busy.has(call.agent))
  }
}
