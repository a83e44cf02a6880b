import { setMaxListeners } from 'node:events'
import { untilAborted } from '../streams/until-aborted.ts'
import type { Items } from './flow-node.ts'

/**
 * Cuts data into chunks, and reads no more than the one that is asked for. It stops between two of them.
 * @param skip how many items are left out at the beginning.
 */
export async function* chunksOf(
  items: Items,
  size: number,
  signal: AbortSignal,
  skip = 0,
): AsyncGenerator<unknown[], void> {
  let chunk: unknown[] = []
  let left = skip
  for await (const item of items) {
    if (left > 0) {
      left--
      // A long way to what is left must not hold the process up.
      if (left % size === 0) signal.throwIfAborted()
      continue
    }
    chunk.push(item)
    if (chunk.length < size) continue
    signal.throwIfAborted()
    yield chunk
    chunk = []
  }
  signal.throwIfAborted()
  if (chunk.length > 0) yield chunk
}

/**
 * Does the same for many items, at most `concurrency` of them at a time. The first failure stops those under way, and
 * is thrown when they have finished.
 * @param outer stops all of it.
 * @param perform `signal` aborts with `outer`, and when another item has failed.
 * @param finished takes each result, in the order of the items. The work is never far ahead of it.
 */
export async function inOrder<Item, Result>(
  items: Iterable<Item> | AsyncIterable<Item>,
  concurrency: number,
  outer: AbortSignal,
  perform: (item: Item, at: number, signal: AbortSignal) => Promise<Result>,
  finished: (result: Result) => Promise<void> | void,
): Promise<void> {
  let at = 0
  if (concurrency > 1) return new Pool(concurrency, outer, perform, finished).run(items)
  for await (const item of items) {
    outer.throwIfAborted()
    await finished(await perform(item, at++, outer))
  }
}

/** Items that are worked on at the same time. */
class Pool<Item, Result> {
  readonly #size: number
  readonly #perform: (item: Item, at: number, signal: AbortSignal) => Promise<Result>
  readonly #finished: (result: Result) => Promise<void> | void
  readonly #outer: AbortSignal
  readonly #siblings = new AbortController()
  /** That of both. */
  readonly #signal: AbortSignal
  /** Results that wait for those before them. */
  readonly #results = new Map<number, Result>()
  #begun = 0
  #active = 0
  #taken = 0
  #isTaking = false
  #failure: { error: unknown } | undefined
  /** Lets the loop look again. */
  #wake = (): void => {}

  constructor(
    size: number,
    outer: AbortSignal,
    perform: (item: Item, at: number, signal: AbortSignal) => Promise<Result>,
    finished: (result: Result) => Promise<void> | void,
  ) {
    this.#size = size
    this.#outer = outer
    this.#perform = perform
    this.#finished = finished
    const { signal } = this.#siblings
    this.#signal = AbortSignal.any([outer, signal])
    setMaxListeners(0, this.#signal)
  }

  async run(items: Iterable<Item> | AsyncIterable<Item>): Promise<void> {
    const source = piecesOf(items)
    let isReading = false
    try {
      for (;;) {
        // Results that nothing takes yet must not pile up.
        await this.#until(() => this.#active < this.#size && this.#begun - this.#taken < 2 * this.#size)
        this.#signal.throwIfAborted()
        isReading = true
        // A source that has nothing now must not hide a failure.
        const step = await untilAborted(source.next(), this.#siblings.signal)
        isReading = false
        if (step.done) break
        this.#signal.throwIfAborted()
        void this.#begin(step.value, this.#begun++)
      }
    } catch (error) {
      this.#fail(error)
    }
    await this.#until(() => this.#active === 0 && !this.#isTaking && this.#taken === this.#begun)
    if (!this.#failure) return
    const closed = source.return().catch(() => {})
    // A stop of the run waits for what it stops. Otherwise the source closes once it has something.
    if (!isReading || this.#outer.aborted) await closed
    throw this.#failure.error
  }

  async #begin(item: Item, at: number): Promise<void> {
    this.#active++
    try {
      this.#results.set(at, await this.#perform(item, at, this.#signal))
      await this.#take()
    } catch (error) {
      this.#fail(error)
    } finally {
      this.#active--
      this.#wake()
    }
  }

  async #take(): Promise<void> {
    if (this.#isTaking) return
    this.#isTaking = true
    try {
      while (this.#results.has(this.#taken) && !this.#failure) {
        const result = this.#results.get(this.#taken) as Result
        this.#results.delete(this.#taken)
        await this.#finished(result)
        this.#taken++
        this.#wake()
      }
    } finally {
      this.#isTaking = false
    }
  }

  #fail(error: unknown): void {
    this.#failure ??= { error }
    this.#siblings.abort(error)
  }

  /** Waits until that is so. After a failure, until nothing is under way. */
  async #until(holds: () => boolean): Promise<void> {
    while (this.#failure ? this.#active > 0 : !holds()) await this.#woken()
  }

  #woken(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve
    })
  }
}

async function* piecesOf<Item>(items: Iterable<Item> | AsyncIterable<Item>): AsyncGenerator<Item, void, void> {
  yield* items
}
