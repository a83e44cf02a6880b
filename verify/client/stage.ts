import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { WebSocketServer } from 'ws'
import { SUBPROTOCOL } from '../../protocol/frames.ts'
import type { TimeLimit } from '../../protocol/time-limit.ts'
import { Arrivals, pause } from '../arrivals.ts'
import type { Check } from '../check.ts'
import { must } from '../mismatch.ts'
import { type Line, Program } from './program.ts'
import { Seat } from './seat.ts'
import { startSlot } from './start-slots.ts'

/** The token that the client is given. */
export const CLIENT_TOKEN = 'verify-token'
/** The window that the client is to ask for. */
export const WINDOW = 8
/** Within this time a client that reconnects has done so: its first try comes within a second. */
const RECONNECT_MS = 1_300

export type StagePlace = {
  /** Starts the client. */
  readonly command: string
  readonly patienceMs: number
  readonly signal: AbortSignal
  /** What the check may take as a whole. */
  readonly limit: TimeLimit
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
  readonly seats: Seat[] = []
  readonly #place: StagePlace
  readonly #server: WebSocketServer
  readonly #program: Program
  readonly #arrivals: Arrivals
  readonly #started: () => void
  readonly #begun = performance.now()
  #taken = 0
  #startMs = 0

  static async open(place: StagePlace): Promise<Stage> {
    // What waits for clients of other checks is not the client's time.
    place.limit.pause()
    const started = await startSlot(place.signal)
    place.limit.resume()
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1', handleProtocols: chosen })
    await once(server, 'listening')
    return new Stage(place, server, started)
  }

  private constructor(place: StagePlace, server: WebSocketServer, started: () => void) {
    this.#place = place
    this.#server = server
    this.#started = started
    this.#arrivals = new Arrivals({ ...place, describe: () => this.#program.words() })
    server.on('connection', (socket, request) => {
      if (this.seats.length === 0) this.#startMs = performance.now() - this.#begun
      this.#started()
      this.seats.push(new Seat(socket, request, place))
      this.#arrivals.look()
    })
    const { port } = server.address() as AddressInfo
    const variables = {
      MILLRACE_URL: `ws://127.0.0.1:${port}/agents`,
      MILLRACE_TOKEN: CLIENT_TOKEN,
      MILLRACE_CREDIT: String(WINDOW),
    }
    this.#program = new Program(place.command, variables, this.#arrivals)
  }

  /** How long the client took from its start until it was connected, in milliseconds. */
  get startMs(): number {
    return this.#startMs
  }

  /**
   * The next connection of the client.
   * @param laterMs How much longer than anything else it may take, in milliseconds.
   */
  async seat(laterMs = 0): Promise<Seat> {
    const what = `connection ${this.#taken + 1} of the client`
    const patienceMs = this.#place.patienceMs + laterMs
    const seat = await this.#arrivals.find(() => this.seats[this.#taken], what, patienceMs)
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

  /** What the client has printed. */
  get lines(): readonly Line[] {
    return this.#program.lines
  }

  /** All text that the client has printed. */
  get text(): string {
    return this.#program.text
  }

  /** The end that the client prints. */
  async end(): Promise<Line> {
    return this.line(({ end }) => end !== undefined, '{"end": ...}')
  }

  /** Writes a line to the client, which goes on reading then. */
  goOn(): void {
    this.#program.write('go')
  }

  /** The client makes no further connection. */
  async staysAway(): Promise<void> {
    const before = this.seats.length
    await pause(RECONNECT_MS, this.#place.signal)
    must(this.seats.length === before, 'no further connection', `${this.seats.length - before} more`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#started()
    await this.#program[Symbol.asyncDispose]()
    for (const socket of this.#server.clients) socket.terminate()
    const closed = once(this.#server, 'close')
    this.#server.close()
    await closed
  }
}

/** A client that offers another one shall come in, so that the check of that can say so. */
function chosen(offered: Set<string>): string | false {
  return offered.has(SUBPROTOCOL) ? SUBPROTOCOL : [...offered][0]!
}
