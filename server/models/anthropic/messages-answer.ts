import { isMap } from '../../../protocol/map.ts'
import type { Usage } from '../../../protocol/receipt.ts'
import type { ServerSentEvent } from '../../streams/sse.ts'
import type { ModelEvent, StopReason } from '../model.ts'
import { answerEnd, malformedLines, stopReasonOf, unknownEnd } from '../provider/answer-end.ts'
import { argsOf, callIdIn, countIn, objectIn, objectsIn, parsedWire, textIn, type Wire } from '../provider/json.ts'
import { PartOrder } from '../provider/part-order.ts'
import { Refusal, refusalIn } from '../provider/refusal.ts'

/** The name under which a message keeps the order of its parts. */
export const ANTHROPIC = 'anthropic'

/** A content block while its pieces arrive. */
type Block = {
  /** As it began. Its texts are in the other members. */
  readonly start: Wire
  text: string
  signature: string
  /** The JSON of a tool's input. */
  json: string
  /** The id under which the arguments of a call are shown. */
  readonly call: string
}

/** One answer in the form of Anthropic's messages: it takes the events, and provides those of the model. */
export class MessagesAnswer {
  readonly #blocks = new Map<unknown, Block>()
  #usage: Usage | undefined
  /** Only the counts at the end are those of the whole answer. */
  #isCounted = false
  #word = ''
  #isDone = false

  /** Whether `message_stop` has come: nothing of the answer follows. */
  get isDone(): boolean {
    return this.#isDone
  }

  /** Takes an event. @throws Refusal for an error of the provider. */
  *take({ event, data }: ServerSentEvent): Generator<ModelEvent> {
    // The mark that stands behind an answer that was not streamed.
    if (data === '[DONE]') return
    const wire = parsedWire(data)
    if (wire === undefined) {
      if (event === 'error') throw new Refusal(undefined, data)
      yield malformedLines(1)
      return
    }
    const refusal = refusalIn(wire)
    if (refusal) throw refusal
    switch (wire['type']) {
      case 'message_start':
        this.#count(objectIn(objectIn(wire['message'])['usage']))
        break
      case 'message':
        yield* this.#takeWhole(wire)
        break
      case 'content_block_start':
        yield* this.#begin(wire['index'], objectIn(wire['content_block']))
        break
      case 'content_block_delta':
        yield* this.#takeDelta(wire['index'], objectIn(wire['delta']))
        break
      case 'message_delta':
        this.#count(objectIn(wire['usage']))
        this.#isCounted = true
        this.#word = textIn(objectIn(wire['delta'])['stop_reason']) || this.#word
        break
      case 'message_stop':
        this.#isDone = true
        break
      default:
    }
  }

  /**
   * Yields what follows the last event: the calls, the usage and `finish`. An answer that is paused has no `finish`.
   * @throws MillraceError or Refusal for an answer that is not whole
   */
  *end(): Generator<ModelEvent> {
    const known = this.#isDone ? answerEnd(this.#word || 'end_turn') : undefined
    if (known === 'paused') {
      yield* this.usage()
      return
    }
    const end = stopReasonOf(known, this.#word)
    if (end === 'other') yield { type: 'warning', code: 'unknown_finish', message: unknownEnd(this.#word) }
    let stop: StopReason = end
    const order = new PartOrder()
    for (const block of this.#blocks.values()) {
      const { type } = block.start
      if (type === 'text') order.text(block.text.length)
      else if (type === 'thinking' && block.signature !== '') order.opaque(thinkingOf(block))
      else if (type === 'redacted_thinking') order.opaque(block.start)
      // In an answer that was cut off by length, the input of a call is incomplete.
      else if (type === 'tool_use' && stop !== 'length') {
        stop = 'tool_calls'
        order.call()
        yield { type: 'tool.call', call: block.call, name: textIn(block.start['name']), args: inputOf(block) }
      }
    }
    yield* this.usage()
    const extra = order.extra(ANTHROPIC)
    yield { type: 'finish', stop, ...(extra && { extra }) }
  }

  /** Yields the usage that the provider has stated. It counts also if the answer is not whole. */
  *usage(): Generator<ModelEvent> {
    if (this.#usage && this.#isCounted) yield { type: 'usage', ...this.#usage }
    this.#isCounted = false
  }

  /** The answer so far, as the provider wants it back to go on: undefined unless it is paused. */
  get paused(): Wire[] | undefined {
    if (!this.#isDone || answerEnd(this.#word) !== 'paused') return undefined
    return [...this.#blocks.values()].flatMap((block): Wire[] => {
      switch (block.start['type']) {
        case 'text':
          return block.text === '' ? [] : [{ ...block.start, text: block.text }]
        case 'thinking':
          return [thinkingOf(block)]
        default:
          return [block.json === '' ? block.start : { ...block.start, input: inputOf(block) }]
      }
    })
  }

  *#begin(index: unknown, start: Wire): Generator<ModelEvent> {
    const block: Block = {
      start,
      text: '',
      signature: textIn(start['signature']),
      json: '',
      call: callIdIn(start['id']),
    }
    this.#blocks.set(index, block)
    yield* this.#say(block, 'text', textIn(start['text']))
    yield* this.#say(block, 'thinking', textIn(start['thinking']))
  }

  *#takeDelta(index: unknown, delta: Wire): Generator<ModelEvent> {
    const block = this.#blocks.get(index)
    if (block === undefined) return
    switch (delta['type']) {
      case 'text_delta':
        yield* this.#say(block, 'text', textIn(delta['text']))
        break
      case 'thinking_delta':
        yield* this.#say(block, 'thinking', textIn(delta['thinking']))
        break
      case 'signature_delta':
        block.signature += textIn(delta['signature'])
        break
      case 'input_json_delta': {
        const text = textIn(delta['partial_json'])
        block.json += text
        if (text !== '' && block.start['type'] === 'tool_use')
          yield { type: 'tool.args', call: block.call, name: textIn(block.start['name']), text }
        break
      }
      default:
    }
  }

  *#say(block: Block, type: 'text' | 'thinking', text: string): Generator<ModelEvent> {
    if (text === '' || block.start['type'] !== type) return
    block.text += text
    yield { type, text }
  }

  /** An answer that was not streamed, as one message. */
  *#takeWhole(message: Wire): Generator<ModelEvent> {
    this.#count(objectIn(message['usage']))
    this.#isCounted = true
    this.#word = textIn(message['stop_reason'])
    for (const [index, block] of objectsIn(message['content']).entries()) yield* this.#begin(index, block)
    this.#isDone = true
  }

  /** The counts of each event are totals of the answer so far. */
  #count(usage: Wire): void {
    if (Object.keys(usage).length === 0) return
    const before = this.#usage
    const read = countIn(usage['cache_read_input_tokens'])
    const input = countIn(usage['input_tokens']) + countIn(usage['cache_creation_input_tokens']) + read
    const thinking = countIn(objectIn(usage['output_tokens_details'])['thinking_tokens'])
    const cached = read || before?.cached
    this.#usage = {
      input: input || (before?.input ?? 0),
      output: countIn(usage['output_tokens']) || (before?.output ?? 0),
      ...(cached !== undefined && cached > 0 && { cached }),
      ...(thinking > 0 && { thinking }),
    }
  }
}

function thinkingOf({ text, signature }: Block): Wire {
  return { type: 'thinking', thinking: text, signature }
}

function inputOf({ start, json }: Block): unknown {
  return json === '' && isMap(start['input']) ? start['input'] : argsOf(json)
}
