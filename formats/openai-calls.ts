import type { StreamEvent } from '../protocol/events.ts'
import { OpenCalls } from './open-calls.ts'
import { jsonOf, textOf } from './plain-text.ts'

/** A call that was given to the client of an answer. */
export type GivenCall = {
  /** The id by which the client names it: that of the run, and that of the call. */
  readonly id: string
  readonly name: string
  /** JSON. */
  readonly args: string
}

/**
 * The tool calls of a run whose client speaks OpenAI's API. Of all calls it sees only those that it runs itself: it would
 * run every call that it sees. Its answer is over when all work of the run waits for them.
 */
export class OpenAiCalls {
  readonly #run: string
  readonly #client: string
  readonly #calls = new OpenCalls()
  #given = 0

  /**
   * @param run the id of the run.
   * @param client the name under which the client's tools are declared.
   */
  constructor(run: string, client: string) {
    this.#run = run
    this.#client = client
  }

  /** Whether the run waits for calls that this answer has given to the client. */
  get isWaiting(): boolean {
    return this.#given > 0 && this.#calls.isWaiting
  }

  /** Takes an event. Returns the call that it gives to the client, if it is that. */
  take(event: StreamEvent): GivenCall | undefined {
    const { agent } = event as { agent?: string }
    switch (event.type) {
      case 'tool.call':
        this.#calls.add(textOf(event.call), textOf(event.name), agent, 'running')
        return undefined
      case 'tool.result': {
        const known = this.#calls.find(textOf(event.call))
        if (known) known.state = 'done'
        return undefined
      }
      case 'agent.start':
        if (agent !== undefined) this.#calls.agentBegan(agent, event.parent)
        return undefined
      case 'agent.end':
        if (agent !== undefined) this.#calls.agentEnded(agent)
        return undefined
      case 'data':
        return event.name === 'client.tool' ? this.#give(event.value) : undefined
      default:
        return undefined
    }
  }

  #give(value: unknown): GivenCall | undefined {
    const { to, call, name, args } = Object(value) as { [name in 'to' | 'call' | 'name' | 'args']?: unknown }
    if (to !== this.#client) return undefined
    const id = textOf(call)
    const known = this.#calls.find(id) ?? this.#calls.add(id, textOf(name), undefined, 'client')
    known.state = 'client'
    this.#given++
    return { id: `${this.#run}.${id}`, name: textOf(name), args: jsonOf(args ?? {}) }
  }
}

/** Takes the id of a call apart. Undefined for one that no answer of ours has given. */
export function readCallId(id: string): { readonly run: string; readonly call: string } | undefined {
  const [, run, call] = /^(r_[\w-]+)\.(.+)$/s.exec(id) ?? []
  return run === undefined || call === undefined ? undefined : { run, call }
}
