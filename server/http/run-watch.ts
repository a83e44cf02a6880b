import type { Limits } from '../../protocol/limits.ts'
import type { Runtime } from '../../protocol/runtime.ts'
import type { ReadableRun } from '../runs/readable-run.ts'
import { EventReader, type ReaderSettings, type Step } from './event-reader.ts'

type WatchParts = { readonly runtime: Runtime; readonly limits: Pick<Limits, 'maxCredit' | 'initialCredit'> }

/** How a run is watched. Default: at its own speed, and not as a reader of the run's principal, which keeps a run going. */
export type WatchSettings = Pick<ReaderSettings, 'from'> & Partial<Pick<ReaderSettings, 'policy' | 'own' | 'client'>>

/**
 * Reads a run until `found` accepts a step, for at most `ms` milliseconds.
 * @param found is asked for each step, and `drained` whenever there is nothing to read. Undefined: read on.
 * @param signal ends the watch.
 * @returns what one of them returned. Undefined when the time was over first, or the reading.
 */
export async function watchRun<T>(
  { runtime, limits }: WatchParts,
  run: ReadableRun,
  watch: WatchSettings,
  ms: number,
  { found, drained }: { found: (step: Step) => T | undefined; drained?: () => T | undefined },
  signal?: AbortSignal,
): Promise<T | undefined> {
  let wake = (): void => {}
  let isOver = false
  const end = (): void => {
    isOver = true
    wake()
  }
  const settings = { policy: 'log', own: false, credit: limits.initialCredit, ...watch } as const
  const reader = new EventReader(run, runtime, limits, settings, () => wake())
  const timer = runtime.setTimer(ms, end)
  signal?.addEventListener('abort', end, { once: true })
  try {
    for (;;) {
      for (let step = reader.take(); step; step = reader.take()) {
        const answer = found(step)
        if (answer !== undefined) return answer
        if (step.kind !== 'event') return undefined
      }
      const answer = drained?.()
      if (answer !== undefined) return answer
      if (isOver || signal?.aborted) return undefined
      await new Promise<void>((resolve) => (wake = () => runtime.nextTurn(resolve)))
    }
  } finally {
    timer.clear()
    signal?.removeEventListener('abort', end)
    reader.leave()
  }
}
