const FRAMES = '⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏'
const FRAME_MS = 80
/** Back to the beginning of the line, and wipe it. */
const WIPE = '\r\u001b[K'

/** What of a process's streams is used. */
export type Sink = {
  readonly isTTY?: boolean
  write(text: string, written?: () => void): boolean
  on(event: 'error', listener: (error: Error) => void): unknown
  once(event: 'drain' | 'error', listener: () => void): unknown
  off(event: 'drain' | 'error', listener: () => void): unknown
}

/**
 * What a person, or a pipe, sees: the answer on stdout, all else on stderr. On a terminal the rest is dimmed (unless
 * `NO_COLOR` is set), something moves while there is nothing to read yet, and characters that would steer the terminal
 * are shown instead of obeyed.
 */
export class Output {
  readonly #stdout: Sink
  readonly #stderr: Sink
  readonly #colour: boolean
  readonly #moves: boolean
  readonly #gone = new AbortController()
  /** Something is written on this line of the answer. */
  #answering = false
  /** Something dimmed is written on this line. */
  #asiding = false
  #spinner: { label: string; frame: number; timer: NodeJS.Timeout } | undefined

  constructor(
    stdout: Sink = process.stdout,
    stderr: Sink = process.stderr,
    env: { readonly [name: string]: string | undefined } = process.env,
  ) {
    this.#stdout = stdout
    this.#stderr = stderr
    this.#moves = stderr.isTTY === true && env['TERM'] !== 'dumb'
    this.#colour = this.#moves && !env['NO_COLOR']
    stdout.on('error', (error) => this.#gone.abort(error))
    // Nobody is left to be told.
    stderr.on('error', () => {})
  }

  /** Aborts when nobody reads stdout any more, or it cannot be written; the reason is the error. */
  get gone(): AbortSignal {
    return this.#gone.signal
  }

  /** Stdout is a terminal: a person reads along. */
  get isTerminal(): boolean {
    return this.#stdout.isTTY === true
  }

  /** Writes a piece of the answer. Resolves when there is room for more: a slow reader makes its writer slow. */
  async answer(text: string): Promise<void> {
    if (text === '' || this.gone.aborted) return
    if (this.isTerminal) this.quiet()
    this.#endAside()
    this.#answering = !text.endsWith('\n')
    if (this.#stdout.write(this.isTerminal ? printable(text) : text)) return
    await new Promise<void>((resolve) => {
      const done = (): void => {
        this.#stdout.off('drain', done)
        this.gone.removeEventListener('abort', done)
        resolve()
      }
      this.#stdout.once('drain', done)
      this.gone.addEventListener('abort', done)
    })
  }

  /** Ends the last line of the answer. */
  async endAnswer(): Promise<void> {
    if (this.#answering) await this.answer('\n')
  }

  /** Resolves when all of the answer has left the process, or nobody reads it. */
  async written(): Promise<void> {
    if (this.gone.aborted) return
    await new Promise<void>((resolve) => this.#stdout.write('', resolve))
  }

  /** Writes text that comes in pieces but is not the answer. */
  aside(text: string): void {
    if (text === '') return
    this.#ownLine()
    this.#asiding = !text.endsWith('\n')
    this.#stderr.write(this.#dim(printable(text)))
  }

  /** Says something beside the answer, on a line of its own. What was waited for is waited for still. */
  note(text: string): void {
    const waitedFor = this.#spinner?.label
    this.#ownLine()
    this.#endAside()
    this.#line(this.#dim(oneLine(text)))
    if (waitedFor !== undefined) this.busy(waitedFor)
  }

  /** Says what went wrong, in one line. */
  fail(message: string): void {
    this.#ownLine()
    this.#endAside()
    this.#line(`${this.#paint('31', 'millrace:')} ${oneLine(message)}`)
  }

  /** Something is waited for. Shown on a terminal only, until `quiet` or the next thing that is said. */
  busy(label: string): void {
    if (!this.#moves) return
    if (this.#spinner) {
      this.#spinner.label = label
      return
    }
    this.#ownLine()
    this.#endAside()
    const timer = setInterval(() => this.#spin(), FRAME_MS)
    timer.unref()
    this.#spinner = { label, frame: 0, timer }
    this.#spin()
  }

  /** Nothing is waited for any more. */
  quiet(): void {
    if (!this.#spinner) return
    clearInterval(this.#spinner.timer)
    this.#spinner = undefined
    this.#stderr.write(WIPE)
  }

  /** Writes a line, over the `^C` that a terminal may have put there. */
  #line(text: string): void {
    this.#stderr.write(`${this.#moves ? WIPE : ''}${text}\n`)
  }

  #spin(): void {
    const spinner = this.#spinner
    if (!spinner) return
    const frame = FRAMES[spinner.frame++ % FRAMES.length]!
    this.#stderr.write(`${WIPE}${this.#dim(`${frame} ${spinner.label}`)}`)
  }

  /** Where answer and notes share a screen, a note does not go on in the line of the answer. */
  #ownLine(): void {
    this.quiet()
    if (!this.#answering || !this.isTerminal || this.#stderr.isTTY !== true) return
    this.#answering = false
    this.#stderr.write('\n')
  }

  #endAside(): void {
    if (!this.#asiding) return
    this.#asiding = false
    this.#stderr.write('\n')
  }

  #dim(text: string): string {
    return this.#paint('2', text)
  }

  #paint(style: string, text: string): string {
    return this.#colour ? `\u001b[${style}m${text}\u001b[0m` : text
  }
}

/** Control characters other than line ends and tabs, which a terminal would obey, as pictures of them. */
function printable(text: string): string {
  return text.replaceAll(/\r(?!\n)|[^\P{Cc}\n\r\t]/gu, (character) => {
    const code = character.charCodeAt(0)
    return code < 0x20 ? String.fromCharCode(0x2400 + code) : '\u2421'
  })
}

function oneLine(text: string): string {
  return printable(text.replaceAll(/\s*[\r\n]+\s*/g, ' ').trim())
}
