import { MillraceError } from '../protocol/errors.ts'
import type { ClientRuntime, Timer } from '../protocol/runtime.ts'
import { systemRuntime } from './runtime.ts'

/** The shortest wait, as a share of `flushMs`. By default a piece comes no more often than a screen is drawn. */
const SHORTEST = 1 / 3

/** The options of `smooth`. */
export type SmoothOptions = {
  /** Time between two pieces while little text waits, in milliseconds. Default 50. */
  flushMs?: number | undefined
  /** Least characters (UTF-16 code units) of a piece. Default 10. */
  minChars?: number | undefined
  /** Longest time that a character waits, in milliseconds. It overrides the other two. Default 100. */
  maxDelayMs?: number | undefined
  /**
   * Characters (UTF-16 code units) that may wait before the source is no longer read. Default 524,288, which is 1 MiB.
   */
  maxChars?: number | undefined
  /** Clock and timers. Default: the system's. */
  runtime?: Pick<ClientRuntime, 'now' | 'setTimer'> | undefined
}

/**
 * Yields the same text in pieces that are good to render: `for await (const text of smooth(run.text()))`. Tokens that
 * come one by one are joined. A large text that comes at once is spread over a few frames.
 *
 * - A piece is half of the text that waits, and at least `minChars`.
 * - The next piece comes `flushMs` later. It comes sooner when more text waits, in proportion to `minChars` / waiting,
 *   but not before a third of `flushMs`.
 * - A character that has waited for `maxDelayMs` comes at once, with all text before it and at least `minChars`.
 * - A surrogate pair is never cut. Text that ends in half of a pair waits for the other half. A character that is drawn
 *   as one but consists of several (a flag, an accent) may be cut, as the tokens of a model cut it.
 *
 * When the source ends, the rest comes in one piece. When the source throws, the error comes after that piece. Text is
 * read ahead of the consumer up to `maxChars`, and never dropped: a slow consumer slows the source. Leaving the loop
 * calls the source's `return` at once and does not wait for it.
 *
 * @param texts A run's `text()`, or any texts.
 * @throws MillraceError `bad_request` for options that are negative or no numbers, and for `minChars` or `maxChars`
 * below 1.
 */
export function smooth(
  texts: AsyncIterable<string, unknown>,
  options: SmoothOptions = {},
): AsyncIterableIterator<string, undefined> {
  const { flushMs = 50, minChars = 10, maxDelayMs = 100, maxChars = 2 ** 19, runtime = systemRuntime } = options
  if (!(flushMs >= 0 && maxDelayMs >= 0 && minChars >= 1 && maxChars >= 1))
    throw new MillraceError('bad_request', 'smooth takes times of at least 0 ms and sizes of at least 1 character')
  const source = texts[Symbol.asyncIterator]()
  /** The text that was read and waits, and its arrivals: up to character `end` it had arrived at time `at`. */
  let text = ''
  /** It ends in the first half of a pair. Kept, because a look at the end of a string that grows copies all of it. */
  let isCut = false
  let arrivals: { end: number; at: number }[] = []
  let lastAt = Number.NEGATIVE_INFINITY
  let state: 'idle' | 'reading' | 'over' | 'left' = 'idle'
  let failure: { error: unknown } | undefined
  /** Calls of `next` that wait for a piece, and the wait of `read` for room. */
  let waiting: (() => void)[] = []
  let roomy: (() => void) | undefined
  let timer: Timer | undefined

  /** Characters that may be yielded: not the first half of a pair. */
  const available = (): number => text.length - (state === 'reading' && isCut ? 1 : 0)

  /** The time at which a piece is due because enough text waits. */
  const flushAt = (): number =>
    available() < minChars ? Number.POSITIVE_INFINITY : lastAt + flushMs * Math.max(SHORTEST, minChars / available())

  /** The time at which the first character has waited for too long. */
  const lateAt = (): number => (arrivals[0] && available() > 0 ? arrivals[0].at + maxDelayMs : Number.POSITIVE_INFINITY)

  const isDue = (): boolean => state !== 'reading' || Math.min(flushAt(), lateAt()) <= runtime.now()

  const wake = (): void => {
    timer?.clear()
    timer = undefined
    const woken = waiting
    waiting = []
    for (const resolve of woken) resolve()
  }

  /** Wakes the calls that wait for a piece, now or when it is due. */
  const attend = (): void => {
    if (isDue()) return wake()
    timer?.clear()
    timer = undefined
    const dueAt = Math.min(flushAt(), lateAt())
    if (waiting.length > 0 && dueAt < Number.POSITIVE_INFINITY) timer = runtime.setTimer(dueAt - runtime.now(), attend)
  }

  const push = (piece: string): void => {
    const at = runtime.now()
    text += piece
    if (piece !== '') isCut = isHigh(piece, piece.length - 1)
    const last = arrivals.at(-1)
    // Texts that arrive within one millisecond share an entry.
    if (last && at - last.at < 1) last.end = text.length
    else if (piece !== '') arrivals.push({ end: text.length, at })
    attend()
  }

  const read = async (): Promise<void> => {
    try {
      for (;;) {
        while (state === 'reading' && available() >= maxChars) await new Promise<void>((resolve) => (roomy = resolve))
        if (state !== 'reading') return
        const { value, done } = await source.next()
        if (done) break
        push(value)
      }
    } catch (error) {
      failure = { error }
    }
    if (state !== 'reading') return
    state = 'over'
    wake()
  }

  const take = (): string => {
    const now = runtime.now()
    const late = arrivals.findLast(({ at }) => at + maxDelayMs <= now)?.end ?? 0
    const wanted = state === 'over' ? text.length : Math.ceil(Math.max(minChars, late, available() / 2))
    let length = Math.min(wanted, available())
    if (isHigh(text, length - 1) && isLow(text, length)) length++
    const piece = text.slice(0, length)
    text = text.slice(length)
    arrivals = arrivals.filter(({ end }) => end > length).map(({ end, at }) => ({ end: end - length, at }))
    lastAt = now
    roomy?.()
    return piece
  }

  return {
    async next() {
      if (state === 'idle') {
        state = 'reading'
        void read()
      }
      while (!isDue()) {
        await new Promise<void>((resolve) => {
          waiting.push(resolve)
          attend()
        })
      }
      if (state !== 'left' && text !== '') return { value: take(), done: false }
      const thrown = state === 'over' ? failure : undefined
      state = 'left'
      if (thrown) throw thrown.error
      return { value: undefined, done: true }
    },

    async return() {
      const isOpen = state === 'idle' || state === 'reading'
      state = 'left'
      wake()
      roomy?.()
      text = ''
      // A source that is within its `next` may take long, and no consumer is left for its outcome.
      if (isOpen) source.return?.().catch(() => {})
      return { value: undefined, done: true }
    },

    [Symbol.asyncIterator]() {
      return this
    },
  }
}

/** Whether the character there is the first half of a surrogate pair. */
function isHigh(text: string, index: number): boolean {
  return (text.charCodeAt(index) & 0xfc00) === 0xd800
}

/** Whether it is the second. */
function isLow(text: string, index: number): boolean {
  return (text.charCodeAt(index) & 0xfc00) === 0xdc00
}
