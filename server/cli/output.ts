const FRAMES = '⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏'
const FRAME_MS = 80
/** Moves to the beginning of the line and clears it. */
const WIPE = '\r\u001b[K'
const HIDE_CURSOR = '\u001b[?25l'
const SHOW_CURSOR = '\u001b[?25h'
/** Clears the whole screen and moves to its first line. */
const WIPE_SCREEN = '\u001b[2J\u001b[H'
/** Clears everything below. */
const WIPE_BELOW = '\u001b[J'
/** The size of a terminal that does not report one. */
const USUAL_SIZE = { columns: 80, rows: 24 }

/** The members of a process's output streams that are used. */
export type Sink = {
  readonly isTTY?: boolean
  readonly columns?: number
  readonly rows?: number
  write(text: string, written?: () => void): boolean
  on(event: 'error', listener: (error: Error) => void): unknown
  once(event: 'drain' | 'error', listener: () => void): unknown
  off(event: 'drain' | 'error', listener: () => void): unknown
}

/**
 * Writes the answer to stdout and everything else to stderr. On a terminal, everything else is dimmed unless `NO_COLOR`
 * is set, and a spinner shows a wait. Control characters are shown as pictures there, so that an answer cannot control
 * the terminal.
 */
export class Output {
  readonly #stdout: Sink
  readonly #stderr: Sink
  readonly #colour: boolean
  readonly #moves: boolean
  readonly #draws: boolean
  readonly #paints: boolean
  readonly #gone = new AbortController()
  /**
   * The latest drawing: its lines, and the width of the screen. The number of lines is 0 once another line was written
   * below them.
   */
  #drawn: { lines: number; columns: number } | undefined
  /** The current line of the answer is not empty. */
  #answering = false
  /** The current line of aside text is not empty. */
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
    this.#draws = stdout.isTTY === true && env['TERM'] !== 'dumb'
    this.#paints = this.#draws && !env['NO_COLOR']
    stdout.on('error', (error) => this.#gone.abort(error))
    // No stream is left on which an error could be reported.
    stderr.on('error', () => {})
  }

  /** Aborts when stdout is closed or cannot be written. The reason is the error. */
  get gone(): AbortSignal {
    return this.#gone.signal
  }

  /** Whether stdout is a terminal. */
  get isTerminal(): boolean {
    return this.#stdout.isTTY === true
  }

  /** Writes a piece of the answer. Resolves when stdout has room for more, so a slow reader slows the run down. */
  async answer(text: string): Promise<void> {
    if (text === '' || this.gone.aborted) return
    if (this.isTerminal) this.quiet()
    this.#endAside()
    this.#answering = !text.endsWith('\n')
    await this.#write(this.isTerminal ? printable(text) : text)
  }

  /** The size of the terminal on stdout. Undefined if stdout is no terminal, or a dumb one. */
  get screen(): { columns: number; rows: number } | undefined {
    if (!this.#draws) return undefined
    const { columns, rows } = this.#stdout
    return { columns: columns || USUAL_SIZE.columns, rows: rows || USUAL_SIZE.rows }
  }

  /**
   * Draws lines on the screen in place of the previous drawing, and below lines that were written since. It hides the
   * cursor until `endDrawing`.
   * @param lines Written unchanged. None may be wider than the screen.
   */
  async draw(lines: readonly string[]): Promise<void> {
    const { columns = 0 } = this.screen ?? {}
    if (this.gone.aborted) return
    this.quiet()
    this.#endAside()
    const before = this.#drawn
    const isResized = before !== undefined && before.columns !== columns
    const up = before && before.lines > 0 ? `\u001b[${before.lines}A\r` : ''
    this.#drawn = { lines: lines.length, columns }
    const start = isResized ? WIPE_SCREEN : `${before ? '' : HIDE_CURSOR}${up}`
    await this.#write(`${start}${lines.map((line) => `${line}\u001b[K\n`).join('')}${WIPE_BELOW}`)
  }

  /** Leaves the drawing on the screen and shows the cursor again. */
  endDrawing(): void {
    if (!this.#drawn) return
    this.#drawn = undefined
    this.#stdout.write(SHOW_CURSOR)
  }

  /** Text of the answer in a style of the terminal, such as `31` for red, if the terminal has colours. */
  paint(style: string | undefined, text: string): string {
    return this.#paints && style !== undefined ? `\u001b[${style}m${text}\u001b[0m` : text
  }

  /** Writes to stdout. Resolves when stdout has room for more. */
  async #write(text: string): Promise<void> {
    if (this.#stdout.write(text)) return
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

  /** Resolves when the whole answer has left the process, or stdout is closed. */
  async written(): Promise<void> {
    if (this.gone.aborted) return
    await new Promise<void>((resolve) => this.#stdout.write('', resolve))
  }

  /** Writes text to stderr that arrives in pieces, such as thinking. */
  aside(text: string): void {
    if (text === '') return
    this.#ownLine()
    this.#asiding = !text.endsWith('\n')
    this.#stderr.write(this.#dim(printable(text)))
  }

  /** Writes a line to stderr. A spinner goes on below it. */
  note(text: string): void {
    const label = this.#spinner?.label
    this.#ownLine()
    this.#endAside()
    this.#line(this.#dim(oneLine(text)))
    if (label !== undefined) this.busy(label)
  }

  /** Writes an error to stderr, in one line. */
  fail(message: string): void {
    this.endDrawing()
    this.#ownLine()
    this.#endAside()
    this.#line(`${this.#paint('31', 'millrace:')} ${oneLine(message)}`)
  }

  /** Shows a spinner until `quiet` or the next output. Only on a terminal. */
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

  /** Removes the spinner. */
  quiet(): void {
    if (!this.#spinner) return
    clearInterval(this.#spinner.timer)
    this.#spinner = undefined
    this.#stderr.write(WIPE)
  }

  /** Writes a line over the `^C` that the terminal may have printed. */
  #line(text: string): void {
    if (this.#drawn && this.#stderr.isTTY === true) this.#drawn.lines = 0
    this.#stderr.write(`${this.#moves ? WIPE : ''}${text}\n`)
  }

  #spin(): void {
    const spinner = this.#spinner
    if (!spinner) return
    const frame = FRAMES[spinner.frame++ % FRAMES.length]!
    this.#stderr.write(`${WIPE}${this.#dim(`${frame} ${spinner.label}`)}`)
  }

  /** Starts a new line if an unfinished line of the answer is on the same screen. */
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

/** Replaces control characters, except line ends and tabs, by their pictures. */
export function printable(text: string): string {
  return text.replaceAll(/\r(?!\n)|[^\P{Cc}\n\r\t]/gu, (character) => {
    const code = character.charCodeAt(0)
    return code < 0x20 ? String.fromCharCode(0x2400 + code) : '\u2421'
  })
}

function oneLine(text: string): string {
  return printable(text.replaceAll(/\s*[\r\n]+\s*/g, ' ').trim())
}
