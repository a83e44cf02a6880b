import { isMap } from '../../../protocol/map.ts'
import type { Usage } from '../../../protocol/receipt.ts'
import type { ModelEvent } from '../model.ts'
import { answerEnd, stopReasonOf, truncated, unknownEnd } from '../provider/answer-end.ts'
import { argsOf, callIdIn, countIn, objectIn, objectsIn, textIn, type Wire } from '../provider/json.ts'
import { PartOrder } from '../provider/part-order.ts'

/** The name under which a message and a call keep what goes back. */
export const AI_SDK = 'aiSDK'

/** One answer in the form of the AI SDK's stream parts: it takes the parts, and provides the events of the model. */
export class StreamParts {
  readonly #provider: string
  readonly #order = new PartOrder()
  /** Names of the tools whose input arrives, by the id of the call. */
  readonly #names = new Map<string, string>()
  /** Reasoning that is not complete, by its id. */
  readonly #reasoning = new Map<unknown, { text: string; metadata: unknown }>()
  #usage: Usage | undefined
  #word: string | undefined
  #calls = 0

  /** @param provider the name of the provider, for warnings. */
  constructor(provider: string) {
    this.#provider = provider
  }

  /** Whether the last part has come: nothing of the answer follows. */
  get isDone(): boolean {
    return this.#word !== undefined
  }

  /** Takes a part. */
  *take(part: Wire): Generator<ModelEvent> {
    const { type, id } = part
    switch (type) {
      case 'stream-start':
        for (const warning of objectsIn(part['warnings'])) yield* this.#warn(warning)
        break
      case 'text-start':
      case 'text-end':
        // A signature of a text may come with its beginning or its end.
        if (isMap(part['providerMetadata'])) this.#order.opaque({ type, providerOptions: part['providerMetadata'] })
        break
      case 'text-delta':
        this.#order.text(textIn(part['delta']).length)
        if (textIn(part['delta']) !== '') yield { type: 'text', text: textIn(part['delta']) }
        break
      case 'reasoning-start':
      case 'reasoning-delta':
      case 'reasoning-end':
        yield* this.#reason(part)
        break
      case 'tool-input-start':
        if (part['providerExecuted'] !== true) this.#names.set(textIn(id), textIn(part['toolName']))
        break
      case 'tool-input-delta': {
        const name = this.#names.get(textIn(id))
        const text = textIn(part['delta'])
        if (name !== undefined && text !== '') yield { type: 'tool.args', call: textIn(id), name, text }
        break
      }
      case 'tool-call':
        // A tool that the provider has run itself is no call for us.
        if (part['providerExecuted'] !== true) yield this.#call(part)
        break
      case 'finish':
        this.#finish(part)
        break
      default:
    }
  }

  /**
   * Yields what follows the last part: the usage and `finish`.
   * @throws MillraceError or Refusal for an answer that is not whole
   */
  *end(): Generator<ModelEvent> {
    // Some providers make this end of a response that was cut.
    const isCut = this.#word === 'unknown' || this.#word === 'other' || this.#word === ''
    if (this.#word === undefined || (isCut && !this.#usage)) throw truncated()
    const end = stopReasonOf(answerEnd(this.#word.replaceAll('-', '_')), this.#word)
    if (end === 'other') yield { type: 'warning', code: 'unknown_finish', message: unknownEnd(this.#word) }
    yield* this.usage()
    const extra = this.#order.extra(AI_SDK)
    yield { type: 'finish', stop: end !== 'length' && this.#calls > 0 ? 'tool_calls' : end, ...(extra && { extra }) }
  }

  /** Yields the usage that the provider has stated. It counts also if the answer is not whole. */
  *usage(): Generator<ModelEvent> {
    if (this.#usage) yield { type: 'usage', ...this.#usage }
    this.#usage = undefined
  }

  *#reason({ type, id, delta, providerMetadata }: Wire): Generator<ModelEvent> {
    const reasoning = this.#reasoning.get(id) ?? { text: '', metadata: undefined }
    this.#reasoning.set(id, reasoning)
    if (isMap(providerMetadata)) reasoning.metadata = { ...objectIn(reasoning.metadata), ...providerMetadata }
    const text = type === 'reasoning-delta' ? textIn(delta) : ''
    reasoning.text += text
    if (text !== '') yield { type: 'thinking', text }
    if (type !== 'reasoning-end') return
    this.#reasoning.delete(id)
    const { metadata } = reasoning
    // Without it, a provider could not tell that the reasoning is its own.
    if (isMap(metadata)) this.#order.opaque({ type: 'reasoning', text: reasoning.text, providerOptions: metadata })
  }

  #call({ toolCallId, toolName, input, providerMetadata }: Wire): ModelEvent {
    this.#calls++
    this.#order.call()
    const extra = isMap(providerMetadata) && { extra: { [AI_SDK]: { providerOptions: providerMetadata } } }
    return { type: 'tool.call', call: callIdIn(toolCallId), name: textIn(toolName), args: argsOf(input), ...extra }
  }

  #finish({ usage, finishReason }: Wire): void {
    const counts = objectIn(usage)
    this.#word = isMap(finishReason) ? textIn(finishReason['unified']) : textIn(finishReason)
    const { inputTokens: input, outputTokens: output } = counts
    const [whole, made] = isMap(input) ? [input['total'], objectIn(output)['total']] : [input, output]
    if (typeof whole !== 'number' && typeof made !== 'number') return
    const cached = countIn(isMap(input) ? input['cacheRead'] : counts['cachedInputTokens'])
    const thinking = countIn(isMap(output) ? output['reasoning'] : counts['reasoningTokens'])
    this.#usage = {
      input: countIn(whole),
      output: countIn(made),
      ...(cached > 0 && { cached }),
      ...(thinking > 0 && { thinking }),
    }
  }

  /** A setting that the provider does not have, in the words of version 2 or 3. */
  *#warn({ type, setting, feature }: Wire): Generator<ModelEvent> {
    const name = textIn(setting) || textIn(feature)
    if (!textIn(type).startsWith('unsupported') || !/^[\w.-]{1,64}$/.test(name)) return
    const message = `${this.#provider} has no ${name}: the model answers without`
    yield { type: 'warning', code: 'unsupported_setting', message }
  }
}
