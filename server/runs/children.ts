import { setMaxListeners } from 'node:events'
import { MillraceError } from '../../protocol/errors.ts'
import { type RunEvent, type StreamEvent, type ToolOutcome, toWire } from '../../protocol/events.ts'
import type { Outcome, WireMap } from '../../protocol/frames.ts'
import type { Limits } from '../../protocol/limits.ts'
import { CANCEL_CODES, type CancelCause, type Receipt, type TargetReceipt, type Usage } from '../../protocol/receipt.ts'
import type { Actor } from '../actors/actor.ts'
import type { ChildRun, SpawnOptions } from '../actors/child-run.ts'
import { AgentTree } from '../log/agent-tree.ts'
import { errorOf, type LoggedEnd } from '../log/logged-end.ts'
import { countValues, packPayload, unpackPayload } from '../log/payload.ts'
import { excerpt, wellFormed } from '../text.ts'
import type { Room } from './inputs.ts'
import { LocalReader } from './local-reader.ts'
import type { OpenWorkSnapshot } from './open-work.ts'
import type { ReadableRun } from './readable-run.ts'

/** How far a child may be ahead of its reader, who is no network away, beside what every run reads ahead. */
const CREDIT = 1

/** The longest name of a child, and the longest note of a cancel: what comes of that has a client's 256 bytes. */
const MAX_NAME_CHARACTERS = 256
const MAX_NOTE_CHARACTERS = 84

/** What a child tells of itself. */
export type ChildEvents = {
  /** It has logged `event` as item `seq`. */
  logged(event: RunEvent, seq: number): void
  ended(): void
  settled(): void
  waitingChanged(): void
}

/** The run of a child. */
interface ChildRunHandle extends ReadableRun {
  readonly id: string
  readonly actorName: string
  readonly state: string
  readonly openWork: OpenWorkSnapshot
  readonly spent: Usage | undefined
  endNow(): void
}

/** What a run offers to its children. */
export type ChildrenCallbacks = {
  readonly limits: Limits
  /** Why nothing may begin any more. */
  stopReason(): MillraceError | undefined
  /** Makes the run of a child. */
  create(actor: Actor, input: unknown, name: string | undefined, events: ChildEvents): ChildRunHandle
  emit(event: RunEvent): Promise<number>
  /** Lets clients stop an agent. Call what it returns once its end was told. */
  openAgent(id: string, stop: (why: CancelCause) => void): () => void
  /**
   * A child has said `event`. Where that is the end of a call or an agent, clients who would stop that need no other answer
   * while the event `isComing`. Call what it returns, if anything, once it is not.
   */
  expect(event: RunEvent, isComing: () => boolean): (() => void) | undefined
  /** Whether a child, or a child of one, waits for the answer to that request. */
  asks(request: string): boolean
  nextTurn(callback: () => void): void
  /** A child has cost that. */
  spent(usage: Usage & { exact?: boolean }): void
  /** A child began or ceased to wait for what a client says. */
  waitingChanged(): void
  /** No child goes on any more. */
  idle(): void
}

/** A request that a child asks and this run has passed on. */
type Passed = { readonly seq: number; readonly agent: string; readonly data: WireMap; readonly room: Room }

/** The runs that a run has begun: what it stops, waits for, counts and passes on. */
export class Children {
  readonly #callbacks: ChildrenCallbacks
  /** Children whose end this run has not told, each with what to call once it has. */
  readonly #unreported = new Map<Child, () => void>()
  /** Children that have not settled. */
  readonly #live = new Set<Child>()
  /** Those of them that wait for what a client says, or did when they were stopped. */
  readonly #waiting = new Set<Child>()
  /** Agents whose end this run has not logged: its children, and children of those that it has passed on. */
  readonly #agents = new AgentTree()
  /** Those whose end it has logged. An actor that kept what they said may pass it on later. */
  readonly #past = new Set<string>()
  readonly #requests = new Map<string, Passed>()

  constructor(callbacks: ChildrenCallbacks) {
    this.#callbacks = callbacks
  }

  /** Nothing of any child goes on. */
  get idle(): boolean {
    return this.#live.size === 0
  }

  /** A child waits for what a client says. */
  get waiting(): boolean {
    for (const { run } of this.#waiting) if (run.state === 'waiting_input') return true
    return false
  }

  /** Ids of the children that go on. */
  get ids(): string[] {
    return Array.from(this.#live, ({ id }) => id)
  }

  /** What the children that have not ended have cost so far; what the others did was told when they ended. */
  get spent(): Usage[] {
    return Array.from(this.#live, ({ run }) => (run.end ? undefined : run.spent)).filter((usage) => usage !== undefined)
  }

  spawn(actor: Actor, input: unknown, options: SpawnOptions = {}): ChildRun {
    const callbacks = this.#callbacks
    const over = callbacks.stopReason()
    if (over) throw over
    options.signal?.throwIfAborted()
    const name = options.name === undefined ? undefined : shown(options.name, MAX_NAME_CHARACTERS)
    const run: ChildRunHandle = callbacks.create(actor, input, name, {
      logged: (event, seq) => child.logged(event, seq),
      ended: () => this.#ended(child),
      settled: () => this.#settled(child),
      waitingChanged: () => this.#waits(child),
    })
    const child: Child = new Child(run, callbacks, (end) => this.#tell(child, end))
    this.#unreported.set(
      child,
      callbacks.openAgent(run.id, (why) => child.stop(why)),
    )
    this.#live.add(child)
    this.#agents.begin(run.id)
    if (options.signal) stopWith(options.signal, child)
    void callbacks.emit({ type: 'agent.start', agent: run.id, name: run.actorName, run: run.id })
    return child.view
  }

  /** Stops all children: their parent is over, and its actor need not wait for them. */
  stop(): void {
    for (const child of this.#unreported.keys()) child.abandon(this.#callbacks.stopReason() as MillraceError)
  }

  /** Has those that are stopped tell their ends now, whatever has not finished. */
  endNow(): void {
    for (const { run } of this.#live) run.endNow()
  }

  /** What is open here and in the children, when `own` is open in the run itself. */
  openWith(own: OpenWorkSnapshot): OpenWorkSnapshot {
    const all = [own, ...Array.from(this.#live, ({ run }) => run.openWork)]
    return { provider: all.some(({ provider }) => provider), tools: all.flatMap(({ tools }) => tools) }
  }

  /** The run has logged `event` as item `seq`. True when it is a child's, passed on. */
  passed(event: RunEvent, seq: number): boolean {
    const { agent } = event
    if (agent === undefined) return false
    if (event.type === 'agent.start' && event.parent !== undefined && this.#agents.has(event.parent))
      this.#agents.begin(agent, event.parent)
    if (!this.#agents.has(agent)) return this.#past.has(agent)
    if (event.type === 'agent.end') for (const ended of this.#agents.end(agent)) this.#past.add(ended)
    if (event.type === 'request') this.#pass(event, agent, seq)
    return true
  }

  /** Data of the requests passed on before item `seq` and not yet answered, as many as there is `room` for. */
  pendingAt(seq: number, room: Room): WireMap[] {
    const waiting: WireMap[] = []
    let { bytes, values } = room
    for (const passed of this.#requests.values()) {
      if (passed.seq >= seq || !this.#callbacks.asks(String(passed.data['request']))) continue
      bytes -= passed.room.bytes
      values -= passed.room.values
      if (bytes < 0 || values < 0) break
      waiting.push(passed.data)
    }
    return waiting
  }

  #pass(event: Extract<RunEvent, { type: 'request' }>, agent: string, seq: number): void {
    for (const id of this.#requests.keys()) if (!this.#callbacks.asks(id)) this.#requests.delete(id)
    const { limits } = this.#callbacks
    const packed = packPayload(toWire(event).data, limits)
    const room = { bytes: packed.length, values: countValues(packed, limits) }
    this.#requests.set(event.id, { seq, agent, data: unpackPayload(packed) as WireMap, room })
  }

  #ended(child: Child): void {
    const { usage } = (child.run.end as LoggedEnd).data as { usage?: Usage }
    if (usage) this.#callbacks.spent(usage)
    child.ended()
    this.#waits(child)
  }

  #waits(child: Child): void {
    if (child.run.state === 'waiting_input') this.#waiting.add(child)
    else this.#waiting.delete(child)
    this.#callbacks.waitingChanged()
  }

  #settled(child: Child): void {
    this.#live.delete(child)
    if (this.idle) this.#callbacks.idle()
  }

  /** Says that a child has ended. */
  async #tell(child: Child, end: LoggedEnd): Promise<void> {
    const event: RunEvent = { type: 'agent.end', agent: child.id, outcome: OUTCOMES[end.outcome] }
    const { usage, ...receipt } = end.data as Partial<Receipt>
    if (usage) event.usage = usage
    if (end.outcome === 'cancelled') event.receipt = receiptOf(receipt as Receipt)
    // What its loop was given last is on its way to be passed on.
    if (child.leftInLoop) await new Promise<void>((resolve) => this.#callbacks.nextTurn(resolve))
    // A run that is over says nothing more.
    await this.#callbacks.emit(event).catch(() => {})
    this.#unreported.get(child)?.()
    this.#unreported.delete(child)
  }
}

/** The children of a run that has begun none. Nothing is asked of their callbacks. */
export const NO_CHILDREN: Children = new Children({} as ChildrenCallbacks)

/** One child: its run, and who reads it in its parent. */
class Child {
  readonly run: ChildRunHandle
  /** What its parent's actor is given. */
  readonly view: ChildRun
  /** Resolves when it has ended and what it said was read, or with the reason for which nobody waits for that. */
  readonly over: Promise<LoggedEnd | MillraceError>
  readonly #reader: LocalReader
  readonly #callbacks: Pick<ChildrenCallbacks, 'limits' | 'expect'>
  readonly #tell: (end: LoggedEnd) => Promise<void>
  #isOver!: (how: LoggedEnd | MillraceError) => void
  #telling: Promise<void> | undefined
  /** Who reads it; `left`: a loop did, and is over. */
  #reading: 'nobody' | 'loop' | 'left' | 'drain' = 'nobody'
  /** Nothing of it is read any more. */
  #left = false
  /** Why not all that it said was read. */
  #unread: MillraceError | undefined
  /** By number, what is logged and not read and tells the end of a call or an agent: what to call once it is read. */
  readonly #unreadEnds = new Map<number, () => void>()
  #text = ''
  #result: Promise<unknown> | undefined

  constructor(
    run: ChildRunHandle,
    callbacks: Pick<ChildrenCallbacks, 'limits' | 'expect'>,
    tell: (end: LoggedEnd) => Promise<void>,
  ) {
    this.run = run
    this.#callbacks = callbacks
    this.#tell = tell
    this.over = new Promise((resolve) => {
      this.#isOver = resolve
    })
    this.#reader = new LocalReader(run, callbacks.limits, CREDIT, () => {
      if (this.#reading === 'nobody') void this.#drain()
    })
    this.view = this.#makeView()
  }

  get id(): string {
    return this.run.id
  }

  /** It was stopped while a loop goes on that reads it. */
  get leftInLoop(): boolean {
    return this.#left && this.#reading === 'loop'
  }

  /** Its run has logged an event, which is still to be read. */
  logged(event: RunEvent, seq: number): void {
    if (this.#left) return
    const read = this.#callbacks.expect(event, () => this.#reading === 'loop')
    if (read) this.#unreadEnds.set(seq, read)
  }

  /** Stops it: nothing of it is read any more. */
  stop(why: CancelCause): void {
    this.#left = true
    this.#readNoMore()
    if (!this.#reader.atEnd)
      this.#unread ??= new MillraceError('cancelled', 'the child was stopped before all that it said was read')
    this.#reader.stop()
    this.run.cancel(why)
    this.ended()
  }

  /** Stops it, and lets go of who waits for it. */
  abandon(reason: MillraceError): void {
    this.#isOver(reason)
    this.stop(PARENT)
  }

  /** Its run has ended. The end is told behind what is left to read, which whoever begins to read later wants first as well. */
  ended(): void {
    const { end } = this.run
    if (end && (this.#left || (this.#reading === 'nobody' && this.#reader.atEnd))) void this.#finish(end)
  }

  #makeView(): ChildRun {
    const resultOf = (): Promise<unknown> => this.#resultOf()
    return {
      id: this.id,
      get result() {
        return resultOf()
      },
      cancel: async (note) => {
        this.stop({ ...PARENT, note: note === undefined ? undefined : shown(note, MAX_NOTE_CHARACTERS) })
        const end = await this.over
        return 'outcome' in end && end.outcome === 'cancelled' ? (end.data as Receipt) : undefined
      },
      [Symbol.asyncIterator]: () => this.#read(),
    }
  }

  #read(): AsyncIterator<RunEvent & { agent: string }, unknown> {
    if (this.#reading !== 'nobody')
      throw new MillraceError('already_reading', 'a child run has one reader: pass its events on to others')
    this.#reading = 'loop'
    const events = this.#events()
    return {
      next: () => {
        const step = events.next()
        // Who stops waiting for it before it fails must not bring the process down.
        step.catch(() => {})
        return step
      },
      // The generator would be asked only behind the event that it waits for.
      return: () => {
        this.#reading = 'left'
        this.stop(PARENT)
        return Promise.resolve({ done: true, value: undefined })
      },
    }
  }

  async *#events(): AsyncGenerator<RunEvent & { agent: string }, unknown> {
    for (let event = await this.#next(); event; event = await this.#next()) yield attributed(event, this.id)
    const end = await this.over
    if ('outcome' in end) {
      if (this.#left || end.outcome === 'cancelled') return undefined
      if (this.#unread && end.outcome === 'done') throw this.#unread
    }
    return this.#answer(end)
  }

  /** The next event; undefined when there is none any more, and the end is told. */
  async #next(): Promise<StreamEvent | undefined> {
    const event = await this.#reader.next().catch((error: unknown) => {
      this.#unread ??= MillraceError.from(error, 'internal')
      return undefined
    })
    if (event?.type === 'token') this.#text += event.text
    else if (event && this.#unreadEnds.size > 0) this.#endRead(event)
    if (event) return event
    if (this.run.end) await this.#finish(this.run.end)
    return undefined
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
    const { data } = end
    if ('result' in data) return data['result']
    if (this.#unread) throw this.#unread
    return this.#text
  }
}

/** Why a child stops with its parent, or because its parent wants no more of it. */
const PARENT = { by: 'parent', code: CANCEL_CODES.parent } as const

const OUTCOMES: { readonly [outcome in Exclude<Outcome, 'unsubscribed'>]: ToolOutcome } = {
  done: 'ok',
  error: 'error',
  cancelled: 'cancelled',
}

/** Text as it can be told: an actor may have it from anywhere. */
function shown(text: string, most: number): string {
  return wellFormed(excerpt(text, most))
}

/** Stops a child when `signal` aborts, until it is over. */
function stopWith(signal: AbortSignal, child: Child): void {
  const stop = (): void => child.stop(PARENT)
  // Any number of children may be stopped by one.
  setMaxListeners(0, signal)
  signal.addEventListener('abort', stop, { once: true })
  void child.over.then(() => signal.removeEventListener('abort', stop))
}

/** An event of a child as its parent may say it: with whose it is, without the number it had. */
function attributed({ seq: _seq, at: _at, ...event }: StreamEvent, agent: string): RunEvent & { agent: string } {
  const said = event as RunEvent
  if (said.type === 'agent.start') return { parent: agent, agent, ...said }
  return { agent, ...said }
}

function receiptOf({ code, by, note, settled, ms }: Receipt): TargetReceipt {
  return { code, by, settled, ms, ...(note !== undefined && { note }) }
}
