import { beginDelta, beginEnd, beginEvent, endDelta, endEvent, writeDown } from '../../protocol/encode.ts'
import { type DownFrame, type Notice, OUTCOMES, type Policy, TAG } from '../../protocol/frames.ts'
import type { Limits } from '../../protocol/limits.ts'
import type { Runtime, Timer } from '../../protocol/runtime.ts'
import { Writer } from '../../protocol/writer.ts'
import { Cursor, type StartPosition } from '../log/cursor.ts'
import { joinTexts } from '../log/join-texts.ts'
import type { Chunk } from '../log/log.ts'
import type { Reader } from '../log/readers.ts'
import type { ReadableRun } from '../runs/readable-run.ts'
import type { FrameSink, FrameSource } from './outbox.ts'
import { RateBucket } from './rate-bucket.ts'
import type { SharedMessage, Stretch, View } from './shared-message.ts'
import { isMissing, type Jump, jumpOverMissing, lifeJump, locate, surroundings } from './start-position.ts'

/** A stream's share of one message. Only its last item may exceed it. */
const SHARE_BYTES = 16_384
/** No header of a DELTA, an EVENT or an END is larger. */
const HEADER_BYTES = 64
/** Most answers that may wait for their place among the items. Further ones are sent at once. */
const MAX_ANSWERS = 64
/**
 * Credits that the open lanes and requests listed in GAPs may be worth, per second. They cost no credit, so more of them
 * takes time: 24 KB of them take 0.36 s.
 */
const GAP_CREDITS_PER_SEC = 64

/** How a subscription reads, as START or ATTACH asks for it. */
export type SubscriptionSettings = {
  sid: number
  /** The reader is the run's principal. */
  own: boolean
  /** The client instance that reads, if it is known. */
  client?: string | undefined
  from: StartPosition
  credit: number | undefined
  policy: Policy
  rate: number | undefined
  ts: boolean
  /** START named the key of a run that existed. */
  reused: boolean
}

/** One reader of one run, on one connection. It turns the log into frames, as far as credit, rate and policy allow. */
export class Subscription implements Reader, FrameSource, View {
  // What every item touches is declared together, so that it is close in memory.
  resting = false
  #closed = false
  queued = false
  /** Its first item was sent. Until then every item is urgent. */
  #hasSent = false
  readonly #sink: FrameSink
  readonly run: ReadableRun
  readonly cursor: Cursor
  /** Frames that come before any item, if there are any. */
  #head: DownFrame[] | undefined
  /** Answers that wait until the item `after` is sent. */
  #answers: { readonly after: number; readonly frame: Notice }[] | undefined
  #rate: RateBucket | undefined
  /** Its client sent CANCEL, and is sent only the end. */
  #skipping = false
  readonly sid: number
  readonly ts: boolean
  readonly merges: boolean
  readonly policy: Policy
  readonly own: boolean
  readonly client: string | undefined
  readonly #runtime: Runtime
  readonly #creditUnit: number
  #settledSent = false
  /** No GAP comes before this time. */
  #noGapBefore = 0
  #gapTimer: Timer | undefined
  readonly #onClose: () => void

  /** @param closed called once, when the subscription has closed: after its END, or without one. */
  constructor(
    sink: FrameSink,
    runtime: Runtime,
    limits: Limits,
    run: ReadableRun,
    settings: SubscriptionSettings,
    closed: () => void,
  ) {
    const { sid, own, client, policy, ts, rate } = settings
    this.#sink = sink
    this.#runtime = runtime
    this.#onClose = closed
    this.run = run
    this.own = own
    this.client = client
    this.policy = policy
    this.sid = sid
    this.ts = ts
    this.merges = policy === 'merge'
    this.#creditUnit = limits.creditUnit
    const { position, gaps } = locate(run, sid, settings.from)
    const credit = Math.min(settings.credit ?? limits.initialCredit, limits.maxCredit)
    this.cursor = new Cursor(run.log, position, credit, limits.maxCredit)
    const next = position.last + 1
    const opened: DownFrame = {
      kind: 'opened',
      sid,
      next,
      run: run.id,
      gen: position.gen,
      credit,
      ...surroundings(run, next),
    }
    if (settings.reused) opened.reused = true
    this.#head = [opened, ...gaps]
    if (rate !== undefined) this.#rate = new RateBucket(rate, runtime)
  }

  /** Joins the readers of the run. */
  open(): void {
    this.run.join(this)
    this.#sink.ready(this, true)
  }

  get paused(): boolean {
    return this.#rate?.perSec === 0
  }

  get perSec(): number | undefined {
    return this.#rate?.perSec
  }

  allowance(): number {
    return this.#rate?.allowance(this.#refilled) ?? Number.POSITIVE_INFINITY
  }

  /** The rate lets an item through again: it may be sent, or the actor may produce it. */
  readonly #refilled = (): void => {
    this.run.reconsider(this)
    this.wake(true)
  }

  wake(urgent: boolean): void {
    if (!this.#closed) this.#sink.ready(this, urgent || !this.#hasSent)
  }

  grant(n: number): void {
    this.cursor.grant(n)
    this.run.reconsider(this)
    this.wake(false)
  }

  /** Sets the rate, in items a second. 0 pauses; null removes the rate. */
  setRate(perSec: number | null): void {
    this.#rate?.clear()
    this.#rate = perSec === null ? undefined : new RateBucket(perSec, this.#runtime)
    this.run.reconsider(this)
    this.wake(true)
  }

  /** Sends a NOTICE behind the items that are logged, because one of them may be the better answer. */
  answer(frame: Notice): void {
    const { log } = this.run
    const waiting = this.#answers ?? []
    const isAllSent = this.cursor.last >= log.last && !this.#sink.hasBegun
    if (isAllSent || waiting.length >= MAX_ANSWERS) return this.#sink.notify(frame)
    waiting.push({ after: log.last, frame })
    this.#answers = waiting
    this.wake(true)
  }

  /** Drops the items that were not sent. Only the end follows. */
  skip(): void {
    this.#skipping = true
    this.wake(true)
  }

  /** Leaves the run, which goes on. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#gapTimer?.clear()
    this.run.leave(this)
    this.#rate?.clear()
    this.#onClose()
  }

  pump(out: Writer, most: number): 'more' | 'idle' {
    if (this.#closed) return 'idle'
    const shareEnd = out.length + SHARE_BYTES
    for (;;) {
      if (this.#head !== undefined && !this.#writeHead(this.#head, out, most)) return 'more'
      if (this.#enterNextLife()) continue
      if (this.#wantsEnd()) return this.#writeEnd(out, most)
      if (this.#skipping) return 'idle'
      this.#sendSettled()
      const { log } = this.run
      if (this.cursor.last >= log.last) {
        if (this.#answers !== undefined) this.#sendAnswers(this.cursor.last)
        this.run.rest(this)
        return 'idle'
      }
      if (this.paused || this.cursor.balance <= 0) return 'idle'
      const allowed = this.allowance()
      if (allowed < 1) return 'idle'
      if (isMissing(log, this.cursor, this.policy)) {
        if (this.#mustWaitForGap()) return 'idle'
        this.#jump(jumpOverMissing(log, this.cursor))
        continue
      }
      if (out.length >= shareEnd) return 'more'
      const through = Math.min(
        this.cursor.reach,
        this.cursor.last + allowed,
        (log.lifeAfter(this.cursor.gen)?.first ?? Number.POSITIVE_INFINITY) - 1,
      )
      const chunk = log.chunk(this.cursor.last + 1, through, shareEnd - out.length)
      if (!chunk) return 'idle'
      if (out.length > 0 && out.length + chunk.end - chunk.start + HEADER_BYTES > most) return 'more'
      this.#writeChunk(out, chunk)
      this.cursor.sent(chunk.seq + chunk.count - 1, chunk.cost)
      this.#sink.wrote(chunk.count)
      if (this.#answers !== undefined) this.#sendAnswers(this.cursor.last)
      this.#hasSent = true
      if (this.#rate) {
        this.#rate.take(chunk.count)
        // The rate has let more through since the run last asked.
        this.run.reconsider(this)
      }
      if (this.cursor.last === log.last && !this.run.end) {
        this.run.rest(this)
        return 'idle'
      }
    }
  }

  get isReady(): boolean {
    // Without the run, which would be one more object to fetch for each text.
    const { cursor } = this
    const { log } = cursor
    return (
      this.#hasSent &&
      this.#head === undefined &&
      this.#rate === undefined &&
      !this.#skipping &&
      cursor.balance > 0 &&
      cursor.gen === log.gen &&
      cursor.last === log.last
    )
  }

  takeText(): boolean {
    const { cursor } = this
    const { log } = cursor
    const { last } = log
    // It may have become several items, or none that readers may be sent yet.
    if (cursor.last !== last - 1) return false
    // Texts that come close together are cheaper in one frame, which is written when the message is sent.
    const before = log.timeOf(last - 1)
    const at = log.timeOf(last)
    if (before === undefined || at === undefined || at - before <= this.#sink.flushMs) return false
    const chunk = log.chunk(last, last, SHARE_BYTES)
    const out = chunk && this.#sink.begun()
    if (!out) return false
    this.#writeChunk(out, chunk)
    cursor.sent(last, chunk.cost)
    this.#sink.wrote(1)
    return true
  }

  share(last: SharedMessage, most: number): Uint8Array | undefined {
    const { log } = this.run
    const { cursor } = this
    // A reader with anything else to be sent, or to be held back by, has no part in it.
    const isPlain =
      !this.#closed &&
      this.#head === undefined &&
      this.#answers === undefined &&
      this.#rate === undefined &&
      !this.#skipping &&
      this.run.end === undefined &&
      cursor.gen === log.gen &&
      cursor.last < log.last &&
      cursor.reach >= log.last &&
      !isMissing(log, cursor, this.policy)
    if (!isPlain) return undefined
    const from = cursor.last + 1
    let stretch = last.find(log, from, this)
    if (!stretch) {
      stretch = this.#stretch(from)
      if (!stretch) return undefined
      last.keep(log, from, this, stretch)
    }
    if (stretch.bytes.length > most) return undefined
    cursor.sent(log.last, stretch.cost)
    this.#sink.wrote(stretch.count)
    this.#hasSent = true
    this.run.rest(this)
    return stretch.bytes
  }

  /** All items from `from` on. Undefined if they are more than one share. */
  #stretch(from: number): Stretch | undefined {
    const { log } = this.run
    if (log.bytesThrough(log.last) - log.bytesThrough(from - 1) > SHARE_BYTES) return undefined
    const out = idle
    out.reset()
    let cost = 0
    for (let seq = from; seq <= log.last; ) {
      const chunk = log.chunk(seq, log.last, SHARE_BYTES - out.length)
      if (!chunk || out.length + chunk.end - chunk.start + HEADER_BYTES > SHARE_BYTES) return undefined
      this.#writeChunk(out, chunk)
      cost += chunk.cost
      seq += chunk.count
    }
    const bytes = Buffer.allocUnsafe(out.length)
    bytes.set(out.view())
    return { bytes, count: log.last + 1 - from, cost }
  }

  dismiss(code: string, message: string): void {
    // Its END comes next, so nothing is lost.
    if (this.#closed || this.#wantsEnd()) return
    this.#comesFirst({
      kind: 'end',
      sid: this.sid,
      seq: this.cursor.last + 1,
      outcome: 'unsubscribed',
      data: { code, message },
    })
    this.wake(true)
  }

  /** Without an END, the client attaches again where it connects next. */
  drop(hasMoved: boolean): void {
    this.close()
    if (hasMoved) this.#sink.moved()
  }

  #comesFirst(frame: DownFrame): void {
    if (this.#head === undefined) this.#head = [frame]
    else this.#head.push(frame)
  }

  #writeHead(head: DownFrame[], out: Writer, most: number): boolean {
    for (let frame = head[0]; frame; frame = head[0]) {
      const before = out.length
      writeDown(out, frame)
      if (before > 0 && out.length > most) {
        out.truncate(before)
        return false
      }
      head.shift()
      if (frame.kind === 'gap') this.#countGap(out.length - before)
      if (frame.kind === 'end') this.close()
    }
    this.#head = undefined
    return !this.#closed
  }

  /** Passes from one life of the log to the next. A GAP reports it before the first item of the new life. */
  #enterNextLife(): boolean {
    const jump = lifeJump(this.run.log, this.cursor)
    if (jump) this.#jump(jump)
    return jump !== undefined
  }

  /** A GAP of one credit unit is paid for by the item behind it. */
  #countGap(bytes: number): void {
    const free = Math.max(0, bytes - this.#creditUnit)
    this.#noGapBefore = this.#runtime.now() + (free * 1_000) / (this.#creditUnit * GAP_CREDITS_PER_SEC)
  }

  /** Whether another GAP would come too soon. Wakes the subscription when it would not. */
  #mustWaitForGap(): boolean {
    const ms = this.#noGapBefore - this.#runtime.now()
    if (ms <= 0) return false
    this.#gapTimer ??= this.#runtime.setTimer(ms, () => {
      this.#gapTimer = undefined
      this.wake(false)
    })
    return true
  }

  #sendAnswers(last: number): void {
    const waiting = this.#answers
    while (waiting?.[0] && waiting[0].after <= last) this.#sink.notify(waiting.shift()!.frame)
    if (waiting?.length === 0) this.#answers = undefined
  }

  #jump({ from, next, gen, reason }: Jump): void {
    this.cursor.moveTo(next - 1, gen)
    // Behind missing items the others still come. In place of void ones they may not.
    this.#sendAnswers(from < next ? next - 1 : Number.POSITIVE_INFINITY)
    this.#comesFirst({ kind: 'gap', sid: this.sid, from, next, reason, gen, ...surroundings(this.run, next) })
    this.run.reconsider(this)
  }

  #wantsEnd(): boolean {
    const { log } = this.run
    if (!this.#skipping && (this.cursor.last !== log.last || this.cursor.gen !== log.gen)) return false
    return this.run.end !== undefined
  }

  #writeEnd(out: Writer, most: number): 'more' | 'idle' {
    const { end } = this.run
    if (!end) return 'idle'
    if (out.length > 0 && out.length + end.packed.length + HEADER_BYTES > most) return 'more'
    beginEnd(out, this.sid, end.seq, end.outcome)
    out.raw(end.packed)
    this.close()
    return 'idle'
  }

  /** Reports once that the run has ended, when its end must wait for credit. */
  #sendSettled(): void {
    if (this.cursor.balance > 0 || this.#settledSent) return
    const { end } = this.run
    if (!end) return
    this.#settledSent = true
    const ref = { tag: TAG.end, sid: this.sid, detail: OUTCOMES.indexOf(end.outcome) }
    this.#sink.notify({
      kind: 'notice',
      code: 'settled',
      message: 'the run has ended; its last items wait for credit',
      ref,
    })
  }

  #writeChunk(out: Writer, chunk: Chunk): void {
    const { seq, lane, count, cost } = chunk
    const ts = this.ts ? chunk.at : undefined
    if (lane === undefined) {
      beginEvent(out, this.sid, seq, cost, ts)
      out.copy(chunk.body, chunk.start, chunk.end, 2)
      return endEvent(out, cost, ts)
    }
    const merged = this.merges && count > 1 ? count : undefined
    beginDelta(out, this.sid, seq, lane, merged, ts)
    if (merged !== undefined) joinTexts(out, chunk.bodies)
    else {
      if (count > 1) out.array(count)
      out.copy(chunk.body, chunk.start, chunk.end, count)
    }
    endDelta(out, merged, ts)
  }
}

/** One writer for all messages that are shared: each is finished before the next is begun. */
const idle = new Writer()
