import { availableParallelism } from 'node:os'

/** How many clients start at a time. A runtime that starts takes a core, and one that waits for a core looks slow. */
const MAX_STARTING = Math.max(2, availableParallelism())

let starting = 0
const waiting: (() => void)[] = []

/**
 * Waits until fewer clients start than this machine can start at a time. The place is given back with the function that
 * this resolves with, which may be called more than once.
 * @throws the reason of `signal`.
 */
export async function startSlot(signal: AbortSignal): Promise<() => void> {
  signal.throwIfAborted()
  if (starting < MAX_STARTING) starting++
  else await turn(signal)
  let isHeld = true
  return () => {
    if (!isHeld) return
    isHeld = false
    const next = waiting.shift()
    if (next) next()
    else starting--
  }
}

/** Resolves when a place is handed over. */
function turn(signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const go = (): void => {
      signal.removeEventListener('abort', leave)
      resolve()
    }
    const leave = (): void => {
      waiting.splice(waiting.indexOf(go), 1)
      reject(signal.reason)
    }
    waiting.push(go)
    signal.addEventListener('abort', leave, { once: true })
  })
}
