import { Worker } from 'node:worker_threads'
import { pack } from 'msgpackr'
import { MillraceError } from '../../../protocol/errors.ts'
import type { Runtime, Timer } from '../../../protocol/runtime.ts'
import {
  type Failure,
  type NumberedStatement,
  type OpenMessage,
  type Operation,
  type Outcome,
  type Part,
  type Reply,
  type Request,
  type Result,
  type Row,
  resultPackr,
  type Statement,
  type TailAppend,
  type Unsettled,
  type Value,
  type WorkMessage,
} from './messages.ts'
import { storeError } from './store-error.ts'

/** Messages that may be under way: one that the thread works on, and one that it finds when it is done. */
const MOST_UNDER_WAY = 2
/** Time limit for one operation, in milliseconds. */
const DEADLINE_MS = 10_000
/** After a failed attempt to open the file again, the time until the next one, in milliseconds. */
const REOPEN_MS = 1_000

/** The thread. Where the sources run without a compiler, it is the one that was built. */
const THREAD = import.meta.url.endsWith('.ts')
  ? new URL('../../../dist/server/stores/sqlite/worker.js', import.meta.url)
  : new URL('./worker.js', import.meta.url)

/** One operation, until it is answered. */
type Call = {
  readonly operation: Operation
  readonly dueAt: number
  readonly resolve: (value: Outcome) => void
  readonly reject: (error: MillraceError) => void
  isSettled: boolean
}

/** The thread that has the file, or is about to. */
type Thread = {
  readonly worker: Worker
  /** Resolves with how often the file was opened. */
  readonly opened: Promise<number>
  /** It takes messages. */
  isReady: boolean
  /** How many of the texts it has. */
  texts: number
}

/** What a database takes from its process. */
export type DatabaseRuntime = Pick<Runtime, 'now' | 'setTimer' | 'nextTurn'>

/**
 * One SQLite file, in a thread of its own. All operations of a turn of the event loop travel in one message, and all
 * writes of a message are one transaction, on the disk when they resolve. Operations take effect in the order of their
 * calls. Several parts of the package may keep their tables in the same file.
 *
 * Every operation throws MillraceError `store_unavailable` when the file cannot be reached or written. A write that
 * failed may have taken effect, but never in part.
 */
export class Database {
  /** Where the file is. */
  readonly path: string
  readonly #runtime: DatabaseRuntime
  readonly #deadlineMs: number
  readonly #parts: Part[] = []
  /** The text of each statement, and its number. */
  readonly #texts: string[] = []
  readonly #numbers = new Map<string, number>()
  #thread: Thread | undefined
  #isOpen = false
  #failedAt = Number.NEGATIVE_INFINITY
  #failure: MillraceError | undefined
  /** Calls that wait for their message. */
  #waiting: Call[] = []
  /** The messages under way, the oldest first. */
  #underWay: Call[][] = []
  #isScheduled = false
  #deadline: Timer | undefined
  #whenIdle: (() => void)[] = []

  /** @param deadlineMs Time limit for one operation, in milliseconds. Default 10,000. */
  constructor(path: string, runtime: DatabaseRuntime, deadlineMs: number = DEADLINE_MS) {
    this.path = path
    this.#runtime = runtime
    this.#deadlineMs = deadlineMs
  }

  /** Adds tables to the file. Call it before `open`. */
  define(part: Part): void {
    this.#parts.push(part)
  }

  /**
   * Opens the file, creates it if it is missing, and brings it to the newest version.
   * @returns how often the file was opened so far.
   */
  async open(): Promise<number> {
    const openings = await (this.#thread ?? this.#start()).opened
    this.#isOpen = true
    return openings
  }

  /** Waits for all operations, and lets go of the file. A thread that does not answer in time is ended. */
  async close(): Promise<void> {
    this.#isOpen = false
    const thread = this.#thread
    if (!thread) return
    const exited = new Promise<void>((resolve) => thread.worker.once('exit', () => resolve()))
    const timer = this.#runtime.setTimer(this.#deadlineMs, () => void thread.worker.terminate())
    if (this.#isBusy) await new Promise<void>((resolve) => this.#whenIdle.push(resolve))
    if (this.#thread === thread) {
      this.#thread = undefined
      thread.worker.ref()
      thread.worker.postMessage(null satisfies Request)
    }
    await exited
    timer.clear()
  }

  /** Gives the rows of a query. @param unsettled the runs whose tails it needs. */
  read<Of extends Row = Row>(sql: string, params: readonly Value[] = [], unsettled?: Unsettled): Promise<Of[]> {
    return this.#call(['read', [this.#numbered({ sql, params })], unsettled]) as Promise<Of[]>
  }

  /**
   * Changes rows: all statements, or none. Gives how many rows each of them changed.
   * @param unsettled the runs whose tails it needs.
   */
  write(statements: readonly Statement[], unsettled?: Unsettled): Promise<number[]> {
    return this.#call(['write', this.#allNumbered(statements), unsettled]) as Promise<number[]>
  }

  /**
   * Changes rows, but only if `condition`, the first statement, changes one. Gives whether it did.
   * @param unsettled the runs whose tails it needs.
   */
  writeIf(condition: Statement, then: readonly Statement[], unsettled?: Unsettled): Promise<boolean> {
    return this.#call(['writeIf', this.#allNumbered([condition, ...then]), unsettled]) as Promise<boolean>
  }

  /** Adds items to the tail of a run. Gives false when they are not the next ones of the life that has it. */
  append(append: TailAppend): Promise<boolean> {
    return this.#call(['append', append]) as Promise<boolean>
  }

  /**
   * Performs a statement on its own: one that no transaction may contain, such as VACUUM, or one that takes long. It has
   * no time limit, and all others wait for it. Gives its rows.
   */
  maintain<Of extends Row = Row>(sql: string): Promise<Of[]> {
    return this.#call(['maintain', [this.#numbered({ sql })]]) as Promise<Of[]>
  }

  /**
   * Ends the thread without warning, as a crash would. For tests.
   * @param isWhole Whether all of the process crashed: no other thread takes its place. @internal
   */
  async crash(isWhole = false): Promise<void> {
    if (isWhole) this.#isOpen = false
    await this.#thread?.worker.terminate()
  }

  // --- calls

  #call(operation: Operation): Promise<Outcome> {
    if (!this.#isOpen) return Promise.reject(new MillraceError('store_unavailable', `${this.path} is not open`))
    if (!this.#thread && this.#failure && this.#runtime.now() < this.#failedAt + REOPEN_MS)
      return Promise.reject(this.#failure)
    return new Promise((resolve, reject) => {
      const dueAt = operation[0] === 'maintain' ? Number.POSITIVE_INFINITY : this.#runtime.now() + this.#deadlineMs
      this.#waiting.push({ operation, dueAt, resolve, reject, isSettled: false })
      this.#watchDeadline()
      if (this.#isScheduled) return
      this.#isScheduled = true
      this.#runtime.nextTurn(() => {
        this.#isScheduled = false
        this.#post()
      })
    })
  }

  #allNumbered(statements: readonly Statement[]): NumberedStatement[] {
    return statements.map((each) => this.#numbered(each))
  }

  /** The number of a statement's text. The thread gets each text once. */
  #numbered({ sql, params = [] }: Statement): NumberedStatement {
    let text = this.#numbers.get(sql)
    if (text === undefined) {
      text = this.#texts.push(sql) - 1
      this.#numbers.set(sql, text)
    }
    return [text, params]
  }

  #post(): void {
    if (this.#waiting.length === 0 || this.#underWay.length >= MOST_UNDER_WAY) return
    const thread = this.#thread ?? this.#start()
    // Once it is ready, it is given what waits.
    if (!thread.isReady) return
    const calls = this.#waiting
    this.#waiting = []
    this.#underWay.push(calls)
    const fresh = this.#texts.slice(thread.texts)
    thread.texts = this.#texts.length
    const packed = new Uint8Array(pack([fresh, calls.map(({ operation }) => operation)] satisfies WorkMessage))
    thread.worker.ref()
    thread.worker.postMessage(packed satisfies Request, [packed.buffer])
  }

  #answered(packed: Uint8Array): void {
    const calls = this.#underWay.shift() ?? []
    const results = resultPackr.unpack(packed) as Result[]
    for (const [index, call] of calls.entries()) {
      const result = results[index]!
      if (typeof result === 'object' && 'failure' in result) this.#reject(call, storeError(this.path, result.failure))
      else this.#resolve(call, result)
    }
    this.#post()
    this.#rest()
  }

  #resolve(call: Call, value: Outcome): void {
    if (call.isSettled) return
    call.isSettled = true
    call.resolve(value)
  }

  #reject(call: Call, error: MillraceError): void {
    if (call.isSettled) return
    call.isSettled = true
    call.reject(error)
  }

  get #isBusy(): boolean {
    return this.#waiting.length > 0 || this.#underWay.length > 0
  }

  /** Nothing is asked any more: the thread does not keep the process alive. */
  #rest(): void {
    if (this.#isBusy) return
    this.#thread?.worker.unref()
    this.#deadline?.clear()
    this.#deadline = undefined
    for (const done of this.#whenIdle.splice(0)) done()
  }

  #watchDeadline(): void {
    if (this.#deadline) return
    const oldest = this.#calls().find(({ isSettled }) => !isSettled)
    if (!oldest) return
    this.#deadline = this.#runtime.setTimer(Math.max(0, oldest.dueAt - this.#runtime.now()), () => {
      this.#deadline = undefined
      const now = this.#runtime.now()
      const late = new MillraceError('store_unavailable', `${this.path} has not answered for ${this.#deadlineMs} ms`)
      for (const call of this.#calls()) if (call.dueAt <= now) this.#reject(call, late)
      this.#waiting = this.#waiting.filter(({ isSettled }) => !isSettled)
      this.#watchDeadline()
    })
  }

  /** All calls, the oldest first. */
  #calls(): Call[] {
    return [...this.#underWay.flat(), ...this.#waiting]
  }

  // --- the thread

  #start(): Thread {
    const message: OpenMessage = { path: this.path, parts: this.#parts }
    // The flags of this process may name modules that the thread has no use for.
    const worker = new Worker(THREAD, { workerData: message, execArgv: [], name: 'millrace store' })
    const opened = new Promise<number>((resolve, reject) => {
      const refuse = (failure: Failure): void => {
        const error = storeError(this.path, failure)
        reject(error)
        if (this.#thread === thread) this.#lost(thread, error)
      }
      worker.on('message', (reply: Reply) => {
        switch (reply.type) {
          case 'opened':
            thread.isReady = true
            resolve(reply.openings)
            this.#post()
            return this.#rest()
          case 'refused':
            return refuse(reply.failure)
          case 'results':
            if (this.#thread === thread) this.#answered(reply.packed)
            return
          case 'closed':
        }
      })
      worker.on('error', (error) => refuse({ code: 'THREAD', message: `its thread ended: ${error.message}` }))
      worker.on('exit', () => refuse({ code: 'THREAD', message: 'its thread ended' }))
    })
    // Who waits for it is told by way of its own call.
    opened.catch(() => {})
    const thread: Thread = { worker, opened, isReady: false, texts: 0 }
    this.#thread = thread
    return thread
  }

  /** The thread is gone. Nobody knows what became of the calls under way; the next call starts another thread. */
  #lost(thread: Thread, error: MillraceError): void {
    this.#thread = undefined
    this.#failure = error
    // After the loss of a thread that worked, the first attempt is made at once.
    if (!thread.isReady) this.#failedAt = this.#runtime.now()
    const calls = this.#calls()
    this.#waiting = []
    this.#underWay = []
    for (const call of calls) this.#reject(call, error)
    this.#rest()
  }
}
