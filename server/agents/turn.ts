import type { RunEvent } from '../../protocol/events.ts'
import { addUsage, type Usage } from '../../protocol/receipt.ts'
import type { RunTools } from '../actors/tool.ts'
import type { Extra, Message, ModelEvent, StopReason, ToolCall } from '../models/model.ts'
import { isWellFormed } from '../text.ts'

/** Maximum number of tool calls that run in one turn. */
const MAX_CALLS = 32
const MAX_NAME_CHARACTERS = 128

/** The items that an agent yields: text, and the other events of its model. */
export type TurnOutput = string | Exclude<RunEvent, { type: 'data' }>

type AssistantMessage = Extract<Message, { role: 'assistant' }>

/** One turn of an agent: it takes the model's events, and provides the agent's output and the message to keep. */
export class Turn {
  readonly #tools: Pick<RunTools, 'claimId' | 'specs'>
  readonly #provider: string
  /** The ids of calls whose arguments are not complete, by the id that the model gave. */
  readonly #open = new Map<string, string>()
  #content = ''
  #thinking = ''
  readonly #calls: ToolCall[] = []
  #started = 0
  #dropped = 0
  #extra: Extra | undefined
  stop: StopReason = 'stop'
  /** What the provider states that this turn cost. */
  readonly usage: Usage = { input: 0, output: 0 }

  constructor(tools: Pick<RunTools, 'claimId' | 'specs'>, provider: string) {
    this.#tools = tools
    this.#provider = provider
  }

  /** The text of the answer so far. */
  get text(): string {
    return this.#content
  }

  /** The complete tool calls of the model. */
  get calls(): readonly ToolCall[] {
    return this.#calls
  }

  /** The number of calls beyond the maximum of one turn. They are ignored and not kept. */
  get dropped(): number {
    return this.#dropped
  }

  /** Takes an event of the model. Returns what the agent yields for it, if anything. */
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
        return { type: 'tool.args', call, name: this.#nameOf(event.name), text: event.text }
      }
      case 'tool.call': {
        const call = this.#idOf(event.call)
        this.#open.delete(event.call)
        if (call === undefined) this.#dropped++
        else this.#calls.push(this.#callOf(call, event))
        return undefined
      }
      case 'retry':
        return { ...event, provider: this.#provider }
      case 'usage':
        addUsage(this.usage, event)
        return event
      case 'warning':
        return event
      case 'finish':
        this.stop = event.stop
        this.#extra = event.extra
        return undefined
    }
  }

  /** The answer so far, as a message to keep. It has the calls only if they were `made`. */
  message(made: boolean): AssistantMessage {
    return {
      role: 'assistant',
      content: this.#content,
      ...(this.#thinking !== '' && { thinking: this.#thinking }),
      ...(made && this.#calls.length > 0 && { calls: [...this.#calls] }),
      ...(this.#extra && { extra: this.#extra }),
    }
  }

  #callOf(call: string, { name, args, extra }: Extract<ModelEvent, { type: 'tool.call' }>): ToolCall {
    return { call, name: this.#toolOf(name), args, ...(extra && { extra }) }
  }

  /** The name of the tool that is meant: some models write it with a namespace and a number. */
  #toolOf(given: string): string {
    const isTool = (name: string | undefined): boolean => this.#tools.specs.some((spec) => spec.name === name)
    const bare = NAMESPACED.exec(given)?.[1]
    return !isTool(given) && bare !== undefined && isTool(bare) ? bare : given
  }

  /** The name to show while the arguments arrive. */
  #nameOf(given: string): string {
    return isWellFormed(given) ? this.#toolOf(given).slice(0, MAX_NAME_CHARACTERS) : 'unknown'
  }

  /** The id of a call of this turn; undefined for a call beyond the maximum. */
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

/** The name within a form such as `functions.weather:0`, which some models write. */
const NAMESPACED = /^(?:functions\.)?(.+?)(?::\d+)?$/s
