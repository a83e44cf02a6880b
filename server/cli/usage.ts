import { parseArgs } from 'node:util'
import { EXIT, EXIT_CODES, type ExitCode, Failure, messageOf } from './exit.ts'
import type { Output } from './output.ts'

/** One option of a command: its type, the name of its value, its explanation, and whether it may be repeated. */
export type OptionUsage =
  | { readonly type: 'boolean'; readonly about: string }
  | {
      readonly type: 'string'
      readonly value: string
      readonly about: string
      readonly short?: string
      readonly multiple?: boolean
      /** It may have no text, and is then as if it were left out. */
      readonly mayBeEmpty?: boolean
    }

/** The interface of a command, from which its help is made and its arguments are parsed. */
export type Usage = {
  readonly name: string
  /** One sentence. */
  readonly about: string
  /** Its arguments as the help shows them: `<required>` or `[optional]`. */
  readonly args: readonly string[]
  /** The words that the first argument may be. Default: any. */
  readonly choices?: readonly string[]
  readonly options: { readonly [name: string]: OptionUsage }
  /** Further sentences for the help. */
  readonly notes?: readonly string[]
  /** Commands to copy. */
  readonly examples: readonly string[]
}

export type Command = {
  readonly usage: Usage
  /** Runs the command. Resolves with its exit code. @throws Failure, or any other error. */
  run(args: string[], output: Output): Promise<ExitCode>
}

type Values<U extends Usage> = {
  readonly [Name in keyof U['options']]?: U['options'][Name] extends { type: 'boolean' }
    ? boolean
    : U['options'][Name] extends { multiple: true }
      ? readonly string[]
      : string
}

/**
 * Parses the arguments of a command.
 * @throws Failure that names the wrong argument.
 */
export function readArgs<const U extends Usage>(
  usage: U,
  args: string[],
): { values: Values<U>; positionals: readonly string[] } {
  const { values, positionals } = parsed(usage, args)
  for (const [name, value] of Object.entries(values as { readonly [name: string]: unknown })) {
    if (![value].flat().some((one) => typeof one === 'string' && one.trim() === '')) continue
    const option = usage.options[name]
    if (option?.type !== 'string' || !option.mayBeEmpty)
      throw new Failure(EXIT.usage, `--${name} is empty: give it a value, or leave it out (is a variable not set?)`)
    Reflect.deleteProperty(values, name)
  }
  const needed = usage.args.filter((arg) => arg.startsWith('<'))
  const missing = needed[positionals.length]
  if (missing !== undefined) throw misused(usage, `${missing} is missing`)
  const extra = positionals[usage.args.length]
  if (extra !== undefined) throw misused(usage, `unexpected argument ${extra} (are quotes missing?)`)
  return { values: values, positionals }
}

/** Whether the arguments ask for help. Arguments after `--` are not options. */
export function wantsHelp(args: readonly string[]): boolean {
  const end = args.indexOf('--')
  return args.slice(0, end < 0 ? args.length : end).some((arg) => arg === '--help' || arg === '-h')
}

function parsed(usage: Usage, args: string[]): { values: object; positionals: string[] } {
  const options = Object.fromEntries(
    Object.entries(usage.options).map(([name, option]) => {
      const short = 'short' in option ? option.short : undefined
      const multiple = 'multiple' in option && option.multiple
      return [name, { type: option.type, multiple, ...(short !== undefined && { short }) }]
    }),
  )
  try {
    return parseArgs({ args: withNegatives(usage, args), options, allowPositionals: true })
  } catch (error) {
    // The first sentence of the message names the problem; the others are about `parseArgs`.
    const [sentence = ''] = messageOf(error).split(/\.\s|\n/)
    const what = sentence.replace(/'(--[^']+)' argument is ambiguous/, "'$1' has no value (after a dash: $1=-VALUE)")
    throw misused(usage, what.charAt(0).toLowerCase() + what.slice(1))
  }
}

/** The arguments, with each negative number joined to the option whose value it is: the number is wrong, and not the option. */
function withNegatives(usage: Usage, args: readonly string[]): string[] {
  const joined: string[] = []
  for (const [at, arg] of args.entries()) {
    if (arg === '--') return [...joined, ...args.slice(at)]
    const before = joined.at(-1) ?? ''
    const isValue = /^-\d/.test(arg) && before.startsWith('--') && usage.options[before.slice(2)]?.type === 'string'
    if (isValue) joined.push(`${joined.pop()}=${arg}`)
    else joined.push(arg)
  }
  return joined
}

function misused(usage: Usage, what: string): Failure {
  return new Failure(EXIT.usage, `${what}; see millrace ${usage.name} --help`)
}

/**
 * Parses a whole number from `min` to `max`.
 * @throws Failure that names the option and the allowed range.
 */
export function readNumber(name: string, text: string, { min, max }: { min: number; max: number }): number {
  const n = /^\d+$/.test(text) ? Number(text) : Number.NaN
  if (n >= min && n <= max) return n
  throw new Failure(EXIT.usage, `${name} takes a whole number from ${min} to ${max}, not ${text}`)
}

/** The help of one command. */
export function commandHelp({ name, about, args, options, notes = [], examples }: Usage): string {
  const rows = Object.entries(options).map(([option, usage]): UsageRow => {
    const value = usage.type === 'string' ? ` ${usage.value}` : ''
    const short = 'short' in usage && usage.short !== undefined ? `-${usage.short}, ` : ''
    return [`${short}--${option}${value}`, usage.about]
  })
  return [
    `Usage: millrace ${[name, ...args, '[options]'].join(' ')}`,
    '',
    about,
    ...notes,
    '',
    'Options:',
    ...table([...rows, ['--help', 'Prints this help.']]),
    '',
    'Examples:',
    ...examples.map((line) => `  ${line}`),
    '',
    ...exitCodes(),
    '',
  ].join('\n')
}

/** The help of the command line as a whole. */
export function overviewHelp(commands: readonly Command[]): string {
  return [
    'Usage: millrace <command> [options]',
    '',
    'A WebSocket server for agents: runs can be streamed, slowed down, cancelled and resumed.',
    '',
    'Commands:',
    ...table(commands.map(({ usage }): UsageRow => [[usage.name, ...usage.args].join(' '), usage.about])),
    '',
    'millrace <command> --help explains a command; millrace --version prints the version.',
    '',
    ...exitCodes(),
    '',
    'NO_COLOR switches colours off. Answers go to stdout, everything else to stderr.',
    '',
  ].join('\n')
}

type UsageRow = readonly [left: string, right: string]

function exitCodes(): string[] {
  return ['Exit codes:', ...table(EXIT_CODES.map(([code, means]): UsageRow => [String(code), means]))]
}

function table(rows: readonly UsageRow[]): string[] {
  const width = Math.max(...rows.map(([left]) => left.length))
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`)
}
