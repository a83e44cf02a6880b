import type { Gap, Policy } from '../../protocol/frames.ts'
import type { Cursor, StartPosition } from '../log/cursor.ts'
import type { Log } from '../log/log.ts'
import type { ReadableRun } from '../runs/readable-run.ts'

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
  // Another node may have sent it an item that this one, which logged it, does not know to be stored.
  const isUnknown = log.firstOf(position.gen) === undefined || (position.gen === log.gen && position.last > log.written)
  const nextLife = log.lifeAfter(position.gen)
  if (isUnknown) jump(log.first, log.genAt(log.first), Math.min(position.last + 1, log.first), 'store_lost')
  else if (nextLife && position.last >= nextLife.first) jump(nextLife.first, nextLife.gen, nextLife.first, 'rewound')
  if (position.last + 1 < log.first) jump(log.first, log.genAt(log.first), position.last + 1, 'retention')
  return { position, gaps }
}

/** Where a reader goes on, because it cannot get the item behind its position. */
export type Jump = Pick<Gap, 'from' | 'next' | 'reason'> & { readonly gen: number }

/** The jump of a reader whose items are void, because the log has begun a new life. Undefined: they are not. */
export function lifeJump(log: Log, { gen, last }: Pick<Cursor, 'gen' | 'last'>): Jump | undefined {
  const life = gen < log.gen ? log.lifeAfter(gen) : undefined
  if (life && last >= life.first - 1) return { from: life.first, next: life.first, gen: life.gen, reason: 'rewound' }
  if (gen === log.gen && last > log.written)
    return { from: log.first, next: log.first, gen: log.genAt(log.first), reason: 'store_lost' }
  return undefined
}

/** Whether items are missing before the next one that a reader can get: they are no longer kept, or it wants the newest. */
export function isMissing(log: Log, { last }: Pick<Cursor, 'last'>, policy: Policy): boolean {
  return last + 1 < log.first || (policy === 'latest' && last + 1 < log.last)
}

/** The jump of a reader over missing items. */
export function jumpOverMissing(log: Log, { last }: Pick<Cursor, 'last'>): Jump {
  const isGone = last + 1 < log.first
  const next = isGone ? log.first : log.last
  return { from: last + 1, next, gen: log.genAt(next), reason: isGone ? 'retention' : 'policy' }
}

/** What is open just before item `next`: lanes, and requests without an answer. */
export function surroundings(run: ReadableRun, next: number): Pick<Gap, 'lanes' | 'pending'> {
  const lanes = run.log.lanesAt(next)
  const pending = run.pendingAt(next)
  return { ...(lanes.length > 0 ? { lanes } : {}), ...(pending.length > 0 ? { pending } : {}) }
}
