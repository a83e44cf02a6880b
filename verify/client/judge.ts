import { LEVELS, type Level } from '../check.ts'
import { chosenChecks, examine } from '../examination.ts'
import { type CheckResult, type Report, reportOf } from '../report.ts'
import { cancelChecks } from './cancel-checks.ts'
import { inputChecks } from './input-checks.ts'
import { readingChecks } from './reading-checks.ts'
import { resumeChecks } from './resume-checks.ts'
import { ClientBench, type ClientCheck } from './stage.ts'

/** Every check of a client, by level. */
export const CLIENT_CHECKS: readonly ClientCheck[] = [
  ...readingChecks,
  ...cancelChecks,
  ...resumeChecks,
  ...inputChecks,
].sort((a, b) => LEVELS.indexOf(a.level) - LEVELS.indexOf(b.level))

/** How many checks are made at a time. Most of them wait most of the time. */
const PARALLEL = 8

export type ClientOptions = {
  /** The release of millrace, for the report. */
  kit: string
  /** The command that starts the client, for a shell. */
  command: string
  level: Level
  /** Only these checks, whatever their level. */
  only?: readonly string[]
  /** How long each thing that must come may take, in milliseconds. */
  patienceMs: number
  signal: AbortSignal
  onResult?: (result: CheckResult) => void
}

/** Judges a client: starts it at a scripted server for each check. @throws the reason of `signal`. */
export async function judgeClient(options: ClientOptions): Promise<Report> {
  const { kit, command, level, only, patienceMs, signal, onResult } = options
  const startedAt = Date.now()
  const begun = performance.now()
  const results = await examine(chosenChecks(CLIENT_CHECKS, level, only), {
    makeBench: (_, ended, limit) => new ClientBench({ command, patienceMs, signal: ended, limit }),
    patienceMs,
    parallel: PARALLEL,
    signal,
    ...(onResult && { onResult }),
  })
  const ms = Math.round(performance.now() - begun)
  return reportOf({ kit, subject: 'client', target: command, level, startedAt, ms }, results)
}
