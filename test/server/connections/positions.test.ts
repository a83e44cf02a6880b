import { describe, expect, test } from 'vitest'
import { decodeDown } from '../../../protocol/decode.ts'
import { encodeDown } from '../../../protocol/encode.ts'
import type { Policy } from '../../../protocol/frames.ts'
import { resolveLimits } from '../../../protocol/limits.ts'
import { Writer } from '../../../protocol/writer.ts'
import { actor } from '../../../server/actors/actor.ts'
import { Subscription } from '../../../server/connections/subscription.ts'
import type { Run } from '../../../server/runs/run.ts'
import { nodeRuntime } from '../../../server/runtime.ts'
import { countOf, textOf } from '../../helpers/frame-items.ts'
import { loneRun } from '../../helpers/lone-run.ts'

const ITEMS = 1_100
const KEPT = 600
const LIMITS = resolveLimits({ maxCredit: 500, initialCredit: 256, retainEvents: KEPT })

/** Texts of one and of many, and events among them. */
const mixed = actor({
  async *stream() {
    for (let n = 1; n <= ITEMS; n++) {
      if (n % 97 === 0) yield { type: 'data' as const, name: 'n', value: { n, filler: 'x'.repeat((n % 5) * 1_500) } }
      else yield `${n} `
    }
  },
})

async function endedRun(): Promise<Run> {
  const run = loneRun(mixed, LIMITS, 'continue')
  run.begin({ value: null })
  while (!run.settled) await new Promise((resolve) => setImmediate(resolve))
  return run
}

/** The numbers that a client gets when it resumes after item `after`, in order; `-` marks those reported as missing. */
function received(run: Run, after: number, policy: Policy, most: number): { seqs: string[]; ends: number[] } {
  const sink = {
    flushMs: 6,
    begun: () => undefined,
    hasBegun: false,
    ready: () => {},
    wrote: () => {},
    notify: () => {},
    moved: () => {},
  }
  const from = { after, gen: 1 }
  const settings = {
    sid: 1,
    own: true,
    client: 'c',
    from,
    credit: undefined,
    policy,
    rate: undefined,
    ts: after % 2 === 0,
    reused: false,
  }
  const subscription = new Subscription(sink, nodeRuntime, LIMITS, run, settings, () => {})
  subscription.open()
  const seqs: string[] = []
  const ends: number[] = []
  const out = new Writer()
  let rounds = 0
  for (let credit = 0; ends.length === 0; credit = 0) {
    if (++rounds > 10_000) throw new Error(`it does not end behind ${seqs.at(-1)}`)
    out.reset()
    subscription.pump(out, most)
    expect(out.length).toBeLessThanOrEqual(Math.max(most, LIMITS.maxDown))
    if (out.length === 0) throw new Error(`nothing comes behind ${seqs.at(-1)}`)
    const frames = decodeDown(out.take(), { maxBytes: 1e6, maxDepth: 16, maxValues: 1e6 })
    // A frame whose body is copied from the log has the bytes that the codec gives it. OPENED and GAP come first.
    const items = encodeDown(frames.filter(({ kind }) => kind !== 'opened' && kind !== 'gap'))
    expect(Buffer.compare(items, out.view(out.length - items.length))).toBe(0)
    for (const frame of frames) {
      if (frame.kind === 'gap') for (let seq = frame.from; seq < frame.next; seq++) seqs.push(`-${seq}`)
      else if (frame.kind === 'end') ends.push(frame.seq)
      else if (frame.kind === 'event') {
        seqs.push(`${frame.seq}`)
        credit += frame.cost ?? 1
        expect(frame.data).toMatchObject({ value: { n: frame.seq } })
      } else if (frame.kind === 'delta') {
        const count = countOf(frame)
        for (let n = 0; n < count; n++) seqs.push(`${frame.seq + n}`)
        credit += count
        const text = Array.from({ length: count }, (_, n) => `${frame.seq + n} `).join('')
        expect(textOf(frame)).toBe(text)
      }
    }
    if (credit > 0) subscription.grant(credit)
  }
  subscription.pump(out, most)
  return { seqs, ends }
}

describe('a client that comes back', () => {
  test.each([
    ['log', 131_000],
    ['merge', 131_000],
    ['log', 20],
  ] as const)('gets each number once, wherever it was: policy %s, %i bytes at once', async (policy, most) => {
    const run = await endedRun()
    const { first, last } = run.log
    expect(last).toBe(ITEMS)
    expect(last - first).toBeLessThan(KEPT * 1.1)
    const all = Array.from({ length: ITEMS }, (_, n) => (n + 1 < first ? `-${n + 1}` : `${n + 1}`))
    for (let after = 0; after <= ITEMS; after++) {
      const { seqs, ends } = received(run, after, policy, most)
      if (seqs.join() !== all.slice(after).join()) expect([after, seqs]).toEqual([after, all.slice(after)])
      expect(ends).toEqual([ITEMS + 1])
    }
  })
})
