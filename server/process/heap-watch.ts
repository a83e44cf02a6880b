import { getHeapStatistics } from 'node:v8'
import type { Runtime } from '../../protocol/runtime.ts'

/** Share of the heap limit above which no new run begins. */
const HEAP_SHARE = 0.75
/** Least time between two readings of the heap. */
const READING_MS = 250

/** Returns a check of whether the heap is too full for another run. */
export function heapWatch(runtime: Runtime): () => boolean {
  let readAt = Number.NEGATIVE_INFINITY
  let isFull = false
  return () => {
    const now = runtime.now()
    if (now - readAt >= READING_MS) {
      readAt = now
      const { used_heap_size: used, heap_size_limit: limit } = getHeapStatistics()
      isFull = used > limit * HEAP_SHARE
    }
    return isFull
  }
}
