import { parseArgs } from 'node:util'
import type { BenchQuestion, Scale } from './question.ts'

export type CommandLine = {
  scale: Scale
  asked: readonly BenchQuestion[]
  /** Whether the goals are compared with the last figures. */
  regress: boolean
  /** Whether the figures of the goals become the last ones. */
  keep: boolean
  json: string | undefined
  /** The file of conversations that is read, or made if it is not there. */
  file: string | undefined
  /** The folder that gets the curves. */
  curves: string | undefined
  help: boolean
}

/** What may be asked for, and how. */
export function usage(questions: readonly BenchQuestion[]): string {
  return [
    'npm run bench -- [question ...] [--quick] [--json FILE]',
    '',
    `  questions    ${questions.map(({ name }) => name).join(', ')}; all of them by default`,
    '  --quick      smaller counts: some minutes instead of a quarter of an hour',
    '  --smoke      whether they run at all; the figures say nothing',
    '  --regress    the figures that have a goal, with the last ones beside them: four minutes',
    '  --keep       keeps the figures that have a goal as the last ones, in bench/last-figures.json',
    '  --json FILE  writes all figures there',
    '  --curves DIR draws the curves there, as SVG',
    '  --file FILE  conversations: fills this file and keeps it; one that is full is only read',
  ].join('\n')
}

/**
 * Reads what is asked for.
 * @throws Error with words for people.
 */
export function commandLine(
  args: readonly string[],
  questions: readonly BenchQuestion[],
  regress: readonly BenchQuestion[],
): CommandLine {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      quick: { type: 'boolean' },
      smoke: { type: 'boolean' },
      regress: { type: 'boolean' },
      keep: { type: 'boolean' },
      json: { type: 'string' },
      curves: { type: 'string' },
      file: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
  })
  const unknown = positionals.find((name) => !questions.some((question) => question.name === name))
  if (unknown !== undefined)
    throw new Error(`nothing measures ${unknown}; there is ${questions.map(({ name }) => name).join(', ')}`)
  return {
    scale: values.smoke ? 'smoke' : values.quick || values.regress ? 'quick' : 'full',
    asked:
      positionals.length > 0
        ? questions.filter(({ name }) => positionals.includes(name))
        : values.regress
          ? regress
          : questions,
    regress: values.regress ?? false,
    keep: values.keep ?? false,
    json: values.json,
    curves: values.curves,
    file: values.file,
    help: values.help ?? false,
  }
}
