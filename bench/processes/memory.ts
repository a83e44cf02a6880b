/** What a process holds after everything that can be collected was. In bytes. */
export type Memory = { rss: number; held: number }

/** Collects, and looks. `held` is what its heap uses, and what hangs on it outside. */
export async function memory(): Promise<Memory> {
  for (let i = 0; i < 3; i++) {
    globalThis.gc?.()
    await new Promise((resolve) => setImmediate(resolve))
  }
  const { rss, heapUsed, external } = process.memoryUsage()
  return { rss, held: heapUsed + external }
}
