import type { Break } from './breaks.ts'
import type { Tamper } from './network.ts'
import { World } from './world.ts'

export type Found = { readonly seed: number; readonly message: string; readonly trace: readonly string[] }

/** A world that a seed drives, and what has happened in it. */
export interface Driven {
  readonly trace: readonly string[]
  /** @throws what was violated. */
  run(): Promise<void>
}

export type MakeWorld = (seed: number, tamper: Tamper | undefined) => Driven

const actors: MakeWorld = (seed, tamper) => new World(seed, tamper)

const FIGURES: NodeJS.MemoryUsage = { rss: 1, heapTotal: 1, heapUsed: 1, external: 0, arrayBuffers: 0 }
const AMPLE_MEMORY = Object.assign(() => FIGURES, { rss: () => FIGURES.rss })

/** Runs one seed. Returns what was violated, if anything. */
async function runSeed(seed: number, broken?: Break, make: MakeWorld = actors): Promise<Found | undefined> {
  // A failing seed is named by its number; the stacks of errors that runs are meant to meet cost a fifth of the time.
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 0
  // Its servers ask for the memory of the process four times in each second of theirs: of that of the test, chance would
  // know nothing.
  const { memoryUsage, constrainedMemory } = process
  process.memoryUsage = AMPLE_MEMORY
  process.constrainedMemory = () => 0
  const restore = broken?.patch?.()
  const world = make(seed, broken?.tamper?.())
  try {
    await world.run()
    return undefined
  } catch (error) {
    return { seed, message: error instanceof Error ? error.message : String(error), trace: world.trace }
  } finally {
    restore?.()
    Object.assign(process, { memoryUsage, constrainedMemory })
    Error.stackTraceLimit = stackTraceLimit
  }
}

/** A broken rule that no seed of so many finds is one that the simulation does not watch. */
const ENOUGH = 1_000

/** Searches for what is broken on purpose. Returns the first violation of its kind. */
export function searchFor(broken: Break, make?: MakeWorld): Promise<Found | undefined> {
  return search(broken.from ?? 1, ENOUGH, broken, make)
}

/** Runs `count` seeds from `first`; stops at the first violation, of the kind that `broken` names, and returns it. */
export async function search(
  first: number,
  count: number,
  broken?: Break,
  make?: MakeWorld,
): Promise<Found | undefined> {
  for (let seed = first; seed < first + count; seed++) {
    // A seed runs in ticks alone. Between two of them the process does what else it has to: a time limit can pass.
    await new Promise((resolve) => void setImmediate(resolve))
    const found = await runSeed(seed, broken, make)
    if (found?.message.startsWith(broken?.finds ?? '')) return found
  }
  return undefined
}
