import type { Gap } from '../../protocol/frames.ts'
import type { ReadableRun } from '../runs/readable-run.ts'

/** Where a client asks to begin: behind item `after` of life `gen`. 0 is before the first item; null is live. */
export type StartPosition = { after: number | null; gen: number | undefined }

/** Finds where a subscription begins in the log, and the GAPs that say why it is not where the client asked. */
export function locate(
  run: ReadableRun,
  sid: number,
  { after, gen }: StartPosition,
): { position: { last: number; gen: number }; gaps: Gap[] } {
  const { log } = run
  const position = after === null ? { last: log.last, gen: log.gen } : { last: after, gen: gen ?? log.genAt(1) }
  const gaps: Gap[] = []
  const jump = (next: number, nextGen: number, from: number, reason: Gap['reason']): void => {
    gaps.push({ kind: 'gap', sid, from, next, reason, gen: nextGen, ...surroundings(run, next) })
    position.last = next - 1
    position.gen = nextGen
  }
  const isUnknown = log.firstOf(position.gen) === undefined || (position.gen === log.gen && position.last > log.last)
  const nextLife = log.lifeAfter(position.gen)
  if (isUnknown) jump(log.first, log.genAt(log.first), Math.min(position.last + 1, log.first), 'store_lost')
  else if (nextLife && position.last >= nextLife.first) jump(nextLife.first, nextLife.gen, nextLife.first, 'rewound')
  if (position.last + 1 < log.first) jump(log.first, log.genAt(log.first), position.last + 1, 'retention')
  return { position, gaps }
}

/** What is open just before item `next`: lanes, and requests without an answer. */
export function surroundings(run: ReadableRun, next: number): Pick<Gap, 'lanes' | 'pending'> {
  const lanes = run.log.lanesAt(next)
  const pending = run.pendingAt(next)
  return { ...(lanes.length > 0 ? { lanes } : {}), ...(pending.length > 0 ? { pending } : {}) }
}
