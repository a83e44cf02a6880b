import type { Run, StreamEvent } from '../../client-sdk/node.ts'
import { AgentLines } from './agent-lines.ts'
import { eventWords } from './event-words.ts'
import type { Output } from './output.ts'

/** Prints the events of one run, and its figures at the end. */
export class Reading {
  readonly #output: Output
  readonly #shows: boolean
  readonly #startedAt = performance.now()
  #tokens = 0
  #firstAt = 0
  #lastAt = 0
  readonly #lines = new AgentLines()

  /** @param shows Whether text is printed as it arrives. */
  constructor(output: Output, shows: boolean) {
    this.#output = output
    this.#shows = shows
  }

  /** Prints one event. Resolves when stdout has room for the next. */
  async show(event: StreamEvent): Promise<void> {
    switch (event.type) {
      case 'token':
        return this.#showText(event.text, event.agent)
      case 'thinking':
        this.#output.aside(event.text)
        return
      case 'tool.args':
        // The complete call follows.
        return
      case 'data':
        // The answer of an actor without `stream`: `finish` prints it as the result.
        if (event.name === 'result') return
        break
      default:
    }
    if (event.type === 'agent.start' && event.agent !== undefined) this.#lines.begin(event.agent, event.name)
    if (event.type === 'agent.end' && event.agent !== undefined) await this.#answerLines(this.#lines.end(event.agent))
    const words = eventWords(event)
    if (words === undefined) return
    const speaker = 'agent' in event && event.agent !== undefined ? `${this.#lines.nameOf(event.agent)} ` : ''
    this.#output.note(`${speaker}${words}`)
  }

  /** Prints the result, if it was not printed yet, and the figures. */
  async finish(run: Run): Promise<void> {
    const output = this.#output
    await this.#answerLines(this.#lines.endAll())
    const end = await run.end
    const hasResult = 'result' in end
    if (!this.#shows) await output.answer(resultText(await run.result, output.isTerminal))
    else if (hasResult && this.#tokens === 0) await output.answer(resultText(end.result, output.isTerminal))
    await output.endAnswer()
    if (hasResult && this.#shows && this.#tokens > 0) output.note(`result: ${resultText(end.result, false)}`)
    const used = end.usage ? `; model tokens: ${end.usage.input} in, ${end.usage.output} out` : ''
    output.note(`${this.#figures()}${used}`)
  }

  async #showText(text: string, agent: string | undefined): Promise<void> {
    this.#lastAt = performance.now()
    if (this.#tokens++ === 0) this.#firstAt = this.#lastAt
    if (agent !== undefined) await this.#answerLines(this.#lines.add(agent, text))
    else if (this.#shows) await this.#output.answer(text)
    if (!this.#shows || !this.#output.isTerminal) this.#output.busy(`${this.#tokens} tokens`)
  }

  /** Prints whole lines of agents, after an unfinished line of the run itself. */
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
    const rate = spanS >= 0.1 ? `, ${Math.round((this.#tokens - 1) / spanS)} per second` : ''
    return `${tokens}${rate}, first after ${Math.round(this.#firstAt - this.#startedAt)} ms`
  }
}

function resultText(result: unknown, pretty: boolean): string {
  return typeof result === 'string' ? result : (JSON.stringify(result, null, pretty ? 2 : undefined) ?? '')
}
