import type { UpFrame } from '../../protocol/frames.ts'
import { Chance } from '../simulation/virtual-time.ts'
import { cancelled, failed, opened, ScriptedServer, type ScriptedSocket, text } from './scripted-server.ts'

/** What a stream is to the server's end of its socket. `credit`: items that it may still be sent. */
type Live = { readonly run: string; last: number; credit: number; isOpened: boolean; isCancelled: boolean }

/** The server's end of one socket. */
class Seat {
  readonly socket: ScriptedSocket
  readonly live = new Map<number, Live>()
  #read = 0
  #isWelcomed = false
  #isCut = false

  constructor(socket: ScriptedSocket) {
    this.socket = socket
  }

  get #isGone(): boolean {
    return this.#isCut || this.socket.closeCode !== undefined
  }

  /** Whether what it says reaches the client. */
  get isUp(): boolean {
    return this.#isWelcomed && !this.#isGone
  }

  welcome(): void {
    if (this.#isGone || this.#isWelcomed) return
    this.#isWelcomed = true
    this.socket.welcome()
  }

  cut(): void {
    if (this.#isGone) return
    this.#isCut = true
    this.live.clear()
    this.socket.end()
  }

  /**
   * Reads what the client has said since.
   * @throws Error when that breaks the protocol.
   */
  read(): void {
    const frames = this.socket.messages.flat()
    for (const frame of frames.slice(this.#read)) this.#note(frame)
    this.#read = frames.length
  }

  #note(frame: UpFrame): void {
    if ('sid' in frame && frame.sid <= 0) throw new Error(`${frame.kind} on stream ${frame.sid}`)
    if (frame.kind === 'start' || frame.kind === 'attach') {
      const run = frame.kind === 'attach' ? frame.run : `r_${(frame.input as { prompt: string }).prompt}`
      for (const other of this.live.values()) if (other.run === run) throw new Error(`${run} is open twice at once`)
      const last = frame.kind === 'attach' ? (frame.after ?? 0) : 0
      const { credit = 0 } = frame.options
      this.live.set(frame.sid, { run, last, credit, isOpened: false, isCancelled: false })
    } else if (frame.kind === 'credit') {
      const stream = this.live.get(frame.sid)
      if (stream) stream.credit += frame.n
    } else if (frame.kind === 'cancel' && !frame.target) {
      const stream = this.live.get(frame.sid)
      if (stream) stream.isCancelled = true
    } else if (frame.kind === 'detach') this.live.delete(frame.sid)
  }

  refuse(sid: number): void {
    this.live.delete(sid)
    this.socket.say(failed(sid, 0, 'overloaded', true))
  }

  /** Answers with the next thing that the stream is due. */
  goOn(sid: number, stream: Live): void {
    if (!stream.isOpened) {
      stream.isOpened = true
      this.socket.say(opened(sid, { run: stream.run, next: stream.last + 1, credit: stream.credit }))
    } else if (stream.isCancelled) {
      this.live.delete(sid)
      this.socket.say(cancelled(sid, stream.last + 1))
    } else if (stream.credit > 0) {
      stream.credit--
      this.socket.say(text(sid, ++stream.last, 'x'))
    }
  }
}

/** A server that answers, refuses for now, stays silent or cuts the connection at random, in virtual time. */
export class RandomServer extends ScriptedServer {
  readonly chance: Chance
  readonly #seats = new Map<ScriptedSocket, Seat>()

  constructor(seed: number) {
    super(seed)
    this.chance = new Chance(seed)
  }

  /** Does one thing to the newest connection. */
  act(): void {
    const seat = this.#newest()
    const { chance } = this
    const [sid, stream] = chance.pick([...(seat.isUp ? seat.live : [])]) ?? []
    if (chance.of(0.1)) seat.cut()
    else if (chance.of(0.3)) seat.welcome()
    else if (sid === undefined || stream === undefined) return
    else if (chance.of(0.4)) seat.refuse(sid)
    else seat.goOn(sid, stream)
  }

  /** Refuses whatever is opened. */
  refuseAll(): void {
    const seat = this.#newest()
    seat.welcome()
    seat.read()
    for (const sid of [...seat.live.keys()]) seat.refuse(sid)
  }

  /** Lets no client through. */
  cutAll(): void {
    this.#newest().cut()
  }

  /** Reads what was said on all connections. */
  read(): void {
    for (const socket of this.sockets) this.#seatOf(socket).read()
  }

  #newest(): Seat {
    const seat = this.#seatOf(this.socket)
    seat.read()
    return seat
  }

  #seatOf(socket: ScriptedSocket): Seat {
    const seat = this.#seats.get(socket) ?? new Seat(socket)
    this.#seats.set(socket, seat)
    return seat
  }
}
