import { MillraceError } from '../../protocol/errors.ts'
import type { RunEvent, StreamEvent } from '../../protocol/events.ts'
import type { Limits } from '../../protocol/limits.ts'
import { type CancelCause, type RunUsage, readReceipt } from '../../protocol/receipt.ts'
import { BY_PARENT, type ChildRun, type ChildState } from '../actors/child-run.ts'
import { endData, errorOf, type LoggedEnd } from '../log/logged-end.ts'
import { excerpt, wellFormed } from '../text.ts'
import { LocalReader } from './local-reader.ts'
import type { OpenWorkSnapshot } from './open-work.ts'
import type { Orders } from './orders.ts'
import type { ParkedChild } from './parked-run.ts'
import type { ReadableRun } from './readable-run.ts'

/** How far a child may be ahead of its reader in addition to `readAhead`. No network is between them. */
const CREDIT = 1

/**
 * The longest text that is kept for the answer of a child, in UTF-16 units. V8 has no strings of more than eight times as
 * much.
 */
const MAX_TEXT_CHARACTERS = 2 ** 26

/** The longest note of a cancel by the parent: as sent, it then has at most 256 bytes. */
const MAX_NOTE_CHARACTERS = 84

/** The run of a child. */
export interface ChildRunHandle extends ReadableRun {
  /** It waits for people, and not only for an input. */
  readonly waitsForPeople: boolean
  readonly state: string
  readonly openWork: OpenWorkSnapshot
  readonly spent: RunUsage | undefined
  endNow(): void
  /** It is stopping, or has ended. */
  readonly isOver: boolean
  /** An order to it, or to a run above it, pauses it. */
  readonly isPaused: boolean
  /** What clients have ordered of it. */
  readonly orders: Orders
  /** A run below it that goes on. */
  descendant(id: string): ChildRunHandle | undefined
  /** A run above it was paused or resumed. */
  pauseMoved(): void
  /** The run that began it is over, and it goes on as a run of its own. */
  letGo(): void
  /** From what another process goes on with it. Undefined: it does not only wait. */
  readonly parkedState: Pick<ParkedChild, 'startedAt' | 'next' | 'lives' | 'packed'> | undefined
  /** The process ends, and another one goes on with it. */
  leaveParked(): void
  /** Another process has it: lets its readers go, and those of the runs below it. */
  dropReaders(): void
}

/** What a child takes from the run that began it. */
export type ChildCallbacks = {
  readonly limits: Limits
  /**
   * A child has logged `event`. If it is the end of a call or an agent, it answers every cancel of that while it
   * `isComing` into this log. Call the function it returns, if any, once it is not.
   */
  expect(event: RunEvent, isComing: () => boolean): (() => void) | undefined
  /** All that a child has said so far was read: perhaps it only waits. */
  read(): void
}

/** One child: its run, and how its parent reads it. */
export class Child {
  readonly run: ChildRunHandle
  /** What the actor of its parent receives. */
  readonly view: ChildRun
  /** It outlives its parent. */
  readonly isDetached: boolean
  /** Resolves when it has ended and was read to the end, or with the reason why nothing waits for that. */
  readonly over: Promise<LoggedEnd | MillraceError>
  readonly #reader: LocalReader
  readonly #callbacks: ChildCallbacks
  readonly #tell: (end: LoggedEnd) => Promise<void>
  #isOver!: (how: LoggedEnd | MillraceError) => void
  #telling: Promise<void> | undefined
  /** What reads it. `left`: a loop did, and is over. */
  #reading: 'nobody' | 'loop' | 'left' | 'drain' = 'nobody'
  /** Nothing of it is read any more. */
  #left = false
  /** Its parent is over, and it goes on: nothing that is left of its parent stops it. */
  #isLetGo = false
  /** Why not all that it said was read. */
  #unread: MillraceError | undefined
  /** It said more than is kept: what it said is not its answer. */
  #isTooLong = false
  /** Unread ends of calls and agents by item number, each with the function to call once it is read. */
  readonly #unreadEnds = new Map<number, () => void>()
  /** The loop that reads it has its answer. */
  #hasAnswered = false
  #text: string
  readonly #foundBy: Pick<ParkedChild, 'key' | 'call'> | undefined
  #result: Promise<unknown> | undefined

  /**
   * @param foundBy how another process finds it again. Absent: it cannot.
   * @param from where another process has left it.
   */
  constructor(
    run: ChildRunHandle,
    callbacks: ChildCallbacks,
    tell: (end: LoggedEnd) => Promise<void>,
    isDetached: boolean,
    foundBy?: Pick<ParkedChild, 'key' | 'call'>,
    from?: Pick<ParkedChild, 'text' | 'next'>,
  ) {
    this.run = run
    this.isDetached = isDetached
    this.#foundBy = foundBy
    this.#text = from?.text ?? ''
    this.#callbacks = callbacks
    this.#tell = tell
    this.over = new Promise((resolve) => {
      this.#isOver = resolve
    })
    this.#reader = new LocalReader(run, callbacks.limits, CREDIT, {
      answers: true,
      dismissed: () => {
        if (this.#reading === 'nobody') void this.#drain()
      },
      after: from ? from.next - 1 : 0,
      rests: () => callbacks.read(),
      leftSilently: true,
    })
    this.view = this.#makeView()
  }

  get id(): string {
    return this.run.id
  }

  /** Its parent only waits for its result: nothing of it is passed on. */
  get isHidden(): boolean {
    return this.#reading === 'drain'
  }

  /** What another process needs to go on with it, while it only waits and its parent has read all of it. */
  get parked(): ParkedChild | undefined {
    const foundBy = this.#foundBy
    if (!foundBy || this.#left || this.#isTooLong || !this.#reader.hasRead) return undefined
    const state = this.run.parkedState
    return state && { id: this.id, ...foundBy, text: this.#text, ...state }
  }

  /** Its parent, or a client, has stopped it. Its code may still go on. */
  get isStopped(): boolean {
    return this.#left
  }

  /** It was stopped while a loop reads it. */
  get leftInLoop(): boolean {
    return this.#left && this.#reading === 'loop'
  }

  /** Its run has logged an event, which is still to be read. */
  logged(event: RunEvent, seq: number): void {
    if (this.#left) return
    const read = this.#callbacks.expect(event, () => this.#reading === 'loop')
    if (read) this.#unreadEnds.set(seq, read)
  }

  /** Reads it to its end if nobody else does: it does not wait for its parent. */
  readAlone(): void {
    if (this.#reading !== 'nobody' || this.#left) return
    this.#reading = 'drain'
    void this.#drain()
  }

  /** Its parent is over: it goes on without it, and what waits for it is released. */
  letGo(reason: MillraceError): void {
    this.#isOver(reason)
    this.#left = this.#isLetGo = true
    this.#readNoMore()
    this.run.letGo()
    this.#reader.stop()
    this.#reader.leave()
  }

  /** Stops it: nothing of it is read any more. */
  stop(why: CancelCause): void {
    if (this.#isLetGo) return
    this.#left = true
    this.#readNoMore()
    if (!this.#reader.atEnd)
      this.#unread ??= new MillraceError('cancelled', 'the child was stopped before all that it said was read')
    this.#reader.stop()
    this.run.cancel(why)
    this.ended()
  }

  /** Stops it, and releases what waits for it. */
  abandon(reason: MillraceError): void {
    this.#isOver(reason)
    this.stop(BY_PARENT)
  }

  /** Its run has ended. The end is logged behind all unread items, also for a reader that begins later. */
  ended(): void {
    const { end } = this.run
    if (end && (this.#left || (this.#reading === 'nobody' && this.#reader.atEnd))) void this.#finish(end)
  }

  #makeView(): ChildRun {
    const resultOf = (): Promise<unknown> => this.#resultOf()
    const { run } = this
    return {
      id: this.id,
      get state() {
        return stateOf(run)
      },
      govern: (order) => run.orders.command(order),
      get result() {
        return resultOf()
      },
      cancel: async (note, { cascade } = {}) => {
        const words = note === undefined ? undefined : shown(note, MAX_NOTE_CHARACTERS)
        this.stop({ ...BY_PARENT, note: words, cascade })
        const end = await this.over
        return 'outcome' in end && end.outcome === 'cancelled' ? readReceipt(endData(end)) : undefined
      },
      [Symbol.asyncIterator]: () => this.#read(),
    }
  }

  #read(): AsyncIterator<RunEvent & { agent: string }, unknown> {
    if (this.#reading !== 'nobody')
      throw new MillraceError('already_reading', 'a child run has one reader: pass its events on to others')
    this.#reading = 'loop'
    const step = (): Promise<IteratorResult<RunEvent & { agent: string }, unknown>> => this.#step()
    let last: Promise<unknown> = Promise.resolve()
    let waiting = 0
    const answered = (): void => {
      waiting--
    }
    return {
      next: () => {
        const event = waiting > 0 ? undefined : this.#atHand()
        // Most of what a child says: it takes no promise but the answer.
        if (event) return Promise.resolve({ done: false, value: attributed(event, this.id) })
        // One at a time, however often it is asked.
        const answer = waiting > 0 ? last.then(step, step) : step()
        waiting++
        // The loop may stop waiting for it before it rejects: that must not be an unhandled rejection.
        answer.then(answered, answered)
        last = answer
        return answer
      },
      // It does not wait for the event that was asked for.
      return: () => {
        this.#reading = 'left'
        const alone = (): Promise<void> => this.#drain()
        if (this.isDetached) void last.then(alone, alone)
        else this.stop(BY_PARENT)
        return Promise.resolve({ done: true, value: undefined })
      },
    }
  }

  /** One step of the loop that reads it. A generator here would cost each token of a child a fifth more. */
  async #step(): Promise<IteratorResult<RunEvent & { agent: string }, unknown>> {
    const event = await this.#next()
    if (event) return { done: false, value: attributed(event, this.id) }
    return { done: true, value: this.#hasAnswered ? undefined : await this.#lastAnswer() }
  }

  /** What the loop that reads it is given once, behind the last event. */
  async #lastAnswer(): Promise<unknown> {
    this.#hasAnswered = true
    const end = await this.over
    if ('outcome' in end) {
      if (this.#left || end.outcome === 'cancelled') return undefined
      if (this.#unread && end.outcome === 'done') throw this.#unread
      // The loop has read all that it said. Who wants the text as well asks for `result`.
      if (this.#isTooLong && end.outcome === 'done' && !('result' in endData(end))) return undefined
    }
    return this.#answer(end)
  }

  /** The next event, if it need not be waited for. */
  #atHand(): StreamEvent | undefined {
    const event = this.#reader.poll()
    if (event) this.#took(event)
    return event
  }

  /** The next event; undefined when there are no more, and the end is logged. */
  async #next(): Promise<StreamEvent | undefined> {
    let event: StreamEvent | undefined
    try {
      event = await this.#reader.next()
    } catch (error) {
      this.#unread ??= MillraceError.from(error, 'internal')
    }
    if (event) this.#took(event)
    else if (this.run.end) await this.#finish(this.run.end)
    return event
  }

  /** An event was read. */
  #took(event: StreamEvent): void {
    if (event.type === 'token' && event.agent === undefined) this.#keep(event.text)
    else if (this.#unreadEnds.size > 0) this.#endRead(event)
  }

  #keep(text: string): void {
    if (this.#isTooLong) return
    this.#isTooLong = this.#text.length + text.length > MAX_TEXT_CHARACTERS
    if (this.#isTooLong) this.#text = ''
    else this.#text += text
  }

  #endRead({ seq }: StreamEvent): void {
    this.#unreadEnds.get(seq)?.()
    this.#unreadEnds.delete(seq)
  }

  #readNoMore(): void {
    for (const read of this.#unreadEnds.values()) read()
    this.#unreadEnds.clear()
  }

  #finish(end: LoggedEnd): Promise<void> {
    this.#readNoMore()
    this.#telling ??= this.#tell(end).finally(() => {
      this.#reader.leave()
      this.#isOver(end)
    })
    return this.#telling
  }

  #resultOf(): Promise<unknown> {
    if (this.#reading === 'nobody') {
      this.#reading = 'drain'
      void this.#drain()
    }
    if (!this.#result) {
      this.#result = this.over.then((end) => this.#answer(end))
      this.#result.catch(() => {})
    }
    return this.#result
  }

  async #drain(): Promise<void> {
    while (await this.#next());
  }

  #answer(end: LoggedEnd | MillraceError): unknown {
    if (!('outcome' in end)) throw end
    if (end.outcome !== 'done') throw errorOf(end)
    const data = endData(end)
    if ('result' in data) return data['result']
    if (this.#unread) throw this.#unread
    if (this.#isTooLong)
      throw new MillraceError(
        'overloaded',
        `the child said more than ${MAX_TEXT_CHARACTERS} characters: read its events`,
        { retryable: false },
      )
    return this.#text
  }
}

function stateOf({ end, isPaused, state }: ChildRunHandle): ChildState {
  if (end) return end.outcome
  if (isPaused) return 'paused'
  return state === 'waiting_input' ? 'waiting' : 'running'
}

/** Text that can be sent: an actor may have it from anywhere. */
export function shown(text: string, most: number): string {
  return wellFormed(excerpt(text, most))
}

/** An event of a child as its parent may yield it: with the agent, without the item number. */
function attributed(event: StreamEvent, agent: string): RunEvent & { agent: string } {
  // Of most events: a literal, which costs less than a spread.
  if (event.type === 'token') return { type: 'token', text: event.text, agent: event.agent ?? agent }
  const { seq: _seq, at: _at, ...rest } = event
  const said = rest as RunEvent
  if (said.type === 'agent.start') return { parent: agent, agent, ...said }
  return { agent, ...said }
}
