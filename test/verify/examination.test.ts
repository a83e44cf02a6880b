import { expect, test } from 'vitest'
import type { TimeLimit } from '../../protocol/time-limit.ts'
import { pause } from '../../verify/arrivals.ts'
import type { Check } from '../../verify/check.ts'
import { examine } from '../../verify/examination.ts'

type Bench = { readonly signal: AbortSignal; readonly limit: TimeLimit }

/** A check that takes twice as long as checks may. */
const slow = (run: (bench: Bench, ms: number) => Promise<void>): Check<Bench> => ({
  name: 'slow',
  level: 'minimal',
  section: 'Messages',
  rule: 'A rule.',
  hint: 'A hint.',
  run: (bench) => run(bench, 200),
})

async function verdictOn(check: Check<Bench>): Promise<string | undefined> {
  const [result] = await examine([check], {
    makeBench: (_, signal, limit) => ({ signal, limit }),
    patienceMs: 20,
    parallel: 1,
    signal: new AbortController().signal,
  })
  return result?.status
}

test('a check that takes too long fails, and what it waits for that does not count is not part of that', async () => {
  expect(await verdictOn(slow(({ signal }, ms) => pause(ms, signal)))).toBe('failed')
  const waits = slow(async ({ signal, limit }, ms) => {
    limit.pause()
    await pause(ms, signal)
    limit.resume()
  })
  expect(await verdictOn(waits)).toBe('passed')
})
