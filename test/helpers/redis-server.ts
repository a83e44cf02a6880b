import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createClient } from 'redis'
import { freePort } from './free-port.ts'
import { installed } from './installed.ts'

const REDIS_SERVER = installed({
  name: 'redis-server',
  debianPackage: 'redis-server',
  tests: 'the tests of what is kept in Redis',
})

/** Whether there is a Redis to test with. */
export const HAS_REDIS: boolean = REDIS_SERVER !== undefined

/** A Redis of its own, on a free port of this machine, with its data in a folder that goes with it. */
export class RedisServer implements AsyncDisposable {
  readonly url: string
  readonly #port: number
  readonly #folder: string
  readonly #more: readonly string[]
  #process: ChildProcess | undefined
  #admin: ReturnType<typeof createClient> | undefined
  #prefixes = 0

  /** @param more arguments of redis-server. */
  static async start(...more: string[]): Promise<RedisServer> {
    const server = new RedisServer(await freePort(), await mkdtemp(join(tmpdir(), 'millrace-redis-')), more)
    await server.begin()
    return server
  }

  private constructor(port: number, folder: string, more: readonly string[]) {
    this.#port = port
    this.#folder = folder
    this.#more = more
    this.url = `redis://127.0.0.1:${port}`
  }

  /** A prefix that no other test has. */
  prefix(): string {
    return `test${++this.#prefixes}`
  }

  /** Starts it, also once it was killed: it has then what it had written. */
  async begin(): Promise<void> {
    const args = ['--port', `${this.#port}`, '--bind', '127.0.0.1', '--dir', this.#folder, '--save', '', ...this.#more]
    const child = spawn(REDIS_SERVER!, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    this.#process = child
    await new Promise<void>((resolve, reject) => {
      let said = ''
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        said += text
        if (said.includes('Ready to accept connections')) resolve()
      })
      child.once('exit', () => reject(new Error(`redis-server ended: ${said}`)))
    })
  }

  /** A command. It waits while Redis does. */
  async command(...args: string[]): Promise<unknown> {
    if (!this.#admin) {
      this.#admin = createClient({ url: this.url })
      this.#admin.on('error', () => {})
      await this.#admin.connect()
    }
    return this.#admin.sendCommand(args)
  }

  /** Cuts the connections of everybody else. */
  async cut(): Promise<void> {
    for (const type of ['normal', 'pubsub']) await this.command('CLIENT', 'KILL', 'TYPE', type)
  }

  /** Lets nothing be written any more, or lets it be written again. */
  async full(is: boolean): Promise<void> {
    await this.command('CONFIG', 'SET', 'maxmemory', is ? '1' : '0')
  }

  /** Stops its process, which keeps its connections and answers nothing; or lets it go on. */
  freeze(is: boolean): void {
    this.#process?.kill(is ? 'SIGSTOP' : 'SIGCONT')
  }

  /** Its process dies without a word. */
  async kill(): Promise<void> {
    const child = this.#process
    this.#admin?.destroy()
    this.#admin = undefined
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
    await rm(this.#folder, { recursive: true, force: true })
  }
}
