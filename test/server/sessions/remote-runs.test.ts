import { describe, expect, test } from 'vitest'
import { MillraceError } from '../../../protocol/errors.ts'
import { EVENT } from '../../../protocol/events.ts'
import type { WireMap } from '../../../protocol/frames.ts'
import { DEFAULT_LIMITS } from '../../../protocol/limits.ts'
import type { RunInput } from '../../../server/actors/actor.ts'
import { locate } from '../../../server/connections/start-position.ts'
import { Cursor } from '../../../server/log/cursor.ts'
import { Log } from '../../../server/log/log.ts'
import { packPayload } from '../../../server/log/payload.ts'
import type { Reader } from '../../../server/log/readers.ts'
import { packAnswer, unpackAsk } from '../../../server/runs/ask.ts'
import type { ReadableRun } from '../../../server/runs/readable-run.ts'
import { RemoteRuns } from '../../../server/sessions/remote-runs.ts'
import type { Batch, RunStore, SharedRuns, StoredRun } from '../../../server/stores/run-store.ts'
import { handClock } from '../../helpers/hand-clock.ts'

const ALICE = { id: 'alice' }
/** How long a reader may take to join. */
const JOIN_MS = 10_000

/** A run that another node holds, in a store of which each call can be held up or fail. */
function elsewhere() {
  const clock = handClock()
  const source = new Log(DEFAULT_LIMITS)
  const followers = new Set<(batch?: Batch) => void>()
  const failures: unknown[] = []
  const run = {
    clock,
    failures,
    followers,
    stored: {
      id: 'r_1',
      facts: { actor: 'a', principal: 'alice', startedAt: 0, packed: new Uint8Array() },
      gen: 1,
      lives: [{ gen: 1, first: 1 }],
      first: 1,
      next: 1,
      inputs: [],
    } as StoredRun,
    /** What it waits for, and as which item each was logged. */
    asked: [] as { seq: number; data: WireMap }[],
    /** The items that its holder has logged and not stored. */
    unstored: 0,
    /** The most items that are read at once. */
    pageItems: Number.POSITIVE_INFINITY,
    /** How often it was asked for that. */
    asks: 0,
    /** Calls of these wait until it resolves. */
    before: { ask: Promise.resolve(), input: Promise.resolve(), read: Promise.resolve() as Promise<unknown> },
    /** It says so many texts. */
    says(count: number, text = 'x'): void {
      run.logs(() => {
        for (let n = 0; n < count; n++) source.appendText(0, text, 1)
      })
    },
    /** What the store has of it. */
    get texts(): string[] {
      return textsOf(source)
    },
    /** It logs an event. */
    event(type: number, data: WireMap): void {
      run.logs(() => source.appendEvent(type, packPayload(data, DEFAULT_LIMITS), data, 1))
    },
    /** It asks, and waits for the answer. */
    request(id: string, call?: string): void {
      const data = { request: id, kind: 'approve', prompt: 'May I?', ...(call !== undefined && { call }) }
      run.asked.push({ seq: source.next, data })
      run.event(EVENT.inputRequest, data)
    },
    /** Another holder begins a new life of it, at item `first`: the store has lost those from there on. */
    newLife(first = source.next): void {
      source.newLife(first)
      run.stored = { ...run.stored, gen: source.gen, lives: [...source.lives], next: source.next }
      for (const heard of followers) heard()
    },
    logs(append: () => void): void {
      const first = source.next
      append()
      run.stored = { ...run.stored, next: source.next }
      const batch = source.batch(first, source.last, 1_000_000)
      for (const heard of followers) heard(batch)
    },
    runs: undefined as unknown as RemoteRuns,
    async view(after: number | null): Promise<ReadableRun> {
      return run.runs.view(run.stored, ALICE, after)
    },
  }
  const shared: Pick<SharedRuns, 'leaseMs' | 'follow' | 'attend' | 'ask'> = {
    leaseMs: 15_000,
    follow: async (_, heard) => {
      followers.add(heard)
      return () => void followers.delete(heard)
    },
    attend: async () => {},
    ask: async (_, packed, signal) => {
      const ask = unpackAsk(packed)
      if (ask.type === 'input') {
        await run.before.input
        return packAnswer({ status: 'accepted' })
      }
      expect(ask.type).toBe('pending')
      run.asks++
      const answer = packAnswer({ next: source.next + run.unstored, requests: run.asked })
      await Promise.race([run.before.ask, aborted(signal)])
      return answer
    },
  }
  const store: Pick<RunStore, 'read' | 'find'> = {
    read: async (_, from) => {
      await run.before.read
      const through = Math.min(source.last, from + run.pageItems - 1)
      return {
        batches: from < source.next ? [source.batch(from, through, 1_000_000)] : [],
        more: through < source.last,
      }
    },
    find: async () => run.stored,
  }
  run.runs = new RemoteRuns({
    store: store as RunStore,
    shared: shared as SharedRuns,
    runtime: clock,
    limits: DEFAULT_LIMITS,
    changed: () => {},
    withdraw: async () => false,
    failed: (error) => void failures.push(error),
  })
  return run
}

function textsOf(log: Log): string[] {
  const chunks = Array.from({ length: log.last }, (_, n) => log.chunk(n + 1, n + 1, 1_000))
  return chunks.map((chunk) => Buffer.from(chunk?.bodies.subarray(1) ?? []).toString())
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))
}

/** A reader of a run, as a connection has one. */
class Tab implements Reader {
  readonly policy = 'log'
  readonly own = true
  readonly client = 'tab'
  readonly paused = false
  resting = false
  readonly cursor: Cursor
  readonly #run: ReadableRun
  wakes = 0
  dismissed: string | undefined

  constructor(run: ReadableRun) {
    this.#run = run
    this.cursor = new Cursor(run.log, { last: run.log.last, gen: run.log.gen }, 100, DEFAULT_LIMITS.maxCredit)
    run.join(this)
    run.rest(this)
  }
  allowance(): number {
    return Number.POSITIVE_INFINITY
  }
  wake(): void {
    this.wakes++
    this.#run.rest(this)
  }
  dismiss(code: string, message: string): void {
    this.dismissed = `${code}: ${message}`
  }
  leave(): void {
    this.#run.leave(this)
  }
}

/** The requests that a reader is told of that begins with item `seq`, or jumps there. */
function pendingAt(run: ReadableRun, seq: number): unknown[] {
  return run.pendingAt(seq).map((data) => data['request'])
}

/** What callbacks that are on their way do. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve))
}

/** A promise, and what resolves it. */
function gate(): { passed: Promise<void>; open: () => void } {
  let open = (): void => {}
  const passed = new Promise<void>((resolve) => (open = resolve))
  return { passed, open }
}

describe('a reader of a run on another node', () => {
  test('hears all that follows if the last other reader leaves while it begins', async () => {
    const run = elsewhere()
    const old = new Tab(await run.view(0))
    const { passed, open } = gate()
    run.before.ask = passed
    const viewed = run.view(0)
    await settle()
    old.leave()
    open()
    const tab = new Tab(await viewed)
    run.says(1)
    await settle()
    expect(tab.wakes).toBe(1)
    expect(run.followers.size).toBe(1)
    tab.leave()
    expect(run.followers.size).toBe(0)
  })

  test('begins in a life that the readers before it have not heard of', async () => {
    const run = elsewhere()
    run.says(2)
    const old = new Tab(await run.view(0))
    const followers = [...run.followers]
    run.followers.clear()
    run.newLife()
    // The hints are lost.
    const view = await run.view(2)
    const { gaps, position } = locate(view, 1, { after: 2, gen: run.stored.gen })
    expect(gaps).toEqual([])
    expect(position).toEqual({ last: 2, gen: run.stored.gen })
    const tab = new Tab(view)
    for (const heard of followers) run.followers.add(heard)
    tab.leave()
    old.leave()
    expect(run.followers.size).toBe(0)
  })

  test('begins behind an item that the readers before it are too slow to have come to', async () => {
    const run = elsewhere()
    run.says(10)
    run.pageItems = 4
    // Each of them comes while the one before begins.
    const views = await Promise.all([0, 9, 9].map((after) => run.view(after)))
    expect(views.map(({ log }) => log.last)).toEqual([4, 10, 10])
    expect(new Set(views).size).toBe(2)
    expect(locate(views[1]!, 1, { after: 9, gen: 1 }).gaps).toEqual([])
    expect(locate(await run.view(9), 1, { after: 9, gen: 1 }).gaps).toEqual([])
  })

  test('has nothing of a history that the store has lost, however much is stored in its place before it hears of it', async () => {
    for (const said of [0, 1, 3, 4, 5, 9])
      for (const hears of ['of the new life', 'of the first items', 'of the last items', 'late']) {
        const run = elsewhere()
        run.says(9, 'lost')
        const view = await run.view(0)
        const tab = new Tab(view)
        const followers = [...run.followers]
        const hear = (isHeard: boolean): void => {
          run.followers.clear()
          if (isHeard) for (const heard of followers) run.followers.add(heard)
        }
        hear(hears === 'of the new life')
        run.newLife(5)
        hear(hears === 'of the first items')
        if (said > 0) run.says(1, 'first')
        await settle()
        hear(hears === 'of the last items')
        if (said > 1) run.says(said - 1, 'later')
        await settle()
        hear(true)
        for (const heard of followers) heard()
        await settle()
        expect([said, hears, ...textsOf(view.log)]).toEqual([said, hears, ...run.texts])
        expect(view.log.lives).toEqual(run.stored.lives)
        expect(locate(view, 1, { after: 9, gen: 1 }).gaps).toMatchObject([{ reason: 'rewound', next: 5 }])
        tab.leave()
      }
  })

  test('that does not come is waited for a while, and each of several on its own', async () => {
    const run = elsewhere()
    await run.view(0)
    run.clock.advance(JOIN_MS - 1)
    const second = await run.view(0)
    run.clock.advance(1)
    expect(run.followers.size).toBe(1)
    const tab = new Tab(second)
    tab.leave()
    expect(run.followers.size).toBe(0)
    await run.view(0)
    run.clock.advance(JOIN_MS)
    expect(run.followers.size).toBe(0)
    expect(run.clock.timers).toBe(0)
  })

  test('does not keep the items from others that come after a failure of the store', async () => {
    const run = elsewhere()
    const tab = new Tab(await run.view(0))
    const next = await run.view(0)
    run.before.read = Promise.reject(new MillraceError('store_unavailable', 'Redis is slow'))
    for (const heard of run.followers) heard()
    await settle()
    expect(run.failures).toHaveLength(1)
    run.before.read = Promise.resolve()
    // The hint is lost.
    const followers = [...run.followers]
    run.followers.clear()
    run.says(1)
    const late = new Tab(next)
    run.clock.advance(500)
    await settle()
    expect([tab.wakes, late.wakes]).toEqual([1, 1])
    for (const heard of followers) run.followers.add(heard)
    tab.leave()
    late.leave()
    expect(run.followers.size).toBe(0)
  })

  test('that does not come is waited for no longer if the store fails meanwhile', async () => {
    const run = elsewhere()
    await run.view(0)
    run.before.read = Promise.reject(new MillraceError('store_unavailable', 'Redis is slow'))
    for (const heard of run.followers) heard()
    await settle()
    run.before.read = Promise.resolve()
    run.clock.advance(500)
    await settle()
    expect(run.followers.size).toBe(1)
    run.clock.advance(JOIN_MS)
    expect(run.followers.size).toBe(0)
    expect(run.clock.timers).toBe(0)
  })

  test('that does not come while the run ends leaves nothing behind', async () => {
    const run = elsewhere()
    await run.view(0)
    run.stored = { ...run.stored, end: { seq: 1, outcome: 'done', packed: new Uint8Array() } }
    for (const heard of run.followers) heard()
    await settle()
    expect(run.followers.size).toBe(0)
    expect(run.runs.size).toBe(0)
    run.clock.advance(JOIN_MS)
    expect(run.clock.timers).toBe(0)
  })

  test('hears the answer to its input before the end that the input brought about', async () => {
    const run = elsewhere()
    const view = await run.view(0)
    const tab = new Tab(view)
    const { passed, open } = gate()
    run.before.input = passed
    const input = { id: 'm', type: 'answer', data: 'yes' } as RunInput
    const answered = view.input('m', input, 1)
    run.stored = { ...run.stored, end: { seq: run.stored.next, outcome: 'done', packed: new Uint8Array() } }
    for (const heard of [...run.followers]) heard()
    await settle()
    expect(view.end).toBeUndefined()
    open()
    expect(await answered).toEqual({ status: 'accepted' })
    expect(view.end).toBeUndefined()
    await settle()
    expect(view.end).toMatchObject({ outcome: 'done' })
    tab.leave()
  })

  test('that comes too late is told so, and does not wait for ever', async () => {
    const run = elsewhere()
    const viewed = await run.view(0)
    run.clock.advance(JOIN_MS)
    const tab = new Tab(viewed)
    await settle()
    expect(tab.dismissed).toMatch(/^store_unavailable: .*attach to it again/)
  })

  test('is told why if the log could not be read any more while it began', async () => {
    const run = elsewhere()
    const old = new Tab(await run.view(0))
    const { passed, open } = gate()
    run.before.ask = passed
    const viewed = run.view(0)
    await settle()
    run.before.read = Promise.reject(new MillraceError('store_unavailable', 'Redis is gone', { retryable: false }))
    for (const heard of run.followers) heard()
    await settle()
    expect(old.dismissed).toBe('store_unavailable: Redis is gone')
    open()
    const tab = new Tab(await viewed)
    await settle()
    expect(tab.dismissed).toBe('store_unavailable: Redis is gone')
  })
})

describe('what a run on another node waits for', () => {
  test('is told to each of several readers that begin at once, as it is at its place', async () => {
    const run = elsewhere()
    run.says(2)
    run.request('q3')
    run.says(8)
    run.request('q12')
    run.says(8)
    const { passed, open } = gate()
    run.before.ask = passed
    const viewed = [2, 5, 15].map((after) => run.view(after))
    await settle()
    open()
    const views = await Promise.all(viewed)
    expect(views.map((view, i) => pendingAt(view, [3, 6, 16][i]!))).toEqual([[], ['q3'], ['q3', 'q12']])
    expect(new Set(views).size).toBe(1)
    expect(run.asks).toBe(1)
  })

  test('is told also of a request that came after its readers began', async () => {
    const run = elsewhere()
    const view = await run.view(0)
    const tab = new Tab(view)
    run.says(1)
    run.request('q2')
    run.says(1)
    expect([pendingAt(view, 2), pendingAt(view, 3), pendingAt(view, 4)]).toEqual([[], ['q2'], ['q2']])
    tab.leave()
  })

  test('is asked again while it goes on, once a second, until nothing waits', async () => {
    const run = elsewhere()
    const view = await run.view(0)
    const tab = new Tab(view)
    run.request('q1')
    run.request('q2')
    run.says(1)
    expect(run.asks).toBe(1)
    run.asked.shift()
    run.says(1)
    run.clock.advance(1_000)
    await settle()
    expect(run.asks).toBe(2)
    expect(pendingAt(view, 10)).toEqual(['q2'])
    run.asked = []
    run.says(1)
    run.clock.advance(1_000)
    await settle()
    expect([run.asks, pendingAt(view, 10)]).toEqual([3, []])
    run.says(1)
    run.clock.advance(1_000)
    await settle()
    expect(run.asks).toBe(3)
    tab.leave()
    expect(run.clock.timers).toBe(0)
  })

  test('does not lose a request that came while the holder answered', async () => {
    const run = elsewhere()
    run.request('q1')
    const { passed, open } = gate()
    run.before.ask = passed
    const viewed = run.view(0)
    await settle()
    // The answer is on its way: it has only the first.
    run.request('q2')
    open()
    const view = await viewed
    expect(pendingAt(view, 10)).toEqual(['q1', 'q2'])
  })

  test('is over for an approval when its call goes on', async () => {
    const run = elsewhere()
    const view = await run.view(0)
    run.request('q1', 'c1')
    run.request('q2', 'c2')
    run.event(EVENT.toolResult, { call: 'c1', ok: true })
    expect(pendingAt(view, 10)).toEqual(['q2'])
    run.event(EVENT.toolProgress, { call: 'c2' })
    expect(pendingAt(view, 10)).toEqual([])
  })

  test('is void with an item that its holder had not stored when it died', async () => {
    const run = elsewhere()
    run.request('q1')
    run.says(1)
    run.asked.push({ seq: 3, data: { request: 'q3' } })
    run.unstored = 1
    const view = await run.view(0)
    expect([pendingAt(view, 3), pendingAt(view, 4)]).toEqual([['q1'], ['q1', 'q3']])
    run.newLife()
    await settle()
    run.request('again')
    expect(pendingAt(view, 4)).toEqual(['q1', 'again'])
  })

  test('is nothing once it has ended, and is known without a holder that answers as far as it was logged', async () => {
    const run = elsewhere()
    run.before.ask = new Promise(() => {})
    run.request('q1')
    const viewed = run.view(0)
    await settle()
    run.clock.advance(1_000)
    const view = await viewed
    expect(pendingAt(view, 10)).toEqual(['q1'])
    run.stored = { ...run.stored, end: { seq: 2, outcome: 'done', packed: new Uint8Array() } }
    for (const heard of run.followers) heard()
    await settle()
    expect(view.end).toBeDefined()
    expect(pendingAt(view, 10)).toEqual([])
  })
})
