import type { Run, StreamEvent } from '../../client-sdk/node.ts'
import { Voices } from './agent-lines.ts'
import { eventWords } from './event-words.ts'
import type { Output } from './output.ts'

/** One reader's way through a run: what is shown of each event, and the figures at the end. */
export class Reading {
  readonly #output: Output
  readonly #shows: boolean
  readonly #startedAt = performance.now()
  #tokens = 0
  #firstAt = 0
  #lastAt = 0
  readonly #voices = new Voices()

  /** @param shows Whether text is written as it comes. */
  constructor(output: Output, shows: boolean) {
    this.#output = output
    this.#shows = shows
  }

  /** Shows one event. Resolves when there is room for the next. */
  async show(event: StreamEvent): Promise<void> {
    switch (event.type) {
      case 'token':
        return this.#showText(event.text, event.agent)
      case 'thinking':
        this.#output.aside(event.text)
        return
      case 'tool.args':
        // The call itself follows, whole.
        return
      case 'data':
        // The answer of an actor without `stream`; it is the run's result.
        if (event.name === 'result') return
        break
      default:
    }
    if (event.type === 'agent.start' && event.agent !== undefined) this.#voices.begin(event.agent, event.name)
    if (event.type === 'agent.end' && event.agent !== undefined) await this.#answerLines(this.#voices.end(event.agent))
    const words = eventWords(event)
    if (words === undefined) return
    const speaker = 'agent' in event && event.agent !== undefined ? `${this.#voices.nameOf(event.agent)} ` : ''
    this.#output.note(`${speaker}${words}`)
  }

  /** Shows how it ended. */
  async finish(run: Run): Promise<void> {
    const output = this.#output
    await this.#answerLines(this.#voices.endAll())
    const end = await run.end
    const hasResult = 'result' in end
    if (!this.#shows) await output.answer(resultText(await run.result, output.isTerminal))
    else if (hasResult && this.#tokens === 0) await output.answer(resultText(end.result, output.isTerminal))
    await output.endAnswer()
    if (hasResult && this.#shows && this.#tokens > 0) output.note(`result: ${resultText(end.result, false)}`)
    const used = end.usage ? `; the model took ${end.usage.input} tokens and gave ${end.usage.output}` : ''
    output.note(`${this.#figures()}${used}`)
  }

  async #showText(text: string, agent: string | undefined): Promise<void> {
    this.#lastAt = performance.now()
    if (this.#tokens++ === 0) this.#firstAt = this.#lastAt
    if (agent !== undefined) await this.#answerLines(this.#voices.say(agent, text))
    else if (this.#shows) await this.#output.answer(text)
    if (!this.#shows || !this.#output.isTerminal) this.#output.busy(`${this.#tokens} tokens`)
  }

  /** Shows whole lines of agents, below what the run itself may have begun to say. */
  async #answerLines(lines: string): Promise<void> {
    if (!this.#shows || lines === '') return
    await this.#output.endAnswer()
    await this.#output.answer(lines)
  }

  #figures(): string {
    const tookS = (performance.now() - this.#startedAt) / 1_000
    if (this.#tokens === 0) return `done in ${tookS.toFixed(1)} s`
    const tokens = `${this.#tokens} ${this.#tokens === 1 ? 'token' : 'tokens'} in ${tookS.toFixed(1)} s`
    const spanS = (this.#lastAt - this.#firstAt) / 1_000
    const rate = spanS >= 0.1 ? `, ${Math.round((this.#tokens - 1) / spanS)} a second` : ''
    return `${tokens}${rate}, the first after ${Math.round(this.#firstAt - this.#startedAt)} ms`
  }
}

function resultText(result: unknown, pretty: boolean): string {
  return typeof result === 'string' ? result : (JSON.stringify(result, null, pretty ? 2 : undefined) ?? '')
}
