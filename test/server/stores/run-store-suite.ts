import { describe, expect, test } from 'vitest'
import { MillraceError } from '../../../protocol/errors.ts'
import { nodeRuntime } from '../../../server/runtime.ts'
import type {
  Append,
  Batch,
  Lease,
  NewRun,
  RunStore,
  StoredInput,
  StoredNotice,
} from '../../../server/stores/run-store.ts'
import { FailingStore } from '../../helpers/failing-store.ts'

/** A store, and what can happen to it. */
export type StoreHarness = AsyncDisposable & {
  /** Open, and empty. */
  readonly store: RunStore
  /** Closes the store and opens it as another process would. Resolves with that one. */
  restart(): Promise<RunStore>
  /** Ends the process of the store without warning, or as much of it as a test can, and opens the store again. */
  kill(): Promise<RunStore>
  /** Lets nothing be written any more, or lets it be written again. */
  full(is: boolean): Promise<void>
}

/** The promises of `RunStore`, which every store keeps. */
export function runStoreSuite(name: string, openStore: () => Promise<StoreHarness>): void {
  describe(`runs in ${name}`, () => {
    describe('begin', () => {
      test('with their facts, in life 1, without an item', async () => {
        await using harness = await openStore()
        const { store } = harness
        const lease = await begun(store, 'r1', { actor: 'chat', meta: bytes(7) })
        expect(lease.gen).toBe(1)
        expect(await store.find('r1')).toEqual({
          id: 'r1',
          facts: { actor: 'chat', principal: 'alice', startedAt: 1_000, meta: bytes(7), packed: bytes(1, 2, 3) },
          gen: 1,
          lives: [{ gen: 1, first: 1 }],
          first: 1,
          next: 1,
          inputs: [],
        })
        expect(await store.find('r2')).toBeUndefined()
      })

      test('once: a repeated call gives the same run', async () => {
        await using harness = await openStore()
        const { store } = harness
        await (await begun(store, 'r1')).append({ batch: batch(1, 2) })
        const again = await begun(store, 'r1')
        expect(again.gen).toBe(1)
        expect(await again.append({ batch: batch(3, 3) })).toBeUndefined()
        expect(await store.find('r1')).toMatchObject({ next: 4, lives: [{ gen: 1, first: 1 }] })
      })

      test('once for a key: whoever comes later gets the run that has it, and begins nothing', async () => {
        await using harness = await openStore()
        const { store } = harness
        const [id, other] = [keyed(store, 'r1'), keyed(store, 'r2')]
        const first = await store.begin(id, newRun({}, { name: 'k', input: 'a' }))
        expect(first).toHaveProperty('gen', 1)
        expect(await store.begin(other, newRun({}, { name: 'k', input: 'b' }))).toEqual({ run: id, input: 'a' })
        if (other !== id) expect(await store.find(other)).toBeUndefined()
        expect(await store.findKey('k')).toEqual({ run: id, input: 'a' })
        expect(await store.findKey('other')).toBeUndefined()
      })

      test('once for a key also when the answer was lost: the same call gives what it would have given', async () => {
        await using harness = await openStore()
        const { store } = harness
        const id = keyed(store, 'r1')
        const flaky = new FailingStore(store, nodeRuntime)
        flaky.loseReplies(1)
        await expect(flaky.begin(id, newRun({}, { name: 'k', input: 'a' }))).rejects.toThrow(MillraceError)
        // A store whose ids come from keys knows by itself which answers it has lost.
        if (!store.shared) expect(await flaky.begin(id, newRun({}, { name: 'k', input: 'a' }))).toHaveProperty('gen', 1)
      })

      test('once for a key also when two take it at the same time', async () => {
        await using harness = await openStore()
        const { store } = harness
        const ids = ['r1', 'r2', 'r3'].map((id) => keyed(store, id))
        const all = await Promise.all(ids.map((id) => store.begin(id, newRun({}, { name: 'k', input: 'a' }))))
        expect(all.filter((begun) => 'gen' in begun)).toHaveLength(1)
        const { run } = (await store.findKey('k'))!
        for (const begun of all) if ('run' in begun) expect(begun.run).toBe(run)
        expect((await store.list('alice', undefined, 10)).map(({ id }) => id)).toEqual([run])
      })
    })

    describe('take appends', () => {
      test('one behind the other, and give them back as they were', async () => {
        await using harness = await openStore()
        const { store } = harness
        const lease = await begun(store, 'r1')
        const open = bytes(9, 9)
        const batches = [batch(1, 1), { ...batch(2, 5), open }, batch(6, 6)]
        for (const each of batches) expect(await lease.append({ batch: each })).toBeUndefined()
        expect(await store.read('r1', 1, 1_000_000)).toEqual({ batches, more: false })
        expect(await store.find('r1')).toMatchObject({ first: 1, next: 7 })
      })

      test('in the order of the calls, without waiting in between', async () => {
        await using harness = await openStore()
        const { store } = harness
        const lease = await begun(store, 'r1')
        const refusals = await Promise.all(
          Array.from({ length: 50 }, (_, index) => lease.append({ batch: batch(index + 1, index + 1) })),
        )
        expect(refusals).toEqual(refusals.map(() => undefined))
        expect(await store.find('r1')).toMatchObject({ next: 51 })
      })

      test('of several runs at the same time, which stay apart', async () => {
        await using harness = await openStore()
        const { store } = harness
        const ids = ['r1', 'r2', 'r3']
        const leases = await Promise.all(ids.map((id) => begun(store, id)))
        for (let seq = 1; seq <= 4; seq++)
          await Promise.all(leases.map((lease) => lease.append({ batch: batch(seq, seq) })))
        for (const id of ids) {
          expect(await store.find(id)).toMatchObject({ id, first: 1, next: 5 })
          const all = [1, 2, 3, 4].map((seq) => batch(seq, seq))
          expect((await store.read(id, 1, 1_000)).batches).toEqual(all)
        }
      })

      test('whose bytes are views of a larger buffer', async () => {
        await using harness = await openStore()
        const { store } = harness
        const lease = await begun(store, 'r1')
        const buffer = Uint8Array.from({ length: 64 }, (_, index) => index)
        const view = { ...batch(1, 1), index: buffer.subarray(3, 6), bodies: buffer.subarray(10, 20) }
        await lease.append({ batch: view })
        const { batches } = await store.read('r1', 1, 1_000)
        expect(batches[0]).toEqual({ ...batch(1, 1), index: bytes(3, 4, 5), bodies: buffer.slice(10, 20) })
        expect(buffer.length).toBe(64)
      })

      test('once, when one is repeated', async () => {
        await using harness = await openStore()
        const { store } = harness
        const lease = await begun(store, 'r1')
        await lease.append({ batch: batch(1, 3) })
        await lease.append({ batch: batch(4, 6) })
        expect(await lease.append({ batch: batch(4, 6) })).toBeUndefined()
        expect(await lease.append({ batch: batch(1, 3) })).toBeUndefined()
        expect((await store.read('r1', 1, 1_000)).batches).toEqual([batch(1, 3), batch(4, 6)])
      })

      test('once, when the answer was lost', async () => {
        await using harness = await openStore()
        const flaky = new FailingStore(harness.store, nodeRuntime)
        const lease = await begun(flaky, 'r1')
        const what: Append = {
          batch: batch(1, 3),
          usage: bytes(5),
          parked: bytes(8),
          inputs: [input('m1'), input('m2')],
        }
        flaky.loseReplies(1)
        await expect(lease.append(what)).rejects.toMatchObject({ code: 'store_unavailable', retryable: true })
        expect(await lease.append(what)).toBeUndefined()
        expect(await flaky.find('r1')).toMatchObject({ next: 4, inputs: [{ mid: 'm1' }, { mid: 'm2' }] })
        flaky.loseReplies(1)
        await expect(lease.append({ end: end(4) })).rejects.toThrow(MillraceError)
        expect(await lease.append({ end: end(4) })).toBeUndefined()
        expect((await flaky.read('r1', 1, 1_000)).batches).toEqual([batch(1, 3)])
      })

      test('once, when the store is slow and fails now and then', async () => {
        await using harness = await openStore()
        const flaky = new FailingStore(harness.store, nodeRuntime, { slowMs: 2, failBefore: 0.2, failAfter: 0.2 })
        const lease = await stubbornly(() => begun(flaky, 'r1'))
        const expected = Array.from({ length: 20 }, (_, index) => batch(2 * index + 1, 2 * index + 2))
        for (const each of expected) expect(await stubbornly(() => lease.append({ batch: each }))).toBeUndefined()
        expect((await harness.store.read('r1', 1, 100_000)).batches).toEqual(expected)
      })

      test('but none that leaves an item out or begins inside what is stored', async () => {
        await using harness = await openStore()
        const { store } = harness
        const lease = await begun(store, 'r1')
        await lease.append({ batch: batch(1, 3) })
        expect(await lease.append({ batch: batch(5, 6), usage: bytes(1) })).toBe('gap')
        expect(await lease.append({ batch: batch(3, 6), parked: bytes(1) })).toBe('gap')
        expect(await lease.append({ end: end(6) })).toBe('gap')
        const stored = await store.find('r1')
        expect(stored).toMatchObject({ next: 4 })
        expect(stored?.usage).toBeUndefined()
        expect(stored?.parked).toBeUndefined()
      })

      test('while there is room; without it nothing is lost that was stored, and later they go on', async () => {
        await using harness = await openStore()
        const { store } = harness
        const lease = await begun(store, 'r1')
        await lease.append({ batch: batch(1, 3) })
        await harness.full(true)
        const large = { ...batch(4, 4), bodies: new Uint8Array(3_000_000) }
        await expect(lease.append({ batch: large })).rejects.toMatchObject({ code: 'store_unavailable' })
        expect(await store.find('r1')).toMatchObject({ next: 4 })
        expect((await store.read('r1', 1, 1_000)).batches).toEqual([batch(1, 3)])
        await harness.full(false)
        expect(await lease.append({ batch: large })).toBeUndefined()
        expect(await store.find('r1')).toMatchObject({ next: 5 })
      })
    })

    describe('end', () => {
      test('together with their last items, and take nothing more', async () => {
        await using harness = await openStore()
        const { store } = harness
        const lease = await begun(store, 'r1')
        expect(await lease.append({ batch: batch(1, 2), usage: bytes(4), end: end(3) })).toBeUndefined()
        expect(await store.find('r1')).toMatchObject({ next: 3, end: end(3), usage: bytes(4) })
        expect(await lease.append({ batch: batch(3, 3) })).toBe('ended')
        expect(await lease.append({ usage: bytes(1) })).toBe('ended')
        expect(await lease.append({ end: { ...end(3), seq: 7 } })).toBe('ended')
        expect(await store.find('r1')).toMatchObject({ next: 3, end: end(3), usage: bytes(4) })
        expect(await store.takeOver('r1')).toBe('ended')
      })

      test('once, when the end is repeated, alone or with items', async () => {
        await using harness = await openStore()
        const { store } = harness
        const lease = await begun(store, 'r1')
        const last = { batch: batch(1, 2), end: end(3) }
        await lease.append(last)
        expect(await lease.append(last)).toBeUndefined()
        expect(await lease.append({ end: end(3) })).toBeUndefined()
        expect((await store.read('r1', 1, 1_000)).batches).toEqual([batch(1, 2)])
      })

      test('but never silently without their end: old items with a new end are refused', async () => {
        await using harness = await openStore()
        const { store } = harness
        const lease = await begun(store, 'r1')
        await lease.append({ batch: batch(1, 2) })
        expect(await lease.append({ batch: batch(1, 2), end: end(3) })).toBe('gap')
        expect(await lease.append({ end: end(3) })).toBeUndefined()
      })

      test('and wait for nothing any more', async () => {
        await using harness = await openStore()
        const { store } = harness
        const lease = await begun(store, 'r1')
        await lease.append({ parked: bytes(1), inputs: [input('m1')] })
        await lease.append({ end: end(1) })
        const stored = await store.find('r1')
        expect(stored?.parked).toBeUndefined()
        expect(stored?.inputs).toEqual([])
      })
    })

    describe('have one holder', () => {
      test('which nobody takes over while it lives', async () => {
        await using harness = await openStore()
        const { store } = harness
        await begun(store, 'r1')
        expect(await store.takeOver('r1')).toBe('busy')
        expect(await store.takeOver('r2')).toBe('missing')
        expect(await store.abandoned(10)).toEqual([])
      })

      test('which gives a run up to one other', async () => {
        await using harness = await openStore()
        const { store } = harness
        const lease = await begun(store, 'r1')
        await lease.append({ batch: batch(1, 3), usage: bytes(6) })
        await lease.release()
        expect(await store.abandoned(10)).toEqual(['r1'])
        const taken = await Promise.all([store.takeOver('r1'), store.takeOver('r1')])
        expect(taken.filter((each) => each === 'busy')).toHaveLength(1)
        const { lease: second, run } = taken.find((each) => typeof each !== 'string') as Taken
        expect(second.gen).toBeGreaterThan(1)
        expect(Number.isSafeInteger(second.gen)).toBe(true)
        const lives = [
          { gen: 1, first: 1 },
          { gen: second.gen, first: 4 },
        ]
        expect(run).toMatchObject({ gen: second.gen, next: 4, lives, usage: bytes(6) })
        expect(await store.abandoned(10)).toEqual([])
      })

      test('and fence the one before', async () => {
        await using harness = await openStore()
        const { store } = harness
        const old = await begun(store, 'r1')
        await old.append({ batch: batch(1, 3) })
        await old.release()
        const { lease } = (await store.takeOver('r1')) as Taken
        expect(await old.append({ batch: batch(4, 4) })).toBe('fenced')
        expect(await old.append({ batch: batch(1, 3) })).toBe('fenced')
        expect(await old.append({ end: end(4) })).toBe('fenced')
        await old.release()
        expect(await store.takeOver('r1')).toBe('busy')
        expect(await lease.append({ batch: batch(4, 5, lease.gen) })).toBeUndefined()
        const { batches } = await store.read('r1', 1, 1_000)
        expect(batches).toEqual([batch(1, 3), batch(4, 5, lease.gen)])
      })

      test('and count their lives up, however often they change hands', async () => {
        await using harness = await openStore()
        const { store } = harness
        let { lease } = { lease: await begun(store, 'r1') }
        const gens = [lease.gen]
        for (let n = 0; n < 5; n++) {
          await lease.release()
          ;({ lease } = (await store.takeOver('r1')) as Taken)
          gens.push(lease.gen)
        }
        expect(gens).toEqual([...new Set(gens)].sort((a, b) => a - b))
        expect((await store.find('r1'))?.lives).toEqual(gens.map((gen) => ({ gen, first: 1 })))
      })

      test('which is gone after a restart: all that did not end are found, a bounded number at a time', async () => {
        await using harness = await openStore()
        const { store } = harness
        for (const id of ['r1', 'r2', 'r3', 'r4']) await begun(store, id)
        await (await begun(store, 'r5')).append({ end: end(1) })
        const again = await harness.restart()
        expect((await again.abandoned(10)).sort()).toEqual(['r1', 'r2', 'r3', 'r4'])
        const some = await again.abandoned(3)
        expect(some).toHaveLength(3)
        for (const id of some) expect(await again.takeOver(id)).toHaveProperty('lease')
        expect(await again.abandoned(3)).toHaveLength(1)
      })
    })

    describe('wait', () => {
      test('with what they go on from, and with what came since', async () => {
        await using harness = await openStore()
        const { store } = harness
        const lease = await begun(store, 'r1')
        await lease.append({ batch: batch(1, 1), parked: bytes(1) })
        await lease.append({ inputs: [input('m1')] })
        await lease.append({ inputs: [input('m2'), input('m1')] })
        expect(await store.find('r1')).toMatchObject({ parked: bytes(1), inputs: [input('m1'), input('m2')] })
        await lease.append({ parked: bytes(2), inputs: [input('m3')] })
        expect(await store.find('r1')).toMatchObject({ parked: bytes(2), inputs: [input('m3')] })
      })

      test('and go on', async () => {
        await using harness = await openStore()
        const { store } = harness
        const lease = await begun(store, 'r1')
        await lease.append({ parked: bytes(1), inputs: [input('m1')] })
        await lease.append({ usage: bytes(2) })
        expect(await store.find('r1')).toMatchObject({ parked: bytes(1) })
        await lease.append({ parked: null })
        const stored = await store.find('r1')
        expect(stored?.parked).toBeUndefined()
        expect(stored?.inputs).toEqual([])
      })

      test('through a restart', async () => {
        await using harness = await openStore()
        const lease = await begun(harness.store, 'r1')
        await lease.append({ batch: batch(1, 2), parked: bytes(1), inputs: [input('m1')], usage: bytes(3) })
        const again = await harness.restart()
        const { lease: next, run } = (await again.takeOver('r1')) as Taken
        expect(run).toMatchObject({ next: 3, parked: bytes(1), inputs: [input('m1')], usage: bytes(3) })
        expect(await next.append({ parked: null, batch: batch(3, 3, next.gen) })).toBeUndefined()
      })
    })

    describe('are read', () => {
      test('from every item, also inside a batch', async () => {
        await using harness = await openStore()
        const { store } = harness
        const lease = await begun(store, 'r1')
        const batches = [batch(1, 1), batch(2, 5), batch(6, 7)]
        for (const each of batches) await lease.append({ batch: each })
        for (let from = 0; from <= 9; from++) {
          const expected = batches.filter(({ last }) => last >= from)
          expect(await store.read('r1', from, 1_000_000)).toEqual({ batches: expected, more: false })
        }
        expect(await store.read('nobody', 1, 1_000)).toEqual({ batches: [], more: false })
      })

      test('in pages of a bounded size, each with one batch at least', async () => {
        await using harness = await openStore()
        const { store } = harness
        const lease = await begun(store, 'r1')
        const sizes = [100, 100, 5_000, 100, 100, 100]
        const batches = sizes.map((size, at) => ({ ...batch(at + 1, at + 1), bodies: new Uint8Array(size).fill(at) }))
        for (const each of batches) await lease.append({ batch: each })
        const pages: Batch[][] = []
        for (let from = 1; ; ) {
          const page = await store.read('r1', from, 250)
          pages.push([...page.batches])
          if (!page.more) break
          from = page.batches.at(-1)!.last + 1
        }
        expect(pages.map((page) => page.length)).toEqual([2, 1, 2, 1])
        expect(pages.flat()).toEqual(batches)
      })

      test('in many pages, when they have many batches', async () => {
        await using harness = await openStore()
        const { store } = harness
        const lease = await begun(store, 'r1')
        await Promise.all(Array.from({ length: 3_000 }, (_, at) => lease.append({ batch: batch(at + 1, at + 1) })))
        let next = 1
        for (let more = true; more; ) {
          const page = await store.read('r1', next, 1_000_000)
          for (const { first } of page.batches) expect(first).toBe(next++)
          more = page.more
        }
        expect(next).toBe(3_001)
      })
    })

    describe('are listed', () => {
      test('for their principal only, the newest first, without their input', async () => {
        await using harness = await openStore()
        const { store } = harness
        await begun(store, 'a', { startedAt: 30, meta: bytes(5) })
        await begun(store, 'b', { startedAt: 10 })
        const parked = await begun(store, 'c', { startedAt: 20 })
        await parked.append({ batch: batch(1, 4), parked: bytes(1) })
        await (await begun(store, 'd', { startedAt: 20 })).append({ end: end(1) })
        await begun(store, 'x', { startedAt: 40, principal: 'bob' })
        expect(await store.list('alice', undefined, 10)).toEqual([
          { id: 'a', ...facts, startedAt: 30, meta: bytes(5), gen: 1, next: 1, isParked: false },
          { id: 'd', ...facts, startedAt: 20, gen: 1, next: 1, outcome: 'done', isParked: false },
          { id: 'c', ...facts, startedAt: 20, gen: 1, next: 5, isParked: true },
          { id: 'b', ...facts, startedAt: 10, gen: 1, next: 1, isParked: false },
        ])
        expect(await store.list('carol', undefined, 10)).toEqual([])
      })

      test('page by page, also behind a run that was removed meanwhile', async () => {
        await using harness = await openStore()
        const { store } = harness
        const ids = Array.from({ length: 7 }, (_, index) => `r${index}`)
        for (const [index, id] of ids.entries()) await begun(store, id, { startedAt: 100 - Math.floor(index / 2) })
        const listed: string[] = []
        for (let before: ListPosition | undefined; ; ) {
          const page = await store.list('alice', before, 3)
          if (page.length === 0) break
          listed.push(...page.map(({ id }) => id))
          before = page.at(-1)
          await store.remove(page.at(-1)!.id)
        }
        expect(listed).toEqual(['r1', 'r0', 'r3', 'r2', 'r5', 'r4', 'r6'])
      })
    })

    describe('are removed', () => {
      test('with their log and their key, and their holder is fenced', async () => {
        await using harness = await openStore()
        const { store } = harness
        const [id, other] = [keyed(store, 'r1'), keyed(store, 'r2')]
        const lease = (await store.begin(id, newRun({}, { name: 'k', input: 'a' }))) as Lease
        await lease.append({ batch: batch(1, 3), inputs: [input('m1')] })
        await store.remove(id)
        expect(await store.find(id)).toBeUndefined()
        expect(await store.findKey('k')).toBeUndefined()
        expect(await store.list('alice', undefined, 10)).toEqual([])
        expect((await store.read(id, 1, 1_000)).batches).toEqual([])
        expect(await lease.append({ batch: batch(4, 4) })).toBe('fenced')
        expect(await store.takeOver(id)).toBe('missing')
        await lease.release()
        await store.remove(id)
        const next = (await store.begin(other, newRun({}, { name: 'k', input: 'b' }))) as Lease
        expect(next.gen).toBe(1)
        expect((await store.read(other, 1, 1_000)).batches).toEqual([])
      })

      test('all of one principal, and no other', async () => {
        await using harness = await openStore()
        const { store } = harness
        const lease = await begun(store, 'r1')
        await lease.append({ batch: batch(1, 3) })
        await store.begin(keyed(store, 'r2'), newRun({}, { name: 'k', input: 'a' }))
        await (await begun(store, 'x', { principal: 'bob' })).append({ batch: batch(1, 1) })
        expect(await store.removeAll('alice')).toBe(2)
        expect(await store.removeAll('alice')).toBe(0)
        expect(await store.list('alice', undefined, 10)).toEqual([])
        expect(await store.findKey('k')).toBeUndefined()
        expect(await lease.append({ batch: batch(4, 4) })).toBe('fenced')
        expect((await store.read('x', 1, 1_000)).batches).toEqual([batch(1, 1)])
      })
    })

    describe('stay', () => {
      test('whole when the store is closed and opened', async () => {
        await using harness = await openStore()
        const { store } = harness
        const id = keyed(store, 'r1')
        const ended = (await store.begin(id, newRun({}, { name: 'k', input: 'a' }))) as Lease
        await ended.append({ batch: batch(1, 3), end: end(4) })
        await (await begun(store, 'r2')).append({ batch: batch(1, 2) })
        const before = await Promise.all([store.find(id), store.find('r2'), store.list('alice', undefined, 9)])
        const again = await harness.restart()
        const after = await Promise.all([again.find(id), again.find('r2'), again.list('alice', undefined, 9)])
        expect(after).toEqual(before)
        expect(await again.findKey('k')).toEqual({ run: id, input: 'a' })
        expect((await again.read(id, 1, 1_000)).batches).toEqual([batch(1, 3)])
        const { lease } = (await again.takeOver('r2')) as Taken
        expect(await lease.append({ batch: batch(3, 3, lease.gen), end: end(4) })).toBeUndefined()
      })

      test('with all that was confirmed when their process dies', async () => {
        await using harness = await openStore()
        const lease = await begun(harness.store, 'r1')
        let confirmed = 0
        const appends = Array.from({ length: 200 }, async (_, index) => {
          await lease.append({ batch: batch(index + 1, index + 1) })
          confirmed = index + 1
        })
        for (const each of appends) each.catch(() => {})
        await appends[20]
        const again = await harness.kill()
        const { next } = (await again.find('r1'))!
        expect(next).toBeGreaterThan(confirmed)
        const { batches } = await again.read('r1', 1, 1_000_000)
        expect(batches.map(({ first }) => first)).toEqual(batches.map((_, index) => index + 1))
        const taken = (await again.takeOver('r1')) as Taken
        expect(taken.run.next).toBe(next)
      })
    })
  })
}

/** What every store with an outbox promises of it. A store that is late may give a notice out and not say so. */
export function outboxSuite(name: string, openStore: () => Promise<StoreHarness>): void {
  describe(`runs in ${name}`, () => {
    describe('have notices', () => {
      test('that come with an append, or without, and each is given out once', async () => {
        await using harness = await openStore()
        const { store } = harness
        const outbox = store.outbox!
        const lease = await begun(store, 'r1')
        await lease.append({ batch: batch(1, 2), inputs: [input('m1')], notices: [notice('a')] })
        await lease.append({ notices: [notice('b'), notice('c')] })
        await outbox.add([notice('d')])
        await outbox.add([notice('d')])
        expect(await store.find('r1')).toMatchObject({ next: 3, inputs: [{ mid: 'm1' }] })
        const taken = [...(await outbox.take(3, 60_000)), ...(await outbox.take(3, 60_000))]
        expect(taken.map(({ id }) => id).sort()).toEqual(['a', 'b', 'c', 'd'])
        for (const { id, body, attempt, ageMs } of taken) {
          expect([body, attempt]).toEqual([notice(id).body, 1])
          expect(ageMs).toBeGreaterThanOrEqual(0)
        }
        expect(await outbox.take(9, 60_000)).toEqual([])
      })

      test('that are stored with the end, or not at all', async () => {
        await using harness = await openStore()
        const { store } = harness
        const lease = await begun(store, 'r1')
        expect(await lease.append({ batch: batch(3, 3), end: end(4), notices: [notice('gap')] })).toBe('gap')
        await lease.append({ batch: batch(1, 1), end: end(2), notices: [notice('end')] })
        await lease.append({ batch: batch(1, 1), end: end(2), notices: [notice('end')] })
        expect(await lease.append({ notices: [notice('late')] })).toBe('ended')
        expect((await store.outbox!.take(9, 60_000)).map(({ id }) => id)).toEqual(['end'])
      })

      test('that come again when they were put off or their time is over, and not once they are removed', async () => {
        await using harness = await openStore()
        const outbox = harness.store.outbox!
        await outbox.add([notice('late'), notice('off'), notice('sent')])
        await outbox.take(9, 60_000)
        await outbox.putOff('off', 0)
        await outbox.putOff('gone', 0)
        expect(await outbox.take(9, 60_000)).toMatchObject([{ id: 'off', attempt: 2 }])
        await outbox.putOff('late', 60_000)
        await outbox.remove('sent')
        await outbox.remove('gone')
        expect(await outbox.take(9, 1)).toEqual([])
        await outbox.putOff('late', 0)
        expect(await outbox.take(9, 0)).toMatchObject([{ id: 'late', attempt: 2 }])
        expect(await outbox.take(9, 0)).toMatchObject([{ id: 'late', attempt: 3 }])
        expect(await outbox.trim(9)).toEqual({ removed: 0, left: 2 })
      })

      test('of which the newest are kept when there are too many', async () => {
        await using harness = await openStore()
        const outbox = harness.store.outbox!
        const ids = Array.from({ length: 20 }, (_, index) => `n${String(index).padStart(2, '0')}`)
        for (const id of ids) {
          await outbox.add([notice(id)])
          // Redis tells apart what came in two milliseconds.
          await new Promise((resolve) => setTimeout(resolve, 2))
        }
        const { removed, left } = await outbox.trim(10)
        expect(removed + left).toBe(20)
        expect(left).toBeLessThanOrEqual(10)
        const kept = (await outbox.take(99, 60_000)).map(({ id }) => id)
        expect(kept).toHaveLength(left)
        expect(kept).toContain('n19')
        expect(kept).not.toContain('n00')
        expect(await outbox.trim(10)).toEqual({ removed: 0, left })
      })

      test('that outlive the process that has stored them, and the one that has taken them', async () => {
        await using harness = await openStore()
        const lease = await begun(harness.store, 'r1')
        await lease.append({ batch: batch(1, 1), end: end(2), notices: [notice('a')] })
        await harness.store.outbox!.add([notice('b')])
        await harness.store.outbox!.take(1, 1_000)
        const again = await harness.kill()
        const taken: string[] = []
        for (const until = Date.now() + 5_000; taken.length < 2 && Date.now() < until; )
          taken.push(...(await again.outbox!.take(9, 60_000)).map(({ id }) => id))
        expect(taken.sort()).toEqual(['a', 'b'])
        expect((await (await harness.restart()).outbox!.trim(9)).left).toBe(2)
      })
    })
  })
}

type Taken = Exclude<Awaited<ReturnType<RunStore['takeOver']>>, string>
type ListPosition = NonNullable<Parameters<RunStore['list']>[1]>

const facts = { actor: 'count', principal: 'alice' }

function newRun(more: Partial<NewRun['facts']> = {}, key?: NewRun['key']): NewRun {
  return { facts: { ...facts, startedAt: 1_000, packed: bytes(1, 2, 3), ...more }, key }
}

/** The id of the run of the key `k`: any, or the one that the store makes of the key. */
function keyed(store: RunStore, id: string): string {
  return store.shared?.idOf('k') ?? id
}

async function begun(store: RunStore, id: string, more: Partial<NewRun['facts']> = {}): Promise<Lease> {
  return (await store.begin(id, newRun(more))) as Lease
}

/** A batch whose bytes follow from its numbers. */
function batch(first: number, last: number, gen = 1): Batch {
  const bodies = Uint8Array.from({ length: 3 * (last - first + 1) }, (_, index) => (first * 7 + index) % 256)
  return { gen, first, last, at: 1_700_000_000_000 + first, index: bytes(first % 256, last % 256), bodies }
}

function end(seq: number) {
  return { seq, outcome: 'done', packed: bytes(42, seq) } as const
}

function notice(id: string): StoredNotice {
  return { id, body: Uint8Array.from(`body of ${id}`, (letter) => letter.charCodeAt(0)) }
}

function input(mid: string): StoredInput {
  return { mid, type: 'message', packed: bytes(mid.charCodeAt(1)) }
}

function bytes(...values: number[]): Uint8Array {
  return Uint8Array.from(values)
}

/** Repeats a call for as long as the store fails, as the holder of a run does. */
async function stubbornly<T>(call: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await call()
    } catch (error) {
      if (!MillraceError.is(error, 'store_unavailable')) throw error
    }
  }
}
