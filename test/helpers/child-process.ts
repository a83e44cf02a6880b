import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Collector } from './collector.ts'
import { compiledScript } from './compiled-scripts.ts'

/** What every script that a `Child` runs may say. Its own reports have types of their own. */
type ChildMessage = { type: string }

/** What a script answers to a command, by the command's number. */
export type AnswerReport = { type: 'answer'; call: number; value: unknown }

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const BYTES_PER_KIB = 1_024

/**
 * A script of this folder in a process of its own, which sends `Report`s and answers `Command`s. Every method that waits
 * waits for the event itself.
 */
export class Child<Report extends ChildMessage, Command extends ChildMessage> implements AsyncDisposable {
  /** Resolves with the exit code, null when a signal ended it. */
  readonly exited: Promise<number | null>
  /** All it said on stderr. */
  stderr = ''
  readonly #process: ChildProcess
  readonly #reports = new Collector<Report>({ describe: () => this.stderr })
  readonly #calls = new Map<number, (value: unknown) => void>()
  #lastCall = 0

  /** @param script its file name in this folder. @param options handed to it as JSON in its first argument. */
  constructor(script: string, options: unknown = {}) {
    this.#process = fork(compiledScript(`test/helpers/${script}`), [JSON.stringify(options)], {
      execArgv: ['--expose-gc'],
      cwd: ROOT,
      env: { PATH: process.env['PATH'] },
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    })
    this.exited = once(this.#process, 'exit').then(([code]) => code as number | null)
    this.#process.stderr?.on('data', (chunk: Buffer) => (this.stderr += chunk.toString()))
    this.#process.on('message', (message: Report | AnswerReport) => {
      if (message.type === 'answer') {
        const { call, value } = message as AnswerReport
        this.#calls.get(call)?.(value)
        this.#calls.delete(call)
      } else this.#reports.add(message as Report)
    })
    this.#process.on('exit', () => this.#reports.end('the process ended'))
  }

  get pid(): number {
    return this.#process.pid!
  }

  /** The `n`th report of that type that `matches` (from 1), past or coming. Rejects when the process ends without it. */
  said<Type extends Report['type']>(
    type: Type,
    matches: (report: Extract<Report, { type: Type }>) => boolean = () => true,
    n = 1,
  ): Promise<Extract<Report, { type: Type }>> {
    const isWanted = (report: Report): report is Extract<Report, { type: Type }> =>
      report.type === type && matches(report as Extract<Report, { type: Type }>)
    return this.#reports.find(() => this.#reports.items.filter(isWanted)[n - 1], `it said ${type}`)
  }

  /** Sends it a command and resolves with its answer. */
  ask<Value>(command: Command): Promise<Value> {
    const call = ++this.#lastCall
    return new Promise((resolve) => {
      this.#calls.set(call, (value) => resolve(value as Value))
      this.#process.send({ ...command, call })
    })
  }

  signal(name: NodeJS.Signals): void {
    this.#process.kill(name)
  }

  /** Its resident memory now, in bytes, as the kernel counts it. */
  get rss(): number {
    const [, kib] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${this.pid}/status`, 'utf8'))!
    return Number(kib) * BYTES_PER_KIB
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process.exitCode === null && this.#process.signalCode === null) this.#process.kill('SIGKILL')
    await this.exited
  }
}

/**
 * The other side: what this script was given, and how it speaks. It ends when its parent is gone.
 * @param answer what it answers to a command.
 */
export function asChild(answer: (command: never) => unknown): {
  options: unknown
  report: (said: ChildMessage) => void
} {
  // Its parent may be gone by then, and misses nothing.
  const send = (message: object): void => void process.send?.(message, () => {})
  process.on('message', (command: ChildMessage & { call: number }) => {
    void Promise.resolve(answer(command as never)).then((value) => send({ type: 'answer', call: command.call, value }))
  })
  process.on('disconnect', () => process.exit(0))
  return { options: JSON.parse(process.argv[2]!), report: send }
}
