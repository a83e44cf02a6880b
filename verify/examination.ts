import { setMaxListeners } from 'node:events'
import type { Runtime } from '../protocol/runtime.ts'
import { TimeLimit } from '../protocol/time-limit.ts'
import { anchorOf, type Check, LEVELS, type Level } from './check.ts'
import { Mismatch, NotJudged } from './mismatch.ts'
import type { CheckResult } from './report.ts'

/** How many times its patience a check may take as a whole. */
const CHECK_PATIENCE = 5

const CLOCK: Pick<Runtime, 'now' | 'setTimer'> = {
  now: () => performance.now(),
  setTimer(ms, callback) {
    const timer = setTimeout(callback, ms)
    return { clear: () => clearTimeout(timer) }
  },
}

export type ExaminationOptions<Bench> = {
  /** What a check works with, which is given up when `signal` aborts. `limit` is the time that the check has. */
  makeBench: (check: Check<Bench>, signal: AbortSignal, limit: TimeLimit) => Bench
  /** How long each thing that must come may take, in milliseconds. */
  patienceMs: number
  /** How many checks are made at a time. */
  parallel: number
  /** Ends the examination early. */
  signal: AbortSignal
  /** Called for each check, in the order of the list. */
  onResult?: (result: CheckResult) => void
}

/** The checks of a level and of those before it, or those that `only` names. */
export function chosenChecks<Bench>(
  checks: readonly Check<Bench>[],
  level: Level,
  only: readonly string[] = [],
): readonly Check<Bench>[] {
  if (only.length > 0) return checks.filter(({ name }) => only.includes(name))
  return checks.filter((check) => LEVELS.indexOf(check.level) <= LEVELS.indexOf(level))
}

/**
 * Makes all checks: the essential ones first, the others several at a time, and one by one those that disturb others.
 * When an essential one fails, or the subject is gone, those behind it are skipped.
 * @throws the reason of `signal`, and whatever a check throws that is no verdict.
 */
export async function examine<Bench>(
  checks: readonly Check<Bench>[],
  options: ExaminationOptions<Bench>,
): Promise<CheckResult[]> {
  const { signal, parallel, onResult } = options
  const results: CheckResult[] = []
  let reported = 0
  const settle = (index: number, result: CheckResult): void => {
    results[index] = result
    for (let next = results[reported]; next !== undefined; next = results[++reported]) onResult?.(next)
  }
  /** Why nothing more is judged. */
  let broken: string | undefined
  const work = async (indices: number[]): Promise<void> => {
    for (let index = indices.shift(); index !== undefined && !signal.aborted; index = indices.shift()) {
      const check = checks[index]!
      if (broken !== undefined) {
        settle(index, skipped(check, broken))
        continue
      }
      const { result, lastBecause } = await judge(check, options)
      broken ??= lastBecause
      if (check.isEssential && result.status === 'failed') broken ??= `${check.name} failed`
      settle(index, result)
    }
  }
  const indicesOf = (wanted: (check: Check<Bench>) => boolean): number[] =>
    [...checks.keys()].filter((index) => wanted(checks[index]!))
  await work(indicesOf(({ isEssential }) => isEssential === true))
  const others = indicesOf(({ isEssential, isAlone }) => !isEssential && !isAlone)
  // Every check has closed what it opened before anything is said.
  const ends = await Promise.allSettled(Array.from({ length: parallel }, () => work(others)))
  signal.throwIfAborted()
  for (const end of ends) if (end.status === 'rejected') throw end.reason
  await work(indicesOf(({ isAlone }) => isAlone === true))
  signal.throwIfAborted()
  return results
}

/** What a check found, and why it is the last one. */
type Judged = { readonly result: CheckResult; readonly lastBecause?: string | undefined }

async function judge<Bench>(check: Check<Bench>, options: ExaminationOptions<Bench>): Promise<Judged> {
  const { makeBench, patienceMs, signal } = options
  const begun = performance.now()
  const limitMs = patienceMs * CHECK_PATIENCE
  const over = new AbortController()
  // A check may wait for many things at a time.
  setMaxListeners(0, over.signal)
  const giveUp = (): void => over.abort(signal.reason)
  signal.addEventListener('abort', giveUp)
  const late = new Mismatch(`an end of this check within ${limitMs} ms`, 'none')
  const limit = new TimeLimit(CLOCK, limitMs, () => over.abort(late))
  const ms = (): number => Math.round(performance.now() - begun)
  try {
    await check.run(makeBench(check, over.signal, limit))
    return { result: { ...facts(check), status: 'passed', ms: ms() } }
  } catch (error) {
    signal.throwIfAborted()
    if (error instanceof NotJudged) return { result: { ...skipped(check, error.message), ms: ms() } }
    if (!(error instanceof Mismatch)) throw error
    const { expected, seen, lastBecause } = error
    return { result: { ...facts(check), status: 'failed', ms: ms(), expected, seen, hint: check.hint }, lastBecause }
  } finally {
    limit.clear()
    signal.removeEventListener('abort', giveUp)
    over.abort(new Mismatch('an end of this check', 'a wait that was left'))
  }
}

function skipped<Bench>(check: Check<Bench>, reason: string): CheckResult {
  return { ...facts(check), status: 'skipped', ms: 0, reason }
}

function facts<Bench>({
  name,
  level,
  section,
  rule,
}: Check<Bench>): Pick<CheckResult, 'name' | 'level' | 'section' | 'rule'> {
  return { name, level, section: { title: section, at: anchorOf(section) }, rule }
}
