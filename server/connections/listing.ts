import { writeDown } from '../../protocol/encode.ts'
import type { Listed } from '../../protocol/frames.ts'
import type { Limits } from '../../protocol/limits.ts'
import type { Writer } from '../../protocol/writer.ts'
import type { Principal } from '../actors/principal.ts'
import type { ListedRun } from '../sessions/listed-run.ts'
import type { ListWatcher, RunLists } from '../sessions/run-lists.ts'
import type { FrameSink, FrameSource } from './outbox.ts'

/** A list's share of one message. Only its last run may exceed it. */
const SHARE_BYTES = 16_384

/**
 * The answer to one LIST: the runs of a principal, and with `watch` their later changes. What waits to be sent are runs
 * and not frames, so a client that reads slowly gets the newest state of each, once, and nothing of those that have come and
 * gone meanwhile.
 */
export class Listing implements FrameSource, ListWatcher {
  queued = false
  readonly #sink: FrameSink
  readonly #limits: Limits
  readonly #lists: RunLists
  readonly #principal: Principal
  readonly #mayRead: (run: ListedRun['run']) => boolean
  readonly #sid: number
  readonly #isWatched: boolean
  readonly #onClose: () => void
  /** The runs that were not sent once. The list may grow at its end meanwhile. */
  #unsent: Iterator<ListedRun, undefined> | undefined
  /** The number of the last run that was sent from it. */
  #passed = 0
  /** The runs that have changed since they were sent or are new, each with whether it was sent. */
  readonly #changed = new Map<ListedRun, boolean>()
  /** The number of the last run that was sent, or is to be. */
  #newest = 0
  /** The run that found no room in a message. It begins the next one. */
  #held: ListedRun | undefined
  #isClosed = false

  /**
   * @param mayRead whether the principal may read this run of its own. Others are not listed.
   * @param closed called once, when everything was sent, or when its client or its connection leaves.
   */
  constructor(
    sink: FrameSink,
    limits: Limits,
    lists: RunLists,
    principal: Principal,
    { sid, isWatched }: { sid: number; isWatched: boolean },
    mayRead: (run: ListedRun['run']) => boolean,
    closed: () => void,
  ) {
    this.#sink = sink
    this.#limits = limits
    this.#lists = lists
    this.#principal = principal
    this.#mayRead = mayRead
    this.#sid = sid
    this.#isWatched = isWatched
    this.#onClose = closed
  }

  open(): void {
    this.#lists.enter(this.#principal)
    if (this.#isWatched) this.#lists.watch(this.#principal, this)
    this.#unsent = this.#lists.of(this.#principal)[Symbol.iterator]()
    this.#sink.ready(this, true)
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#changed.clear()
    this.#lists.leave(this.#principal, this)
    this.#lists.exit(this.#principal)
    this.#onClose()
  }

  changed(listed: ListedRun): void {
    // A run that was not sent once comes by itself, in its newest state.
    if ((this.#unsent && listed.n > this.#passed) || !this.#mayRead(listed.run)) return
    const wasSent = this.#changed.get(listed) ?? listed.n <= Math.max(this.#newest, this.#passed)
    this.#newest = Math.max(this.#newest, listed.n)
    if (!listed.isKept && !wasSent) {
      this.#changed.delete(listed)
      return
    }
    this.#changed.set(listed, wasSent)
    this.#sink.ready(this, true)
  }

  pump(out: Writer, most: number): 'more' | 'idle' {
    if (this.#isClosed) return 'idle'
    const shareEnd = out.length + SHARE_BYTES
    for (;;) {
      if (out.length >= shareEnd) return 'more'
      const next = this.#next()
      if (!this.#write(out, most, next)) {
        this.#held = next
        return 'more'
      }
      if (!next) {
        if (!this.#isWatched) this.close()
        return 'idle'
      }
    }
  }

  /** The next run to send. Undefined when the client has all. */
  #next(): ListedRun | undefined {
    const held = this.#held
    this.#held = undefined
    if (held) return held
    for (let unsent = this.#unsent?.next(); unsent && !unsent.done; unsent = this.#unsent?.next()) {
      this.#passed = unsent.value.n
      if (this.#mayRead(unsent.value.run)) return unsent.value
    }
    this.#unsent = undefined
    for (const changed of this.#changed.keys()) {
      this.#changed.delete(changed)
      if (!this.#isBack(changed)) return changed
    }
    return undefined
  }

  /** Whether its id is on the list again, and was sent: that it was gone comes too late. */
  #isBack({ id, isKept }: ListedRun): boolean {
    const newer = isKept ? undefined : this.#lists.find(this.#principal, id)
    return newer !== undefined && this.#changed.get(newer) !== false && this.#mayRead(newer.run)
  }

  /** Writes one run, or the mark that the list is complete. Returns false, and writes nothing, when there is no room. */
  #write(out: Writer, most: number, listed: ListedRun | undefined): boolean {
    const before = out.length
    const { values } = out
    const frame: Listed = { kind: 'listed', sid: this.#sid }
    if (listed) frame.run = listed.id
    if (listed?.isKept) frame.info = listed.facts()
    writeDown(out, frame)
    if (out.values - values > this.#limits.maxValues && frame.info?.meta) {
      // It came in a frame that had little else in it.
      out.truncate(before)
      delete frame.info.meta
      writeDown(out, frame)
    }
    if (before === 0 || out.length <= most) return true
    out.truncate(before)
    return false
  }
}

/** Of a connection that has opened none. */
const NONE_OPEN = new Map<number, Listing>()

/** The lists that one connection has open, by stream id. */
export class Listings {
  #open: Map<number, Listing> = NONE_OPEN

  get size(): number {
    return this.#open.size
  }

  add(sid: number, make: (closed: () => void) => Listing): void {
    const listing = make(() => this.#open.delete(sid))
    if (this.#open === NONE_OPEN) this.#open = new Map()
    this.#open.set(sid, listing)
    listing.open()
  }

  close(sid: number): void {
    this.#open.get(sid)?.close()
  }

  closeAll(): void {
    for (const listing of [...this.#open.values()]) listing.close()
  }
}
