import { setMaxListeners } from 'node:events'
import { MillraceError } from '../../protocol/errors.ts'
import { type RunEvent, type ToolOutcome, toWire } from '../../protocol/events.ts'
import type { Outcome, WireMap } from '../../protocol/frames.ts'
import type { Limits } from '../../protocol/limits.ts'
import { isMap } from '../../protocol/map.ts'
import {
  type CancelCause,
  type Receipt,
  type RunUsage,
  readReceipt,
  type TargetReceipt,
} from '../../protocol/receipt.ts'
import type { Actor } from '../actors/actor.ts'
import { BY_PARENT, type ChildRun, type SpawnOptions } from '../actors/child-run.ts'
import { AgentTree } from '../log/agent-tree.ts'
import { endData, type LoggedEnd } from '../log/logged-end.ts'
import { countValues, packPayload, unpackPayload } from '../log/payload.ts'
import { wellFormed } from '../text.ts'
import type { SpawningCall } from '../tools/tool-runner.ts'
import type { PendingRequest } from './ask.ts'
import { Child, type ChildCallbacks, type ChildRunHandle, shown } from './child.ts'
import type { OpenWorkSnapshot } from './open-work.ts'
import type { ParkedChild, ParkedRun, PassedRequest } from './parked-run.ts'
import type { Room } from './requests.ts'

/** The most bytes of the `meta` of a run, as in a START. */
const MAX_META_BYTES = 1_024
/** The longest name of a child. */
const MAX_NAME_CHARACTERS = 256
/** The longest key of a child. */
const MAX_KEY_CHARACTERS = 256

/** Room that the agent of a forwarded event takes. */
const WHOSE = { bytes: 64, values: 2 }

/** The limits of an item of a child: its parent adds the agent when it forwards the item. */
export function childLimits(limits: Limits): Limits {
  return { ...limits, maxEvent: limits.maxEvent - WHOSE.bytes, maxValues: limits.maxValues - WHOSE.values }
}

/** What its parent says about a child, where it says anything. */
export type ChildLabels = { readonly name: string | undefined; readonly meta: WireMap | undefined }

/** What a child reports to its parent. */
export type ChildEvents = {
  /** The tool call for which its parent began it. */
  readonly call: string | undefined
  /** It has logged `event` as item `seq`. */
  logged(event: RunEvent, seq: number): void
  ended(): void
  settled(): void
  waitingChanged(): void
  /** It, or a run below it, was paused or resumed. */
  pauseMoved(): void
  /** Whether its parent only waits for its result. */
  isHidden(): boolean
}

/** What children take from the run that began them. */
export type ChildrenCallbacks = ChildCallbacks & {
  /** Why no child may begin, once that is so. */
  stopReason(): MillraceError | undefined
  /** Makes the run of a child, or one that goes on from where another process left it. */
  create(
    actor: Actor,
    input: unknown,
    shown: ChildLabels,
    events: ChildEvents,
    from: ParkedChild | undefined,
  ): ChildRunHandle
  /** Logs that a child has begun. */
  began(event: RunEvent): void
  /** Logs that a child has ended. Rejects when the run is over. */
  ended(event: RunEvent): Promise<number>
  /** Lets clients stop an agent. Call the function it returns once its end is logged. */
  openAgent(id: string, stop: (why: CancelCause) => void): () => void
  /** Whether a child, or a child of one, waits for the answer to that request, or will ask it again. */
  asks(request: string): boolean
  nextTurn(callback: () => void): void
  /** Adds what a child has cost. */
  spent(usage: RunUsage): void
  /** A child began or stopped waiting for an input. */
  waitingChanged(): void
  /** A child was paused or resumed. */
  pauseMoved(): void
  /** No child goes on any more. */
  idle(): void
}

/** A request of a child that this run has forwarded. */
type Passed = PassedRequest & { readonly id: string; readonly data: WireMap; readonly room: Room }

/** The children of a run: it stops them, waits for them, counts what they cost and forwards what they ask. */
export class Children {
  readonly #callbacks: ChildrenCallbacks
  /** Children whose end this run has not logged, each with the function to call once it has. */
  readonly #unreported = new Map<Child, () => void>()
  /** Children that have not settled. */
  readonly #live = new Set<Child>()
  /** Those of them that wait for an input, or did when they were stopped. */
  readonly #waiting = new Set<Child>()
  /** Those of them that wait for people, or did when they were stopped: a parent of many asks only these. */
  readonly #forPeople = new Set<Child>()
  /** Agents whose end this run has not logged: its children, and the forwarded agents below them. */
  readonly #agents = new AgentTree()
  /** Agents whose end it has logged. An actor that kept their events may forward them later. */
  readonly #past = new Set<string>()
  readonly #requests = new Map<string, Passed>()
  /** The open children that can be found again, by their keys. While one that was stopped ends, nothing is parked. */
  readonly #keyed = new Map<string, Child>()
  /** Those that another process left, and that were not begun again. */
  readonly #left = new Map<string, ParkedChild>()

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

  /** A child waits for people, and not only for an input. */
  get waitsForPeople(): boolean {
    for (const { run } of this.#forPeople) if (run.waitsForPeople) return true
    return false
  }

  /** Ids of the children that go on. */
  get ids(): string[] {
    return Array.from(this.#live, ({ id }) => id)
  }

  /** What the children that have not ended have cost so far. The others reported it when they ended. */
  get spent(): RunUsage[] {
    return Array.from(this.#live, ({ run }) => (run.end ? undefined : run.spent)).filter((usage) => usage !== undefined)
  }

  /** What another process needs to go on with the children. Undefined: not all of them wait and can be found again. */
  get parked(): Pick<ParkedRun, 'children' | 'agents' | 'passed'> | undefined {
    const children = [...this.#left.values()]
    for (const child of new Set([...this.#unreported.keys(), ...this.#live])) {
      const parked = this.#live.has(child) ? child.parked : undefined
      if (!parked) return undefined
      children.push(parked)
    }
    const asked = [...this.#requests.values()].filter(({ id }) => this.#callbacks.asks(id))
    const passed = asked.map(({ seq, agent, packed }) => ({ seq, agent, packed }))
    return { children, agents: this.#agents.all, passed }
  }

  /** Goes on with the children of another process, each as soon as it is begun again. */
  restore({ children, agents, passed }: Pick<ParkedRun, 'children' | 'agents' | 'passed'>): void {
    for (const child of children) this.#left.set(nameOf(child.key, child.call), child)
    for (const [agent, parent] of agents) this.#agents.begin(agent, parent ?? undefined)
    for (const request of passed) this.#keep(request)
  }

  /** @param call the tool call that begins it. Absent: the actor itself does. */
  spawn(actor: Actor, input: unknown, options: SpawnOptions = {}, call?: SpawningCall): ChildRun {
    const callbacks = this.#callbacks
    const over = callbacks.stopReason()
    if (over) throw over
    options.signal?.throwIfAborted()
    const key = options.key === undefined ? undefined : checkedKey(options.key)
    const keyName = key === undefined ? undefined : nameOf(key, call?.id)
    const known = keyName === undefined ? undefined : this.#keyed.get(keyName)
    if (known && !known.isStopped)
      throw new MillraceError('key_conflict', `a child with the key ${JSON.stringify(key)} goes on; take another key`)
    const from = keyName === undefined ? undefined : this.#left.get(keyName)
    const name = options.name === undefined ? undefined : shown(options.name, MAX_NAME_CHARACTERS)
    let isMade = false
    const run: ChildRunHandle = callbacks.create(
      actor,
      input,
      { name, meta: checkedMeta(options.meta, callbacks.limits) },
      {
        call: call?.id,
        logged: (event, seq) => child.logged(event, seq),
        ended: () => this.#ended(child),
        settled: () => this.#settled(child),
        waitingChanged: () => {
          this.#waits(child)
          call?.childWaits(run.waitsForPeople)
        },
        pauseMoved: () => {
          // One that begins paused says so before it is a child.
          if (!isMade) return
          this.#noteForPeople(child)
          this.#callbacks.pauseMoved()
        },
        isHidden: () => child.isHidden,
      },
      from,
    )
    const foundBy = key === undefined ? undefined : { key, call: call?.id }
    const isDetached = options.detached === true
    const child: Child = new Child(run, callbacks, (end) => this.#tell(child, end), isDetached, foundBy, from)
    isMade = true
    if (keyName !== undefined) {
      this.#left.delete(keyName)
      this.#keyed.set(keyName, child)
      call?.begins(child.over)
      void child.over.then(() => {
        // One that was stopped may have another one in its place.
        if (this.#keyed.get(keyName) === child) this.#keyed.delete(keyName)
      })
    }
    this.#unreported.set(
      child,
      callbacks.openAgent(run.id, (why) => child.stop(why)),
    )
    this.#live.add(child)
    this.#noteForPeople(child)
    this.#agents.begin(run.id)
    if (options.signal) stopWith(options.signal, child)
    if (isDetached) callbacks.nextTurn(() => child.readAlone())
    if (!from) callbacks.began({ type: 'agent.start', agent: run.id, name: run.actorName, run: run.id })
    return child.view
  }

  /**
   * Lets children go: their parent is over, and each of them goes on as a run of its own.
   * @param all also those that are not detached.
   * @returns their ids.
   */
  letGo(reason: () => MillraceError, all: boolean): readonly string[] {
    const gone = [...this.#live].filter((child) => (all || child.isDetached) && !child.isStopped && !child.run.isOver)
    for (const child of gone) {
      // What it costs from now on is not its parent's.
      const usage = child.run.spent
      if (usage) this.#callbacks.spent(usage)
      this.#live.delete(child)
      this.#waiting.delete(child)
      this.#forPeople.delete(child)
      this.#unreported.get(child)?.()
      this.#unreported.delete(child)
      child.letGo(reason())
    }
    return gone.map(({ id }) => id)
  }

  /** Stops all children: their parent is over, and its actor need not wait for them. */
  stop(): void {
    for (const child of this.#unreported.keys()) child.abandon(this.#callbacks.stopReason() as MillraceError)
  }

  /** A child that goes on, or one below it, by its id. */
  find(id: string): ChildRunHandle | undefined {
    for (const { run } of this.#live) {
      const found = run.id === id ? run : run.descendant(id)
      if (found && !found.isOver) return found
    }
    return undefined
  }

  /** Their parent, or a run above it, was paused or resumed. */
  pauseMoved(): void {
    for (const { run } of this.#live) run.pauseMoved()
  }

  /** The process ends, and another one goes on with them. */
  leaveParked(): void {
    for (const { run } of this.#live) run.leaveParked()
  }

  /** Another process has them: lets their readers go. */
  dropReaders(): void {
    for (const { run } of this.#live) run.dropReaders()
  }

  /** Logs the ends of stopped children now, whatever has not finished. */
  endNow(): void {
    for (const { run } of this.#live) run.endNow()
  }

  /** What is open here and in the children, when `own` is open in the run itself. */
  openWith(own: OpenWorkSnapshot): OpenWorkSnapshot {
    const all = [own, ...Array.from(this.#live, ({ run }) => run.openWork)]
    return { provider: all.some(({ provider }) => provider), tools: all.flatMap(({ tools }) => tools) }
  }

  /** The run has logged `event` as item `seq`. Returns true for a forwarded event of a child. */
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

  /** The requests that are forwarded and not yet answered, as many as there is `room` for. */
  pending(room: Room): PendingRequest[] {
    const waiting: PendingRequest[] = []
    let { bytes, values } = room
    for (const passed of this.#requests.values()) {
      if (!this.#callbacks.asks(passed.id)) continue
      bytes -= passed.room.bytes
      values -= passed.room.values
      if (bytes < 0 || values < 0) break
      waiting.push({ seq: passed.seq, data: passed.data })
    }
    return waiting
  }

  #pass(event: Extract<RunEvent, { type: 'request' }>, agent: string, seq: number): void {
    for (const id of this.#requests.keys()) if (!this.#callbacks.asks(id)) this.#requests.delete(id)
    this.#keep({ seq, agent, packed: packPayload(toWire(event).data, this.#callbacks.limits) })
  }

  #keep(request: PassedRequest): void {
    const { packed } = request
    const data = unpackPayload(packed) as WireMap
    const id = String(data['request'])
    const room = { bytes: packed.length, values: countValues(packed, this.#callbacks.limits) }
    this.#requests.set(id, { ...request, id, data, room })
  }

  #ended(child: Child): void {
    const { usage } = endData(child.run.end as LoggedEnd) as { usage?: RunUsage }
    if (usage) this.#callbacks.spent(usage)
    child.ended()
    this.#waits(child)
  }

  #waits(child: Child): void {
    if (child.run.state === 'waiting_input') this.#waiting.add(child)
    else this.#waiting.delete(child)
    this.#noteForPeople(child)
    this.#callbacks.waitingChanged()
  }

  #noteForPeople(child: Child): void {
    if (child.run.waitsForPeople) this.#forPeople.add(child)
    else this.#forPeople.delete(child)
  }

  #settled(child: Child): void {
    this.#live.delete(child)
    this.#forPeople.delete(child)
    if (this.idle) this.#callbacks.idle()
  }

  /** Logs that a child has ended. */
  async #tell(child: Child, end: LoggedEnd): Promise<void> {
    const event: RunEvent = { type: 'agent.end', agent: child.id, outcome: OUTCOMES[end.outcome] }
    const { usage, ...receipt } = endData(end) as Partial<Receipt>
    if (usage) event.usage = usage
    if (end.outcome === 'cancelled') event.receipt = receiptOf(readReceipt(receipt))
    // The last event that its loop was given is about to be forwarded.
    if (child.leftInLoop) await new Promise<void>((resolve) => this.#callbacks.nextTurn(resolve))
    // A run that is over logs nothing more.
    await this.#callbacks.ended(event).catch(() => {})
    this.#unreported.get(child)?.()
    this.#unreported.delete(child)
  }
}

/** The children of a run that has begun none. They never use their callbacks. */
export const NO_CHILDREN: Children = new Children({} as ChildrenCallbacks)

const OUTCOMES: { readonly [outcome in Exclude<Outcome, 'unsubscribed'>]: ToolOutcome } = {
  done: 'ok',
  error: 'error',
  cancelled: 'cancelled',
}

/** The key of a child among all of its parent: calls have keys of their own. */
function nameOf(key: string, call: string | undefined): string {
  return JSON.stringify([key, call])
}

/** @throws MillraceError `bad_request` for a key that is no text, or too long. */
function checkedKey(key: unknown): string {
  if (typeof key === 'string' && key !== '' && key.length <= MAX_KEY_CHARACTERS && wellFormed(key) === key) return key
  throw new MillraceError('bad_request', `the key of a child must be a text of 1 to ${MAX_KEY_CHARACTERS} characters`)
}

/** Stops a child when `signal` aborts, until it is over. */
function stopWith(signal: AbortSignal, child: Child): void {
  const stop = (): void => child.stop(BY_PARENT)
  // One signal may stop any number of children.
  setMaxListeners(0, signal)
  signal.addEventListener('abort', stop, { once: true })
  void child.over.then(() => signal.removeEventListener('abort', stop))
}

/**
 * The same that a START may carry: a map of at most 1 KiB. A copy, because the parent may change its object later.
 * @throws MillraceError `bad_request` for anything else.
 */
function checkedMeta(meta: unknown, limits: Limits): WireMap | undefined {
  if (meta === undefined) return undefined
  const packed = isMap(meta) && !(meta instanceof Uint8Array) ? packPayload(meta, limits) : undefined
  if (packed === undefined || packed.length > MAX_META_BYTES)
    throw new MillraceError('bad_request', `the meta of a child must be an object of at most ${MAX_META_BYTES} bytes`)
  return unpackPayload(packed) as WireMap
}

function receiptOf({ reason, by, note, settled, ms, continuing }: Receipt): TargetReceipt {
  return { reason, by, settled, ms, ...(note !== undefined && { note }), ...(continuing && { continuing }) }
}
