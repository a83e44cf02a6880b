import type { Timer } from '../../../protocol/runtime.ts'
import type {
  AskRefusal,
  Batch,
  Lease,
  ListPosition,
  LiveRun,
  NewRun,
  Page,
  PoolPlace,
  StoredEnd,
  StoredKey,
  StoredLife,
  StoredPool,
  StoredRun,
  StoredRunSummary,
  Taker,
} from '../run-store.ts'
import { Appends } from './appends.ts'
import { Asks } from './asks.ts'
import { unpackBatch } from './batch-record.ts'
import type { Argument, RedisModule, Reply } from './client.ts'
import { type GivenLease, HeldRun, unpackInput } from './held-run.ts'
import { Hints } from './hints.ts'
import { Link, type LinkRuntime } from './link.ts'
import { PeerMessages } from './peers.ts'
import type { RunKeys } from './run-keys.ts'
import type { Script } from './script.ts'
import { SCRIPTS } from './scripts.ts'
import type { RedisPlace } from './shared-redis.ts'

/** Lives that are kept of one run: a process that dies again and again begins one each time. */
const MOST_LIVES = 100
/** The most pages that one look at the live runs reads. */
const MOST_LIVE_PAGES = 10
/** The most batches of one page. */
const MOST_BATCHES = 1_000
/** The most beginnings whose outcome is remembered as unknown. */
const MOST_BEGINS = 1_000
/** By how much the time differs for which ended runs are kept: many that expire at once would hold Redis up. */
const JITTER = 0.1

/** How runs are kept in Redis. */
export type ShardOptions = {
  readonly keys: RunKeys
  /** The name of this process. */
  readonly node: string
  /** Answers what other processes ask this one. Undefined: nothing is said. */
  answer(question: Uint8Array): Uint8Array | undefined
  readonly leaseMs: number
  /** How long a run is kept that nobody holds and that has no end, in milliseconds. */
  readonly liveMs: number
  readonly keepMs: number
  readonly maxRunBytes: number
  readonly deadlineMs: number
  /** How often a followed run is looked at, whatever was heard of it, in milliseconds. */
  readonly lookMs: number
  /** Drops every hint. For tests. */
  readonly isDeaf: boolean
  /** Stands in for the package `redis`. For tests. */
  readonly standIn?: RedisModule | undefined
}

/** What a shard takes from its process. */
export type ShardRuntime = LinkRuntime

/** Who listens to a channel. Called without a message, it looks by itself. */
type Follower = { readonly heard: (message?: Buffer) => void }

/** The runs in one Redis. */
export class Shard implements RedisPlace {
  readonly #options: ShardOptions
  readonly #runtime: ShardRuntime
  readonly #link: Link
  readonly #hints: Hints
  readonly #asks: Asks
  readonly #peers: PeerMessages
  readonly #appends: Appends
  /** The runs that this process holds. */
  readonly #held = new Map<string, HeldRun>()
  /** Those that it is taking over. */
  readonly #taking = new Set<string>()
  readonly #followers = new Set<Follower>()
  /** The names of beginnings whose outcome is not known. */
  readonly #begins = new Map<string, string>()
  #lastBegin = 0
  #renewal: Timer | undefined
  #doubts: Timer | undefined
  #look: Timer | undefined

  constructor(url: string, options: ShardOptions, runtime: ShardRuntime) {
    this.#options = options
    this.#runtime = runtime
    this.#link = new Link(url, `millrace-${options.node}`, runtime, options.deadlineMs, options.standIn)
    this.#hints = new Hints(this.#link, () => this.#lookAll(), options.isDeaf)
    this.#appends = new Appends((keys, args) => this.#link.run(SCRIPTS.append, keys, args))
    this.#asks = new Asks({
      runtime,
      node: options.node,
      nodes: options.keys.nodes,
      run: (id, script, args) => this.#run(id, script, args),
    })
    this.#peers = new PeerMessages({
      node: options.node,
      say: (node, message) => this.#link.call(['PUBLISH', `${options.keys.nodes}${node}`, message]),
      answer: (question) => options.answer(question),
    })
  }

  /** Its host and port. */
  get place(): string {
    return this.#link.place
  }

  /** Connects. */
  async open(): Promise<void> {
    await this.#link.open()
    try {
      await this.#hints.open()
      void this.#hints.listen(`${this.#options.keys.nodes}${this.#options.node}`, (message) => this.#rung(message))
      this.#renewLater()
      this.#doubtLater()
      this.#lookLater()
    } catch (error) {
      this.#link.close()
      throw error
    }
  }

  /** The secret of the deployment, if one is stored here. */
  async secret(): Promise<Buffer | undefined> {
    return ((await this.#link.call(['GET', this.#options.keys.secret])) as Buffer | null) ?? undefined
  }

  /** Stores the secret of the deployment, unless one is stored here. Gives that which is. */
  async keepSecret(offered: Buffer): Promise<Buffer> {
    await this.#link.call(['SET', this.#options.keys.secret, offered, 'NX'])
    // Redis may be wiped in between.
    return (await this.secret()) ?? offered
  }

  /** Gives up all runs that this process holds, and lets go of Redis. */
  async close(): Promise<void> {
    this.#clearTimers()
    // A Redis that does not answer finds out by itself, when the leases are over.
    await Promise.all([...this.#held.values()].map((run) => run.release().catch(() => {})))
    this.#stop()
  }

  /** Lets go of Redis without a word, as a process does that dies. For tests. @internal */
  crash(): void {
    this.#clearTimers()
    for (const run of this.#held.values()) run.forget()
    this.#stop()
  }

  #clearTimers(): void {
    for (const timer of [this.#renewal, this.#doubts, this.#look]) timer?.clear()
  }

  #stop(): void {
    this.#held.clear()
    this.#followers.clear()
    this.#hints.close()
    this.#link.close()
  }

  // --- runs

  async begin(id: string, run: NewRun): Promise<Lease | StoredKey> {
    const confirmedAt = this.#runtime.now()
    const [isMine, gen, holder, stored, fence] = await this.#begin(id, run)
    // Another process has it: it began the run of this key, or took over one whose beginning was answered too late.
    const isOthers = holder !== this.#options.node || (run.key && isMine !== '1')
    if (isOthers) return { run: id, input: stored!.slice(1) }
    const held = this.#held.get(id)
    if (held && held.fence === fence) return held
    return this.#hold({ id, gen: Number(gen), fence: fence!, next: 1, confirmedAt }, run.facts.principal)
  }

  async beginInPool(id: string, run: NewRun, place: PoolPlace): Promise<'waits' | 'full' | StoredKey> {
    const [what, , , stored] = await this.#begin(id, run, place)
    if (what === '2') return 'full'
    if (run.key && what !== '1') return { run: id, input: stored!.slice(1) }
    return 'waits'
  }

  async #begin(id: string, { facts, key }: NewRun, place?: PoolPlace): Promise<string[]> {
    const { node, leaseMs, liveMs, keys } = this.#options
    const { actor, principal, startedAt, meta, packed } = facts
    // One whose answer was lost is repeated under its old name, and gives what it gave.
    const nonce = this.#begins.get(id) ?? `${node}/${++this.#lastBegin}`
    const input = key ? `=${key.input}` : ''
    const args = [id, nonce, node, `${leaseMs}`, `${liveMs}`, actor, principal, `${startedAt}`, bytes(packed)]
    const { pool = '', waitMs = 0, maxWaiting = 0 } = place ?? {}
    const pooled = [keys.waiting, pool, `${waitMs}`, `${maxWaiting}`]
    const more = [meta ? bytes(meta) : '', input, ...keys.metaOf, ...pooled]
    const reply = await this.#run(id, SCRIPTS.begin, [...args, ...more], principal).catch((error: unknown) => {
      this.#remember(id, nonce)
      throw error
    })
    this.#begins.delete(id)
    return (reply as Reply[]).map(String)
  }

  /** Nobody knows what became of this beginning. */
  #remember(id: string, nonce: string): void {
    this.#begins.set(id, nonce)
    const [oldest] = this.#begins.keys()
    if (this.#begins.size > MOST_BEGINS && oldest !== undefined) this.#begins.delete(oldest)
  }

  async takeOver(id: string, by?: Taker): Promise<{ lease: Lease; run: StoredRun } | 'busy' | 'ended' | 'missing'> {
    // A process that stood still may find its own run abandoned. It finds out whether it still has it.
    if (this.#held.has(id) || this.#taking.has(id)) return 'busy'
    this.#taking.add(id)
    try {
      return await this.#takeOver(id, by)
    } finally {
      this.#taking.delete(id)
    }
  }

  async #takeOver(
    id: string,
    by: Taker | undefined,
  ): Promise<{ lease: Lease; run: StoredRun } | 'busy' | 'ended' | 'missing'> {
    const { node, leaseMs, liveMs, keys } = this.#options
    const who = by === undefined ? '' : by === 'canceller' ? 'stop' : `+${by.worker}`
    const args = [
      id,
      node,
      `${leaseMs}`,
      `${liveMs}`,
      keys.channelOf(id),
      `${MOST_LIVES}`,
      keys.waiting,
      who,
      keys.lists,
    ]
    const confirmedAt = this.#runtime.now()
    const [said, life] = ((await this.#run(id, SCRIPTS['take-over'], args)) as Reply[]).map(String)
    if (said !== 'taken') return said as 'busy' | 'ended' | 'missing'
    const run = await this.find(id)
    if (!run) return 'missing'
    // Another process may have taken it since, if this one stood still.
    if (run.gen !== Number(life)) return 'busy'
    const { gen, next, facts } = run
    return { lease: this.#hold({ id, gen, fence: life!, next, confirmedAt }, facts.principal), run }
  }

  async abandoned(most: number): Promise<string[]> {
    const { keys } = this.#options
    const found = await this.#link.run(SCRIPTS.abandoned, [keys.live], [...keys.metaOf, `${most}`])
    return (found as Reply[]).map(String).filter((id) => !this.#held.has(id))
  }

  async find(id: string): Promise<StoredRun | undefined> {
    return (await this.#find(id))?.run
  }

  async #find(id: string): Promise<{ run: StoredRun; key: string | undefined } | undefined> {
    const reply = (await this.#run(id, SCRIPTS.find, [])) as [Buffer[], Buffer[]?, Reply?]
    const [meta, inputs, waitMs] = reply
    const fields = fieldsOf(meta)
    if (fields.size === 0) return undefined
    return { run: storedRun(id, fields, inputs ?? [], Number(waitMs)), key: textOf(fields, 'k')?.slice(1) }
  }

  async findKey(id: string): Promise<StoredKey | undefined> {
    const found = await this.#find(id)
    return found?.key === undefined ? undefined : { run: id, input: found.key }
  }

  async list(principal: string, before: ListPosition | undefined, most: number): Promise<StoredRunSummary[]> {
    const { keys } = this.#options
    const list = keys.listOf(principal)
    const from = before ? `${before.startedAt}` : '+inf'
    const listed: StoredRunSummary[] = []
    for (let offset = 0; listed.length < most; ) {
      const args = [from, `${offset}`, `${most}`, ...keys.metaOf]
      const [places, rows] = (await this.#link.run(SCRIPTS.list, [list], args)) as [number, Reply[]]
      const runs = rows.map((row) => summaryOf(row as Reply[]))
      listed.push(...runs.filter(({ id, startedAt }) => !before || startedAt < before.startedAt || id < before.id))
      if (places < most) break
      // Those that have expired have left the list.
      offset += runs.length
    }
    return listed.slice(0, most)
  }

  /** A run as a list has it. */
  async summary(id: string): Promise<StoredRunSummary | undefined> {
    const [have, isParked] = (await this.#run(id, SCRIPTS.summary, [])) as [(Buffer | null)[], number]
    return have[4] ? summaryOf([id, have, isParked]) : undefined
  }

  /** Runs without an end: until there are `most` that this process does not hold, if that does not take too long. */
  async live(most: number): Promise<LiveRun[]> {
    const { keys, node } = this.#options
    // One that moves while the pages are read may be on two of them.
    const runs = new Map<string, LiveRun>()
    let others = 0
    for (let page = 0; page < MOST_LIVE_PAGES && others < most; page++) {
      const args = [`${page * most}`, `${most}`, ...keys.metaOf]
      const [places, rows] = (await this.#link.run(SCRIPTS.live, [keys.live], args)) as [number, Reply[]]
      for (const run of rows.map((row) => liveRunOf(row as Reply[], node))) {
        if (!run.isHere && !runs.has(run.id)) others++
        runs.set(run.id, run)
      }
      if (places < most) break
    }
    return [...runs.values()]
  }

  followList(principal: string, heard: (id?: string) => void): Promise<() => void> {
    return this.listen(this.#options.keys.listOf(principal), (message) => (message ? heard(String(message)) : heard()))
  }

  async read(id: string, from: number, maxBytes: number): Promise<Page> {
    const args = [`${Math.max(0, from)}`, `${maxBytes}`, `${MOST_BATCHES}`]
    const [more, batches] = (await this.#run(id, SCRIPTS.read, args)) as [number, Buffer[]]
    return { batches: batches.map(unpackBatch), more: more === 1 }
  }

  async remove(id: string): Promise<boolean> {
    const { keys } = this.#options
    return (await this.#run(id, SCRIPTS.remove, [id, keys.channelOf(id), keys.lists, keys.waiting])) === 1
  }

  async removeAll(principal: string): Promise<number> {
    const list = this.#options.keys.listOf(principal)
    const ids = ((await this.#link.call(['ZRANGE', list, '0', '-1'])) as Reply[]).map(String)
    const removed = await Promise.all(ids.map((id) => this.remove(id)))
    return removed.filter((is) => is).length
  }

  // --- pools

  /** The runs that wait in a pool, with the times since when. */
  async waiting(pool: string, most: number): Promise<{ id: string; since: number }[]> {
    const list = `${this.#options.keys.waiting}${pool}`
    const reply = (await this.#link.call(['ZRANGE', list, '0', `${most - 1}`, 'WITHSCORES'])) as Reply[]
    const all = reply.map(String)
    return all.flatMap((id, i) => (i % 2 === 0 ? [{ id, since: Number(all[i + 1]) }] : []))
  }

  listenPool(pool: string, heard: () => void): Promise<() => void> {
    return this.#hints.listen(`${this.#options.keys.waiting}${pool}`, heard)
  }

  // --- what other processes hold

  async follow(id: string, heard: (batch?: Batch) => void): Promise<() => void> {
    let isOver = false
    const stop = await this.listen(this.#options.keys.channelOf(id), (message = NOTHING) => {
      heard(message.length > 1 ? unpackBatch(message.subarray(1)) : undefined)
      // An end comes with the last items, and is found by looking.
      if (message.length > 1 && message[0] === CHANGED && !isOver) heard()
    })
    return () => {
      isOver = true
      stop()
    }
  }

  async listen(channel: string, heard: (message?: Buffer) => void): Promise<() => void> {
    const follower: Follower = { heard }
    this.#followers.add(follower)
    const stop = await this.#hints.listen(channel, (message) => {
      if (this.#followers.has(follower)) heard(message)
    })
    return () => {
      this.#followers.delete(follower)
      stop()
    }
  }

  ask(id: string, packed: Uint8Array, signal: AbortSignal, isStop: boolean): Promise<Uint8Array | AskRefusal> {
    return this.#asks.ask(id, bytes(packed), signal, isStop)
  }

  async attend(id: string, readers: Uint8Array | undefined): Promise<void> {
    const { node, leaseMs, keys } = this.#options
    await this.#run(id, SCRIPTS.attend, [node, `${leaseMs}`, readers ? bytes(readers) : '', keys.nodes, id])
  }

  /** Asks another process, which answers if it hears it. */
  askPeer(node: string, question: Uint8Array, signal: AbortSignal): Promise<Uint8Array | undefined> {
    return this.#peers.ask(node, question, signal)
  }

  /** Another process says that there is something about a run, or asks what this one has. */
  #rung(message: Buffer): void {
    if (this.#peers.took(message)) return
    const id = String(message)
    this.#held.get(id)?.look()
    this.#asks.heard(id)
  }

  /** Hints may have been lost. */
  #lookAll(): void {
    for (const run of this.#held.values()) run.look()
    for (const { heard } of [...this.#followers]) heard()
    this.#asks.lookAll()
  }

  #lookLater(): void {
    const { lookMs } = this.#options
    this.#look = this.#runtime.setTimer(lookMs * (0.9 + this.#runtime.random() / 5), () => {
      for (const { heard } of [...this.#followers]) heard()
      this.#lookLater()
    })
  }

  // --- what this process holds

  #hold(given: GivenLease, principal: string): HeldRun {
    const { id } = given
    const { keys, leaseMs, liveMs, keepMs, maxRunBytes } = this.#options
    const keysOfRun = keys.of(id, principal)
    const held: HeldRun = new HeldRun(given, {
      leaseMs,
      liveMs,
      maxRunBytes,
      keepMs: () => Math.round(keepMs * (1 - JITTER + 2 * JITTER * this.#runtime.random())),
      channel: keys.channelOf(id),
      nodes: keys.nodes,
      pools: keys.waiting,
      outbox: keys.outbox,
      now: () => this.#runtime.now(),
      wait: (ms) => new Promise((resolve) => this.#runtime.setTimer(ms, resolve)),
      append: (args) => this.#appends.add(keysOfRun, args),
      run: (script, args) => this.run(script, keysOfRun, args),
      dropped: () => {
        if (this.#held.get(id) === held) this.#held.delete(id)
      },
    })
    this.#held.set(id, held)
    return held
  }

  #renewLater(): void {
    this.#renewal = this.#runtime.setTimer(this.#options.leaseMs / 3, () => {
      for (const run of [...this.#held.values()]) {
        void run.renew()
        if (run.isAttended) run.look()
      }
      this.#renewLater()
    })
  }

  /** Often enough that a holder doubts its lease before it is over. */
  #doubtLater(): void {
    this.#doubts = this.#runtime.setTimer(this.#options.leaseMs / 10, () => {
      for (const run of [...this.#held.values()]) run.doubt()
      this.#doubtLater()
    })
  }

  run(script: Script, keys: readonly string[], args: readonly Argument[]): Promise<Reply> {
    this.#appends.send()
    return this.#link.run(script, keys, args)
  }

  #run(id: string, script: Script, args: readonly Argument[], principal?: string): Promise<Reply> {
    return this.run(script, this.#options.keys.of(id, principal), args)
  }
}

/** A message that says nothing more than that it is there. */
const NOTHING: Buffer = Buffer.alloc(0)
/** The first byte of a message about a run that has changed in more than its items. */
const CHANGED = 33

/** The same bytes as an argument. */
function bytes({ buffer, byteOffset, length }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, length)
}

type Fields = ReadonlyMap<string, Buffer>

function fieldsOf(all: readonly Buffer[]): Fields {
  return new Map(all.flatMap((name, i) => (i % 2 === 0 ? [[String(name), all[i + 1]!] as const] : [])))
}

function textOf(fields: Fields, name: string): string | undefined {
  return fields.get(name)?.toString()
}

function numberOf(fields: Fields, name: string): number {
  return Number(textOf(fields, name))
}

function factsOf(fields: Fields): StoredRun['facts'] {
  const meta = fields.get('m')
  return {
    actor: textOf(fields, 'a')!,
    principal: textOf(fields, 'p')!,
    startedAt: numberOf(fields, 't'),
    packed: new Uint8Array(fields.get('f') ?? []),
    ...(meta && { meta: new Uint8Array(meta) }),
  }
}

/** A run as `list.lua` gives it. */
function summaryOf([id, have, isParked]: Reply[]): StoredRunSummary {
  const names = ['a', 'p', 't', 'm', 'g', 's', 'eo', 'w'] as const
  const values = have as (Buffer | null)[]
  const fields = new Map(names.flatMap((name, i) => (values[i] ? [[name, values[i]] as const] : [])))
  const { packed: _, ...facts } = factsOf(fields)
  const outcome = textOf(fields, 'eo') as StoredEnd['outcome'] | undefined
  const [gen, last] = [numberOf(fields, 'g'), numberOf(fields, 's')]
  const states = { isParked: isParked === 1, ...(fields.has('w') && { waitsForWorker: true }) }
  return { ...facts, id: String(id), gen, next: last + 1, ...(outcome && { outcome }), ...states }
}

/** A run as `live.lua` gives it. @param node the name of this process. */
function liveRunOf(row: Reply[], node: string): LiveRun {
  const holder = (row[1] as (Buffer | null)[])[8]?.toString()
  return { ...summaryOf(row), holder, isHere: holder === node }
}

/** @param waitMs what is left of its wait in a pool, if it waits in one. */
function storedRun(id: string, fields: Fields, inputs: readonly Buffer[], waitMs: number): StoredRun {
  const [parked, usage, end] = ['pk', 'u', 'ep'].map((name) => fields.get(name))
  const outcome = textOf(fields, 'eo') as StoredEnd['outcome']
  return {
    id,
    facts: factsOf(fields),
    gen: numberOf(fields, 'g'),
    lives: textOf(fields, 'lv')!.split(',').map(lifeOf),
    first: numberOf(fields, 'o'),
    next: numberOf(fields, 's') + 1,
    ...(end && { end: { seq: numberOf(fields, 'es'), outcome, packed: new Uint8Array(end) } }),
    ...(parked && { parked: new Uint8Array(parked) }),
    inputs: inputsOf(inputs),
    ...(usage && { usage: new Uint8Array(usage) }),
    ...(fields.has('pl') && { pool: poolOf(fields, waitMs) }),
  }
}

function poolOf(fields: Fields, waitMs: number): StoredPool {
  const isNew = fields.has('wg') && textOf(fields, 'wg') === textOf(fields, 'g')
  return { name: textOf(fields, 'pl')!, isNew, ...(fields.has('w') && { waitMs: Math.max(0, waitMs) }) }
}

function lifeOf(text: string): StoredLife {
  const [gen, first] = text.split(':').map(Number)
  return { gen: gen!, first: first! }
}

/** Each is the number at which it came, and itself. */
function inputsOf(all: readonly Buffer[]): StoredRun['inputs'] {
  const inputs = [...fieldsOf(all)].map(([mid, value]) => {
    const space = value.indexOf(0x20)
    return { n: Number(value.toString('utf8', 0, space)), input: { mid, ...unpackInput(value.subarray(space + 1)) } }
  })
  return inputs.sort((a, b) => a.n - b.n).map(({ input }) => input)
}
