import { parseArgs } from 'node:util'
import type { BenchQuestion, Scale } from './question.ts'

export type CommandLine = { scale: Scale; asked: readonly BenchQuestion[]; json: string | undefined; help: boolean }

/** What may be asked for, and how. */
export function usage(questions: readonly BenchQuestion[]): string {
  return [
    'npm run bench -- [question ...] [--quick] [--json FILE]',
    '',
    `  questions    ${questions.map(({ name }) => name).join(', ')}; all of them by default`,
    '  --quick      smaller counts: a minute and a half instead of a quarter of an hour',
    '  --smoke      whether they run at all; the figures say nothing',
    '  --json FILE  writes all figures there',
  ].join('\n')
}

/**
 * Reads what is asked for.
 * @throws Error with words for people.
 */
export function commandLine(args: readonly string[], questions: readonly BenchQuestion[]): CommandLine {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      quick: { type: 'boolean' },
      smoke: { type: 'boolean' },
      json: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
  })
  const unknown = positionals.find((name) => !questions.some((question) => question.name === name))
  if (unknown !== undefined)
    throw new Error(`nothing measures ${unknown}; there is ${questions.map(({ name }) => name).join(', ')}`)
  return {
    scale: values.smoke ? 'smoke' : values.quick ? 'quick' : 'full',
    asked: positionals.length > 0 ? questions.filter(({ name }) => positionals.includes(name)) : questions,
    json: values.json,
    help: values.help ?? false,
  }
}
