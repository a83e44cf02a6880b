import { writeDown } from '../../protocol/encode.ts'
import { CLOSE } from '../../protocol/errors.ts'
import type { DownFrame, Notice } from '../../protocol/frames.ts'
import type { Limits } from '../../protocol/limits.ts'
import type { Runtime, Timer } from '../../protocol/runtime.ts'
import { Writer } from '../../protocol/writer.ts'
import type { Socket } from '../transports/transport.ts'

/** A message is sent when it has grown to this. */
const MESSAGE_BYTES = 65_536
/** Most bytes between two PINGs that measure what the network holds. */
const PING_BYTES = 131_072
const NOTICES_PER_SEC = 5
/** Notices that may wait for their turn, beside the one of each stream that its run has ended. */
const MAX_NOTICES = 64
/** Control frames that may wait. A peer that causes more at once asks for more than it can want. */
const MAX_CONTROL = 4_096
/** Room that a message leaves for a PONG and a PING. */
const SPARE_BYTES = 32
/** Times `highWater` at which a socket is given up. */
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
}

/** Where a subscription sends its frames. */
export interface FrameSink {
  /** The source begins: `pump` is called soon. */
  begin(source: FrameSource): void
  /** The source has something to send: `pump` is called soon, and without batching when it is `urgent`. */
  ready(source: FrameSource, urgent: boolean): void
  /** Sends a NOTICE ahead of all items. */
  notify(frame: Notice): void
}

/**
 * What a connection sends: control frames first, then the streams in turn, one message an event-loop turn. Two gates
 * hold the streams back: what the socket has buffered, and what was written beyond the last answered PING, since the
 * kernel swallows megabytes for a peer that does not read.
 */
export class Outbox implements FrameSink {
  readonly #socket: Socket
  readonly #runtime: Runtime
  readonly #limits: Limits
  readonly #fault: (code: number, reason: string) => void
  /** Least time between two messages while only text waits. */
  flushMs: number
  #control: DownFrame[] = []
  #pong: number | undefined
  #queue: FrameSource[] = []
  #scheduled: 'no' | 'later' | 'turn' = 'no'
  #flushTimer: Timer | undefined
  #flushedAt = Number.NEGATIVE_INFINITY
  /** A message the transport would not take yet. */
  #refused: Uint8Array | undefined
  #written = 0
  /** Of `written`, what the last answered PING has passed. */
  #passed = 0
  #pings: { nonce: number; written: number }[] = []
  /** A PING goes out with the next message, whatever that holds. */
  #pingDue = false
  #nonce = 0
  #slowTimer: Timer | undefined
  #notices: Notice[] = []
  #noticeTokens = NOTICES_PER_SEC
  #noticeTimer: Timer | undefined
  #finishing = false
  #closed = false

  /** @param fault told once when the peer is too slow or asks for too much: the connection is to be closed with the code. */
  constructor(socket: Socket, runtime: Runtime, limits: Limits, fault: (code: number, reason: string) => void) {
    this.#socket = socket
    this.#runtime = runtime
    this.#limits = limits
    this.#fault = fault
    this.flushMs = limits.flushMs
  }

  /** Bytes sent to this peer. */
  get written(): number {
    return this.#written
  }

  /** Sends a frame ahead of all streams, with this turn's message. */
  send(frame: DownFrame): void {
    this.#control.push(frame)
    if (this.#control.length > MAX_CONTROL) return this.#fault(CLOSE.tooMany, 'too many requests at once')
    this.#schedule(true)
  }

  /** Answers the last PING of a message; of several answers that wait only the last is sent. */
  pong(nonce: number): void {
    this.#pong = nonce
    this.#schedule(true)
  }

  ping(): void {
    this.#pingDue = this.#pings.length < 2
    this.#schedule(true)
  }

  /** Sends a NOTICE, at most five a second; more of them wait. */
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
      // What is no stream's may have come meanwhile.
      this.#schedule(true)
    }
    this.#resume()
  }

  ready(source: FrameSource, urgent: boolean): void {
    this.#enqueue(source)
    this.#schedule(urgent)
  }

  /** A subscription that begins waits one turn longer: a quick actor's first words then travel with its OPENED. */
  begin(source: FrameSource): void {
    this.#enqueue(source)
    this.#runtime.nextTurn(() => {
      if (source.queued) this.#schedule(true)
    })
  }

  /** Sends what waits now, without the streams: the socket is about to close. */
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
    this.#control = []
    this.#flushTimer?.clear()
    this.#slowTimer?.clear()
    this.#noticeTimer?.clear()
  }

  #enqueue(source: FrameSource): void {
    if (source.queued) return
    source.queued = true
    this.#queue.push(source)
  }

  #schedule(now: boolean): void {
    if (this.#scheduled === 'turn' || this.#closed || (!now && this.#scheduled === 'later')) return
    const rested = now ? this.flushMs : this.#runtime.now() - this.#flushedAt
    if (rested >= this.flushMs) {
      this.#flushTimer?.clear()
      this.#scheduled = 'turn'
      this.#runtime.nextTurn(this.#flush)
    } else if (this.#scheduled === 'no') {
      this.#scheduled = 'later'
      this.#flushTimer = this.#runtime.setTimer(this.flushMs - rested, this.#flush)
    }
  }

  readonly #flush = (): void => {
    this.#scheduled = 'no'
    if (this.#closed || this.#refused) return
    const out = idle ?? new Writer()
    idle = undefined
    out.reset()
    const bytes = this.#message(out)
    idle = out
    if (!bytes) return
    this.#flushedAt = this.#runtime.now()
    this.#sendBytes(bytes)
    if (this.#closed) return
    if (this.#socket.bufferedAmount > this.#limits.highWater * FLOOD)
      return this.#fault(CLOSE.slow, 'the client does not read')
    if (this.#blocked()) this.#watchSlow()
    else if (this.#queue.length > 0) this.#schedule(true)
    if (this.#control.length > 0) this.#schedule(true)
  }

  /** What there is to send now, as bytes of its own. */
  #message(out: Writer): Uint8Array | undefined {
    this.#writeControl(out)
    if (this.#pong !== undefined) {
      writeDown(out, { kind: 'pong', nonce: this.#pong })
      this.#pong = undefined
    }
    if (this.#control.length === 0 && !this.#blocked()) this.#pumpStreams(out)
    const passedPing = this.#pings[this.#pings.length - 1]?.written ?? this.#passed
    // Written last: an answer says that all of this message has arrived, and nothing beyond it.
    if (this.#pingDue || this.#written + out.length - passedPing >= Math.min(PING_BYTES, this.#limits.inflight))
      writeDown(out, this.#newPing(out.length))
    if (out.length === 0) return undefined
    // From the pool, where a small one costs a tenth of an allocation of its own.
    const bytes = Buffer.allocUnsafe(out.length)
    bytes.set(out.view())
    return bytes
  }

  /** As many control frames as one message holds; the others are left for the next. */
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

  #pumpStreams(out: Writer): void {
    this.#movesOn()
    const { maxDown } = this.#limits
    const turn = this.#queue
    this.#queue = []
    const unfinished: FrameSource[] = []
    let crowdedOut: FrameSource | undefined
    let i = 0
    for (; !crowdedOut && i < turn.length && out.length < MESSAGE_BYTES; i++) {
      const source = turn[i] as FrameSource
      const before = out.length
      source.queued = false
      if (source.pump(out, maxDown - SPARE_BYTES) !== 'more') continue
      if (out.length === before) crowdedOut = source
      else unfinished.push(source)
    }
    // Who had no turn comes first next time, then who had more to say.
    const woken = this.#queue
    this.#queue = turn.slice(i)
    // What found no room begins the next message: others would fill that as far again.
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
  }

  /** @param before bytes of its message that come before it. */
  #newPing(before: number): DownFrame {
    const nonce = ++this.#nonce
    this.#pingDue = false
    this.#pings.push({ nonce, written: this.#written + before })
    return { kind: 'ping', nonce }
  }

  #blocked(): boolean {
    const { inflight, highWater } = this.#limits
    return (
      this.#refused !== undefined || this.#written - this.#passed > inflight || this.#socket.bufferedAmount > highWater
    )
  }

  /** Held back by the network: for too long, and the peer is cut off; its runs can be resumed. */
  #watchSlow(): void {
    this.#slowTimer ??= this.#runtime.setTimer(this.#limits.slowMs, () => {
      this.#slowTimer = undefined
      if (this.#blocked()) this.#fault(CLOSE.slow, 'the client reads too slowly')
    })
  }

  /** It is not held back now. */
  #movesOn(): void {
    this.#slowTimer?.clear()
    this.#slowTimer = undefined
  }

  #resume(): void {
    if (this.#closed) return
    if (this.#blocked()) return
    this.#movesOn()
    if (this.#queue.length > 0) this.#schedule(true)
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

/** One for all: it grows to the largest message there is, and no message is begun before another is finished. */
let idle: Writer | undefined
