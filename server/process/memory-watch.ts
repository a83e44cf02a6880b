import { totalmem } from 'node:os'
import { getHeapStatistics } from 'node:v8'
import type { Runtime } from '../../protocol/runtime.ts'

/** Share of the heap limit above which no new run begins. */
const HEAP_SHARE = 0.75
/** Share of the available memory that heap and buffers may take together. */
const HELD_SHARE = 0.75
/**
 * Share of the available memory that the whole process may take. It counts only while heap and buffers take more than
 * half of the available memory: an allocator may keep freed memory for good, and that must not refuse runs for ever.
 */
const RESIDENT_SHARE = 0.9
const HELD_SHARE_WITH_RESIDENT = 0.5
/** Least time between two readings. */
const READING_MS = 250

/** The memory of a process, in bytes. */
export type MemoryFigures = {
  /** The heap in use, and its limit. */
  readonly heapUsed: number
  readonly heapLimit: number
  /** What objects hold outside the heap: buffers, in the first place. */
  readonly external: number
  /** What the process takes of the machine's memory. */
  readonly resident: number
  /** What it may take: the limit of its container, or else the memory of the machine. */
  readonly available: number
}

/**
 * Returns a check of whether the process has too little memory for another run.
 * @param read Default: reads the figures of this process.
 */
export function memoryWatch(runtime: Runtime, read: () => MemoryFigures = readFigures): () => boolean {
  let readAt = Number.NEGATIVE_INFINITY
  let short = false
  return () => {
    const now = runtime.now()
    if (now - readAt >= READING_MS) {
      readAt = now
      short = isShort(read())
    }
    return short
  }
}

function isShort({ heapUsed, heapLimit, external, resident, available }: MemoryFigures): boolean {
  const held = heapUsed + external
  if (heapUsed > heapLimit * HEAP_SHARE || held > available * HELD_SHARE) return true
  return resident > available * RESIDENT_SHARE && held > available * HELD_SHARE_WITH_RESIDENT
}

function readFigures(): MemoryFigures {
  const { heapUsed, external, rss } = process.memoryUsage()
  // 0 or a number larger than any memory where nothing limits the process.
  const limit = process.constrainedMemory()
  const machine = totalmem()
  return {
    heapUsed,
    heapLimit: getHeapStatistics().heap_size_limit,
    external,
    resident: rss,
    available: limit > 0 ? Math.min(limit, machine) : machine,
  }
}
