import { describe, expect, test } from 'vitest'
import { memoryStore } from '../../../server/stores/memory-store.ts'
import type { Batch, Lease } from '../../../server/stores/run-store.ts'
import { FailingStore } from '../../helpers/failing-store.ts'
import { Chance, microtasks, VirtualTime } from '../../simulation/virtual-time.ts'

const facts = { actor: 'count', principal: 'alice', startedAt: 1, packed: new Uint8Array() }
const item = (seq: number): Batch => ({
  ...{ gen: 1, first: seq, last: seq, at: 1 },
  ...{ index: new Uint8Array(1), bodies: new Uint8Array(1) },
})

/** What becomes of 40 appends to a store that is slow and fails, in virtual time. */
async function outcomes(seed: number): Promise<string[]> {
  const time = new VirtualTime(new Chance(seed))
  const store = new FailingStore(memoryStore(), time)
  const lease = (await store.begin('r1', { facts })) as Lease
  Object.assign(store.faults, { slowMs: 20, failBefore: 0.2, failAfter: 0.2 })
  const said: string[] = []
  for (let seq = 1; seq <= 40; seq++)
    void lease.append({ batch: item(seq) }).then(
      (refusal) => said.push(`${seq} ${refusal ?? 'stored'} at ${time.now().toFixed(3)}`),
      () => said.push(`${seq} failed at ${time.now().toFixed(3)}`),
    )
  await time.advance(100)
  return said
}

describe('a store of the simulation', () => {
  test.each([1, 2, 3])('behaves the same again for seed %d, and needs no real time', async (seed) => {
    const said = await outcomes(seed)
    expect(said).toHaveLength(40)
    expect(said.some((line) => line.includes('failed'))).toBe(true)
    expect(said.some((line) => line.includes('gap'))).toBe(true)
    expect(await outcomes(seed)).toEqual(said)
    expect(await outcomes(seed + 1)).not.toEqual(said)
  })

  test('that is killed answers nothing more, applies nothing more, and keeps what it had applied', async () => {
    const time = new VirtualTime(new Chance(4))
    const inner = memoryStore()
    const store = new FailingStore(inner, time)
    const lease = (await store.begin('r1', { facts })) as Lease
    await lease.append({ batch: item(1) })
    store.faults.slowMs = 50
    let answers = 0
    for (const seq of [2, 3]) void lease.append({ batch: item(seq) }).finally(() => answers++)
    const next = store.kill()
    next.faults.slowMs = 0
    await next.open()
    await time.advance(1_000)
    expect(answers).toBe(0)
    expect(await next.abandoned(9)).toEqual(['r1'])
    expect(await next.find('r1')).toMatchObject({ next: 2 })
  })

  test('that is full for a while writes nothing, and still reads', async () => {
    const time = new VirtualTime(new Chance(5))
    const store = new FailingStore(memoryStore(), time)
    const lease = (await store.begin('r1', { facts })) as Lease
    store.fillFor(1_000)
    await expect(lease.append({ batch: item(1) })).rejects.toMatchObject({ code: 'store_unavailable' })
    expect(await store.find('r1')).toMatchObject({ next: 1 })
    await time.advance(1_000)
    await microtasks()
    expect(await lease.append({ batch: item(1) })).toBeUndefined()
  })
})
