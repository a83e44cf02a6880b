import { createHash, createHmac } from 'node:crypto'
import { MillraceError } from '../../../protocol/errors.ts'
import type { Runtime, Timer } from '../../../protocol/runtime.ts'
import { newestFirst } from '../list-order.ts'
import type {
  AskRefusal,
  Batch,
  Lease,
  ListPosition,
  LiveRun,
  NewRun,
  Page,
  Peers,
  PoolPlace,
  PoolRuns,
  RunStore,
  SharedRuns,
  StoreCaps,
  StoredKey,
  StoredRun,
  StoredRunSummary,
  Taker,
} from '../run-store.ts'
import { RedisOutbox } from './redis-outbox.ts'
import { RunKeys } from './run-keys.ts'
import { Shard, type ShardOptions } from './shard.ts'
import { shareRedis } from './shared-redis.ts'
import { RedisRefusal, storeError } from './store-error.ts'

const CAPS: StoreCaps = { durable: true, shared: true, maxBatchBytes: 65_536, flushMs: 40 }
/** The bytes of a secret that nobody has set. */
const SECRET_BYTES = 32
/** Stands before the fingerprint of a secret that was set. One that was not set is stored itself. */
const SET = Buffer.from('set:')

/** What a store takes from its process. */
export type RedisRuntime = Pick<Runtime, 'now' | 'setTimer' | 'nextTurn' | 'random' | 'randomBytes'>

/** How a store keeps its runs, resolved. */
export type RedisStoreOptions = Omit<ShardOptions, 'keys' | 'node' | 'answer'> & {
  readonly urls: readonly string[]
  readonly prefix: string
  readonly secret: string | undefined
}

/** Runs in one Redis or several, which several processes share. A run is in one of them, found by its id. */
export class RedisStore implements RunStore, SharedRuns {
  readonly pools: PoolRuns = {
    begin: async (id, run, place) => this.#of(id).beginInPool(id, run, this.#share(place)),
    waiting: async (pool, most) => {
      const found = await this.#ofThoseThatAnswer((shard) => shard.waiting(pool, most))
      const byAge = found.toSorted((a, b) => a.since - b.since)
      return byAge.slice(0, most).map(({ id }) => id)
    },
    listen: async (pool, heard) => {
      const stops = await Promise.all(this.#open.map((shard) => shard.listenPool(pool, heard)))
      return () => {
        for (const stop of stops) stop()
      }
    },
  }
  readonly peers: Peers = {
    ask: async (holder, question, signal) => this.#of(holder).askPeer(holder, question, signal),
    answerWith: (answer) => {
      this.#answer = answer
    },
  }
  readonly caps: StoreCaps = CAPS
  readonly outbox: RedisOutbox
  readonly leaseMs: number
  readonly #options: RedisStoreOptions
  readonly #runtime: RedisRuntime
  /** Answers what other processes ask this one. */
  #answer: Parameters<Peers['answerWith']>[0] = () => undefined
  #shards: readonly Shard[] = []
  #secret: Buffer | undefined
  #opening: Promise<void> | undefined
  #isClosed = false
  #upkeep: Timer | undefined

  constructor(options: RedisStoreOptions, runtime: RedisRuntime) {
    this.leaseMs = options.leaseMs
    this.#options = options
    this.#runtime = runtime
    this.outbox = new RedisOutbox(new RunKeys(options.prefix).outbox, () => this.#open)
    const places = { all: () => this.#open, of: (name: string) => this.#of(name) }
    const newName = (): string => Buffer.from(runtime.randomBytes(9)).toString('base64url')
    // What comes too late must not open it again.
    const open = (): Promise<void> => (this.#isClosed ? Promise.reject(notOpen()) : this.open())
    shareRedis(this, { prefix: options.prefix, open, newName, ...places })
  }

  get shared(): SharedRuns {
    return this
  }

  open(): Promise<void> {
    this.#isClosed = false
    this.#opening ??= this.#connect().catch((error: unknown) => {
      // Whoever asks next tries again.
      this.#opening = undefined
      throw error
    })
    return this.#opening
  }

  async #connect(): Promise<void> {
    const { urls, prefix } = this.#options
    const node = Buffer.from(this.#runtime.randomBytes(9)).toString('base64url')
    const answer = (question: Uint8Array): Uint8Array | undefined => this.#answer(question)
    const options = { ...this.#options, keys: new RunKeys(prefix), node, answer }
    const shards = urls.map((url) => new Shard(url, options, this.#runtime))
    try {
      // None is still on its way when all of them are closed.
      const opened = await Promise.allSettled(shards.map((shard) => shard.open()))
      for (const each of opened) if (each.status === 'rejected') throw each.reason
      this.#secret = await this.#agree(shards)
      this.#shards = shards
      if (!this.#isClosed) this.#keepSecretLater()
    } catch (error) {
      await Promise.all(shards.map((shard) => shard.close()))
      throw error
    }
  }

  /**
   * The secret of the deployment, which each Redis has then. One that was wiped, or is new, is given that of the others.
   * @throws MillraceError `store_unavailable` when one of them has another.
   */
  async #agree(shards: readonly Shard[]): Promise<Buffer> {
    const { secret } = this.#options
    const print = secret === undefined ? undefined : fingerprint(secret)
    const check = (shard: Shard, stored: Buffer | undefined, ours: Buffer): void => {
      const isOther = stored && (!stored.equals(ours) || (!print && isPrint(stored)))
      if (isOther) throw storeError(shard.place, new RedisRefusal('SECRET', 'another secret'))
    }
    const stored = await Promise.all(shards.map((shard) => shard.secret()))
    const offered = print ?? stored.find((each) => each) ?? Buffer.from(this.#runtime.randomBytes(SECRET_BYTES))
    // A server that is refused writes nothing.
    for (const [i, shard] of shards.entries()) check(shard, stored[i], offered)
    // Where none has one, the first decides, for servers that begin at the same time: in whatever order they name them.
    const [first, ...rest] = inOrder(shards)
    const decided = await first!.keepSecret(offered)
    check(first!, decided, print ?? decided)
    for (const shard of rest) check(shard, await shard.keepSecret(decided), decided)
    return secret === undefined ? decided : Buffer.from(secret)
  }

  /** A Redis may be wiped at any time. A server that begins then must make the same ids of keys. */
  #keepSecretLater(): void {
    this.#upkeep = this.#runtime.setTimer(this.#options.lookMs, () => {
      // One that does not answer is asked the next time.
      void this.#keepSecret()
        .catch(() => {})
        .then(() => this.#isClosed || this.#keepSecretLater())
    })
  }

  /**
   * Gives each Redis the secret that it lacks. If all were wiped and a new server was faster, its secret is that of the
   * deployment: whatever the old one was for is gone.
   */
  async #keepSecret(): Promise<void> {
    const { secret } = this.#options
    const [first, ...rest] = inOrder(this.#shards)
    const decided = await first!.keepSecret(secret === undefined ? this.#secret! : fingerprint(secret))
    // One of the other kind is of a server that this one must not be with, and which of them is wrong a start says.
    if (isPrint(decided) !== (secret !== undefined)) return
    if (secret === undefined) this.#secret = decided
    for (const shard of rest) await shard.keepSecret(decided)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#upkeep?.clear()
    this.#opening = undefined
    await Promise.all(this.#shards.map((shard) => shard.close()))
  }

  /** Ends as a process does that dies. For tests. @internal */
  crash(): void {
    this.#isClosed = true
    this.#upkeep?.clear()
    this.#opening = undefined
    for (const shard of this.#shards) shard.crash()
  }

  async begin(id: string, run: NewRun): Promise<Lease | StoredKey> {
    return this.#of(id).begin(id, run)
  }

  async takeOver(id: string, by?: Taker): Promise<{ lease: Lease; run: StoredRun } | 'busy' | 'ended' | 'missing'> {
    return this.#of(id).takeOver(id, by)
  }

  async abandoned(most: number): Promise<string[]> {
    const found = await this.#ofThoseThatAnswer((shard) => shard.abandoned(most))
    return found.slice(0, most)
  }

  async find(id: string): Promise<StoredRun | undefined> {
    return this.#of(id).find(id)
  }

  async findKey(name: string): Promise<StoredKey | undefined> {
    const id = this.idOf(name)
    return this.#of(id).findKey(id)
  }

  async list(principal: string, before: ListPosition | undefined, most: number): Promise<StoredRunSummary[]> {
    const lists = await Promise.all(this.#open.map((shard) => shard.list(principal, before, most)))
    return lists.flat().sort(newestFirst).slice(0, most)
  }

  async read(id: string, from: number, maxBytes: number): Promise<Page> {
    return this.#of(id).read(id, from, maxBytes)
  }

  async remove(id: string): Promise<void> {
    await this.#of(id).remove(id)
  }

  async removeAll(principal: string): Promise<number> {
    const removed = await Promise.all(this.#open.map((shard) => shard.removeAll(principal)))
    return removed.reduce((sum, some) => sum + some, 0)
  }

  // --- shared

  idOf(key: string): string {
    if (!this.#secret) throw notOpen()
    return `r_${createHmac('sha256', this.#secret).update(key).digest().subarray(0, 16).toString('base64url')}`
  }

  async follow(id: string, heard: (batch?: Batch) => void): Promise<() => void> {
    return this.#of(id).follow(id, heard)
  }

  async ask(id: string, packed: Uint8Array, signal: AbortSignal, isStop = false): Promise<Uint8Array | AskRefusal> {
    return this.#of(id).ask(id, packed, signal, isStop)
  }

  async followList(principal: string, heard: (id?: string) => void): Promise<() => void> {
    const stops = await Promise.all(this.#open.map((shard) => shard.followList(principal, heard)))
    return () => {
      for (const stop of stops) stop()
    }
  }

  async summary(id: string): Promise<StoredRunSummary | undefined> {
    return this.#of(id).summary(id)
  }

  async live(most: number): Promise<LiveRun[]> {
    const found = await this.#ofThoseThatAnswer((shard) => shard.live(most))
    // Those that nobody holds are on no list but this one.
    const rankOf = ({ holder, isHere }: LiveRun): number => (isHere ? 2 : holder === undefined ? 0 : 1)
    return found.sort((a, b) => rankOf(a) - rankOf(b) || newestFirst(a, b)).slice(0, most)
  }

  async attend(id: string, readers: Uint8Array | undefined): Promise<void> {
    return this.#of(id).attend(id, readers)
  }

  /** The part of a pool that one Redis has. */
  #share(place: PoolPlace): PoolPlace {
    return { ...place, maxWaiting: Math.ceil(place.maxWaiting / this.#open.length) }
  }

  /**
   * Work that the Redis which answer have: what is in them goes on while others are away.
   * @throws MillraceError `store_unavailable` when they have none, and one did not answer.
   */
  async #ofThoseThatAnswer<Found>(call: (shard: Shard) => Promise<Found[]>): Promise<Found[]> {
    const answers = await Promise.allSettled(this.#open.map(call))
    const found = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []))
    const failure = answers.find((answer) => answer.status === 'rejected')
    if (failure && found.length === 0) throw failure.reason
    return found
  }

  get #open(): readonly Shard[] {
    if (this.#shards.length === 0) throw notOpen()
    return this.#shards
  }

  /** The Redis that has a run, or what else has a name: that of the highest weight, so that another takes over little. */
  #of(id: string): Shard {
    const shards = this.#open
    if (shards.length === 1) return shards[0]!
    const weights = shards.map(({ place }) => createHash('sha1').update(`${place} ${id}`).digest().readUInt32BE())
    return shards[weights.indexOf(Math.max(...weights))]!
  }
}

function notOpen(): MillraceError {
  return new MillraceError('store_unavailable', 'the store is not open')
}

/** The same order for all servers, however they name them. */
function inOrder(shards: readonly Shard[]): Shard[] {
  return shards.toSorted((a, b) => (a.place < b.place ? -1 : 1))
}

function isPrint(stored: Buffer): boolean {
  return stored.subarray(0, SET.length).equals(SET)
}

/** By which a secret is recognized, and not found out. */
function fingerprint(secret: string): Buffer {
  return Buffer.concat([SET, createHmac('sha256', secret).update('millrace').digest()])
}
