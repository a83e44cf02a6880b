const FRAMES = '⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏'
const FRAME_MS = 80
/** Back to the beginning of the line, and wipe it. */
const WIPE = '\r\u001b[K'
const HIDE_CURSOR = '\u001b[?25l'
const SHOW_CURSOR = '\u001b[?25h'
/** The whole screen is wiped, and the first line is the next. */
const WIPE_SCREEN = '\u001b[2J\u001b[H'
/** All below is wiped. */
const WIPE_BELOW = '\u001b[J'
/** What a terminal that does not say its size is taken for. */
const USUAL_SIZE = { columns: 80, rows: 24 }

/** What of a process's streams is used. */
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
 * What a person, or a pipe, sees: the answer on stdout, all else on stderr. On a terminal the rest is dimmed (unless
 * `NO_COLOR` is set), something moves while there is nothing to read yet, and characters that would steer the terminal
 * are shown instead of obeyed.
 */
export class Output {
  readonly #stdout: Sink
  readonly #stderr: Sink
  readonly #colour: boolean
  readonly #moves: boolean
  readonly #draws: boolean
  readonly #paints: boolean
  readonly #gone = new AbortController()
  /** What was drawn last: how many lines, where nothing was written below them since, and how wide the screen was. */
  #drawn: { lines: number; columns: number } | undefined
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
    this.#draws = stdout.isTTY === true && env['TERM'] !== 'dumb'
    this.#paints = this.#draws && !env['NO_COLOR']
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
    await this.#write(this.isTerminal ? printable(text) : text)
  }

  /** The size of the terminal on which something can be drawn; undefined where stdout is none. */
  get screen(): { columns: number; rows: number } | undefined {
    if (!this.#draws) return undefined
    const { columns, rows } = this.#stdout
    return { columns: columns || USUAL_SIZE.columns, rows: rows || USUAL_SIZE.rows }
  }

  /**
   * Draws lines on the screen in place of those drawn before; below what else was written since. None is wider than the
   * screen, and they are written as they are. The cursor is hidden until `endDrawing`.
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

  /** What was drawn stays, and the cursor is there again. */
  endDrawing(): void {
    if (!this.#drawn) return
    this.#drawn = undefined
    this.#stdout.write(SHOW_CURSOR)
  }

  /** Text of the answer in a style of the terminal (`31` is red), where it has colours. */
  paint(style: string | undefined, text: string): string {
    return this.#paints && style !== undefined ? `\u001b[${style}m${text}\u001b[0m` : text
  }

  /** Writes to stdout. Resolves when there is room for more. */
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
    this.endDrawing()
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
    if (this.#drawn && this.#stderr.isTTY === true) this.#drawn.lines = 0
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
export function printable(text: string): string {
  return text.replaceAll(/\r(?!\n)|[^\P{Cc}\n\r\t]/gu, (character) => {
    const code = character.charCodeAt(0)
    return code < 0x20 ? String.fromCharCode(0x2400 + code) : '\u2421'
  })
}

function oneLine(text: string): string {
  return printable(text.replaceAll(/\s*[\r\n]+\s*/g, ' ').trim())
}
