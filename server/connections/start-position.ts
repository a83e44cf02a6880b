import type { Gap } from '../../protocol/frames.ts'
import type { ReadableRun } from '../runs/readable-run.ts'

/** Where a subscription begins: `after` 0 is from the first item, null is live. */
export type StartPosition = { after: number | null; gen: number | undefined }

/** Where a subscription stands at first, and the gaps it is told of before anything else. */
export function locate(
  run: ReadableRun,
  sid: number,
  from: StartPosition,
): { position: { last: number; gen: number }; gaps: Gap[] } {
  const { log } = run
  const gaps: Gap[] = []
  const position = { last: from.after ?? log.last, gen: from.after === null ? log.gen : (from.gen ?? log.genAt(1)) }
  const jump = (next: number, gen: number, missing: number, reason: Gap['reason']): void => {
    gaps.push({ kind: 'gap', sid, from: missing, next, reason, gen, ...surroundings(run, next) })
    position.last = next - 1
    position.gen = gen
  }
  if (from.after !== null) {
    const nextLife = log.lifeAfter(position.gen)
    const unknown = log.firstOf(position.gen) === undefined
    if (unknown || (position.gen === log.gen && from.after > log.last))
      jump(log.first, log.genAt(log.first), Math.min(from.after + 1, log.first), 'store_lost')
    else if (nextLife && from.after >= nextLife.first) jump(nextLife.first, nextLife.gen, nextLife.first, 'rewound')
  }
  if (position.last + 1 < log.first) jump(log.first, log.genAt(log.first), position.last + 1, 'retention')
  return { position, gaps }
}

/** What is open just before item `next`: declared parts, and requests nobody has answered. */
export function surroundings(run: ReadableRun, next: number): Pick<Gap, 'lanes' | 'pending'> {
  const lanes = run.log.lanesAt(next)
  const pending = run.pendingAt(next)
  return { ...(lanes.length > 0 ? { lanes } : {}), ...(pending.length > 0 ? { pending } : {}) }
}
