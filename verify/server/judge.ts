import { LEVELS, type Level } from '../check.ts'
import { chosenChecks, examine } from '../examination.ts'
import { type CheckResult, type Report, reportOf } from '../report.ts'
import { type OperatorMeans, ServerBench, type ServerCheck } from './bench.ts'
import { cancelChecks } from './cancel-checks.ts'
import { creditChecks } from './credit-checks.ts'
import { drainChecks } from './drain-checks.ts'
import { fullChecks } from './full-checks.ts'
import { greetingChecks } from './greeting-checks.ts'
import { itemChecks } from './item-checks.ts'
import { messageChecks } from './message-checks.ts'
import { openingChecks } from './opening-checks.ts'
import { overloadChecks } from './overload-checks.ts'
import { resumeChecks } from './resume-checks.ts'

export { preflight } from './preflight.ts'

/** Every check of a server, by level. */
export const SERVER_CHECKS: readonly ServerCheck[] = [
  ...greetingChecks,
  ...messageChecks,
  ...openingChecks,
  ...itemChecks,
  ...creditChecks,
  ...cancelChecks,
  ...resumeChecks,
  ...fullChecks,
  ...overloadChecks,
  ...drainChecks,
].sort((a, b) => LEVELS.indexOf(a.level) - LEVELS.indexOf(b.level))

/** How many checks are made at a time: a principal may have 20 connections by default. */
const PARALLEL = 4

export type ServerOptions = OperatorMeans & {
  /** The release of millrace, for the report. */
  kit: string
  /** The server's address. */
  url: string
  /** The token of the principal that is judged. Default: none. */
  token?: string | undefined
  level: Level
  /** Only these checks, whatever their level. */
  only?: readonly string[]
  /** How long each thing that must come may take, in milliseconds. */
  patienceMs: number
  signal: AbortSignal
  onResult?: (result: CheckResult) => void
}

/** Judges a server. @throws the reason of `signal`. */
export async function judgeServer(options: ServerOptions): Promise<Report> {
  const { kit, url, token, level, only, patienceMs, signal, onResult } = options
  const startedAt = Date.now()
  const begun = performance.now()
  const results = await examine(chosenChecks(SERVER_CHECKS, level, only), {
    makeBench: (check, ended) => new ServerBench({ url, token, patienceMs, signal: ended }, check, options),
    patienceMs,
    parallel: PARALLEL,
    signal,
    ...(onResult && { onResult }),
  })
  const ms = Math.round(performance.now() - begun)
  return reportOf({ kit, subject: 'server', target: withoutCredentials(url), level, startedAt, ms }, results)
}

/** An address as reports and messages show it. */
export function withoutCredentials(url: string): string {
  const shown = new URL(url)
  shown.username = shown.password = ''
  return shown.href
}
