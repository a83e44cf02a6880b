import type { RunEvent } from '../../protocol/events.ts'
import type { RunTools } from '../actors/tool.ts'
import type { Message, ModelEvent, StopReason, ToolCall } from '../models/model.ts'
import { isWellFormed } from '../text.ts'

/** Tool calls of one turn that are run. */
const MAX_CALLS = 32
const MAX_NAME_CHARACTERS = 128

/** What an agent yields: text, and what its model says beside it. */
export type TurnOutput = string | Exclude<RunEvent, { type: 'data' }>

type AssistantMessage = Extract<Message, { role: 'assistant' }>

/** One answer of a model as it comes: what is said of it, and what is kept of it. */
export class Turn {
  readonly #tools: Pick<RunTools, 'claimId'>
  readonly #provider: string
  /** The ids of calls whose arguments are still being written, by the id the model gave. */
  readonly #open = new Map<string, string>()
  #content = ''
  #thinking = ''
  #calls: ToolCall[] = []
  #started = 0
  #dropped = 0
  stop: StopReason = 'stop'

  constructor(tools: Pick<RunTools, 'claimId'>, provider: string) {
    this.#tools = tools
    this.#provider = provider
  }

  /** The calls the model wants made. */
  get calls(): readonly ToolCall[] {
    return this.#calls
  }

  /** Calls beyond the most that one turn may make. They are as if the model had not made them. */
  get dropped(): number {
    return this.#dropped
  }

  /** Takes in what the model said. Returns what is to be said of it. */
  take(event: ModelEvent): TurnOutput | undefined {
    switch (event.type) {
      case 'text':
        this.#content += event.text
        return event.text
      case 'thinking':
        this.#thinking += event.text
        return event
      case 'tool.args': {
        const call = this.#idOf(event.call)
        if (call === undefined) return undefined
        return { type: 'tool.args', call, name: nameOf(event.name), text: event.text }
      }
      case 'tool.call': {
        const call = this.#idOf(event.call)
        this.#open.delete(event.call)
        if (call === undefined) this.#dropped++
        else this.#calls.push({ call, name: event.name, args: event.args })
        return undefined
      }
      case 'retry':
        // The answer begins anew.
        this.#content = this.#thinking = ''
        this.#calls = []
        return { ...event, provider: this.#provider }
      case 'usage':
      case 'warning':
        return event
      case 'finish':
        this.stop = event.stop
        return undefined
    }
  }

  /** What is kept of the answer so far, as a message. Calls belong to it once they are `made`. */
  message(made: boolean): AssistantMessage {
    return {
      role: 'assistant',
      content: this.#content,
      ...(this.#thinking !== '' && { thinking: this.#thinking }),
      ...(made && this.#calls.length > 0 && { calls: [...this.#calls] }),
    }
  }

  /** The id of a call of this turn; undefined for one too many. */
  #idOf(given: string): string | undefined {
    const open = this.#open.get(given)
    if (open !== undefined) return open
    if (this.#started >= MAX_CALLS) return undefined
    this.#started++
    const id = this.#tools.claimId(given)
    this.#open.set(given, id)
    return id
  }
}

function nameOf(given: string): string {
  return isWellFormed(given) ? given.slice(0, MAX_NAME_CHARACTERS) : 'unknown'
}
