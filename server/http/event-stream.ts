import { MillraceError } from '../../protocol/errors.ts'
import type { Limits } from '../../protocol/limits.ts'
import { CANCEL_CODES } from '../../protocol/receipt.ts'
import type { Runtime, Timer } from '../../protocol/runtime.ts'
import { runEndOf } from '../log/logged-end.ts'
import type { ReadableRun } from '../runs/readable-run.ts'
import type { Identity } from '../sessions/auth.ts'
import { EventReader, type ReaderSettings } from './event-reader.ts'
import type { StreamFormat } from './stream-format.ts'
import { positionText } from './stream-position.ts'

/** The bytes that are written at once, approximately. More is not read ahead of the client. */
const WRITE_CHARACTERS = 16_384

/** How one stream of a run is served. */
export type EventStreamSettings = ReaderSettings & {
  /** Names the stream. */
  readonly id: string
  readonly identity: Identity
  readonly format: StreamFormat
  /** Added to the id of each event. */
  readonly tail: string | undefined
  /** Whether the run is cancelled when the client leaves before its end. */
  readonly cancels: boolean
}

export type EventStreamCallbacks = {
  readonly runtime: Runtime
  readonly limits: Pick<Limits, 'maxCredit' | 'flushMs'>
  /** It is over. */
  closed(stream: EventStream): void
}

const utf8 = new TextEncoder()

/**
 * One response that follows a run. It reads the run only when the response can take more, so a client that reads slowly
 * holds back its own stream, and with the policy `pace` the run: nothing is buffered here.
 */
export class EventStream {
  readonly id: string
  readonly identity: Identity
  readonly run: ReadableRun
  readonly body: ReadableStream<Uint8Array>
  readonly #reader: EventReader
  readonly #format: StreamFormat
  readonly #tail: string | undefined
  readonly #cancels: boolean
  readonly #callbacks: EventStreamCallbacks
  /** Said before any event. */
  #head: string
  /** Lets a pull go on that waits for something to write. */
  #resume: (() => void) | undefined
  #isDue = false
  #flush: Timer | undefined
  #expiry: Timer | undefined
  #beats = false
  #isClosed = false
  /** Nothing more is written behind this. */
  #last: string | undefined

  constructor(run: ReadableRun, settings: EventStreamSettings, callbacks: EventStreamCallbacks) {
    const { id, identity, format, tail, cancels } = settings
    const { runtime, limits } = callbacks
    this.id = id
    this.identity = identity
    this.run = run
    this.#format = format
    this.#tail = tail
    this.#cancels = cancels
    this.#callbacks = callbacks
    this.#reader = new EventReader(run, runtime, limits, settings, (urgent) => this.#woken(urgent))
    const { gen, last } = this.#reader.cursor
    const opening = { run: run.id, actor: run.actorName, gen, next: last + 1, stream: id }
    this.#head = format.begin({ ...opening, pending: run.pendingAt(last + 1) }, positionText(gen, last, tail))
    this.body = new ReadableStream(
      { pull: (controller) => this.#pull(controller), cancel: () => this.left() },
      // The stream holds nothing: what the response has no room for stays in the log.
      { highWaterMark: 0 },
    )
    this.#expireAt(identity.expiresAt)
  }

  /** Sets the rate, in events a second. 0 pauses the stream; null removes the rate. */
  setRate(perSec: number | null): void {
    this.#reader.setRate(perSec)
  }

  /** Keeps the connection alive, if nothing else does. */
  beat(): void {
    if (!this.#resume) return
    this.#beats = true
    this.#due()
  }

  /** The client has left. */
  left(): void {
    if (this.#isClosed) return
    this.#close()
    if (this.#cancels && !this.run.end)
      this.run.cancel({ by: 'server', code: CANCEL_CODES.detached, note: 'its client disconnected' })
  }

  /** Ends the stream before the run does. */
  stop(error: MillraceError): void {
    if (this.#isClosed) return
    this.#last = this.#format.fail(error)
    this.#close()
  }

  // --- as a shutdown sees it

  /** A stream says by its end that the server goes away. */
  goaway(): void {}

  get idle(): boolean {
    return false
  }

  /** A reader that is held back is not waited for. */
  get delivered(): boolean {
    return false
  }

  fault(_code: number, reason: string): void {
    this.stop(new MillraceError('draining', reason))
  }

  // --- writing

  async #pull(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    for (;;) {
      const text = this.#collect()
      if (text !== '') controller.enqueue(utf8.encode(text))
      if (this.#isClosed) {
        controller.close()
        return
      }
      if (text !== '') return
      await new Promise<void>((resolve) => (this.#resume = resolve))
    }
  }

  #collect(): string {
    let text = this.#head
    this.#head = ''
    while (!this.#isClosed && text.length < WRITE_CHARACTERS) {
      const step = this.#reader.take()
      if (!step) break
      if (step.kind === 'dismissed') this.stop(step.error)
      else if (step.kind === 'end') {
        this.#last = this.#format.end(runEndOf(step.end), this.#position(step.gen, step.end.seq))
        this.#close()
      } else {
        text += this.#format.event(step.event, this.#position(step.gen, step.event.seq))
        if (this.#format.isOver) this.#close()
      }
    }
    text += this.#last ?? ''
    this.#last = undefined
    if (text === '' && this.#beats && !this.#isClosed) text = this.#format.heartbeat
    this.#beats = false
    return text
  }

  #position(gen: number, seq: number): string {
    return positionText(gen, seq, this.#tail)
  }

  #woken(urgent: boolean): void {
    if (!this.#resume || this.#isDue) return
    if (urgent) return this.#due()
    const { runtime, limits } = this.#callbacks
    this.#flush ??= runtime.setTimer(limits.flushMs, () => this.#goOn())
  }

  /** Goes on in the next loop turn, so that everything of this one is written together. */
  #due(): void {
    if (this.#isDue) return
    this.#isDue = true
    this.#callbacks.runtime.nextTurn(() => this.#goOn())
  }

  #goOn(): void {
    this.#flush?.clear()
    this.#flush = undefined
    this.#isDue = false
    const resume = this.#resume
    this.#resume = undefined
    resume?.()
  }

  #expireAt(expiresAt: number | undefined): void {
    if (expiresAt === undefined) return
    const { runtime } = this.#callbacks
    this.#expiry = runtime.setTimer(Math.max(0, expiresAt - runtime.wallClock()), () => {
      if (runtime.wallClock() < expiresAt) this.#expireAt(expiresAt)
      else this.stop(new MillraceError('unauthenticated', 'the credentials have expired'))
    })
  }

  #close(): void {
    this.#isClosed = true
    this.#expiry?.clear()
    this.#reader.leave()
    this.#goOn()
    this.#callbacks.closed(this)
  }
}
