import type { Log } from '../log/log.ts'

/** How a reader sees the items of a log: what decides, besides their numbers, with which bytes they are sent. */
export type View = {
  readonly sid: number
  /** Frames carry the time of their first item. */
  readonly ts: boolean
  /** Adjacent texts are merged into one. */
  readonly merges: boolean
}

/** Adjacent items of one life of a log, as one message. */
export type Stretch = {
  readonly bytes: Uint8Array
  readonly count: number
  /** In credits. */
  readonly cost: number
}

/**
 * The last message of a flush that held nothing but new items of one run. Watchers of a run that stand at the same item
 * are flushed one after another, and the next one may need the same bytes. It is one message, whatever the number of
 * runs and watchers: the next one takes its place, and nothing of it stays after the flush.
 */
export class SharedMessage {
  #stretch: Stretch | undefined
  #log: Log | undefined
  #gen = 0
  #from = 0
  #through = 0
  #sid = 0
  #ts = false
  #merges = false

  /** The items from `from` to the end of `log`, if the last message held exactly them, and for the same view. */
  find(log: Log, from: number, { sid, ts, merges }: View): Stretch | undefined {
    // A log only grows within one life, so its bytes cannot have changed.
    const isSame =
      from === this.#from &&
      log === this.#log &&
      log.last === this.#through &&
      sid === this.#sid &&
      log.gen === this.#gen &&
      ts === this.#ts &&
      merges === this.#merges
    return isSame ? this.#stretch : undefined
  }

  /** Keeps `stretch`: the items from `from` to the present end of `log`, for such a view. */
  keep(log: Log, from: number, { sid, ts, merges }: View, stretch: Stretch): void {
    this.#log = log
    this.#gen = log.gen
    this.#from = from
    this.#through = log.last
    this.#sid = sid
    this.#ts = ts
    this.#merges = merges
    this.#stretch = stretch
  }
  /** Lets go of it. */
  clear(): void {
    this.#log = undefined
    this.#stretch = undefined
  }
}
