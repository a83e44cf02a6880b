import type { ActorMap } from '../protocol/actors.ts'
import type { ConversationUpdate } from '../protocol/conversation.ts'
import { MillraceError } from '../protocol/errors.ts'
import type { StartOptions } from './client.ts'
import { LiveAnswer } from './conversation-answer.ts'
import { ConversationState } from './conversation-state.ts'
import type { ConversationClient, ConversationOptions, ConversationSnapshot } from './conversation-types.ts'
import { quiet } from './deferred.ts'
import { report } from './report.ts'
import type { Run } from './run.ts'
import { systemRuntime } from './runtime.ts'

/** How long it waits before it watches again, at first and at most. Milliseconds. */
const RETRY_MS = 50
const MAX_RETRY_MS = 8_000

/** An answer under way, as this client reads it. */
export type ReadAnswer = {
  readonly run: Run
  readonly answer: LiveAnswer
  /** Resolves when what it answers is stored: the run says then where its answer begins. */
  readonly begun: Promise<void>
  /** Resolves when nothing of it is read any more; rejects with the error of the run. */
  readonly over: Promise<void>
}

/** Reads a conversation while something uses it: its changes, and the answer that is under way. */
export class ConversationReader {
  readonly state: ConversationState = new ConversationState()
  /** The answer that is under way. */
  live: ReadAnswer | undefined
  isStopping = false
  /** Why the last call failed. */
  error: MillraceError | undefined
  readonly #client: ConversationClient<ActorMap>
  readonly #actor: string
  readonly #named: object
  readonly #read: NonNullable<ConversationOptions['read']>
  readonly #id: string
  /** What uses it: each is called back after a change. */
  readonly #users = new Set<() => void>()
  #watching: Run | undefined
  /** The answer that was read last: it is shown until the server has told how it ended. */
  #last: ReadAnswer | undefined
  /** A run that was read to its end, or cannot be attached to: its text comes when it is complete. */
  #unreadable: string | undefined
  /** Why it cannot be watched. */
  #failure: MillraceError | undefined
  #snapshot: ConversationSnapshot | undefined

  constructor(
    client: ConversationClient<ActorMap>,
    id: string,
    { actor = 'chat', owner, read = (run) => run }: ConversationOptions,
  ) {
    this.#client = client
    this.#actor = actor
    this.#id = id
    this.#named = { conversation: id, ...(owner !== undefined && { owner }) }
    this.#read = read
  }

  /** What is known now. The same object until something changes. */
  get snapshot(): ConversationSnapshot {
    const { state, live, error } = this
    return (this.#snapshot ??= {
      id: this.#id,
      status: this.#status(),
      title: state.facts?.title ?? '',
      ...state.show((live ?? this.#last)?.answer),
      requests: live ? [...live.answer.requests.values()] : [],
      facts: state.facts,
      error,
    })
  }

  #status(): ConversationSnapshot['status'] {
    if (this.state.isRemoved) return 'removed'
    if (this.#failure) return 'failed'
    if (this.isStopping) return 'stopping'
    if (this.live ?? this.state.facts?.run) return 'answering'
    return this.state.version < 0 ? 'loading' : 'ready'
  }

  changed(): void {
    this.#snapshot = undefined
    for (const user of [...this.#users])
      try {
        user()
      } catch (thrown) {
        report(thrown)
      }
  }

  /** Reads, and calls back after each change, until the returned function is called. */
  use(listener: () => void = () => {}): () => void {
    // One listener may subscribe twice.
    const own = (): void => {
      listener()
    }
    this.#users.add(own)
    if (!this.#watching) void this.#watch()
    return () => {
      this.#users.delete(own)
      // A page that renders again subscribes again at once.
      queueMicrotask(() => {
        if (this.#users.size === 0) this.close()
      })
    }
  }

  /** Stops reading, whatever uses it. */
  close(): void {
    const run = this.#watching
    this.#watching = undefined
    this.#users.clear()
    void run?.cancel()
    this.#last = this.live
    this.live = undefined
    this.#last?.run.detach()
  }

  /** Starts a run of the conversation. */
  start(input: object, options?: StartOptions): Run {
    return this.#client.start(this.#actor, { ...input, ...this.#named }, options)
  }

  /** Asks for a change. */
  async command(input: object): Promise<void> {
    await this.#client.ask(this.#actor, { ...input, ...this.#named })
  }

  /** Reads a run of an answer that another client started, if nothing is read. */
  attach(run: string): void {
    if (!this.live) this.read(this.#client.attach(this.#actor, run, { policy: 'merge' }), true)
  }

  /** Reads the run of an answer. */
  read(run: Run, isBegun?: boolean): ReadAnswer {
    const answer = new LiveAnswer()
    let begin!: () => void
    const begun = new Promise<void>((resolve) => {
      begin = resolve
    })
    if (isBegun) begin()
    const own: ReadAnswer = { run, answer, begun, over: quiet(this.#readAll(run, answer, begin)) }
    this.live = own
    const end = (): void => {
      if (this.live !== own) return
      this.live = undefined
      this.#last = own
      // The server may not have told that it is over. One that was only detached is read again.
      if (this.#users.size > 0) this.#unreadable = run.id ?? this.state.facts?.run
      this.follow()
      this.changed()
    }
    own.over.then(end, end)
    this.changed()
    return own
  }

  async #readAll(run: Run, answer: LiveAnswer, begin: () => void): Promise<void> {
    for await (const event of this.#read(run)) {
      answer.take(event)
      if (event.type === 'data' && event.name === 'answer') begin()
      this.changed()
    }
  }

  /** Reads the answer that is under way, if it is known. */
  follow(): void {
    const run = this.state.facts?.run
    if (this.#users.size > 0 && run !== undefined && run !== this.#unreadable) this.attach(run)
  }

  /** Follows the changes. A run of the server has a deadline: another one goes on where it was. */
  async #watch(): Promise<void> {
    const { state } = this
    this.#failure = undefined
    for (let wait = RETRY_MS; ; wait = Math.min(2 * wait, MAX_RETRY_MS)) {
      const run = this.start({
        type: 'watch',
        ...(state.version > 0 && { since: state.version, createdAt: state.facts?.createdAt }),
      })
      const before = state.version
      this.#watching = run
      const failure = await this.#watchRun(run)
      if (this.#watching !== run) return
      state.lost()
      // A server that was started again does not know the run: another one goes on.
      const isLost = run.position && failure?.code === 'not_found'
      const isOver = state.isRemoved || this.#client.status === 'closed'
      if (isOver || (failure && !failure.retryable && !isLost)) {
        this.#watching = undefined
        this.#failure = this.error = failure
        this.changed()
        return
      }
      if (state.version !== before) wait = RETRY_MS
      await new Promise<void>((resolve) => systemRuntime.setTimer(wait, resolve))
      if (this.#watching !== run) return
    }
  }

  async #watchRun(run: Run): Promise<MillraceError | undefined> {
    try {
      for await (const event of run) {
        if (this.#watching !== run) break
        if (event.type === 'gap') {
          // Something is missing: all of it is asked for again.
          this.state.version = 0
          break
        }
        if (event.type !== 'data' || !this.state.take(event.value as ConversationUpdate)) continue
        this.follow()
        this.changed()
      }
      return undefined
    } catch (thrown) {
      return MillraceError.from(thrown)
    }
  }
}
