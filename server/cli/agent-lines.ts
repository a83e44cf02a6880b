/** Maximum length of a line, in UTF-16 units, without the agent's name before it. */
const LINE_CHARACTERS = 72

/** Turns the text of several agents into whole lines, each with the name of its agent. */
export class AgentLines {
  readonly #names = new Map<string, string>()
  /** The text of each agent after its last whole line. */
  readonly #pending = new Map<string, string>()

  /** Adds an agent. */
  begin(agent: string, name: string): void {
    this.#names.set(agent, name)
  }

  /** Adds text of an agent. Returns the lines that are now whole. */
  add(agent: string, text: string): string {
    let pending = (this.#pending.get(agent) ?? '') + text
    let lines = ''
    for (let end = lineEnd(pending); end > 0; end = lineEnd(pending)) {
      lines += this.#line(agent, pending.slice(0, end))
      pending = pending.slice(end).replace(/^[ \n]/, '')
    }
    this.#pending.set(agent, pending)
    return lines
  }

  /** Ends the text of an agent. Returns its last line, if there is one. */
  end(agent: string): string {
    const rest = this.#pending.get(agent) ?? ''
    this.#pending.delete(agent)
    return rest === '' ? '' : this.#line(agent, rest)
  }

  /** Ends the text of all agents. Returns their last lines. */
  endAll(): string {
    return [...this.#pending.keys()].map((agent) => this.end(agent)).join('')
  }

  /** The name of an agent; its id if it has none. */
  nameOf(agent: string): string {
    return this.#names.get(agent) ?? agent
  }

  #line(agent: string, line: string): string {
    return `${this.nameOf(agent)}: ${line}\n`
  }
}

/** The index where the first line of a text ends: at a newline, or at a space in a long line. 0 if no line is whole. */
function lineEnd(text: string): number {
  const end = text.indexOf('\n')
  if (end > 0 && end <= LINE_CHARACTERS) return end
  if (text.length <= LINE_CHARACTERS) return 0
  const space = text.lastIndexOf(' ', LINE_CHARACTERS)
  return space > 0 ? space : LINE_CHARACTERS
}
