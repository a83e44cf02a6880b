import { exec } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { anchorOf, type Check, LEVELS, type Level } from '../../verify/check.ts'
import type { CheckResult, Report } from '../../verify/report.ts'
import { connectWords } from './connect-words.ts'
import { EXIT, type ExitCode, Failure, messageOf } from './exit.ts'
import { onInterrupt } from './interrupts.ts'
import type { Output } from './output.ts'
import { oneLine } from './run-table.ts'
import { type Command, readArgs, readNumber } from './usage.ts'
import { headWords, resultWords, sumWords } from './verify-words.ts'
import { version } from './version.ts'

const DEFAULT_PATIENCE_S = 3
/** How long a command of the operator may take, in milliseconds. */
const COMMAND_MS = 10_000

const usage = {
  name: 'verify',
  about: 'Judges a server or a client, such as one in another language, by the rules of PROTOCOL.md.',
  notes: [
    'A server needs the reference actors and limits of docs/conformance.md. `millrace serve --reference` has them.',
    'A client is a program that does what a script says at the server MILLRACE_URL, as docs/conformance.md describes.',
  ],
  args: ['[url]'],
  options: {
    client: {
      type: 'string',
      value: 'COMMAND',
      about: 'Judges the client that this command starts, in place of a server.',
    },
    level: {
      type: 'string',
      value: 'LEVEL',
      about: `How much is judged: ${LEVELS.join(', ')}. Each has those before it. Default full.`,
    },
    only: {
      type: 'string',
      value: 'NAME',
      multiple: true,
      about: 'Makes only this check, whatever its level. Repeat it for several.',
    },
    list: { type: 'boolean', about: 'Lists the checks and their sections, and judges nothing.' },
    json: { type: 'string', value: 'FILE', about: 'Also writes the report as JSON. With - it goes to stdout, alone.' },
    token: { type: 'string', value: 'TOKEN', about: 'Token of the principal at the server. Default: MILLRACE_TOKEN.' },
    'other-token': {
      type: 'string',
      value: 'TOKEN',
      about: 'Token of another principal. Default: none, and what needs one is skipped.',
    },
    drain: {
      type: 'string',
      value: 'COMMAND',
      about: 'Tells the server to go away, such as by SIGTERM. The last check runs it. Default: that is skipped.',
    },
    patience: {
      type: 'string',
      value: 'SECONDS',
      about: `How long each thing that must come may take. A check may take five times that. Default ${DEFAULT_PATIENCE_S}.`,
    },
  },
  examples: [
    'millrace verify ws://127.0.0.1:7400 --token s3cret',
    'millrace verify ws://127.0.0.1:7400 --level cancel --json report.json',
    'millrace verify ws://127.0.0.1:7400 --only gate --only credit',
    "millrace verify ws://127.0.0.1:7400 --drain 'kill -TERM 4321'",
    "millrace verify --client 'python3 client.py'",
    'millrace verify --list',
  ],
} as const

type Values = ReturnType<typeof readArgs<typeof usage>>['values']

/** What a judgement takes. */
type Judged = {
  readonly kit: string
  readonly level: Level
  readonly only: readonly string[]
  readonly patienceMs: number
  readonly signal: AbortSignal
  readonly onResult: (result: CheckResult) => void
}

/** `millrace verify` */
export const verify: Command = {
  usage,
  async run(args: string[], output: Output): Promise<ExitCode> {
    const { values, positionals } = readArgs(usage, args)
    const [url] = positionals
    const { client, list = false } = values
    if (url !== undefined && client !== undefined)
      throw new Failure(EXIT.usage, 'millrace verify judges a server or a client: leave the address or --client out')
    if (client !== undefined && values.drain !== undefined)
      throw new Failure(EXIT.usage, '--drain is for a server: leave it or --client out')
    const checks = client === undefined ? await serverChecks() : await clientChecks()
    const level = levelOf(values.level)
    const only = values.only ?? []
    for (const name of only) known(name, checks)
    if (list) {
      await output.answer(listWords(checks))
      return EXIT.ok
    }
    const patienceS = readNumber('--patience', values.patience ?? String(DEFAULT_PATIENCE_S), { min: 1, max: 600 })
    const stop = new AbortController()
    const forgetInterrupts = onInterrupt((times) => {
      if (times > 1) process.exit(EXIT.interrupted)
      stop.abort(new Failure(EXIT.interrupted, 'interrupted: no verdict'))
    })
    output.gone.addEventListener('abort', () => stop.abort(new Failure(EXIT.failed, 'stdout was closed')))
    const isAlone = values.json === '-'
    const isWorking = !isAlone && output.isTerminal
    const onResult = (result: CheckResult): void => {
      if (!isAlone) void output.answer(resultWords(result, output))
      if (isWorking) output.busy('judging')
    }
    const judged: Judged = { kit: version(), level, only, patienceMs: patienceS * 1_000, signal: stop.signal, onResult }
    try {
      const begin = async (subject: Report['subject'], target: string): Promise<void> => {
        if (!isAlone) await output.answer(headWords({ subject, target, level }))
        if (isWorking) output.busy('judging')
      }
      const report =
        client === undefined ? await ofServer(url, values, judged, begin) : await ofClient(client, judged, begin)
      output.quiet()
      await write(report, values.json, output)
      if (!isAlone) await output.answer(sumWords(report))
      return report.failed > 0 ? EXIT.failed : EXIT.ok
    } finally {
      output.quiet()
      forgetInterrupts()
    }
  },
}

type Begin = (subject: Report['subject'], target: string) => Promise<void>

async function ofServer(url: string | undefined, values: Values, judged: Judged, begin: Begin): Promise<Report> {
  if (url === undefined) throw new Failure(EXIT.usage, '<url> or --client is missing; see millrace verify --help')
  if (!URL.canParse(url) || !/^wss?:$/.test(new URL(url).protocol))
    throw new Failure(EXIT.usage, `${url} is not a server address: write it as ws://127.0.0.1:7400`)
  const token = values.token ?? (process.env['MILLRACE_TOKEN'] || undefined)
  const { patienceMs, signal } = judged
  const { judgeServer, preflight, withoutCredentials } = await import('../../verify/server/judge.ts')
  const target = withoutCredentials(url)
  const obstacle = await preflight({ url, token, patienceMs, signal })
  if (obstacle?.kind === 'unreachable')
    throw new Failure(EXIT.unreachable, `cannot connect to ${target}: ${connectWords(obstacle.cause, 'the URL')}`)
  if (obstacle?.code === 4401) {
    const what = token === undefined ? 'the server needs a token' : 'the server refused this token'
    throw new Failure(EXIT.unreachable, `${what}: set it with --token or MILLRACE_TOKEN`)
  }
  if (obstacle)
    throw new Failure(EXIT.unreachable, `the server closed with ${obstacle.code}: it refuses this host name`)
  await begin('server', target)
  const { drain, 'other-token': otherToken } = values
  const means = { otherToken, drain: drain === undefined ? undefined : () => shell(drain, signal) }
  return judgeServer({ ...judged, url, token, ...means })
}

/** Runs a command of the operator. Rejects when it fails, with what it said in one line. */
async function shell(command: string, signal: AbortSignal): Promise<void> {
  await promisify(exec)(command, { signal, timeout: COMMAND_MS }).catch((error: unknown) => {
    throw new Error(oneLine((error as Error).message.trim()))
  })
}

async function ofClient(command: string, judged: Judged, begin: Begin): Promise<Report> {
  const { judgeClient } = await import('../../verify/client/judge.ts')
  await begin('client', command)
  return judgeClient({ ...judged, command })
}

async function clientChecks(): Promise<readonly Check<never>[]> {
  return (await import('../../verify/client/judge.ts')).CLIENT_CHECKS
}

async function serverChecks(): Promise<readonly Check<never>[]> {
  return (await import('../../verify/server/judge.ts')).SERVER_CHECKS
}

function levelOf(text = 'full'): Level {
  const level = LEVELS.find((one) => one === text)
  if (level === undefined) throw new Failure(EXIT.usage, `unknown level ${text}; known levels: ${LEVELS.join(', ')}`)
  return level
}

function known(name: string, checks: readonly Check<never>[]): void {
  if (checks.some((check) => check.name === name)) return
  throw new Failure(EXIT.usage, `unknown check ${name}; millrace verify --list names all of them`)
}

function listWords(checks: readonly Check<never>[]): string {
  const rows = checks.map(({ level, name, rule, section }) => {
    return `${level.padEnd(8)} ${name.padEnd(21)} ${rule} (${anchorOf(section)})\n`
  })
  return rows.join('')
}

async function write(report: Report, file: string | undefined, output: Output): Promise<void> {
  if (file === undefined) return
  const text = `${JSON.stringify(report, undefined, 2)}\n`
  if (file === '-') return output.answer(text)
  try {
    await writeFile(file, text)
  } catch (error) {
    throw new Failure(EXIT.usage, `cannot write the report: ${messageOf(error)}`, error)
  }
}
