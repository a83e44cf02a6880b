import type { CheckResult, Report } from '../../verify/report.ts'
import type { Output } from './output.ts'

const RED = '31'
const DIM = '2'

/** What a report says before its first check. */
export function headWords({ subject, target, level }: Pick<Report, 'subject' | 'target' | 'level'>): string {
  return `millrace verify: the ${subject} ${target}, level ${level}\n\n`
}

/** One check, in a line; and what is wrong, if it failed. */
export function resultWords(result: CheckResult, output: Output): string {
  const { status, name, rule, section } = result
  const about = `  ${name.padEnd(21)} ${rule}`
  switch (status) {
    case 'passed':
      return `  ok     ${about}\n`
    case 'skipped':
      return output.paint(DIM, `  skipped${about} Not judged: ${result.reason ?? ''}.`) + '\n'
    case 'failed':
      return [
        output.paint(RED, `  FAILED ${about}`),
        `             expected  ${result.expected ?? ''}`,
        `             seen      ${result.seen ?? ''}`,
        `             section   ${section.title}, ${section.at}`,
        `             hint      ${result.hint ?? ''}`,
        '',
      ].join('\n')
  }
}

/** The sum of a report. */
export function sumWords({ passed, failed, skipped, ms }: Report): string {
  const seconds = (ms / 1_000).toFixed(1)
  return `\n${passed} passed, ${failed} failed, ${skipped} skipped in ${seconds} s\n`
}
