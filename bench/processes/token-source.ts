import { machineUs } from '../stage/clock.ts'
import { LARGE, WORDS } from './token-text.ts'

/** How the tokens of one stream come. */
export type Pace =
  /**
   * As fast as they are taken, so many at a time in one turn of the event loop. Default: 32, as where a provider's bytes
   * come in large pieces; 1 is a provider that writes each token on its own.
   */
  | { type: 'full'; perTurn?: number }
  /** So many a second, each saying when it was made. */
  | { type: 'paced'; perSec: number }
  /** Several at once, the first of each saying when it was made. */
  | { type: 'bursts'; size: number; everyMs: number }
  /** One, and then nothing for `ms`, and so on: a model that thinks. */
  | { type: 'waiting'; ms: number }
  /** An agent whose tool waits until it is stopped; only a server that has agents knows it. */
  | { type: 'tool' }
  /** An agent whose model waits until it is stopped; only a server that has agents knows it. */
  | { type: 'model' }

/** What a client asks a server for, whatever they speak. */
export type TokenRequest = {
  /** Names the stream in the entries of this process. */
  id: string
  pace: Pace
  /** How many there are. */
  tokens: number
  /** Of 1,000 characters each, in place of words. */
  large?: boolean
  /** Whether the first one waits until the gate of this process is opened. */
  gated?: boolean
}

/** What is known of one stream. */
type Entry = { produced: number; stoppedAt: number | undefined }

const PER_TURN = 32

const entries = new Map<string, Entry>()
let ending = new AbortController()
let gate = deferredGate()
let total = 0

/** Tokens made in this process so far, by all streams. */
export function totalProduced(): number {
  return total
}

/** Tokens one stream has made. */
export function produced(id: string): number {
  return entries.get(id)?.produced ?? 0
}

/** When the code behind a stream was asked to stop, in `machineUs`. */
export function stoppedAt(id: string): number | undefined {
  return entries.get(id)?.stoppedAt
}

/** Notes that the code behind a stream is asked to stop now, unless it was asked before. */
export function stopped(id: string): void {
  entry(id).stoppedAt ??= machineUs()
}

/** Streams that stand at the gate. */
export function atGate(): number {
  return gate.waiting
}

/** Lets all that stand at the gate begin. Later ones find a new gate. */
export function openGate(): void {
  const { open } = gate
  gate = deferredGate()
  open()
}

/** Ends every stream, and forgets it. */
export function endAll(): void {
  openGate()
  ending.abort()
  ending = new AbortController()
  entries.clear()
  started = 0
}

let started = 0

/** The one token source of all peers. It notes what it made and when it was stopped. */
export async function* tokens(request: TokenRequest, signal: AbortSignal): AsyncGenerator<string, undefined> {
  const { id, pace, tokens: count, large = false, gated = false } = request
  const mine = entry(id)
  const over = ending.signal
  const phase = (started++ * 0.618_034) % 1
  const onAbort = (): void => {
    mine.stoppedAt ??= machineUs()
  }
  signal.addEventListener('abort', onAbort)
  let ended = false
  try {
    if (gated) await gate.pass()
    switch (pace.type) {
      case 'full': {
        const { perTurn = PER_TURN } = pace
        for (let n = 0; n < count; n++) {
          if (n % perTurn === 0) {
            await nextTurn()
            if (signal.aborted || over.aborted) return
          }
          mine.produced++
          total++
          yield large ? LARGE : WORDS[n % WORDS.length]!
        }
        break
      }
      case 'paced': {
        const periodMs = 1_000 / pace.perSec
        const from = performance.now() + phase * periodMs
        for (let n = 0; n < count; n++) {
          await tickAt(from + n * periodMs)
          if (signal.aborted || over.aborted) return
          mine.produced++
          total++
          yield stamp()
        }
        break
      }
      case 'bursts': {
        const from = performance.now() + phase * pace.everyMs
        for (let n = 0; n < count; n++) {
          const isFirst = n % pace.size === 0
          if (isFirst) await tickAt(from + (n / pace.size) * pace.everyMs)
          if (signal.aborted || over.aborted) return
          mine.produced++
          total++
          yield isFirst ? stamp() : WORDS[n % WORDS.length]!
        }
        break
      }
      case 'waiting':
        for (let n = 0; n < count; n++) {
          if (n > 0) await wakeAfter(pace.ms, signal)
          if (signal.aborted || over.aborted) return
          mine.produced++
          total++
          yield WORDS[n % WORDS.length]!
        }
        break
      case 'tool':
      case 'model':
        throw new Error('this is for agents')
    }
    ended = true
  } finally {
    signal.removeEventListener('abort', onAbort)
    // Not every server has a signal: some end the generator, which is all that its code then notices.
    if (!ended && !over.aborted) mine.stoppedAt ??= machineUs()
  }
}

/** The time, marked so that it is no word. */
function stamp(): string {
  return Math.round(machineUs()).toString(36)
}

function entry(id: string): Entry {
  let found = entries.get(id)
  if (!found) entries.set(id, (found = { produced: 0, stoppedAt: undefined }))
  return found
}

function deferredGate(): { waiting: number; pass(): Promise<void>; open: () => void } {
  let open = (): void => {}
  const opened = new Promise<void>((resolve) => (open = resolve))
  return {
    waiting: 0,
    pass() {
      this.waiting++
      return opened
    },
    open,
  }
}

let turn: Promise<void> | undefined

/** All streams share one wait for the next turn of the event loop: it costs them next to nothing. */
function nextTurn(): Promise<void> {
  return (turn ??= new Promise((resolve) =>
    setImmediate(() => {
      turn = undefined
      resolve()
    }),
  ))
}

/** The longest wait in milliseconds, and so how many lists the wheel has. */
const LONGEST_MS = 8_192
/**
 * The streams that wait for each millisecond, list after list and round again. A new list for each millisecond would
 * reach the old generation, and keep alive what it names until a major collection: a cost that every peer would pay.
 */
const wheel: (() => void)[][] = Array.from({ length: LONGEST_MS }, () => [])
let waiting = 0
/** The millisecond that was served last. */
let servedAt = 0
/** When the wheel last turned: what is due until then is made at once. */
let turnedAt = 0
let wheelTimer: { at: number; clear(): void } | undefined

/**
 * Resolves at that `performance.now()`, rounded up to a millisecond; one timer serves all streams. A late stream does not
 * wait, since all that a provider wrote meanwhile is there at once. A stream is late if it was so when the wheel last
 * turned: else a server that is slower than its sources would do nothing else.
 */
function tickAt(at: number): Promise<void> | undefined {
  if (at <= turnedAt) return undefined
  return new Promise((resolve) => {
    if (waiting === 0) servedAt = Math.max(servedAt, Math.floor(performance.now()))
    const due = Math.max(Math.ceil(at), servedAt + 1)
    if (due - servedAt > LONGEST_MS) throw new Error(`a token waits for at most ${LONGEST_MS} ms`)
    listOf(due).push(resolve)
    waiting++
    turnAt(due)
  })
}

/** The wheel turns then, if not before. */
function turnAt(at: number): void {
  if (wheelTimer && wheelTimer.at <= at) return
  wheelTimer?.clear()
  const timer = setTimeout(spin, Math.max(1, at - performance.now()))
  wheelTimer = { at, clear: () => clearTimeout(timer) }
}

function spin(): void {
  wheelTimer = undefined
  turnedAt = performance.now()
  while (waiting > 0 && servedAt < Math.floor(turnedAt)) {
    const due = listOf(++servedAt)
    waiting -= due.length
    for (const wake of due) wake()
    due.length = 0
  }
  if (waiting === 0) return
  let next = servedAt + 1
  while (listOf(next).length === 0) next++
  turnAt(next)
}

function listOf(ms: number): (() => void)[] {
  return wheel[ms % LONGEST_MS]!
}

function wakeAfter(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    timer.unref()
    signal.addEventListener('abort', done)
  })
}
