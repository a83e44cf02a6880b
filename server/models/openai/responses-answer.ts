import { isMap } from '../../../protocol/map.ts'
import type { Usage } from '../../../protocol/receipt.ts'
import type { ServerSentEvent } from '../../streams/sse.ts'
import type { ModelEvent, StopReason } from '../model.ts'
import { filtered, malformedLines, truncated, unknownEnd } from '../provider/answer-end.ts'
import { argsOf, callIdIn, countIn, objectIn, objectsIn, parsedWire, textIn, type Wire } from '../provider/json.ts'
import { PartOrder } from '../provider/part-order.ts'
import { Refusal, refusalIn } from '../provider/refusal.ts'

/** The name under which a message keeps the order of its parts. */
export const RESPONSES = 'responses'

/** An item of the output while its pieces arrive. */
type Item = {
  item: Wire
  /** The id under which the arguments of a call are shown. */
  readonly call: string
  /** The arguments of a call, or the length of a text. */
  args: string
  length: number
}

/** Its last events repeat the whole answer, with its encrypted reasoning. */
const MAX_LINE_BYTES = 8_388_608

/** One answer in the form of OpenAI's Responses: it takes the events, and provides those of the model. */
export class ResponsesAnswer {
  readonly maxLineBytes: number = MAX_LINE_BYTES
  readonly #items = new Map<unknown, Item>()
  #usage: Usage | undefined
  #end: StopReason | undefined

  /** Whether the last event has come: nothing of the answer follows. */
  get isDone(): boolean {
    return this.#end !== undefined
  }

  /** Takes an event. @throws Refusal for an error of the provider, MillraceError for an answer that it filtered. */
  *take({ event, data }: ServerSentEvent): Generator<ModelEvent> {
    if (data === '[DONE]') return
    const wire = parsedWire(data)
    if (wire === undefined) {
      if (event === 'error') throw new Refusal(undefined, data)
      yield malformedLines(1)
      return
    }
    const { type, output_index: index } = wire
    const response = objectIn(wire['response'])
    switch (type) {
      case 'response.output_item.added':
        this.#begin(index, objectIn(wire['item']))
        break
      case 'response.output_item.done':
        this.#complete(index, objectIn(wire['item']))
        break
      case 'response.output_text.delta':
      case 'response.refusal.delta':
        yield* this.#text(index, textIn(wire['delta']))
        break
      case 'response.reasoning_summary_text.delta':
      case 'response.reasoning_text.delta':
        if (textIn(wire['delta']) !== '') yield { type: 'thinking', text: textIn(wire['delta']) }
        break
      case 'response.function_call_arguments.delta':
        yield* this.#args(index, textIn(wire['delta']))
        break
      case 'response.completed':
      case 'response.incomplete':
      case 'response.failed':
        yield* this.#finish(response)
        break
      default: {
        // An answer that was not streamed is one response.
        if (wire['object'] === 'response') yield* this.#takeWhole(wire)
        else if (type === 'error' || !textIn(type).startsWith('response.')) {
          const refusal = refusalIn(wire)
          if (refusal) throw refusal
        }
      }
    }
  }

  /**
   * Yields what follows the last event: the calls, the usage and `finish`.
   * @throws MillraceError for an answer that is not whole
   */
  *end(): Generator<ModelEvent> {
    let stop = this.#end
    if (stop === undefined) throw truncated()
    const order = new PartOrder()
    for (const { item, call, args, length } of this.#items.values()) {
      const { type, name, arguments: whole } = item
      if (type === 'message') order.text(length)
      else if (type === 'reasoning' && textIn(item['encrypted_content']) !== '') order.opaque(reasoningOf(item))
      // In an answer that was cut off by length, the arguments of a call are incomplete.
      else if (type === 'function_call' && stop !== 'length') {
        stop = 'tool_calls'
        order.call()
        yield { type: 'tool.call', call, name: textIn(name), args: argsOf(textIn(whole) || args) }
      }
    }
    yield* this.usage()
    const extra = order.extra(RESPONSES)
    yield { type: 'finish', stop, ...(extra && { extra }) }
  }

  /** Yields the usage that the provider has stated. It counts also if the answer is not whole. */
  *usage(): Generator<ModelEvent> {
    if (this.#usage) yield { type: 'usage', ...this.#usage }
    this.#usage = undefined
  }

  #begin(index: unknown, item: Wire): Item {
    const begun: Item = { item, call: callIdIn(item['call_id']), args: '', length: 0 }
    this.#items.set(index, begun)
    return begun
  }

  #complete(index: unknown, item: Wire): void {
    const begun = this.#items.get(index) ?? this.#begin(index, item)
    begun.item = item
  }

  *#text(index: unknown, text: string): Generator<ModelEvent> {
    if (text === '') return
    const item = this.#items.get(index) ?? this.#begin(index, { type: 'message' })
    item.length += text.length
    yield { type: 'text', text }
  }

  *#args(index: unknown, text: string): Generator<ModelEvent> {
    const item = this.#items.get(index)
    if (item === undefined || text === '') return
    item.args += text
    yield { type: 'tool.args', call: item.call, name: textIn(item.item['name']), text }
  }

  /** Takes the response as it is at the end. */
  *#finish(response: Wire): Generator<ModelEvent> {
    if (isMap(response['usage'])) this.#usage = usageOf(response['usage'])
    const refusal = refusalIn({ error: response['error'] })
    if (refusal) throw refusal
    const { status } = response
    const reason = textIn(objectIn(response['incomplete_details'])['reason'])
    if (reason === 'content_filter') throw filtered()
    if (status === 'failed' || status === 'cancelled') throw new Refusal(undefined, textIn(status))
    this.#end = status === 'completed' ? 'stop' : reason === 'max_output_tokens' ? 'length' : 'other'
    if (this.#end === 'other')
      yield { type: 'warning', code: 'unknown_finish', message: unknownEnd(reason || textIn(status)) }
  }

  *#takeWhole(response: Wire): Generator<ModelEvent> {
    for (const [index, item] of objectsIn(response['output']).entries()) {
      this.#complete(index, item)
      for (const part of objectsIn(item['summary'])) yield { type: 'thinking', text: textIn(part['text']) }
      for (const part of item['type'] === 'message' ? objectsIn(item['content']) : [])
        yield* this.#text(index, textIn(part['text']) || textIn(part['refusal']))
    }
    yield* this.#finish(response)
  }
}

/** What the provider wants back of its reasoning: it keeps nothing itself. */
function reasoningOf({ id, summary, encrypted_content: content }: Wire): Wire {
  return { type: 'reasoning', id, summary: objectsIn(summary), encrypted_content: content }
}

function usageOf(usage: Wire): Usage {
  const cached = countIn(objectIn(usage['input_tokens_details'])['cached_tokens'])
  const thinking = countIn(objectIn(usage['output_tokens_details'])['reasoning_tokens'])
  return {
    input: countIn(usage['input_tokens']),
    output: countIn(usage['output_tokens']),
    ...(cached > 0 && { cached }),
    ...(thinking > 0 && { thinking }),
  }
}
