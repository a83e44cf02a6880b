import { MillraceError } from '../../protocol/errors.ts'
import type { WireMap } from '../../protocol/frames.ts'
import type { Limits } from '../../protocol/limits.ts'
import type { Receipt, RunUsage, Sent } from '../../protocol/receipt.ts'
import type { Runtime, Timer } from '../../protocol/runtime.ts'
import { errorData } from '../log/error-data.ts'
import type { Log } from '../log/log.ts'
import type { LoggedEnd } from '../log/logged-end.ts'
import { packPayload } from '../log/payload.ts'
import type { RecordedEnd } from '../log/recorded.ts'
import type { Children } from './children.ts'
import type { Inputs } from './inputs.ts'
import type { OpenWork, OpenWorkSnapshot } from './open-work.ts'
import type { Producer } from './producer.ts'
import type { Requests } from './requests.ts'
import type { StopCause } from './stop-cause.ts'
import type { UsageTally } from './usage-tally.ts'

/** Bytes that an id takes in a list in addition to its text, at most. */
const ID_HEADER_BYTES = 5

/** A stop, and what was open when it came. */
type Stop = StopCause & {
  at: number
  /** Ids of the children that go on without the run. */
  continuing: readonly string[]
  open: OpenWorkSnapshot
  /** Whether a provider of the run itself, not of a child, was cut off. */
  cutOff: boolean
}

/** What a run hands to its ending: the parts that must finish, and what follows. */
export type EndingCallbacks = {
  readonly runtime: Runtime
  readonly limits: Limits
  readonly startedAt: number
  readonly log: Log
  readonly producer: Producer
  readonly inputs: Inputs
  requests(): Requests | undefined
  readonly openWork: OpenWork
  readonly usage: UsageTally
  /** Gives the children that the run has now. */
  readonly children: () => Children
  /** Whether it ends because the server goes away, or because another one has the run. */
  isInterrupted(): boolean
  /** The run is over: its clocks stand still from now on. */
  over(): void
  /** Aborts the signal of the actor. */
  abort(reason: MillraceError): void
  /** Calls `publish` once the end is safe: readers may see it then. */
  store(end: LoggedEnd, publish: () => void): void
  /** The end is logged, and may be seen. */
  ended(): void
  /** Everything has finished. After `ended`. */
  settled(): void
}

/**
 * How a run ends: it is stopped or its actor finishes, it has one end, and it settles once everything it opened has
 * finished. A stop ends the run at the latest when its grace is over, and its receipt lists what would not stop.
 */
export class Ending {
  readonly #run: EndingCallbacks
  #stop: Stop | undefined
  #end: LoggedEnd | undefined
  #isPublished = false
  #isSettled = false
  #grace: Timer | undefined

  constructor(run: EndingCallbacks) {
    this.#run = run
  }

  /** The one end, once readers may see it. */
  get end(): LoggedEnd | undefined {
    return this.#isPublished ? this.#end : undefined
  }

  /** The run is stopping, or has ended: nothing more is logged. */
  get isOver(): boolean {
    return this.#stop !== undefined || this.#end !== undefined
  }

  /** It was stopped because the server goes away, or because another one has the run. */
  get isInterrupted(): boolean {
    return this.#stop?.error.code === 'interrupted'
  }

  /** Everything has finished, and not only the end been logged. */
  get isSettled(): boolean {
    return this.#isSettled
  }

  /** Why nothing goes on. The error is made when it is asked for: recording its stack is expensive. */
  readonly stopReason = (): MillraceError => this.#stop?.error ?? new MillraceError('bad_request', 'the run has ended')

  /** What is open besides the actor, in the run and in its children. */
  get openWork(): OpenWorkSnapshot {
    return this.#run.children().openWith(this.#run.openWork.snapshot())
  }

  /** What the run and its children have cost so far, if anything. */
  get spent(): Receipt['usage'] {
    return this.#spent(this.#cutOff)
  }

  /** Stops the run at once, whatever its actor waits for. A run that is over is left as it is. */
  stop(cause: StopCause): void {
    if (this.isOver) return
    const { runtime, limits, openWork } = this.#run
    const own = openWork.snapshot()
    const stop: Stop = { ...cause, continuing: [], at: runtime.now(), open: own, cutOff: own.provider }
    this.#stop = stop
    if (!this.#run.children().idle) {
      // What goes on is none of what this stops.
      stop.continuing = this.#letGo(cause.cascade === false)
      stop.open = this.openWork
    }
    // First of all, because it is what a client waits for.
    this.#run.abort(cause.error)
    // What the listeners of the signal have finished may have been the last.
    if (!this.#end) {
      this.#run.over()
      this.#grace = runtime.setTimer(limits.cancelGraceMs, () => {
        this.#grace = undefined
        this.endNow()
      })
    }
    this.#quiet()
    this.#stopWork()
  }

  /** The actor has finished with a result. */
  done(result: unknown): void {
    const { runtime, startedAt, usage, inputs, producer } = this.#run
    const unread = inputs.size
    if (unread > 0)
      producer.say({
        type: 'warning',
        code: 'inputs_unread',
        message: `the actor ended before it took ${unread} of its inputs`,
      })
    const data: WireMap = {
      ms: Math.round(runtime.now() - startedAt),
      ...this.#usage(this.#cutOff),
      ...usage.summary,
    }
    if (result !== undefined) data['result'] = result
    this.#endWith('done', data)
  }

  /** The run ends as another one did. */
  replay({ outcome, data }: RecordedEnd): void {
    this.#endWith(outcome, data)
  }

  /** The run has failed. */
  fail(error: MillraceError): void {
    this.#endWith('error', errorData(error, this.#run.limits, this.#usage(this.#cutOff)))
  }

  /** Logs the end of a run that is stopped, whatever of it has not finished. */
  endNow(): void {
    const stop = this.#stop
    if (!stop || this.#end) return
    // The grace of the children is over as well, and what they cost belongs to this end.
    this.#run.children().endNow()
    if (stop.outcome === 'error')
      this.#endWith('error', errorData(stop.error, this.#run.limits, this.#usage(stop.cutOff)))
    else this.#endWith('cancelled', this.#receipt(stop))
  }

  /** Something has finished: was it the last? */
  check(): void {
    const { producer, openWork, children } = this.#run
    if (this.#isSettled || !this.isOver || !producer.finished || !openWork.idle || !children().idle) return
    // Logging the end comes back here.
    if (!this.#end) return this.endNow()
    if (!this.#isPublished) return
    this.#isSettled = true
    this.#run.settled()
  }

  /** What has not finished: `actor`, `provider`, and ids of tool calls and children. */
  get unsettled(): string[] {
    const { producer, children } = this.#run
    const open = this.openWork
    return [
      ...(producer.finished ? [] : ['actor']),
      ...(open.provider ? ['provider'] : []),
      ...open.tools,
      ...children().ids,
    ]
  }

  #receipt(stop: Stop): Sent<Receipt> {
    const { runtime, limits, log } = this.#run
    const open = this.openWork
    const { unsettled } = this
    const goingOn = new Set(open.tools)
    const stopped = stop.open.tools.filter((call) => !goingOn.has(call))
    const receipt: Sent<Receipt> = {
      code: stop.code,
      by: stop.by,
      settled: unsettled.length === 0,
      unsettled: asManyAsFit(unsettled, limits),
      provider: open.provider ? 'open' : stop.open.provider ? 'closed' : 'none',
      tools: asManyAsFit(stopped, limits),
      kept: log.written,
      ms: Math.round((runtime.now() - stop.at) * 1000) / 1000,
    }
    const usage = this.#spent(stop.cutOff)
    if (usage) receipt.usage = usage
    if (stop.continuing.length > 0) receipt.continuing = asManyAsFit(stop.continuing, limits)
    if (stop.note !== undefined) receipt.note = stop.note
    return receipt
  }

  /** Whether a provider of the run itself is cut off by its end. */
  get #cutOff(): boolean {
    return this.#stop?.cutOff ?? this.#run.openWork.snapshot().provider
  }

  #spent(cutOff: boolean): Receipt['usage'] {
    const { usage, producer, children } = this.#run
    return usage.usage(cutOff, producer.texts, children().spent)
  }

  /** The usage in an END without a receipt. It says only if it is not exact. */
  #usage(cutOff: boolean): { usage?: RunUsage } {
    const spent = this.#spent(cutOff)
    if (!spent?.exact) return spent ? { usage: spent } : {}
    const { exact: _, ...usage } = spent
    return { usage }
  }

  #endWith(outcome: LoggedEnd['outcome'], data: WireMap): void {
    if (this.#end) return
    const { runtime, limits, log, producer, openWork } = this.#run
    let packed: Uint8Array
    try {
      packed = packPayload(data, limits)
    } catch (error) {
      const cause = MillraceError.from(error, 'bad_event')
      return this.fail(new MillraceError('bad_event', `the end of the run cannot be sent: ${cause.message}`))
    }
    log.flushAllHeld(runtime.wallClock())
    // A receipt counts what was kept, and half a character that was held back has just become an item.
    if (outcome === 'cancelled' && data['kept'] !== log.written)
      packed = packPayload({ ...data, kept: log.written }, limits)
    this.#end = { seq: log.next, outcome, packed }
    this.#grace?.clear()
    this.#run.over()
    this.#quiet()
    let isLater = false
    this.#run.store(this.#end, () => {
      this.#isPublished = true
      this.#run.ended()
      if (isLater) this.check()
    })
    isLater = true
    if (!this.#stop) {
      // An actor that waits for its signal would otherwise keep its slot for ever.
      this.#letGo(false)
      if (!producer.finished || !openWork.idle) this.#run.abort(this.stopReason())
      this.#stopWork()
    }
    this.check()
  }

  /** Nothing more is logged: inputs end, requests and waiting events fail. */
  #quiet(): void {
    this.#run.inputs.close()
    this.#run.requests()?.close()
    this.#run.producer.quiet()
  }

  /** Lets the children go that outlive the run. Returns their ids. */
  #letGo(all: boolean): readonly string[] {
    return this.#run.isInterrupted() ? [] : this.#run.children().letGo(this.stopReason, all)
  }

  #stopWork(): void {
    this.#run.children().stop()
    this.#run.producer.close()
  }
}

/** The first of some ids: the three lists of a receipt leave enough room for the rest of it. */
function asManyAsFit(ids: readonly string[], { maxEvent, maxValues }: Limits): string[] {
  const first: string[] = []
  let room = maxEvent / 4
  for (const id of ids) {
    room -= Buffer.byteLength(id) + ID_HEADER_BYTES
    if (room < 0 || first.length >= maxValues / 8) break
    first.push(id)
  }
  return first
}
