import { nodeRuntime } from '../runtime.ts'
import { verdictOf } from './append-verdict.ts'
import { newestFirst } from './list-order.ts'
import { MemoryOutbox, type OutboxClock } from './memory-outbox.ts'
import type {
  Append,
  AppendRefusal,
  Batch,
  Lease,
  ListPosition,
  NewRun,
  Page,
  RunFacts,
  RunStore,
  StoreCaps,
  StoredEnd,
  StoredInput,
  StoredKey,
  StoredLife,
  StoredRun,
  StoredRunSummary,
} from './run-store.ts'

const CAPS: StoreCaps = { durable: false, shared: false, maxBatchBytes: 65_536, flushMs: 10 }

/**
 * Returns a store in the memory of this process. It is the smallest one that keeps every promise of `RunStore`: the
 * reference for others, and the store of tests. What it has lives as long as it does, also when it is closed and opened.
 * @param clock Tells when notices are due. Default: that of the process.
 */
export function memoryStore(clock: OutboxClock = nodeRuntime): RunStore {
  return new MemoryStore(clock)
}

/** One run. */
class MemoryRun {
  readonly id: string
  readonly facts: RunFacts
  readonly lives: StoredLife[] = []
  readonly batches: Batch[] = []
  gen = 0
  next = 1
  isHeld = false
  end: StoredEnd | undefined
  #parked: Uint8Array | undefined
  #inputs: StoredInput[] = []
  #usage: Uint8Array | undefined

  constructor(id: string, facts: RunFacts) {
    this.id = id
    this.facts = facts
    this.newLife()
  }

  newLife(): void {
    this.gen++
    this.isHeld = true
    this.lives.push({ gen: this.gen, first: this.next })
  }

  append({ batch, parked, inputs = [], usage, end }: Append): void {
    if (batch) {
      this.batches.push(batch)
      this.next = batch.last + 1
    }
    if (parked !== undefined) {
      this.#parked = parked ?? undefined
      this.#inputs = []
    }
    for (const input of inputs) if (!this.#inputs.some(({ mid }) => mid === input.mid)) this.#inputs.push(input)
    this.#usage = usage ?? this.#usage
    if (!end) return
    this.end = end
    this.isHeld = false
    this.#parked = undefined
    this.#inputs = []
  }

  get stored(): StoredRun {
    const { id, facts, gen, next, end } = this
    const first = this.batches[0]?.first ?? next
    const [parked, inputs, usage] = [this.#parked, [...this.#inputs], this.#usage]
    return { id, facts, gen, lives: [...this.lives], first, next, end, parked, inputs, usage }
  }

  get summary(): StoredRunSummary {
    const { packed: _, ...facts } = this.facts
    const { id, gen, next, end } = this
    return { ...facts, id, gen, next, outcome: end?.outcome, isParked: this.#parked !== undefined }
  }
}

class MemoryStore implements RunStore {
  readonly caps = CAPS
  readonly outbox: MemoryOutbox
  readonly #runs = new Map<string, MemoryRun>()
  readonly #keys = new Map<string, StoredKey>()

  constructor(clock: OutboxClock) {
    this.outbox = new MemoryOutbox(clock)
  }

  async open(): Promise<void> {
    for (const run of this.#runs.values()) run.isHeld = false
    this.outbox.reopen()
  }

  async close(): Promise<void> {}

  async begin(id: string, { facts, key }: NewRun): Promise<Lease | StoredKey> {
    const taken = key && this.#keys.get(key.name)
    if (taken && taken.run !== id) return taken
    if (key) this.#keys.set(key.name, { run: id, input: key.input })
    const run = this.#runs.get(id) ?? new MemoryRun(id, facts)
    this.#runs.set(id, run)
    return this.#lease(run, 1)
  }

  async takeOver(id: string): Promise<{ lease: Lease; run: StoredRun } | 'busy' | 'ended' | 'missing'> {
    const run = this.#runs.get(id)
    if (!run) return 'missing'
    if (run.end) return 'ended'
    if (run.isHeld) return 'busy'
    run.newLife()
    return { lease: this.#lease(run, run.gen), run: run.stored }
  }

  async abandoned(most: number): Promise<string[]> {
    const abandoned = [...this.#runs.values()].filter(({ end, isHeld }) => !end && !isHeld)
    return abandoned.slice(0, most).map(({ id }) => id)
  }

  async find(id: string): Promise<StoredRun | undefined> {
    return this.#runs.get(id)?.stored
  }

  async findKey(name: string): Promise<StoredKey | undefined> {
    return this.#keys.get(name)
  }

  async list(principal: string, before: ListPosition | undefined, most: number): Promise<StoredRunSummary[]> {
    return [...this.#runs.values()]
      .filter(({ facts }) => facts.principal === principal)
      .map((run) => run.summary)
      .sort(newestFirst)
      .filter((run) => !before || newestFirst(before, run) < 0)
      .slice(0, most)
  }

  async read(id: string, from: number, maxBytes: number): Promise<Page> {
    const behind = (this.#runs.get(id)?.batches ?? []).filter(({ last }) => last >= from)
    const batches: Batch[] = []
    let bytes = 0
    for (const batch of behind) {
      bytes += sizeOf(batch)
      if (batches.length > 0 && bytes > maxBytes) return { batches, more: true }
      batches.push(batch)
    }
    return { batches, more: false }
  }

  async remove(id: string): Promise<void> {
    this.#runs.delete(id)
    for (const [name, { run }] of this.#keys) if (run === id) this.#keys.delete(name)
  }

  async removeAll(principal: string): Promise<number> {
    const theirs = [...this.#runs.values()].filter(({ facts }) => facts.principal === principal)
    for (const { id } of theirs) await this.remove(id)
    return theirs.length
  }

  #lease(run: MemoryRun, gen: number): Lease {
    const holds = (): boolean => this.#runs.get(run.id) === run && run.gen === gen
    return {
      gen,
      append: async (what): Promise<AppendRefusal | undefined> => {
        const state = holds() ? { gen: run.gen, next: run.next, endSeq: run.end?.seq } : undefined
        const verdict = verdictOf(state, gen, what)
        if (verdict === 'new') {
          run.append(what)
          await this.outbox.add(what.notices ?? [])
        }
        return verdict === 'new' || verdict === 'repeated' ? undefined : verdict
      },
      release: async () => {
        if (holds()) run.isHeld = false
      },
    }
  }
}

/** The bytes that count of a batch when a page is bounded. */
function sizeOf({ index, bodies, open }: Pick<Batch, 'index' | 'bodies' | 'open'>): number {
  return index.length + bodies.length + (open?.length ?? 0)
}
