import { MillraceError } from '../../protocol/errors.ts'
import type { RunEvent, StreamEvent } from '../../protocol/events.ts'
import type { Policy, WireMap } from '../../protocol/frames.ts'
import type { Limits } from '../../protocol/limits.ts'
import { CANCEL_CODES } from '../../protocol/receipt.ts'
import { eventsOf } from '../log/chunk-events.ts'
import { Cursor } from '../log/cursor.ts'
import type { Chunk } from '../log/log.ts'
import { errorOf, type LoggedEnd } from '../log/logged-end.ts'
import { GOES_ON_ELSEWHERE, type Reader } from '../log/readers.ts'
import type { ReadableRun } from './readable-run.ts'

/** The most bytes taken from the log at once. */
const CHUNK_BYTES = 16_384

type LocalReaderOptions = {
  readonly answers?: boolean
  readonly after?: number
  readonly dismissed?: () => void
  readonly rests?: () => void
  readonly leftSilently?: boolean
  readonly observes?: boolean
}

/**
 * Reads a run from inside this process, from its first item on unless it is told otherwise. As for a client with `pace`,
 * the actor waits for it unless it only observes.
 */
export class LocalReader implements Reader {
  readonly policy: Policy
  readonly own: boolean
  readonly answers: boolean
  readonly paused = false
  resting = false
  readonly cursor: Cursor
  readonly #run: ReadableRun
  readonly #lanes = new Map<unknown, WireMap>()
  /** The chunk taken from the log, its events (undefined where readers see none), and how many of them were read. */
  #chunk: Chunk | undefined
  #events: (RunEvent | undefined)[] = []
  #read = 0
  /** The last event that was returned. It counts as read when the next one is asked for. */
  #handed = false
  #wake = (): void => {}
  #isStopped = false
  #dismissed: MillraceError | undefined
  #hasMoved = false
  readonly #onDismissed: () => void
  readonly #onRest: () => void
  readonly #isLeftSilently: boolean

  /**
   * @param credit how far the run may be ahead of what was read, in addition to `readAhead`.
   * @param options.answers whether what the run asks reaches a client that may answer. Default false.
   * @param options.after the item behind which it begins. Default 0.
   * @param options.dismissed called when the ended run is dropped before it was read.
   * @param options.rests called when it has read all there is, and waits for more.
   * @param options.leftSilently whether it waits for ever when another process goes on with the run. Default false: it
   * is dismissed.
   * @param options.observes whether it only looks on: the actor does not wait for it, and it does not count as a reader
   * of the principal. Default false.
   */
  constructor(
    run: ReadableRun,
    limits: Pick<Limits, 'maxCredit'>,
    credit: number,
    {
      answers = false,
      after = 0,
      dismissed = () => {},
      rests = () => {},
      leftSilently = false,
      observes = false,
    }: LocalReaderOptions = {},
  ) {
    this.#run = run
    this.policy = observes ? 'log' : 'pace'
    this.own = !observes
    this.answers = answers
    this.#onDismissed = dismissed
    this.#onRest = rests
    this.#isLeftSilently = leftSilently
    this.cursor = new Cursor(run.log, { last: after, gen: after > 0 ? run.log.gen : 1 }, credit, limits.maxCredit)
    if (after > 0) this.#openLanes(after + 1)
    run.join(this)
  }

  /**
   * The next event; undefined once the run has ended and all was read, and after `stop`. Wait for one answer before you
   * ask for the next.
   * @throws MillraceError `overloaded` when the ended run was dropped before it was read; `interrupted` when another
   * process goes on with it.
   */
  async next(): Promise<StreamEvent | undefined> {
    for (;;) {
      const event = this.poll()
      if (event || this.#isStopped) return event
      if (this.#dismissed && this.cursor.last < this.#run.log.last) throw this.#dismissed
      const gap = this.#passOver()
      if (gap) return gap
      if (this.#take()) continue
      if (this.#run.end) return undefined
      if (this.#dismissed) throw this.#dismissed
      await new Promise<void>((resolve) => {
        this.#wake = resolve
        this.#run.rest(this)
        this.#onRest()
      })
    }
  }

  /** What `next` gives, if it is at hand without a look into the log. Undefined: ask `next`, which may have to wait. */
  poll(): StreamEvent | undefined {
    if (this.#handed) this.#advance()
    while (this.#chunk && this.#read < this.#events.length && !this.#isStopped) {
      const said = this.#events[this.#read]
      this.#handed = said !== undefined
      if (said) return stamped(said, this.#chunk.seq + this.#read, this.#chunk.at)
      this.#advance()
    }
    return undefined
  }

  /** All logged items were read. */
  get atEnd(): boolean {
    return this.cursor.last + Number(this.#handed) >= this.#run.log.last
  }

  /** All logged items were read, and the caller has asked for more since. */
  get hasRead(): boolean {
    return this.cursor.last >= this.#run.log.written
  }

  /** Ends the reading, also for a caller that waits now. */
  stop(): void {
    this.#isStopped = true
    this.#wake()
  }

  /** Leaves the run. */
  leave(): void {
    this.#run.leave(this)
  }

  allowance(): number {
    return Number.POSITIVE_INFINITY
  }

  wake(): void {
    this.#wake()
  }

  dismiss(code: string, message: string): void {
    this.#dismissed = MillraceError.fromShape({ code, message, retryable: true })
    this.#wake()
    this.#onDismissed()
  }

  drop(hasMoved: boolean): void {
    if (this.#isLeftSilently) return
    this.#hasMoved = hasMoved
    this.dismiss('interrupted', GOES_ON_ELSEWHERE)
  }

  /** Whether another process has the run, and this one goes on: it can be found again. */
  get hasMoved(): boolean {
    return this.#hasMoved
  }

  /** The gap before the first item that is kept, if items before that were not read. It does not count as an item. */
  #passOver(): StreamEvent | undefined {
    const { log } = this.#run
    const next = log.first
    const from = this.cursor.last + 1
    const at = from < next ? log.chunk(next, log.last, CHUNK_BYTES)?.at : undefined
    if (at === undefined) return undefined
    this.cursor.moveTo(next - 1, log.genAt(next))
    this.#openLanes(next)
    return { type: 'gap', from, next, reason: 'retention', seq: next - 1, at }
  }

  /** The lanes that are open before item `next`. */
  #openLanes(next: number): void {
    this.#lanes.clear()
    for (const [lane, data] of this.#run.log.lanesAt(next)) this.#lanes.set(lane, data)
  }

  #take(): boolean {
    const { log } = this.#run
    const chunk = log.chunk(this.cursor.last + 1, log.last, CHUNK_BYTES)
    if (!chunk) return false
    this.#chunk = chunk
    this.#events = eventsOf(chunk, this.#lanes)
    this.#read = 0
    return true
  }

  #advance(): void {
    this.#handed = false
    if (!this.#chunk) return
    const { seq, lane, cost } = this.#chunk
    const spent = lane === undefined ? cost : 1
    this.cursor.sent(seq + this.#read++, spent)
    this.cursor.grant(spent)
    this.#run.reconsider(this)
  }
}

/** An event with its number and time. Most are tokens: a literal costs a fifth of a spread. */
function stamped(said: RunEvent, seq: number, at: number): StreamEvent {
  if (said.type !== 'token') return { ...said, seq, at }
  const { text, agent } = said
  return agent === undefined ? { type: 'token', text, seq, at } : { type: 'token', text, agent, seq, at }
}

/**
 * The events of a run, and its end; undefined when the reader was stopped before. Leaving early cancels the run, unless
 * it only follows, and does not wait.
 * @param reader has joined the run, and leaves it at the end.
 * @throws MillraceError the error of the run; `cancelled` when it was cancelled.
 */
export async function* readRun(
  run: ReadableRun,
  reader: LocalReader,
  follows = false,
): AsyncGenerator<StreamEvent, LoggedEnd | undefined> {
  try {
    for (let event = await reader.next(); event; event = await reader.next()) yield event
    const { end } = run
    if (end && end.outcome !== 'done') throw errorOf(end)
    return end
  } finally {
    if (!follows) run.cancel({ by: 'client', code: CANCEL_CODES.user })
    reader.leave()
  }
}
