import { MillraceError } from '../protocol/errors.ts'
import type { ClientRuntime, Timer } from '../protocol/runtime.ts'
import { systemRuntime } from './runtime.ts'

/** Waits never get shorter than this share of `flushMs`: by default a piece comes no more often than a screen is drawn. */
const SHORTEST = 1 / 3

export type SmoothOptions = {
  /** Time between two pieces while little text waits, in milliseconds. Default 50. */
  flushMs?: number
  /** Characters (UTF-16 code units) that a piece has at least. Default 10. */
  minChars?: number
  /** How long a character may wait before it comes whatever the other two say, in milliseconds. Default 100. */
  maxDelayMs?: number
  /** Characters (UTF-16 code units) above which nothing more is read from the source. Default 524,288, which is 1 MiB. */
  maxChars?: number
  /** Clock and timers. Default: the system's. */
  runtime?: Pick<ClientRuntime, 'now' | 'setTimer'>
}

/**
 * The same text in pieces that are good to render: `for await (const text of smooth(run.text()))`. Tokens that come one
 * by one are joined, and a lump that comes at once is spread over a few frames.
 *
 * A piece is half of what waits, at least `minChars` of it. The next one comes `flushMs` later, and sooner the more
 * waits: in proportion to `minChars` / waiting, down to a third of `flushMs`. A character that has waited for
 * `maxDelayMs` comes at once, with all before it and at least `minChars`. So the more is waiting, the larger and the
 * more frequent the pieces. A surrogate pair is never cut; text that ends in half of one waits for the other. What is
 * drawn as one character but is several (a flag, an accent) may be cut, as the tokens of a model cut it.
 *
 * When the source ends, what waits comes in one piece; when it throws, the error comes after that piece. Text is read
 * ahead of the consumer up to `maxChars` and no further, and never dropped: a slow consumer slows the source. Leaving
 * the loop calls the source's `return` at once and does not wait for it.
 *
 * @throws MillraceError `bad_request` for options that are negative or no numbers, and for `minChars` or `maxChars` below 1.
 */
export function smooth(
  texts: AsyncIterable<string, unknown>,
  options: SmoothOptions = {},
): AsyncIterableIterator<string, undefined> {
  const { flushMs = 50, minChars = 10, maxDelayMs = 100, maxChars = 2 ** 19, runtime = systemRuntime } = options
  if (!(flushMs >= 0 && maxDelayMs >= 0 && minChars >= 1 && maxChars >= 1))
    throw new MillraceError('bad_request', 'smooth takes times of at least 0 ms and sizes of at least 1 character')
  const source = texts[Symbol.asyncIterator]()
  /** What was read and waits, and when its parts came: up to which character of it, at what time. */
  let text = ''
  let arrivals: { end: number; at: number }[] = []
  let lastAt = Number.NEGATIVE_INFINITY
  let state: 'idle' | 'reading' | 'over' | 'left' = 'idle'
  let failure: { error: unknown } | undefined
  /** Calls of `next` that wait for a piece, and the reading that waits for room. */
  let waiting: (() => void)[] = []
  let roomy: (() => void) | undefined
  let timer: Timer | undefined

  /** Characters that may be handed out: not the first half of a pair. */
  const available = (): number => text.length - (state === 'reading' && isHigh(text, text.length - 1) ? 1 : 0)

  /** When a piece is due because there is enough of it. */
  const flushAt = (): number =>
    available() < minChars ? Number.POSITIVE_INFINITY : lastAt + flushMs * Math.max(SHORTEST, minChars / available())

  /** When the first character has waited for too long. */
  const lateAt = (): number => (arrivals[0] && available() > 0 ? arrivals[0].at + maxDelayMs : Number.POSITIVE_INFINITY)

  const isDue = (): boolean => state !== 'reading' || Math.min(flushAt(), lateAt()) <= runtime.now()

  const wake = (): void => {
    timer?.clear()
    timer = undefined
    const woken = waiting
    waiting = []
    for (const resolve of woken) resolve()
  }

  /** Wakes who waits for a piece, now or in time. */
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
    const last = arrivals.at(-1)
    // What comes within one millisecond counts as having come together: at most one entry for each.
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
      // A source in the middle of its `next` may take long, and nobody is there any more to hear how that went.
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
