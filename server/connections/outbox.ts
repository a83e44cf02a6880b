import { writeDown } from '../../protocol/encode.ts'
import { CLOSE } from '../../protocol/errors.ts'
import type { DownFrame, Notice } from '../../protocol/frames.ts'
import type { Limits } from '../../protocol/limits.ts'
import type { Timer } from '../../protocol/runtime.ts'
import { Writer } from '../../protocol/writer.ts'
import type { GuardedRuntime } from '../runtime.ts'
import type { Socket } from '../transports/transport.ts'
import type { Flushable, FlushQueue } from './flush-queue.ts'
import type { SharedMessage } from './shared-message.ts'

/** No further stream is added to a message of this size. */
const MESSAGE_BYTES = 65_536
/** Most bytes between two PINGs. A PING measures what the network holds. */
const PING_BYTES = 131_072
const NOTICES_PER_SEC = 5
/** Most notices that may wait, besides one `settled` for each stream. */
const MAX_NOTICES = 64
/** Most control frames that may wait. A client that causes more is flooding the server. */
const MAX_CONTROL = 4_096
/** Bytes that a message keeps free for a PONG and a PING. */
const SPARE_BYTES = 32
/** At most this many bytes of a message are written before it is sent, except for the last item. */
const BEGUN_BYTES = 4_096
/** Multiple of `highWater` in a socket's buffer at which the connection is closed. */
const FLOOD = 4

/** What an outbox takes items from, in rotation: a subscription. */
export interface FrameSource {
  /** Whether it is in the outbox's queue. Only the outbox sets it. */
  queued: boolean
  /**
   * Writes its share of a message: what may be sent now, and nothing that would make `out` longer than `most` bytes
   * unless it is the first thing in it. Returns `more` when it stopped for lack of room.
   */
  pump(out: Writer, most: number): 'more' | 'idle'
  /**
   * Everything that may be sent now, as a message of at most `most` bytes that other sources may send as well. It counts
   * as sent. Undefined, and nothing is sent, where `pump` has more to decide.
   * @param last the last such message, which is looked at and replaced.
   */
  share?(last: SharedMessage, most: number): Uint8Array | undefined
}

/** Where a subscription sends its frames. */
export interface FrameSink {
  /** Least time between two messages of nothing but text, in milliseconds. */
  readonly flushMs: number
  /**
   * The items of the next message, to which a source that is not queued may append one text: as if it were queued now and
   * the message were sent. Undefined: it must queue.
   */
  begun(): Writer | undefined
  /** Whether the next message has items already. */
  readonly hasBegun: boolean
  /** The source has something to send: `pump` is called soon, and without batching when it is `urgent`. */
  ready(source: FrameSource, urgent: boolean): void
  /** The source has written so many items. */
  wrote(items: number): void
  /** Sends a NOTICE ahead of all items. */
  notify(frame: Notice): void
  /** The run of a source has moved to another server: the client must connect again to read on. */
  moved(): void
}

/**
 * What a connection sends: control frames first, then the streams in rotation, as one message per loop turn. Two
 * measures hold the streams back: the bytes in the socket's buffer, and the bytes written since the last answered PING.
 * The second is needed because the kernel takes megabytes for a peer that does not read.
 */
export class Outbox implements FrameSink, Flushable {
  readonly #socket: Socket
  readonly #runtime: GuardedRuntime
  readonly #flushes: FlushQueue
  readonly #limits: Limits
  readonly #fault: (code: number, reason: string) => void
  /** Least time between two messages of nothing but text. */
  flushMs: number
  heldUntil: number | undefined
  #control: DownFrame[] = []
  #pong: number | undefined
  #queue: FrameSource[] = []
  /** What sources have written of the next message already. */
  #begun: Writer | undefined
  #scheduled: 'no' | 'batching' | 'loop turn' = 'no'
  /** A message of the client is being applied, and something that it caused must be sent. */
  #isCorked = false
  #isWanted = false
  #flushedAt = Number.NEGATIVE_INFINITY
  /** A message that the transport could not take yet. */
  #refused: Uint8Array | undefined
  #written = 0
  /** What the buffer of the socket held when it was last looked at. It only shrinks until the next message. */
  #buffered = 0
  /** Items that streams have written, until somebody asks for them. */
  #items = 0
  /** How much of `written` had arrived when the last PING was answered. */
  #passed = 0
  #pings: { nonce: number; written: number }[] = []
  /** The next message carries a PING. */
  #pingDue = false
  #nonce = 0
  #slowTimer: Timer | undefined
  #notices: Notice[] = []
  #noticeTokens = NOTICES_PER_SEC
  #noticeTimer: Timer | undefined
  #finishing = false
  #closed = false

  /**
   * @param flushes shared by all connections of a server.
   * @param fault closes the connection with a code. Called when the peer is too slow or asks for too much.
   */
  constructor(
    socket: Socket,
    runtime: GuardedRuntime,
    flushes: FlushQueue,
    limits: Limits,
    fault: (code: number, reason: string) => void,
  ) {
    this.#socket = socket
    this.#runtime = runtime
    this.#flushes = flushes
    this.#limits = limits
    this.#fault = fault
    this.flushMs = limits.flushMs
  }

  /** The frames of a client's message are applied from now on, until `uncork`. */
  cork(): void {
    this.#isCorked = true
  }

  /**
   * Schedules what the frames have caused, behind the microtasks in which the actors of a START begin. If an actor answers
   * at once, or in the next loop turn, its first words travel in one message with OPENED and WELCOME.
   */
  uncork(): void {
    this.#isCorked = false
    if (!this.#isWanted) return
    this.#isWanted = false
    queueMicrotask(() => this.#schedule(true))
  }

  /** Sends a frame ahead of all streams, with the next message. */
  send(frame: DownFrame): void {
    this.#control.push(frame)
    if (this.#control.length > MAX_CONTROL) return this.#fault(CLOSE.tooMany, 'too many requests at once')
    this.#schedule(true)
  }

  moved(): void {
    this.#fault(CLOSE.draining, 'a run has moved to another server; connect again')
  }

  /** Answers a PING. If several answers wait, only the last is sent. */
  pong(nonce: number): void {
    this.#pong = nonce
    this.#schedule(true)
  }

  ping(): void {
    this.#pingDue = this.#pings.length < 2
    this.#schedule(true)
  }

  /** Sends a NOTICE. Beyond five a second they wait. */
  notify(frame: Notice): void {
    this.#notices.push(frame)
    if (this.#notices.length > MAX_NOTICES + this.#limits.maxStreams)
      return this.#fault(CLOSE.tooMany, 'too many refused requests')
    this.#sendNotices()
  }

  /** The peer answered a PING: everything before it has arrived. */
  answered(nonce: number): void {
    const i = this.#pings.findIndex((ping) => ping.nonce === nonce)
    if (i < 0) return
    this.#passed = (this.#pings[i] as { written: number }).written
    this.#pings.splice(0, i + 1)
    this.#resume()
  }

  /** The socket takes more. */
  drained(): void {
    if (this.#refused) {
      const refused = this.#refused
      this.#refused = undefined
      this.#sendBytes(refused)
      // Control frames may have come meanwhile.
      this.#schedule(true)
    }
    this.#resume()
  }

  wrote(items: number): void {
    this.#items += items
  }

  /** How many items streams have written since the last call. */
  takeItems(): number {
    const items = this.#items
    this.#items = 0
    return items
  }

  ready(source: FrameSource, urgent: boolean): void {
    this.#enqueue(source)
    this.#schedule(urgent)
  }

  /** Sends what waits, except the streams. The socket is about to close. */
  finish(): void {
    if (this.#closed || this.#finishing) return
    this.#finishing = true
    for (const notice of this.#notices.splice(0)) this.#control.push(notice)
    this.#queue = []
    do this.#flush()
    while (this.#control.length > 0 && !this.#refused)
    this.close()
  }

  close(): void {
    this.#closed = true
    this.#queue = []
    this.#begun = undefined
    this.#control = []
    this.heldUntil = undefined
    this.#slowTimer?.clear()
    this.#noticeTimer?.clear()
  }

  /** Called by the flush queue. */
  flush(): void {
    this.#runtime.enter(this.#flush)
  }

  begun(): Writer | undefined {
    const written = this.#begun?.length ?? 0
    if (this.#closed || written > BEGUN_BYTES || this.#blocked(written)) return undefined
    this.#schedule(false)
    return (this.#begun ??= spare.pop() ?? new Writer())
  }

  get hasBegun(): boolean {
    return this.#begun !== undefined
  }

  #enqueue(source: FrameSource): void {
    if (source.queued) return
    source.queued = true
    this.#queue.push(source)
  }

  #schedule(now: boolean): void {
    if (now && this.#isCorked) {
      this.#isWanted = true
      return
    }
    if (this.#scheduled === 'loop turn' || this.#closed || (!now && this.#scheduled === 'batching')) return
    const rested = now ? this.flushMs : this.#runtime.now() - this.#flushedAt
    if (rested >= this.flushMs) {
      this.heldUntil = undefined
      this.#scheduled = 'loop turn'
      this.#flushes.add(this)
    } else if (this.#scheduled === 'no') {
      this.#scheduled = 'batching'
      this.heldUntil = this.#flushes.hold(this, this.flushMs - rested)
    }
  }

  readonly #flush = (): void => {
    this.#scheduled = 'no'
    this.heldUntil = undefined
    if (this.#closed || this.#refused) return
    const bytes = this.#shared() ?? this.#message()
    if (!bytes) return
    this.#flushedAt = this.#runtime.now()
    this.#sendBytes(bytes)
    if (this.#closed) return
    if (this.#buffered > this.#limits.highWater * FLOOD) return this.#fault(CLOSE.slow, 'the client does not read')
    if (this.#blocked()) this.#watchSlow()
    else if (this.#hasItems) this.#schedule(true)
    if (this.#control.length > 0) this.#schedule(true)
  }

  /** Sources have written items, or have some to write. */
  get #hasItems(): boolean {
    return this.#queue.length > 0 || this.hasBegun
  }

  /** The next message, if it is that of one stream alone, which other connections may send as well. */
  #shared(): Uint8Array | undefined {
    const source = this.#queue[0]
    const isAlone =
      this.#queue.length === 1 &&
      !this.hasBegun &&
      this.#control.length === 0 &&
      this.#pong === undefined &&
      !this.#pingDue &&
      !this.#blocked()
    if (!source?.share || !isAlone) return undefined
    this.#movesOn()
    this.#queue.pop()
    source.queued = false
    // One byte less: the message that makes a PING due carries it.
    const bytes = source.share(this.#flushes.lastShared, this.#bytesToPing() - 1)
    if (!bytes) this.#enqueue(source)
    return bytes
  }

  /** How many bytes may be written until a PING is due. */
  #bytesToPing(): number {
    const passedPing = this.#pings[this.#pings.length - 1]?.written ?? this.#passed
    return Math.min(PING_BYTES, this.#limits.inflight) - (this.#written - passedPing)
  }

  /** The next message, as bytes of its own. Undefined when nothing waits. */
  #message(): Uint8Array | undefined {
    const out = idle ?? new Writer()
    idle = undefined
    out.reset()
    this.#writeMessage(out)
    idle = out
    if (out.length === 0) return undefined
    // From Node's pool: for a small message, an allocation of its own costs ten times as much.
    const bytes = Buffer.allocUnsafe(out.length)
    bytes.set(out.view())
    return bytes
  }

  #writeMessage(out: Writer): void {
    this.#writeControl(out)
    if (this.#pong !== undefined) {
      writeDown(out, { kind: 'pong', nonce: this.#pong })
      this.#pong = undefined
    }
    if (this.#control.length === 0 && !this.#blocked() && this.#takeBegun(out)) this.#pumpStreams(out)
    // Written last: its answer then confirms this whole message, and nothing beyond it.
    if (this.#pingDue || out.length >= this.#bytesToPing()) writeDown(out, this.#newPing(out.length))
  }

  /** Writes as many control frames as one message holds. The others wait for the next. */
  #writeControl(out: Writer): void {
    if (this.#control.length === 0) return
    const most = this.#limits.maxDown - SPARE_BYTES
    let written = 0
    for (const frame of this.#control) {
      const before = out.length
      writeDown(out, frame)
      if (before > 0 && out.length > most) {
        out.truncate(before)
        break
      }
      written++
    }
    this.#control = this.#control.slice(written)
  }

  /** Appends what sources have written already. Returns false if it must wait for the next message. */
  #takeBegun(out: Writer): boolean {
    const begun = this.#begun
    if (!begun) return true
    if (out.length > 0 && out.length + begun.length > this.#limits.maxDown - SPARE_BYTES) return false
    this.#movesOn()
    out.raw(begun.view())
    this.#begun = undefined
    begun.reset()
    if (spare.length < MAX_SPARE) spare.push(begun)
    return true
  }

  #pumpStreams(out: Writer): void {
    this.#movesOn()
    const { maxDown } = this.#limits
    const round = this.#queue
    this.#queue = []
    const unfinished: FrameSource[] = []
    let crowdedOut: FrameSource | undefined
    let i = 0
    for (; !crowdedOut && i < round.length && out.length < MESSAGE_BYTES; i++) {
      const source = round[i] as FrameSource
      const before = out.length
      source.queued = false
      if (source.pump(out, maxDown - SPARE_BYTES) !== 'more') continue
      if (out.length === before) crowdedOut = source
      else unfinished.push(source)
    }
    // Next time, sources that were not reached come first, then those that have more to send.
    const woken = this.#queue
    this.#queue = round.slice(i)
    // A source that found no room begins the next message. Others could fill that one as far again.
    if (crowdedOut && !crowdedOut.queued) {
      crowdedOut.queued = true
      this.#queue.unshift(crowdedOut)
    }
    for (const source of unfinished) this.#enqueue(source)
    for (const source of woken) this.#queue.push(source)
  }

  #sendBytes(bytes: Uint8Array): void {
    const result = this.#socket.send(bytes)
    if (result === 'full') this.#refused = bytes
    else if (result === 'sent') this.#written += bytes.length
    this.#buffered = this.#socket.bufferedAmount
  }

  /** @param before bytes of the same message that come before it. */
  #newPing(before: number): DownFrame {
    const nonce = ++this.#nonce
    this.#pingDue = false
    this.#pings.push({ nonce, written: this.#written + before })
    return { kind: 'ping', nonce }
  }

  /** @param more bytes that are written besides. */
  #blocked(more = 0): boolean {
    const { inflight, highWater } = this.#limits
    if (this.#refused !== undefined || this.#written + more - this.#passed > inflight) return true
    if (this.#buffered > highWater) this.#buffered = this.#socket.bufferedAmount
    return this.#buffered > highWater
  }

  /** The network holds the streams back. After `slowMs` the connection is closed; its runs can be resumed. */
  #watchSlow(): void {
    this.#slowTimer ??= this.#runtime.setTimer(this.#limits.slowMs, () => {
      this.#slowTimer = undefined
      if (this.#blocked()) this.#fault(CLOSE.slow, 'the client reads too slowly')
    })
  }

  /** The network holds nothing back now. */
  #movesOn(): void {
    this.#slowTimer?.clear()
    this.#slowTimer = undefined
  }

  #resume(): void {
    if (this.#closed) return
    if (this.#blocked()) return
    this.#movesOn()
    if (this.#hasItems) this.#schedule(true)
  }

  #sendNotices(): void {
    while (this.#noticeTokens > 0 && this.#notices.length > 0) {
      this.#noticeTokens--
      this.send(this.#notices.shift() as Notice)
    }
    this.#noticeTimer ??= this.#runtime.setTimer(1000, () => {
      this.#noticeTimer = undefined
      this.#noticeTokens = NOTICES_PER_SEC
      if (this.#notices.length > 0) this.#sendNotices()
    })
  }
}

/** One writer for all connections: each message is finished before the next is begun. */
let idle: Writer | undefined
/** Writers for messages that are begun. Each is short, and goes back when its message is sent. */
const spare: Writer[] = []
const MAX_SPARE = 256
