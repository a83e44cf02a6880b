import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Arrivals } from '../arrivals.ts'
import { Mismatch, shortened } from '../mismatch.ts'

/** The most that a client may print, in characters. A check needs a few hundred. */
const MAX_STDOUT = 1_048_576
/** The most of the client's stderr that is kept. */
const MAX_STDERR = 2_000

/** A line that the client printed. docs/conformance.md has its forms. */
export type Line = {
  text?: string
  gap?: { next?: number; reason?: string }
  cancel?: string
  sent?: string
  end?: string
  code?: string
}

/** The process of a client that is judged: what it prints, and its end with all that it has started. */
export class Program implements AsyncDisposable {
  readonly lines: Line[] = []
  readonly #child: ChildProcess
  readonly #arrivals: Arrivals
  #printed = 0
  #stderr = ''
  #rest = ''

  /** @param arrivals hears of each line, and of the end of the process. */
  constructor(command: string, variables: { readonly [name: string]: string }, arrivals: Arrivals) {
    this.#arrivals = arrivals
    this.#child = spawn(command, {
      shell: true,
      // A group of its own, so that what the shell starts ends with it.
      detached: true,
      stdio: 'pipe',
      env: { ...process.env, ...variables },
    })
    if (running.size === 0) process.on('exit', killAll)
    running.add(this.#child)
    const { stdin, stdout, stderr } = this.#child
    stdin?.on('error', () => {})
    stdout?.setEncoding('utf8').on('data', (text: string) => this.#read(text))
    stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-MAX_STDERR)
    })
    this.#child.on('error', (error) => arrivals.end(`the client cannot be started: ${error.message}`))
    this.#child.on('close', (code, signal) => arrivals.end(`the client ended (${signal ?? code})`))
  }

  /** All text that the client has printed. */
  get text(): string {
    return this.lines.map(({ text = '' }) => text).join('')
  }

  /** Writes a line to the client. */
  write(line: string): void {
    this.#child.stdin?.write(`${line}\n`)
  }

  /** What the client printed last, and the end of its stderr. */
  words(): string {
    const lines = this.lines.slice(-4).map((line) => shortened(JSON.stringify(line)))
    const printed = lines.length > 0 ? `it printed ${lines.join(' ')}` : 'it printed no line of JSON'
    return this.#stderr === '' ? printed : `${printed}, and on stderr: ${shortened(this.#stderr.trim())}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { pid, exitCode, signalCode, stdin, stdout, stderr } = this.#child
    kill(this.#child)
    // Its streams may stay open: what has left the group is out of reach, and may hold them.
    if (pid !== undefined && exitCode === null && signalCode === null) await once(this.#child, 'exit')
    for (const stream of [stdin, stdout, stderr]) stream?.destroy()
    running.delete(this.#child)
    if (running.size === 0) process.off('exit', killAll)
  }

  #read(text: string): void {
    this.#printed += text.length
    if (this.#printed > MAX_STDOUT) {
      this.#arrivals.end(new Mismatch(`at most ${MAX_STDOUT} characters on stdout`, `more; ${this.words()}`))
      kill(this.#child)
      this.#child.stdout?.destroy()
      return
    }
    const lines = (this.#rest + text).split('\n')
    this.#rest = lines.pop() ?? ''
    for (const line of lines) {
      const value = parsed(line)
      if (value) this.lines.push(value)
    }
    this.#arrivals.look()
  }
}

/** A kit that is ended at once leaves none of them behind. */
const running = new Set<ChildProcess>()

function killAll(): void {
  for (const child of running) kill(child)
}

/** Ends the process and all that it has started. */
function kill(child: ChildProcess): void {
  if (child.pid === undefined) return
  try {
    process.kill(-child.pid, 'SIGKILL')
  } catch {
    // There are no groups on this system, or it has ended.
    child.kill('SIGKILL')
  }
}

/** What a client prints for itself is no line of JSON, and is passed over. */
function parsed(line: string): Line | undefined {
  try {
    const value: unknown = JSON.parse(line)
    return typeof value === 'object' && value !== null ? value : undefined
  } catch {
    return undefined
  }
}
