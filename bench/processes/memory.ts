import { getHeapSpaceStatistics } from 'node:v8'

/**
 * What a process holds after everything that can be collected was. In bytes. `held` is what its heap uses, and what hangs
 * on it outside. `settled` is `rss` without the room for young objects, which V8 enlarges and shrinks by its own rules.
 */
export type Memory = { rss: number; settled: number; held: number }

/** Collects, and looks. */
export async function memory(): Promise<Memory> {
  for (let i = 0; i < 3; i++) {
    globalThis.gc?.()
    await new Promise((resolve) => setImmediate(resolve))
  }
  const { rss, heapUsed, external } = process.memoryUsage()
  const young = getHeapSpaceStatistics().find((space) => space.space_name === 'new_space')
  return { rss, settled: rss - (young?.physical_space_size ?? 0), held: heapUsed + external }
}
