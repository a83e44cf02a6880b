import { MillraceError } from '../../../protocol/errors.ts'
import type { Runtime, Timer } from '../../../protocol/runtime.ts'
import {
  type Argument,
  loadRedis,
  makeClient,
  placeOf,
  type RedisClient,
  type RedisModule,
  type Reply,
} from './client.ts'
import type { Script } from './script.ts'
import { SCRIPTS } from './scripts.ts'
import { RedisRefusal, storeError } from './store-error.ts'

/** What a link takes from its process. */
export type LinkRuntime = Pick<Runtime, 'now' | 'setTimer' | 'nextTurn' | 'random'>

/** One command, until it is answered. */
type Call = {
  readonly n: number
  readonly args: readonly Argument[]
  readonly dueAt: number
  readonly resolve: (reply: Reply) => void
  readonly reject: (error: MillraceError) => void
  isSettled: boolean
}

/**
 * The commands of one Redis. Commands take effect in the order of their calls. One that was under way when the connection
 * broke is sent again on the next one: Redis may have performed it, so it must be one that can be repeated.
 *
 * Each has a deadline of its own, because the package has none for a command that was sent. While Redis does not answer,
 * further commands fail at once, so that nothing piles up. Every failure is a MillraceError `store_unavailable`.
 */
export class Link {
  /** Its host and port. */
  readonly place: string
  readonly #url: string
  readonly #runtime: LinkRuntime
  readonly #deadlineMs: number
  readonly #name: string
  #module: RedisModule | undefined
  readonly #standIn: RedisModule | undefined
  #client: RedisClient | undefined
  #lastCall = 0
  /** Calls that are not answered, the oldest first. */
  readonly #calls = new Set<Call>()
  /** Those of them that wait for a connection. */
  #waiting: Call[] = []
  /** Redis has missed a deadline, and has answered nothing since. */
  #isStalled = false
  /** When Redis answered last. */
  #heardAt = Number.NEGATIVE_INFINITY
  #deadline: Timer | undefined

  /**
   * @param name by which Redis lists its connection.
   * @param deadlineMs How long Redis may be silent while it has a command, in milliseconds.
   * @param standIn stands in for the package. For tests.
   */
  constructor(url: string, name: string, runtime: LinkRuntime, deadlineMs: number, standIn?: RedisModule) {
    this.#url = url
    this.place = placeOf(url)
    this.#name = name
    this.#runtime = runtime
    this.#deadlineMs = deadlineMs
    this.#standIn = standIn
  }

  /** Connects, and makes sure that Redis can be used. It connects again by itself from then on. */
  async open(): Promise<void> {
    try {
      this.#module = this.#standIn ?? (await loadRedis())
      await this.#connect(this.#module)
      await this.#checkServer()
    } catch (error) {
      this.close()
      throw MillraceError.is(error) ? error : storeError(this.place, error)
    }
  }

  /** Lets go of the connection. What is under way fails. */
  close(): void {
    const client = this.#client
    this.#client = undefined
    this.#deadline?.clear()
    this.#deadline = undefined
    client?.destroy()
    for (const call of [...this.#calls]) this.#reject(call, this.#closed())
    this.#waiting = []
  }

  /** Makes another client of the same Redis, which is not connected. */
  another(): RedisClient {
    return makeClient(this.#module!, this.#url, this.#name, () => this.#runtime.random())
  }

  /** Runs a script. Redis that does not know it any more is given its text. */
  async run({ text, hash }: Script, keys: readonly string[], args: readonly Argument[]): Promise<Reply> {
    const rest = [String(keys.length), ...keys, ...args]
    try {
      return await this.call(['EVALSHA', hash, ...rest])
    } catch (error) {
      if (!(error instanceof MillraceError && String(error.cause).includes('NOSCRIPT'))) throw error
      return await this.call(['EVAL', text, ...rest])
    }
  }

  /** Sends a command. */
  call(args: readonly Argument[]): Promise<Reply> {
    if (!this.#client) return Promise.reject(this.#closed())
    if (this.#isStalled) return Promise.reject(this.#late())
    return new Promise((resolve, reject) => {
      const n = ++this.#lastCall
      const call: Call = { n, args, dueAt: this.#runtime.now() + this.#deadlineMs, resolve, reject, isSettled: false }
      this.#calls.add(call)
      this.#watchDeadline()
      this.#send(call)
    })
  }

  #send(call: Call): void {
    const client = this.#client
    if (!client?.isReady || this.#waiting.length > 0) return void this.#waiting.push(call)
    client.sendCommand(call.args).then(
      (reply) => {
        this.#heard()
        this.#settle(call, () => call.resolve(reply))
      },
      (error: unknown) => {
        if (this.#module && error instanceof this.#module.ErrorReply) {
          this.#heard()
          return this.#reject(call, storeError(this.place, error))
        }
        // The connection is gone, and with it perhaps the command: nobody knows.
        if (!call.isSettled) this.#waiting.push(call)
      },
    )
  }

  /** The connection is there. What waited for it is sent in the order of the calls. */
  #flush(client: RedisClient): void {
    if (this.#client !== client) return
    this.#isStalled = false
    for (const { text } of Object.values(SCRIPTS)) client.sendCommand(['SCRIPT', 'LOAD', text]).catch(() => {})
    const waiting = this.#waiting.filter(({ isSettled }) => !isSettled).sort((a, b) => a.n - b.n)
    this.#waiting = []
    for (const call of waiting) this.#send(call)
  }

  #settle(call: Call, tell: () => void): void {
    this.#calls.delete(call)
    if (call.isSettled) return
    call.isSettled = true
    tell()
  }

  #reject(call: Call, error: MillraceError): void {
    this.#settle(call, () => call.reject(error))
  }

  #heard(): void {
    this.#isStalled = false
    this.#heardAt = this.#runtime.now()
  }

  /** When a call is given up. Answers come in the order of the calls: while others come, its own is on its way. */
  #dueOf({ dueAt }: Call): number {
    return Math.min(dueAt + MOST_MORE * this.#deadlineMs, Math.max(dueAt, this.#heardAt + this.#deadlineMs))
  }

  /** One timer for all: that of the oldest call. */
  #watchDeadline(): void {
    if (this.#deadline) return
    const [oldest] = this.#calls
    if (!oldest) return
    this.#deadline = this.#runtime.setTimer(Math.max(0, this.#dueOf(oldest) - this.#runtime.now()), () => {
      // A process that was busy has perhaps answers that it has not read.
      this.#runtime.nextTurn(() => {
        this.#deadline = undefined
        this.#giveUp()
        this.#watchDeadline()
      })
    })
  }

  #giveUp(): void {
    const now = this.#runtime.now()
    for (const call of this.#calls) {
      if (this.#dueOf(call) > now) break
      this.#isStalled = true
      this.#reject(call, this.#late())
    }
    this.#waiting = this.#waiting.filter(({ isSettled }) => !isSettled)
  }

  #late(): MillraceError {
    return storeError(this.place, new RedisRefusal('DEADLINE', `has not answered for ${this.#deadlineMs} ms`))
  }

  #closed(): MillraceError {
    return storeError(this.place, new RedisRefusal('CLOSED', 'closed'))
  }

  // --- connecting

  /** Resolves with the first connection, and rejects if that fails. */
  async #connect(module: RedisModule): Promise<void> {
    const client = makeClient(module, this.#url, this.#name, () => this.#runtime.random())
    this.#client = client
    await new Promise<void>((resolve, reject) => {
      const timer = this.#runtime.setTimer(OPEN_MS, () => reject(this.#late()))
      // One that breaks is made again by the client. What Redis or the network says to it is an answer.
      client.on('error', (error) => {
        if (!BROKEN.test(String(error))) reject(error)
      })
      client.on('ready', () => {
        timer.clear()
        this.#flush(client)
        resolve()
      })
      // Its own promise ends with the last attempt. The first error is enough.
      client.connect().catch(reject)
    })
  }

  async #checkServer(): Promise<void> {
    const info = String(await this.call(['INFO', 'memory']))
    const policy = /^maxmemory_policy:(\S+)/m.exec(info)?.[1]
    if (policy !== undefined && policy !== 'noeviction')
      throw storeError(this.place, new RedisRefusal('EVICTS', policy))
    const cluster = String(await this.call(['INFO', 'cluster']))
    if (cluster.includes('cluster_enabled:1')) throw storeError(this.place, new RedisRefusal('CLUSTER', 'a cluster'))
  }
}

/** How many deadlines more a call may wait while Redis answers others. */
const MOST_MORE = 9
/** What the package says of a connection that broke. */
const BROKEN = /Socket closed unexpectedly|ECONNRESET|EPIPE/
/** How long the first connection may take, in milliseconds. */
const OPEN_MS = 3_000
