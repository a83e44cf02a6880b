import { MillraceError } from '../../../protocol/errors.ts'
import { isMap } from '../../../protocol/map.ts'
import type { Usage } from '../../../protocol/receipt.ts'
import type { ServerSentEvent } from '../../streams/sse.ts'
import type { Extra, ModelEvent } from '../model.ts'
import { answerEnd, malformedLines, stopReasonOf, unknownEnd } from '../provider/answer-end.ts'
import { argsOf, callIdIn, countIn, objectIn, objectsIn, parsedWire, textIn, type Wire } from '../provider/json.ts'
import { refusalIn } from '../provider/refusal.ts'

/** The name under which a message and a call keep what goes back. */
export const GEMINI = 'gemini'

/** One answer in the form of Gemini's `streamGenerateContent`: it takes the chunks, and provides the events of the model. */
export class GenerateContentAnswer {
  readonly #nameOf: (sent: string) => string
  #usage: Usage | undefined
  #word = ''
  #calls = 0
  /** The signature of the latest text. */
  #signature = ''

  /** @param nameOf returns the name of a tool by the name under which it was sent. */
  constructor(nameOf: (sent: string) => string) {
    this.#nameOf = nameOf
  }

  /** Whether nothing of the answer follows. Some servers state the usage behind the end. */
  get isDone(): boolean {
    return this.#word !== '' && this.#usage !== undefined
  }

  /** Takes a chunk. @throws Refusal for an error of the provider, MillraceError for a prompt that it refuses. */
  *take({ data }: ServerSentEvent): Generator<ModelEvent> {
    // The mark that stands behind an answer that was not streamed.
    if (data === '[DONE]') return
    const chunk = parsedWire(data)
    if (chunk === undefined) {
      yield malformedLines(1)
      return
    }
    const refusal = refusalIn(chunk)
    if (refusal) throw refusal
    if (isMap(chunk['usageMetadata'])) this.#usage = usageOf(chunk['usageMetadata'])
    if (textIn(objectIn(chunk['promptFeedback'])['blockReason']) !== '')
      throw new MillraceError(
        'content_filtered',
        "the provider's content filter refused the request: change the prompt",
      )
    const candidate = objectIn(objectsIn(chunk['candidates'])[0])
    for (const part of objectsIn(objectIn(candidate['content'])['parts'])) yield* this.#takePart(part)
    this.#word = textIn(candidate['finishReason']) || this.#word
  }

  *#takePart({ text, thought, thoughtSignature, functionCall }: Wire): Generator<ModelEvent> {
    const signature = textIn(thoughtSignature)
    if (isMap(functionCall)) {
      const { id, name, args } = functionCall
      const kept = { ...(textIn(id) !== '' && { id }), ...(signature !== '' && { thoughtSignature: signature }) }
      this.#calls++
      yield {
        type: 'tool.call',
        call: callIdIn(id),
        name: this.#nameOf(textIn(name)),
        args: argsOf(args),
        ...(Object.keys(kept).length > 0 && { extra: { [GEMINI]: kept } }),
      }
      return
    }
    if (thought !== true && signature !== '') this.#signature = signature
    if (textIn(text) !== '') yield { type: thought === true ? 'thinking' : 'text', text: textIn(text) }
  }

  /**
   * Yields what follows the last chunk: the usage and `finish`.
   * @throws MillraceError or Refusal for an answer that is not whole
   */
  *end(): Generator<ModelEvent> {
    const end = stopReasonOf(this.#word === '' ? undefined : answerEnd(this.#word), this.#word)
    if (end === 'other') yield { type: 'warning', code: 'unknown_finish', message: unknownEnd(this.#word) }
    yield* this.usage()
    const extra: Extra | undefined =
      this.#signature === '' ? undefined : { [GEMINI]: { thoughtSignature: this.#signature } }
    yield { type: 'finish', stop: end === 'stop' && this.#calls > 0 ? 'tool_calls' : end, ...(extra && { extra }) }
  }

  /** Yields the usage that the provider has stated. It counts also if the answer is not whole. */
  *usage(): Generator<ModelEvent> {
    // Before the end, the counts are those of the answer so far.
    if (this.#usage && this.#word !== '') yield { type: 'usage', ...this.#usage }
    this.#usage = undefined
  }
}

function usageOf(usage: Wire): Usage {
  const cached = countIn(usage['cachedContentTokenCount'])
  const thinking = countIn(usage['thoughtsTokenCount'])
  return {
    input: countIn(usage['promptTokenCount']) + countIn(usage['toolUsePromptTokenCount']),
    output: countIn(usage['candidatesTokenCount']) + thinking,
    ...(cached > 0 && { cached }),
    ...(thinking > 0 && { thinking }),
  }
}
