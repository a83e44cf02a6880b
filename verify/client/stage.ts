import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { WebSocketServer } from 'ws'
import { SUBPROTOCOL } from '../../protocol/frames.ts'
import { Arrivals, pause } from '../arrivals.ts'
import type { Check } from '../check.ts'
import { must, shortened } from '../mismatch.ts'
import { Seat } from './seat.ts'

/** The token that the client is given. */
export const CLIENT_TOKEN = 'verify-token'
/** The window that the client is to ask for. */
export const WINDOW = 8
/** Within this time a client that reconnects has done so: its first try comes within a second. */
const RECONNECT_MS = 1_300
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

export type StagePlace = {
  /** Starts the client. */
  readonly command: string
  readonly patienceMs: number
  readonly signal: AbortSignal
}

/** What a check of a client works with: servers on ports of their own, and the client at each of them. */
export class ClientBench {
  readonly #place: StagePlace

  constructor(place: StagePlace) {
    this.#place = place
  }

  /** Starts the client at a server of its own. */
  start(): Promise<Stage> {
    return Stage.open(this.#place)
  }

  /** Waits for a time that the protocol names. */
  pause(ms: number): Promise<void> {
    return pause(ms, this.#place.signal)
  }
}

export type ClientCheck = Check<ClientBench>

/** A client that runs, and the server that it was told of. */
export class Stage implements AsyncDisposable {
  readonly lines: Line[] = []
  readonly seats: Seat[] = []
  readonly #place: StagePlace
  readonly #server: WebSocketServer
  readonly #child: ChildProcess
  readonly #arrivals: Arrivals
  #taken = 0
  #stderr = ''
  #rest = ''
  readonly #kill = (): void => kill(this.#child)

  static async open(place: StagePlace): Promise<Stage> {
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1', handleProtocols: chosen })
    await once(server, 'listening')
    return new Stage(place, server)
  }

  private constructor(place: StagePlace, server: WebSocketServer) {
    this.#place = place
    this.#server = server
    this.#arrivals = new Arrivals({ ...place, describe: () => this.#words() })
    server.on('connection', (socket, request) => {
      this.seats.push(new Seat(socket, request, place))
      this.#arrivals.look()
    })
    const { port } = server.address() as AddressInfo
    this.#child = spawn(place.command, {
      shell: true,
      // A group of its own, so that what the shell starts ends with it.
      detached: true,
      stdio: 'pipe',
      env: {
        ...process.env,
        MILLRACE_URL: `ws://127.0.0.1:${port}/agents`,
        MILLRACE_TOKEN: CLIENT_TOKEN,
        MILLRACE_CREDIT: String(WINDOW),
      },
    })
    // A kit that is ended at once leaves no client behind.
    process.on('exit', this.#kill)
    this.#child.stdin?.on('error', () => {})
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => this.#read(text))
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-MAX_STDERR)
    })
    this.#child.on('error', (error) => this.#arrivals.end(`the client cannot be started: ${error.message}`))
    this.#child.on('close', (code, signal) => this.#arrivals.end(`the client ended (${signal ?? code})`))
  }

  /** The next connection of the client. */
  async seat(): Promise<Seat> {
    const seat = await this.#arrivals.find(() => this.seats[this.#taken], `connection ${this.#taken + 1} of the client`)
    this.#taken++
    return seat
  }

  /** The client has printed a line that `accepts` takes. */
  line(accepts: (line: Line) => boolean, what: string): Promise<Line> {
    return this.#arrivals.find(() => this.lines.find(accepts), `the line ${what}`)
  }

  /** The client has printed as much text. */
  async said(text: string): Promise<void> {
    await this.#arrivals.find(() => this.text.length >= text.length || undefined, `lines with the text "${text}"`)
  }

  /** All text that the client has printed. */
  get text(): string {
    return this.lines.map(({ text = '' }) => text).join('')
  }

  /** The end that the client prints. */
  async end(): Promise<Line> {
    return this.line(({ end }) => end !== undefined, '{"end": ...}')
  }

  /** Writes a line to the client, which goes on reading then. */
  goOn(): void {
    this.#child.stdin?.write('go\n')
  }

  /** The client makes no further connection. */
  async staysAway(): Promise<void> {
    const before = this.seats.length
    await pause(RECONNECT_MS, this.#place.signal)
    must(this.seats.length === before, 'no further connection', `${this.seats.length - before} more`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { pid, exitCode, signalCode } = this.#child
    this.#kill()
    process.off('exit', this.#kill)
    if (pid !== undefined && exitCode === null && signalCode === null) await once(this.#child, 'close')
    for (const socket of this.#server.clients) socket.terminate()
    const closed = once(this.#server, 'close')
    this.#server.close()
    await closed
  }

  #read(text: string): void {
    const lines = (this.#rest + text).split('\n')
    this.#rest = lines.pop() ?? ''
    for (const line of lines) {
      const value = parsed(line)
      if (value) this.lines.push(value)
    }
    this.#arrivals.look()
  }

  #words(): string {
    const lines = this.lines.slice(-4).map((line) => JSON.stringify(line))
    const printed = lines.length > 0 ? `it printed ${lines.join(' ')}` : 'it printed no line of JSON'
    return this.#stderr === '' ? printed : `${printed}, and on stderr: ${shortened(this.#stderr.trim())}`
  }
}

/** A client that offers another one shall come in, so that the check of that can say so. */
function chosen(offered: Set<string>): string | false {
  return offered.has(SUBPROTOCOL) ? SUBPROTOCOL : [...offered][0]!
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
