/** The longest line of one who speaks beside others, without the name before it. */
const LINE_CHARACTERS = 72

/** What several agents say at once, a line at a time: each with the name of who says it. */
export class Voices {
  readonly #names = new Map<string, string>()
  /** What each has said since its last whole line. */
  readonly #begun = new Map<string, string>()

  /** An agent begins to speak. */
  begin(agent: string, name: string): void {
    this.#names.set(agent, name)
  }

  /** An agent says something. Returns the lines that are whole now. */
  say(agent: string, text: string): string {
    let said = (this.#begun.get(agent) ?? '') + text
    let lines = ''
    for (let end = lineEnd(said); end > 0; end = lineEnd(said)) {
      lines += this.#line(agent, said.slice(0, end))
      said = said.slice(end).replace(/^[ \n]/, '')
    }
    this.#begun.set(agent, said)
    return lines
  }

  /** An agent says no more. Returns the rest of what it said. */
  end(agent: string): string {
    const rest = this.#begun.get(agent) ?? ''
    this.#begun.delete(agent)
    return rest === '' ? '' : this.#line(agent, rest)
  }

  /** Nobody says any more. Returns all that is left. */
  endAll(): string {
    return [...this.#begun.keys()].map((agent) => this.end(agent)).join('')
  }

  /** What an agent is called. */
  nameOf(agent: string): string {
    return this.#names.get(agent) ?? agent
  }

  #line(agent: string, line: string): string {
    return `${this.nameOf(agent)}: ${line}\n`
  }
}

/** Where the first line of a text ends: at its line end, else at a space once it is too long. 0: it is not whole yet. */
function lineEnd(text: string): number {
  const end = text.indexOf('\n')
  if (end > 0 && end <= LINE_CHARACTERS) return end
  if (text.length <= LINE_CHARACTERS) return 0
  const space = text.lastIndexOf(' ', LINE_CHARACTERS)
  return space > 0 ? space : LINE_CHARACTERS
}
