import type { RunEnd, StreamEvent } from '../protocol/events.ts'
import { addUsage, type Usage } from '../protocol/receipt.ts'
import type { Format } from './format.ts'
import { OpenAiCalls } from './openai-calls.ts'
import { answerOf } from './openai-chat.ts'
import { textOf } from './plain-text.ts'

/** How far a response is. */
export type ResponseStatus = 'in_progress' | 'completed' | 'failed' | 'cancelled' | 'incomplete'

/** One item of the output of a response. */
export type ResponseItem =
  | {
      id: string
      type: 'message'
      role: 'assistant'
      status: 'in_progress' | 'completed' | 'incomplete'
      content: { type: 'output_text'; text: string; annotations: never[] }[]
    }
  | {
      id: string
      type: 'reasoning'
      status: 'in_progress' | 'completed' | 'incomplete'
      summary: { type: 'summary_text'; text: string }[]
    }
  | {
      id: string
      type: 'function_call'
      status: 'in_progress' | 'completed'
      call_id: string
      name: string
      arguments: string
    }

/** A response of OpenAI's Responses API. */
export type ResponseObject = {
  id: string
  object: 'response'
  created_at: number
  status: ResponseStatus
  background: boolean
  error: { code: string; message: string } | null
  incomplete_details: { reason: 'max_output_tokens' | 'content_filter' } | null
  instructions: null
  metadata: { [name: string]: string } | null
  model: string
  output: ResponseItem[]
  output_text: string
  parallel_tool_calls: boolean
  previous_response_id: string | null
  temperature: null
  tool_choice: 'auto'
  tools: never[]
  top_p: null
  usage: {
    input_tokens: number
    input_tokens_details: { cached_tokens: number }
    output_tokens: number
    output_tokens_details: { reasoning_tokens: number }
    total_tokens: number
  } | null
}

/** An event of a streamed response. Further members are those of OpenAI's API for its type. */
export type ResponseEvent = {
  type: string
  sequence_number: number
  response?: ResponseObject
  [name: string]: unknown
}

/** The options of `ResponseEvents`. */
export type ResponseEventOptions = {
  /** The id of the response: that of the run, or of a later part of it. */
  readonly id: string
  /** The id of the run. */
  readonly run: string
  /** The name of the actor, which is that of the model. */
  readonly model: string
  /** In seconds since 1970. */
  readonly created: number
  readonly background?: boolean | undefined
  readonly metadata?: { [name: string]: string } | null | undefined
  /** The response that this one continues. */
  readonly previous?: string | null | undefined
  /** The name under which the client's tools are declared. Default: it has none. */
  readonly client?: string | undefined
}

/**
 * How many events of a response may have the number of one item of the log: the number of an event is that of its item
 * times this, and its place among those of the item. So it does not depend on where a reader began, and `starting_after`
 * names an item of the log.
 */
const EVENTS_PER_ITEM = 16

type TextItem = Extract<ResponseItem, { type: 'message' | 'reasoning' }>

/**
 * A run as the events of OpenAI's Responses API. Texts are messages, thinking is reasoning with a summary, and the calls
 * of tools that the client runs are function calls; the response is complete then, and the run waits. A cancelled run is
 * `cancelled`, and never completed.
 */
export class ResponseEvents implements Format<ResponseEvent> {
  isOver = false
  /** The response as it is now. */
  readonly response: ResponseObject
  readonly #calls: OpenAiCalls
  readonly #run: string
  #usage: Usage | undefined
  #open: { readonly item: TextItem; readonly at: number } | undefined
  #pieces: ResponseEvent[] = []
  #seq = 0

  constructor({ id, run, model, created, background, metadata, previous, client }: ResponseEventOptions) {
    this.#run = run
    this.#calls = new OpenAiCalls(run, client ?? '')
    this.response = {
      id,
      object: 'response',
      created_at: created,
      status: 'in_progress',
      background: background ?? false,
      error: null,
      incomplete_details: null,
      instructions: null,
      metadata: metadata ?? {},
      model,
      output: [],
      output_text: '',
      parallel_tool_calls: true,
      previous_response_id: previous ?? null,
      temperature: null,
      tool_choice: 'auto',
      tools: [],
      top_p: null,
      usage: null,
    }
  }

  begin(): ResponseEvent[] {
    this.#say('response.created', { response: this.#snapshot() })
    this.#say('response.in_progress', { response: this.#snapshot() })
    return this.#said()
  }

  take(event: StreamEvent): ResponseEvent[] {
    if (this.isOver) return []
    this.#seq = event.seq
    const { agent } = event as { agent?: string }
    if (event.type === 'gap') {
      if (event.reason !== 'policy') this.#fail('truncated', 'a part of the answer is no longer kept: ask again')
      return this.#said()
    }
    if (event.type === 'usage') addUsage((this.#usage ??= { input: 0, output: 0 }), event)
    if (event.type === 'token' && agent === undefined) this.#text('message', textOf(event.text))
    if (event.type === 'thinking' && agent === undefined) this.#text('reasoning', textOf(event.text))
    const call = this.#calls.take(event)
    if (call) this.#call(call)
    if (this.#calls.isWaiting) this.#finish('completed')
    return this.#said()
  }

  end(how: RunEnd): ResponseEvent[] {
    if (this.isOver) return []
    this.#seq = how.seq
    if (how.usage) this.#usage = how.usage
    const { outcome, result, stop, error } = how
    if (outcome === 'error') this.#fail(textOf(error?.code), textOf(error?.message))
    else if (outcome === 'cancelled') this.#finish('cancelled')
    else {
      if (this.response.output_text === '' && result !== undefined) this.#text('message', answerOf(result))
      const isCut = stop === 'length' || stop === 'content_filter'
      if (isCut)
        this.response.incomplete_details = { reason: stop === 'length' ? 'max_output_tokens' : 'content_filter' }
      this.#finish(isCut ? 'incomplete' : 'completed')
    }
    return this.#said()
  }

  #text(type: TextItem['type'], delta: string): void {
    if (this.#open?.item.type !== type) this.#openItem(type)
    const { item, at } = this.#open!
    const place = { item_id: item.id, output_index: at }
    if (item.type === 'message') {
      item.content[0]!.text += delta
      this.response.output_text += delta
      this.#say('response.output_text.delta', { ...place, content_index: 0, delta, logprobs: [] })
    } else {
      item.summary[0]!.text += delta
      this.#say('response.reasoning_summary_text.delta', { ...place, summary_index: 0, delta })
    }
  }

  #openItem(type: TextItem['type']): void {
    this.#closeItem('completed')
    const at = this.response.output.length
    const id = `${type === 'message' ? 'msg' : 'rs'}_${this.#run}_${this.#seq}`
    const status = 'in_progress'
    const item: TextItem =
      type === 'message' ? { id, type, role: 'assistant', status, content: [] } : { id, type, status, summary: [] }
    this.response.output.push(item)
    this.#open = { item, at }
    this.#say('response.output_item.added', { output_index: at, item: copy(item) })
    const place = { item_id: id, output_index: at }
    if (item.type === 'message') {
      item.content.push({ type: 'output_text', text: '', annotations: [] })
      this.#say('response.content_part.added', { ...place, content_index: 0, part: copy(item.content[0]) })
    } else {
      item.summary.push({ type: 'summary_text', text: '' })
      this.#say('response.reasoning_summary_part.added', { ...place, summary_index: 0, part: copy(item.summary[0]) })
    }
  }

  #closeItem(status: 'completed' | 'incomplete'): void {
    if (!this.#open) return
    const { item, at } = this.#open
    this.#open = undefined
    item.status = status
    const place = { item_id: item.id, output_index: at }
    if (item.type === 'message') {
      const part = item.content[0]!
      this.#say('response.output_text.done', { ...place, content_index: 0, text: part.text, logprobs: [] })
      this.#say('response.content_part.done', { ...place, content_index: 0, part: copy(part) })
    } else {
      const part = item.summary[0]!
      this.#say('response.reasoning_summary_text.done', { ...place, summary_index: 0, text: part.text })
      this.#say('response.reasoning_summary_part.done', { ...place, summary_index: 0, part: copy(part) })
    }
    this.#say('response.output_item.done', { output_index: at, item: copy(item) })
  }

  #call({ id, name, args }: { id: string; name: string; args: string }): void {
    this.#closeItem('completed')
    const at = this.response.output.length
    const item: ResponseItem = {
      id: `fc_${this.#run}_${this.#seq}`,
      type: 'function_call',
      status: 'in_progress',
      call_id: id,
      name,
      arguments: '',
    }
    this.response.output.push(item)
    this.#say('response.output_item.added', { output_index: at, item: copy(item) })
    const place = { item_id: item.id, output_index: at }
    item.arguments = args
    item.status = 'completed'
    this.#say('response.function_call_arguments.delta', { ...place, delta: args })
    this.#say('response.function_call_arguments.done', { ...place, name, arguments: args })
    this.#say('response.output_item.done', { output_index: at, item: copy(item) })
  }

  #fail(code: string, message: string): void {
    this.response.error = { code, message }
    this.#finish('failed')
  }

  #finish(status: Exclude<ResponseStatus, 'in_progress'>): void {
    this.#closeItem(status === 'completed' ? 'completed' : 'incomplete')
    this.isOver = true
    this.response.status = status
    const { input, output, cached = 0, thinking = 0 } = this.#usage ?? { input: 0, output: 0 }
    this.response.usage = {
      input_tokens: input,
      input_tokens_details: { cached_tokens: cached },
      output_tokens: output,
      output_tokens_details: { reasoning_tokens: thinking },
      total_tokens: input + output,
    }
    // No event of the API says that a response was cancelled. Its status does.
    const type = status === 'completed' || status === 'failed' ? status : 'incomplete'
    this.#say(`response.${type}`, { response: this.#snapshot() })
  }

  #snapshot(): ResponseObject {
    return copy(this.response)
  }

  #say(type: string, fields: { [name: string]: unknown }): void {
    this.#pieces.push({ type, ...fields, sequence_number: this.#seq * EVENTS_PER_ITEM + this.#pieces.length })
  }

  #said(): ResponseEvent[] {
    const pieces = this.#pieces
    this.#pieces = []
    return pieces
  }
}

function copy<T>(value: T): T {
  return structuredClone(value)
}
