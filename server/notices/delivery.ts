import type { Runtime, Timer } from '../../protocol/runtime.ts'
import type { ServerLog } from '../logging/logger.ts'
import { type DueNotice, LONGEST_PUT_OFF_MS, type Outbox } from '../stores/run-store.ts'
import type { NoticeTarget, SendFailure } from './notice-target.ts'

/** The longest wait before the second attempt, in milliseconds. It doubles with each further one. */
const FIRST_MS = 5_000
/** How often the outbox is looked at, in milliseconds: other processes may have left something in it. */
const LOOK_MS = 5_000
/** How long a shutdown waits for what is being sent, in milliseconds. */
const CLOSE_MS = 1_000
/** How much longer than an attempt takes a notice is kept from others, in milliseconds. */
const SPARE_MS = 15_000

/** What deliveries take from their server. */
export type DeliveryParts = {
  readonly runtime: Runtime
  readonly log: ServerLog
  readonly outbox: Outbox
  readonly target: NoticeTarget
  /** The outbox is that of a store, which other processes open. */
  readonly isStored: boolean
  /** Resolves when the outbox can be used. */
  opened(): Promise<unknown>
}

/** Sends the notices of an outbox, and again those that were not accepted, until they are given up. */
export class Delivery {
  readonly #parts: DeliveryParts
  readonly #abort = new AbortController()
  /** The attempts under way. */
  readonly #sending = new Set<Promise<void>>()
  #looking: Promise<void> | undefined
  #looksAgain = false
  #timer: Timer | undefined
  #dueAt = Number.POSITIVE_INFINITY
  #isClosing = false
  #isClosed = false
  /** How many waited when it looked last. */
  pending = 0

  constructor(parts: DeliveryParts) {
    this.#parts = parts
  }

  /** Looks whether something is to be sent. */
  look(): void {
    if (this.#isClosed) return
    this.#looksAgain = true
    this.#looking ??= this.#lookOn().finally(() => {
      this.#looking = undefined
      this.#lookIn(LOOK_MS * (0.8 + 0.4 * this.#parts.runtime.random()))
    })
  }

  async #lookOn(): Promise<void> {
    try {
      await this.#parts.opened()
      while (this.#looksAgain && !this.#isClosed) {
        this.#looksAgain = false
        await this.#lookOnce()
      }
    } catch {
      // The store is away, which is reported where runs are stored. It is looked at again.
    }
  }

  async #lookOnce(): Promise<void> {
    const { outbox, target, log } = this.#parts
    const { maxPending, concurrency, attemptMs } = target.limits
    const { removed, left } = await outbox.trim(maxPending)
    this.pending = left
    if (removed > 0) log.write('notice.dropped', { host: target.host, code: 'overloaded', count: removed })
    const room = concurrency - this.#sending.size
    if (room <= 0 || left === 0 || this.#abort.signal.aborted) return
    const due = await outbox.take(room, attemptMs + SPARE_MS)
    for (const notice of due) this.#begin(notice)
  }

  #begin(notice: DueNotice): void {
    const sending = this.#send(notice)
      // The store is away: it gives the notice out again.
      .catch(() => {})
      .finally(() => {
        this.#sending.delete(sending)
        this.look()
      })
    this.#sending.add(sending)
  }

  async #send(notice: DueNotice): Promise<void> {
    const { outbox, target, log, runtime } = this.#parts
    const { id, attempt, ageMs } = notice
    const { maxAttempts, maxAgeMs } = target.limits
    const facts = factsOf(notice)
    const about = { ...facts, notice: id, host: target.host, attempt }
    const giveUp = async (code: 'attempts' | 'age' | 'gone' | 'unreadable'): Promise<void> => {
      await outbox.remove(id)
      log.write('notice.dropped', { ...about, code, count: 1 })
    }
    // It is as unreadable for its receiver, and next time.
    if (!facts) return giveUp('unreadable')
    // A process that dies with each attempt makes no more of them either.
    if (attempt > maxAttempts) return giveUp('attempts')
    if (ageMs > maxAgeMs) return giveUp('age')
    const startedAt = runtime.now()
    const result = await target.send(notice, runtime, this.#abort.signal)
    const ms = Math.round(runtime.now() - startedAt)
    if (result.isSent) {
      await outbox.remove(id)
      log.write('notice.sent', { ...about, ms, ageMs: Math.round(ageMs) + ms })
      return
    }
    const { failure, words, afterMs = 0 } = result
    if (failure === 'aborted') return outbox.putOff(id, 0)
    log.write('notice.failed', { ...about, ms, code: failure satisfies SendFailure, reason: words })
    if (failure === 'gone') return giveUp('gone')
    if (attempt >= maxAttempts) return giveUp('attempts')
    const longest = Math.min(LONGEST_PUT_OFF_MS, FIRST_MS * 2 ** (attempt - 1))
    const delayMs = Math.min(LONGEST_PUT_OFF_MS, Math.max(runtime.random() * longest, afterMs))
    if (ageMs + ms + delayMs > maxAgeMs) return giveUp('age')
    await outbox.putOff(id, delayMs)
    this.#lookIn(delayMs)
  }

  #lookIn(ms: number): void {
    if (this.#isClosed) return
    const { runtime } = this.#parts
    const at = runtime.now() + ms
    if (this.#timer && at >= this.#dueAt) return
    this.#timer?.clear()
    this.#dueAt = at
    this.#timer = runtime.setTimer(ms, () => {
      this.#timer = undefined
      this.look()
    })
  }

  /**
   * Ends. What waits is sent once more if there is time: a second. The rest is left to the next process, or lost with this
   * one, which the log says.
   */
  async close(): Promise<void> {
    if (this.#isClosing) return
    this.#isClosing = true
    const { runtime, isStored, outbox, log, target } = this.#parts
    const abort = runtime.setTimer(CLOSE_MS, () => this.#abort.abort())
    this.look()
    // A store that does not answer must not keep the process.
    await new Promise<void>((resolve) => {
      const late = runtime.setTimer(CLOSE_MS * 2, resolve)
      void this.#idle().then(() => {
        late.clear()
        resolve()
      })
    })
    abort.clear()
    this.#isClosed = true
    this.#timer?.clear()
    if (isStored) return
    const { removed } = await outbox.trim(0)
    if (removed > 0) log.write('notice.dropped', { host: target.host, code: 'shutdown', count: removed })
  }

  /** Resolves when nothing is under way. */
  async #idle(): Promise<void> {
    while (this.#looking || this.#sending.size > 0) await Promise.all([this.#looking, ...this.#sending])
  }
}

/**
 * What the log says of a notice: its body is bytes for the store, and for nobody else. Undefined for bytes that are no
 * notice, which a store may have come to hold.
 */
function factsOf({ body }: DueNotice): { readonly [name: string]: unknown } | undefined {
  try {
    const { type, data } = JSON.parse(Buffer.from(body).toString('utf8')) as {
      type: string
      data: { run: string; actor: string }
    }
    return { type, run: data.run, actor: data.actor }
  } catch {
    return undefined
  }
}
