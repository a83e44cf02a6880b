import type { Level } from './check.ts'

/** The version of the report's shape. It rises when a reader of an older one could go wrong. */
export const REPORT_VERSION = 1

/** The outcome of one check. */
export type CheckResult = {
  readonly name: string
  readonly level: Level
  /** A heading of PROTOCOL.md, and where it is. */
  readonly section: { readonly title: string; readonly at: string }
  /** The rule as a sentence. */
  readonly rule: string
  readonly status: 'passed' | 'failed' | 'skipped'
  /** How long it took, in milliseconds. */
  readonly ms: number
  /** Of a failed check: what the rule asks for. */
  readonly expected?: string
  /** Of a failed check: what came in its place. */
  readonly seen?: string
  /** Of a failed check: what to look at. */
  readonly hint?: string
  /** Of a skipped check: why. */
  readonly reason?: string
}

/** What the kit found, as `--json` writes it. docs/conformance.md documents it. */
export type Report = {
  readonly format: 'millrace-verify'
  readonly version: typeof REPORT_VERSION
  /** The release of millrace whose kit this is. */
  readonly kit: string
  readonly subject: 'server' | 'client'
  /** The server's address without credentials, or the client's command. */
  readonly target: string
  readonly level: Level
  /** When it began, in epoch milliseconds. */
  readonly startedAt: number
  /** How long it took, in milliseconds. */
  readonly ms: number
  readonly passed: number
  readonly failed: number
  readonly skipped: number
  /** In the order of the list of checks. */
  readonly checks: readonly CheckResult[]
}

/** The report of what was judged. */
export function reportOf(
  about: Pick<Report, 'kit' | 'subject' | 'target' | 'level' | 'startedAt' | 'ms'>,
  checks: readonly CheckResult[],
): Report {
  const count = (status: CheckResult['status']): number => checks.filter((check) => check.status === status).length
  return {
    format: 'millrace-verify',
    version: REPORT_VERSION,
    ...about,
    passed: count('passed'),
    failed: count('failed'),
    skipped: count('skipped'),
    checks,
  }
}
