import { beginDelta, beginEnd, beginEvent, endDelta, endEvent, writeDown } from '../../protocol/encode.ts'
import { type DownFrame, type Gap, type Notice, OUTCOMES, type Policy, TAG } from '../../protocol/frames.ts'
import type { Limits } from '../../protocol/limits.ts'
import type { Runtime } from '../../protocol/runtime.ts'
import type { Writer } from '../../protocol/writer.ts'
import { Cursor } from '../log/cursor.ts'
import { joinTexts } from '../log/join-texts.ts'
import type { Chunk } from '../log/log.ts'
import type { Reader } from '../log/readers.ts'
import type { ReadableRun } from '../runs/readable-run.ts'
import type { FrameSink, FrameSource } from './outbox.ts'
import { RateBucket } from './rate-bucket.ts'
import { locate, type StartPosition, surroundings } from './start-position.ts'

/** Bytes of text that a stream gets in one turn: beyond them goes only the item that fills it. */
const TURN_BYTES = 16_384
/** No header of a DELTA or EVENT is larger. */
const HEADER_BYTES = 64

/** Answers that may wait for their place among the items. Further ones do not wait. */
const MAX_ANSWERS = 64

/** How a subscription reads, as START or ATTACH asks for it. */
export type SubscriptionSettings = {
  sid: number
  own: boolean
  from: StartPosition
  credit: number | undefined
  policy: Policy
  rate: number | undefined
  ts: boolean
  reused: boolean
}

/** One consumer's view of one run on one connection: it turns the log into frames, as credit, rate and policy allow. */
export class Subscription implements Reader, FrameSource {
  // What every item touches stands together, as in a production.
  resting = false
  #closed = false
  queued = false
  /** It was sent an item. Somebody waits for the first one. */
  #begun = false
  readonly #sink: FrameSink
  readonly run: ReadableRun
  readonly cursor: Cursor
  readonly sid: number
  readonly policy: Policy
  readonly own: boolean
  readonly #runtime: Runtime
  readonly #ts: boolean
  /** Frames that come before any item. */
  #head: DownFrame[] = []
  /** Answers, and how far it must be for each. */
  #answers: { readonly after: number; readonly frame: Notice }[] | undefined
  #rate: RateBucket | undefined
  /** It sent CANCEL: of the run it wants only the end. */
  #skipping = false
  #toldSettled = false
  readonly #onClose: () => void

  /** @param closed called once, when the subscription is over: its END is written, or nobody wants one. */
  constructor(
    sink: FrameSink,
    runtime: Runtime,
    limits: Limits,
    run: ReadableRun,
    settings: SubscriptionSettings,
    closed: () => void,
  ) {
    const { sid, own, policy, ts, rate } = settings
    this.#sink = sink
    this.#runtime = runtime
    this.#onClose = closed
    this.run = run
    this.sid = sid
    this.own = own
    this.policy = policy
    this.#ts = ts
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

  /** Begins to follow the run. */
  open(): void {
    this.run.join(this)
    this.#sink.begin(this)
  }

  get paused(): boolean {
    return this.#rate?.perSec === 0
  }

  get perSec(): number | undefined {
    return this.#rate?.perSec
  }

  wake(urgent: boolean): void {
    if (!this.#closed) this.#sink.ready(this, urgent || !this.#begun)
  }

  grant(n: number): void {
    this.cursor.grant(n)
    this.run.reconsider(this)
    this.wake(false)
  }

  /** Items a second from now on; 0 pauses, null lifts. */
  setRate(perSec: number | null): void {
    this.#rate?.clear()
    this.#rate = perSec === null ? undefined : new RateBucket(perSec, this.#runtime)
    this.run.reconsider(this)
    this.wake(true)
  }

  /** Answers with a NOTICE behind the items that are logged: the better answer may be one of them. */
  answer(frame: Notice): void {
    const { log } = this.run
    const waiting = this.#answers ?? []
    if (this.cursor.last >= log.last || waiting.length >= MAX_ANSWERS) return this.#sink.notify(frame)
    waiting.push({ after: log.last, frame })
    this.#answers = waiting
  }

  /** Drops what was not sent: only the end follows. */
  skip(): void {
    this.#skipping = true
    this.wake(true)
  }

  /** Ends this view; the run goes on. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#rate?.clear()
    this.run.leave(this)
    this.#onClose()
  }

  pump(out: Writer, most: number): 'more' | 'idle' {
    if (this.#closed) return 'idle'
    const turnEnd = out.length + TURN_BYTES
    for (;;) {
      if (!this.#writeHead(out, most)) return 'more'
      if (this.#enterNextLife()) continue
      if (this.#wantsEnd()) return this.#writeEnd(out, most)
      if (this.#skipping) return 'idle'
      this.#tellSettled()
      const { log } = this.run
      if (this.cursor.last >= log.last) {
        this.run.rest(this)
        return 'idle'
      }
      if (this.paused || this.cursor.balance <= 0) return 'idle'
      const allowed = this.#rate?.allowance(() => this.wake(true)) ?? Number.POSITIVE_INFINITY
      if (allowed < 1) return 'idle'
      if (this.#skipMissing()) continue
      if (out.length >= turnEnd) return 'more'
      const through = Math.min(
        this.cursor.reach,
        this.cursor.last + allowed,
        (log.lifeAfter(this.cursor.gen)?.first ?? Number.POSITIVE_INFINITY) - 1,
      )
      const chunk = log.chunk(this.cursor.last + 1, through, turnEnd - out.length)
      if (!chunk) return 'idle'
      if (out.length > 0 && out.length + chunk.end - chunk.start + HEADER_BYTES > most) return 'more'
      this.#writeChunk(out, chunk)
      this.cursor.sent(chunk.seq + chunk.count - 1, chunk.cost)
      if (this.#answers !== undefined) this.#sendAnswers(this.cursor.last)
      this.#begun = true
      this.#rate?.take(chunk.count)
      if (this.cursor.last === log.last && !this.run.end) {
        this.run.rest(this)
        return 'idle'
      }
    }
  }

  dismiss(code: string, message: string): void {
    // Of what it waits for nothing is lost.
    if (this.#closed || this.#wantsEnd()) return
    this.#head.push({
      kind: 'end',
      sid: this.sid,
      seq: this.cursor.last + 1,
      outcome: 'unsubscribed',
      data: { code, message },
    })
    this.wake(true)
  }

  #writeHead(out: Writer, most: number): boolean {
    for (let frame = this.#head[0]; frame; frame = this.#head[0]) {
      const before = out.length
      writeDown(out, frame)
      if (before > 0 && out.length > most) {
        out.truncate(before)
        return false
      }
      this.#head.shift()
      if (frame.kind === 'end') this.close()
    }
    return !this.#closed
  }

  /** Passes from one life of the log to the next, which a GAP says before the new life's first item. */
  #enterNextLife(): boolean {
    const { log } = this.run
    const { gen, last } = this.cursor
    const life = gen < log.gen ? log.lifeAfter(gen) : undefined
    if (life && last >= life.first - 1) {
      this.#moveTo(life.first, life.gen, life.first, 'rewound')
      return true
    }
    if (gen === log.gen && last > log.last) {
      this.#moveTo(log.first, log.genAt(log.first), log.first, 'store_lost')
      return true
    }
    return false
  }

  /** Steps over what is not kept any more, and with `latest` over all but the newest. */
  #skipMissing(): boolean {
    const { log } = this.run
    const from = this.cursor.last + 1
    if (from < log.first) {
      this.#moveTo(log.first, log.genAt(log.first), from, 'retention')
      return true
    }
    if (this.policy === 'latest' && from < log.last) {
      this.#moveTo(log.last, log.genAt(log.last), from, 'policy')
      return true
    }
    return false
  }

  #sendAnswers(last: number): void {
    const waiting = this.#answers
    while (waiting?.[0] && waiting[0].after <= last) this.#sink.notify(waiting.shift()!.frame)
    if (waiting?.length === 0) this.#answers = undefined
  }

  #moveTo(next: number, gen: number, from: number, reason: Gap['reason']): void {
    this.cursor.moveTo(next - 1, gen)
    // Behind what is only missing the others come all the same; of what became void they may never come.
    this.#sendAnswers(from < next ? next - 1 : Number.POSITIVE_INFINITY)
    this.#head.push({ kind: 'gap', sid: this.sid, from, next, reason, gen, ...surroundings(this.run, next) })
    this.run.reconsider(this)
  }

  #wantsEnd(): boolean {
    const { end, log } = this.run
    return end !== undefined && (this.#skipping || (this.cursor.last === log.last && this.cursor.gen === log.gen))
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

  /** The run has ended but its end must wait for credit: says so once. */
  #tellSettled(): void {
    const { end } = this.run
    if (!end || this.#toldSettled || this.cursor.balance > 0) return
    this.#toldSettled = true
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
    const ts = this.#ts ? chunk.at : undefined
    if (lane === undefined) {
      beginEvent(out, this.sid, seq, cost, ts)
      out.copy(chunk.body, chunk.start, chunk.end, 2)
      return endEvent(out, cost, ts)
    }
    const merged = this.policy === 'merge' && count > 1 ? count : undefined
    beginDelta(out, this.sid, seq, lane, merged, ts)
    if (merged !== undefined) joinTexts(out, chunk.bodies)
    else {
      if (count > 1) out.array(count)
      out.copy(chunk.body, chunk.start, chunk.end, count)
    }
    endDelta(out, merged, ts)
  }
}
