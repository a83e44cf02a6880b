import type { Runtime, Timer } from '../../protocol/runtime.ts'
import { isThenable } from '../streams/thenable.ts'

/** The data of one record. Names and ids, numbers, and for an error `err`: no prompt, no answer, no credentials. */
export type LogFields = {
  /** The kind of the record, such as `run.ended`. `docs/logging.md` lists all of them. */
  readonly event: string
  readonly [name: string]: unknown
}

/**
 * Receives what happens in a server. Loggers with the interface of pino fit as they are. What a method returns is
 * ignored. A method that throws, or whose promise rejects, harms nothing: its first error is written to stderr.
 */
export interface Logger {
  /** For people who look for a fault. */
  debug(fields: LogFields, message: string): unknown
  /** Records of a healthy server. */
  info(fields: LogFields, message: string): unknown
  /** Records of something that the operator may want to change: a limit that was met, a page that was refused. */
  warn(fields: LogFields, message: string): unknown
  /** Records of failures. `err` has the error. */
  error(fields: LogFields, message: string): unknown
}

type Level = keyof Logger

/** The methods of a logger. */
export const LEVELS: readonly Level[] = ['debug', 'info', 'warn', 'error']

/**
 * Every kind of record: its level, its message, and how many different ones are written within `WINDOW_MS` (null: all).
 * A record that no authenticated client causes, or that costs its sender little, has few: a flood must not fill the disk.
 */
export const RECORDS = {
  'server.listening': ['info', 'the server listens', 20],
  'worker.ready': ['info', 'the worker takes runs of its pool', 20],
  'server.closing': ['info', 'the server is shutting down', 20],
  'server.closed': ['info', 'the server is closed', 20],
  'server.failed': ['error', 'the server failed', 20],
  'http.off': ['warn', 'plain HTTP is not served', 20],
  'origin.refused': ['warn', 'a page was refused', 20],
  'connection.opened': ['info', 'a client connected', 1_000],
  'connection.closed': ['info', 'a client disconnected', 1_000],
  'connection.refused': ['info', 'a connection was refused', 20],
  'actor.unknown': ['warn', 'a client asked for an actor that this server does not have', 20],
  'limit.met': ['warn', 'a limit was met', 20],
  'run.started': ['info', 'a run started', null],
  'run.ended': ['info', 'a run ended', null],
  'run.refused': ['info', 'a start or an attach was refused', 20],
  'run.dropped': ['debug', 'an ended run was dropped to make room', 20],
  'run.failed': ['error', 'an actor failed', null],
  'run.interrupted': ['warn', 'a run that no process held any more ended as interrupted', 20],
  'run.restored': ['info', 'a run that waits was restored', 20],
  'run.waiting': ['info', 'a run waits for a worker of its pool', null],
  'run.untaken': ['warn', 'no worker of its pool took a run in time', 20],
  'run.withdrawn': ['info', 'a run that waited for a worker was cancelled', null],
  'run.moved': ['warn', 'another server has taken over a run of this one, whose lease was over', 20],
  'store.failed': ['error', 'the store failed: live runs wait for it, and no run starts', 20],
  'store.recovered': ['info', 'the store works again', 20],
  'notice.sent': ['info', 'a notice was sent', 1_000],
  'notice.failed': ['warn', 'a notice was not accepted, and is sent again', 20],
  'notice.dropped': ['error', 'a notice was given up', 20],
  'model.failed': ['error', 'a model request failed', null],
} as const

/** The kind of a record, such as `run.ended`. */
export type LogEvent = keyof typeof RECORDS

/** The time over which records of one kind are counted, in milliseconds. */
const WINDOW_MS = 10_000

type Fields = { readonly [name: string]: unknown }

type Window = {
  readonly until: number
  /** The records that were written, as text. */
  readonly written: Set<string>
  leftOut: number
  timer: Timer | undefined
}

/** Writes the records of a server to its logger. Nothing that the logger does comes back from here. */
export class ServerLog {
  readonly #runtime: Runtime
  readonly #logger: Logger
  readonly #failed: (error: unknown) => void
  readonly #observe: ((event: LogEvent, fields: Fields) => void) | undefined
  readonly #windows = new Map<LogEvent, Window>()
  #hasFailed = false

  /**
   * @param failed receives the first error of the logger. It must not throw.
   * @param observe receives every record, also those that are left out. It must not throw.
   */
  constructor(
    runtime: Runtime,
    logger: Logger,
    failed: (error: unknown) => void,
    observe?: (event: LogEvent, fields: Fields) => void,
  ) {
    this.#runtime = runtime
    this.#logger = logger
    this.#failed = failed
    this.#observe = observe
  }

  /**
   * Writes a record, unless the same was written a moment ago, or too many of its kind.
   * @param fields Names, ids and numbers. Never what a client wrote, unless it is cut to a length and cannot be a secret.
   */
  write(event: LogEvent, fields: Fields = {}): void {
    const [level, , most] = RECORDS[event]
    this.#observe?.(event, fields)
    if (most === null || this.#admit(event, fields, most)) this.#write(level, event, fields)
  }

  /** Reports what was left out so far, and stops the timers. */
  close(): void {
    for (const event of [...this.#windows.keys()]) this.#endWindow(event)
  }

  #admit(event: LogEvent, fields: Fields, most: number): boolean {
    const now = this.#runtime.now()
    let window = this.#windows.get(event)
    if (!window || now >= window.until) {
      this.#endWindow(event)
      window = { until: now + WINDOW_MS, written: new Set(), leftOut: 0, timer: undefined }
      this.#windows.set(event, window)
    }
    if (window.written.size < most) {
      const text = textOf(fields)
      if (!window.written.has(text)) {
        window.written.add(text)
        return true
      }
    }
    window.leftOut++
    window.timer ??= this.#runtime.setTimer(window.until - now, () => this.#endWindow(event))
    return false
  }

  #endWindow(event: LogEvent): void {
    const window = this.#windows.get(event)
    if (!window) return
    window.timer?.clear()
    this.#windows.delete(event)
    const { leftOut } = window
    if (leftOut > 0) this.#write(RECORDS[event][0], event, { leftOut })
  }

  #write(level: Level, event: LogEvent, fields: Fields): void {
    try {
      const answer = this.#logger[level]({ event, ...fields }, RECORDS[event][1])
      if (isThenable(answer)) Promise.resolve(answer).catch((error: unknown) => this.#fail(error))
    } catch (error) {
      this.#fail(error)
    }
  }

  #fail(error: unknown): void {
    if (this.#hasFailed) return
    this.#hasFailed = true
    this.#failed(error)
  }
}

/** The same for two records that say the same. Anything can be thrown, also what cannot be read: that counts as equal. */
function textOf({ err, ...fields }: Fields): string {
  try {
    return JSON.stringify([fields, err instanceof Error ? err.stack : String(err)])
  } catch {
    return ''
  }
}
