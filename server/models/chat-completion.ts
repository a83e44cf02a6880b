import { isMap } from '../../protocol/map.ts'
import type { Usage } from '../../protocol/receipt.ts'
import type { ServerSentEvent } from '../streams/sse.ts'
import { CallsInProgress } from './calls-in-progress.ts'
import type { ModelEvent } from './model.ts'
import { type AnswerEnd, answerEnd, malformedLines, stopReasonOf, unknownEnd } from './provider/answer-end.ts'
import { contentIn, countIn, objectIn, objectsIn, parsedWire, textIn, type Wire } from './provider/json.ts'
import { Refusal, refusalIn } from './provider/refusal.ts'

/** The fields in which compatible servers send thinking, and want it back with a call. */
export const THINKING_FIELDS = ['reasoning_content', 'reasoning'] as const
export type ThinkingField = (typeof THINKING_FIELDS)[number]

/** One answer in the form of OpenAI's chat completions: it takes the chunks, and provides the events of the model. */
export class ChatCompletion {
  readonly #calls = new CallsInProgress()
  #usage: Usage | undefined
  /** The provider's word for the end, once it has given one. */
  #word = ''
  #thinkingField: ThinkingField | undefined
  #isDone = false

  /** Whether `[DONE]` has come: nothing of the answer follows. */
  get isDone(): boolean {
    return this.#isDone
  }

  /** Takes a chunk. @throws Refusal for an error of the provider. */
  *take({ event, data }: ServerSentEvent): Generator<ModelEvent> {
    if (data === '[DONE]') {
      this.#isDone = true
      return
    }
    const chunk = parsedWire(data)
    if (event === 'error')
      throw (chunk && refusalIn({ error: chunk['error'] ?? chunk })) ?? new Refusal(undefined, data)
    if (chunk === undefined) {
      yield malformedLines(1)
      return
    }
    const choice = objectIn(objectsIn(chunk['choices'])[0])
    const usage = chunk['usage'] ?? choice['usage']
    if (isMap(usage)) this.#usage = usageOf(usage)
    const refusal = refusalIn(chunk) ?? refusalIn({ error: choice['error'] })
    if (refusal) throw refusal
    yield* this.#takeDelta(objectIn(choice['delta'] ?? choice['message']))
    this.#word = textIn(choice['finish_reason']) || this.#word
  }

  *#takeDelta(delta: Wire): Generator<ModelEvent> {
    const field = THINKING_FIELDS.find((name) => textIn(delta[name]) !== '')
    if (field) {
      this.#thinkingField = field
      yield { type: 'thinking', text: textIn(delta[field]) }
    }
    const content = contentIn(delta['content'])
    yield* content.length > 0 ? content : contentIn(delta['refusal'])
    const calls = callsIn(delta)
    if (calls.length > 0) yield* this.#calls.take(calls)
  }

  /**
   * Yields what follows the last chunk: the calls, the usage and `finish`.
   * @throws MillraceError or Refusal for an answer that is not whole
   */
  *end(): Generator<ModelEvent> {
    let stop = stopReasonOf(this.#word === '' ? this.#endWithoutWord() : answerEnd(this.#word), this.#word)
    if (stop === 'other') yield { type: 'warning', code: 'unknown_finish', message: unknownEnd(this.#word) }
    // In an answer that was cut off by length, the arguments of a call are incomplete.
    if (stop !== 'length') {
      for (const call of this.#calls.complete()) {
        stop = 'tool_calls'
        yield call
      }
    }
    yield* this.usage()
    const extra = this.#thinkingField && { thinking: this.#thinkingField }
    yield { type: 'finish', stop, ...(extra && { extra }) }
  }

  /** Yields the usage that the provider has stated. It counts also if the answer is not whole. */
  *usage(): Generator<ModelEvent> {
    if (this.#usage) yield { type: 'usage', ...this.#usage }
  }

  /** Some servers give no word. With both other marks of an end, the answer is whole. */
  #endWithoutWord(): AnswerEnd | undefined {
    return this.#isDone && this.#usage ? 'stop' : undefined
  }
}

/** The pieces of tool calls in a delta, also in the older form of one unnumbered call. */
function callsIn(delta: Wire): Wire[] {
  const legacy = delta['function_call']
  return [...objectsIn(delta['tool_calls']), ...(isMap(legacy) ? [{ index: 'function_call', function: legacy }] : [])]
}

function usageOf(usage: Wire): Usage {
  const cached =
    countIn(objectIn(usage['prompt_tokens_details'])['cached_tokens']) || countIn(usage['prompt_cache_hit_tokens'])
  const thinking = countIn(objectIn(usage['completion_tokens_details'])['reasoning_tokens'])
  return {
    input: countIn(usage['prompt_tokens']),
    output: countIn(usage['completion_tokens']),
    ...(cached > 0 && { cached }),
    ...(thinking > 0 && { thinking }),
  }
}
