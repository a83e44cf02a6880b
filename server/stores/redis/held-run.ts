import { MillraceError } from '../../../protocol/errors.ts'
import type { Append, AppendRefusal, Holder, Lease, SharedLease } from '../run-store.ts'
import { packBatch } from './batch-record.ts'
import type { Argument, Reply } from './client.ts'
import type { Script } from './script.ts'
import { SCRIPTS } from './scripts.ts'

/** How much of a lease may pass unconfirmed before its holder must doubt it. */
const DOUBT = 4 / 5
/** How often the keys of a run that goes on are given new time, in milliseconds. */
const REFRESH_MS = 3_600_000
/** How long after a failure an answer is stored again, in milliseconds. */
const RETRY_MS = 250

/** What a held run takes from its Redis. */
export type HeldRunCallbacks = {
  readonly leaseMs: number
  readonly liveMs: number
  readonly maxRunBytes: number
  /** How long a run is kept after its end, each time a little different. */
  keepMs(): number
  readonly channel: string
  readonly nodes: string
  readonly pools: string
  readonly outbox: string
  now(): number
  wait(ms: number): Promise<void>
  /** Runs the script for appends. */
  append(args: readonly Argument[]): Promise<Reply>
  run(script: Script, args: readonly Argument[]): Promise<Reply>
  /** It is not held any more. */
  dropped(): void
}

/** A lease as a process is given it, and what it has to know of the run. */
export type GivenLease = {
  readonly id: string
  readonly gen: number
  readonly fence: string
  /** The item that Redis has to have next. */
  readonly next: number
  /** When the call was made that gave its lease. */
  readonly confirmedAt: number
}

/** A run that this process holds. */
export class HeldRun implements Lease, SharedLease {
  readonly id: string
  readonly gen: number
  /** Names this holding in all that is said of it: with another one, Redis refuses. */
  readonly fence: string
  readonly #redis: HeldRunCallbacks
  #appends = 0
  /** The item that Redis has to have next. */
  #next: number
  #holder: Holder | undefined
  #isOver = false
  /** When the last call that confirmed the lease was made, and the last that gave its keys new time. */
  #confirmedAt: number
  #refreshedAt: number
  #isDoubtful = false
  /** The last ask that the holder has heard, and the version of the readers that it knows. */
  #heard = 0
  #readers = '0'
  #isLooking = false
  #looksAgain = false
  /** Answers that Redis has not taken. The end, which forgets what was asked, comes behind them: a script may be sent again. */
  readonly #answers = new Set<Promise<void>>()
  /** Present once it was given up. */
  #leaving: Promise<void> | undefined

  constructor({ id, gen, fence, next, confirmedAt }: GivenLease, redis: HeldRunCallbacks) {
    this.id = id
    this.gen = gen
    this.fence = fence
    this.#next = next
    this.#redis = redis
    this.#confirmedAt = this.#refreshedAt = confirmedAt
  }

  get shared(): SharedLease {
    return this
  }

  get isDoubtful(): boolean {
    return !this.#isOver && this.#redis.now() - this.#confirmedAt > this.#redis.leaseMs * DOUBT
  }

  heldBy(holder: Holder): void {
    this.#holder = holder
    this.look()
  }

  async append({ batch, end, parked, inputs = [], usage, notices = [] }: Append): Promise<AppendRefusal | undefined> {
    if (end && this.#answers.size > 0) await Promise.all(this.#answers)
    const { leaseMs, maxRunBytes, channel, outbox } = this.#redis
    const at = this.#redis.now()
    const reply = await this.#redis.append([
      this.id,
      this.fence,
      `${++this.#appends}`,
      `${leaseMs}`,
      `${this.#redis.keepMs()}`,
      `${maxRunBytes}`,
      channel,
      `${batch?.first ?? end?.seq ?? this.#next}`,
      `${batch?.last ?? ''}`,
      batch ? packBatch(batch) : '',
      `${end?.seq ?? ''}`,
      end?.outcome ?? '',
      end ? bytes(end.packed) : '',
      parked === undefined ? '' : parked === null ? '0' : Buffer.concat([ONE, parked]),
      usage ? bytes(usage) : '',
      outbox,
      `${notices.length}`,
      ...notices.flatMap(({ id, body }) => [id, bytes(body)]),
      ...inputs.flatMap(({ mid, type, packed }) => [mid, packInput(type, packed)]),
    ])
    const what = this.#took(reply, at)
    if (batch && what === 'ok') this.#next = batch.last + 1
    if (end && what === 'ok') this.#drop()
    return what === 'ok' ? undefined : (what as AppendRefusal)
  }

  release(): Promise<void> {
    return this.#leave(SCRIPTS.release)
  }

  putBack(): Promise<void> {
    return this.#leave(SCRIPTS['put-back'])
  }

  /** Gives it up. Its process does not end before Redis knows. */
  async #leave(script: Script): Promise<void> {
    if (this.#isOver) return this.#leaving
    this.#isOver = true
    const { channel, pools, liveMs } = this.#redis
    const left = this.#redis.run(script, [this.id, this.fence, channel, pools, `${liveMs}`])
    this.#leaving = left.then(() => {}).finally(() => this.#redis.dropped())
    return this.#leaving
  }

  async answer(n: number, packed: Uint8Array): Promise<void> {
    const answered = this.#answer(n, packed)
    this.#answers.add(answered)
    await answered.finally(() => this.#answers.delete(answered))
  }

  async #answer(n: number, packed: Uint8Array): Promise<void> {
    for (let isStored = false; !isStored && !this.#isOver; ) {
      try {
        const args = [this.fence, `${n}`, bytes(packed), this.#redis.nodes, this.id]
        await this.#redis.run(SCRIPTS.answer, args)
        isStored = true
      } catch (error) {
        if (!MillraceError.is(error, 'store_unavailable')) throw error
        await this.#redis.wait(RETRY_MS)
      }
    }
  }

  /** Confirms the lease, unless an append has just done so. */
  async renew(): Promise<void> {
    if (this.#isOver) return
    this.doubt()
    const { leaseMs, liveMs } = this.#redis
    const at = this.#redis.now()
    const isRefresh = at - this.#refreshedAt > REFRESH_MS
    if (at - this.#confirmedAt < leaseMs / 6 && !isRefresh) return
    try {
      const args = [this.id, this.fence, `${leaseMs}`, isRefresh ? `${liveMs}` : '', `${this.#next}`]
      const what = this.#took(await this.#redis.run(SCRIPTS.renew, args), at)
      if (what === 'gap') this.#giveUp()
      else if (isRefresh) this.#refreshedAt = at
    } catch {
      // The next time, or the holder's own append, tries again. Meanwhile it grows doubtful.
      this.doubt()
    }
  }

  /** Looks whether somebody has asked something, or reads it elsewhere. */
  look(): void {
    if (this.#isOver || !this.#holder) return
    this.#looksAgain = true
    if (this.#isLooking) return
    this.#isLooking = true
    void this.#look().finally(() => (this.#isLooking = false))
  }

  async #look(): Promise<void> {
    while (this.#looksAgain && !this.#isOver) {
      this.#looksAgain = false
      let reply: Reply[]
      try {
        reply = (await this.#redis.run(SCRIPTS.look, [this.fence, `${this.#heard}`])) as Reply[]
      } catch {
        // Each append and each renewal says that there is something to look at.
        return
      }
      this.#seen(reply)
    }
  }

  #seen([what, last, version, asks, readers]: Reply[]): void {
    if (String(what) === 'fenced') return this.#lose()
    if (this.#isOver) return
    for (const [id, fields] of (asks ?? []) as [Buffer, [Buffer, Buffer, Buffer, Buffer]][]) {
      const n = Number.parseInt(String(id), 10)
      if (n <= this.#heard) continue
      this.#heard = n
      this.#holder?.asked({ n, packed: new Uint8Array(fields[3]) })
    }
    if (this.#heard < Number(last)) {
      // Those between were answered in an earlier life, or there are more than one look gives.
      if ((asks as Reply[]).length === 0) this.#heard = Number(last)
      else this.#looksAgain = true
    }
    // Also when it is the same: some of them may not have come back.
    const all = (readers ?? []) as Buffer[]
    const attending = new Map<string, Uint8Array>()
    for (let i = 0; i + 1 < all.length; i += 2) attending.set(String(all[i]), new Uint8Array(all[i + 1]!))
    if (String(version) === this.#readers && this.#known === attending.size) return
    this.#readers = String(version)
    this.#known = attending.size
    this.#holder?.attended(attending)
  }

  /** How many other processes read it. */
  #known = 0

  /** Whether readers in other processes have to be looked for: they may be gone without a word. */
  get isAttended(): boolean {
    return this.#known > 0
  }

  /** Lets go of it without a word: its process ends. */
  forget(): void {
    this.#isOver = true
  }

  /** Reads what Redis says of the lease. */
  #took(reply: Reply, at: number): string {
    const [what, asks, readers] = (reply as Reply[]).map(String)
    if (what === 'ok') {
      // Its holder may have found it doubtful since this was looked at last, and hears when it is not any more.
      this.doubt()
      this.#confirmedAt = Math.max(this.#confirmedAt, at)
      this.doubt()
      if (Number(asks) > this.#heard || readers !== this.#readers) this.look()
    } else if (what === 'fenced') this.#lose()
    return what!
  }

  /** Tells its holder when its lease has become doubtful, or is not any more. */
  doubt(): void {
    const { isDoubtful } = this
    if (isDoubtful === this.#isDoubtful) return
    this.#isDoubtful = isDoubtful
    this.#holder?.doubted()
  }

  /** Redis has lost items that it had. No other process has the run then, and one of them must be able to end it. */
  #giveUp(): void {
    if (this.#isOver) return
    this.release().catch(() => {})
    this.#holder?.lost()
  }

  #lose(): void {
    if (this.#isOver) return
    this.#drop()
    this.#holder?.lost()
  }

  #drop(): void {
    this.#isOver = true
    this.#redis.dropped()
  }
}

const ONE = Buffer.from('1')

/** The same bytes as an argument. */
function bytes({ buffer, byteOffset, length }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, length)
}

/** The type of an input and its bytes, as one value. */
function packInput(type: string, packed: Uint8Array): Buffer {
  const name = Buffer.from(type)
  const length = Buffer.alloc(4)
  length.writeUInt32BE(name.length)
  return Buffer.concat([length, name, packed])
}

export function unpackInput(value: Buffer): { type: string; packed: Uint8Array } {
  const end = 4 + value.readUInt32BE()
  return { type: value.toString('utf8', 4, end), packed: new Uint8Array(value.subarray(end)) }
}
