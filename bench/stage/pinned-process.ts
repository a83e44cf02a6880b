import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { constants, setPriority } from 'node:os'
import { fileURLToPath } from 'node:url'
import type { Commands, Outcome } from './commands.ts'

/** How long a command may take. */
const COMMAND_MS = 60_000
const BYTES_PER_KIB = 1_024

/** All that live, to be ended with this process whatever ends it. */
const alive = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of alive) child.kill('SIGKILL')
})
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130))

type InputOf<Command> = Command extends (input: infer Input) => unknown ? (unknown extends Input ? [] : [Input]) : []
type ValueOf<Command> = Command extends (...input: never[]) => infer Value ? Awaited<Value> : never

/** A process of a measurement, bound to one core. */
export class PinnedProcess<Known extends Commands> implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #label: string
  readonly #calls = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>()
  readonly #exited: Promise<unknown>
  #lastCall = 0
  #stderr = ''

  /**
   * @param script its built file, next to the one of the caller.
   * @param core where it runs; undefined where nothing can be bound.
   * @param options handed to it as JSON.
   * @param isLoad it leaves its core to the others, where both want it.
   */
  constructor(script: string, core: number | undefined, options: unknown, label: string, isLoad = false) {
    const node = [
      process.execPath,
      '--expose-gc',
      fileURLToPath(new URL(script, import.meta.url)),
      JSON.stringify(options),
    ]
    const [command, ...args] = core === undefined ? node : ['taskset', '-c', String(core), ...node]
    this.#label = label
    this.#child = spawn(command!, args, {
      env: { PATH: process.env['PATH'] },
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    })
    // Now, because its threads inherit the priority of the first.
    if (isLoad && this.#child.pid !== undefined) setPriority(this.#child.pid, constants.priority.PRIORITY_LOW)
    alive.add(this.#child)
    this.#child.stderr?.on('data', (chunk: Buffer) => (this.#stderr = (this.#stderr + chunk.toString()).slice(-4_000)))
    this.#child.on('message', ({ call, value, failure }: Outcome) => {
      const waiting = this.#calls.get(call)
      this.#calls.delete(call)
      if (failure === undefined) waiting?.resolve(value)
      else waiting?.reject(new Error(`${label}: ${failure}`))
    })
    this.#exited = once(this.#child, 'exit').then(([code, signal]) => {
      alive.delete(this.#child)
      const words = `${label} ended (${String(code ?? signal)}) ${this.#stderr.trim()}`
      for (const { reject } of this.#calls.values()) reject(new Error(words))
      this.#calls.clear()
    })
  }

  /**
   * Sends it a command and resolves with its answer.
   * @throws Error when it fails at it, ends, or is not done within a minute.
   */
  async ask<Name extends keyof Known & string>(
    name: Name,
    ...[input]: InputOf<Known[Name]>
  ): Promise<ValueOf<Known[Name]>> {
    const call = ++this.#lastCall
    let timer: NodeJS.Timeout | undefined
    try {
      return await new Promise<ValueOf<Known[Name]>>((resolve, reject) => {
        timer = setTimeout(() => reject(new Error(`${this.#label} did not ${name} in time`)), COMMAND_MS)
        this.#calls.set(call, { resolve: resolve as (value: unknown) => void, reject })
        this.#child.send({ call, name, input })
      })
    } finally {
      clearTimeout(timer)
      this.#calls.delete(call)
    }
  }

  /** It stops as it stands: no timer fires, no socket is read. */
  freeze(): void {
    this.#child.kill('SIGSTOP')
  }

  /** It goes on. */
  thaw(): void {
    this.#child.kill('SIGCONT')
  }

  /** Its resident memory now, in bytes, as the kernel counts it. */
  get rss(): number {
    const status = readFileSync(`/proc/${String(this.#child.pid)}/status`, 'utf8')
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * BYTES_PER_KIB
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#exited
  }
}
