import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type Client, createClient } from '../../client-sdk/node.ts'
import { type Command, type CommandOptions, millrace, type Serving, serving } from './command.ts'
import { Counter } from './counter.ts'
import type { RedisServer } from './redis-server.ts'
import { root } from './root.ts'

const LEASE_MS = 1_000
const built = (path: string): string => JSON.stringify(pathToFileURL(`${root}dist/server/${path}`).href)

/** The command `millrace serve --workers`, with an actor that says by which process it is executed, then counts. */
export class ServedWorkers implements AsyncDisposable {
  readonly server: Command
  readonly #serve: Serving
  readonly #folder: string
  readonly #clients: Client[] = []

  /** Starts two workers. They listen. */
  static async start(
    redis: RedisServer,
    more: readonly string[] = [],
    options?: CommandOptions,
  ): Promise<ServedWorkers> {
    const config = workerConfig(redis)
    const serve = await serving(['--workers', '2', '--config', config.path, ...more], options)
    return new ServedWorkers(serve, config.folder)
  }

  private constructor(serve: Serving, folder: string) {
    this.#serve = serve
    this.server = serve.server
    this.#folder = folder
  }

  /** Begins runs, each over a connection of its own, and waits until each has said a few numbers. */
  async count(runs: number, to: number): Promise<Counter[]> {
    const begun = Array.from({ length: runs }, () => {
      const client = createClient(this.#serve.url, { token: this.#serve.env['MILLRACE_TOKEN'] ?? '' })
      this.#clients.push(client)
      return new Counter(client.start('count', to))
    })
    await Promise.all(begun.map((each) => each.has(Math.min(3, to))))
    return begun
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.close()))
    // The second one quits at once.
    for (const _ of [1, 2]) this.server.kill('SIGTERM')
    await this.server.ended
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

/** A config file whose store is in `redis`. @param first what each process does first. */
export function workerConfig(redis: RedisServer, first = ''): { path: string; folder: string } {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-workers-'))
  const path = join(folder, 'config.mjs')
  writeFileSync(
    path,
    `import { actor } from ${built('index.js')}
     import { redis } from ${built('stores/redis/redis.js')}
     ${first}
     export default {
       limits: { startsPerSec: 1000, startBurst: 1000 },
       store: redis({ url: ${JSON.stringify(redis.url)}, prefix: '${redis.prefix()}', leaseMs: ${LEASE_MS} }),
       actors: {
         count: actor({
           async *stream(to, { signal }) {
             yield { type: 'data', name: 'pid', value: process.pid }
             for (let n = 1; n <= to; n++) {
               await new Promise((resolve) => setTimeout(resolve, 10))
               signal.throwIfAborted()
               yield n + ' '
             }
           },
         }),
       },
     }`,
  )
  return { path, folder }
}

/** `millrace serve --workers` that ends by itself. */
export function workers(args: readonly string[], options?: CommandOptions): Command {
  return millrace(['serve', '--port', '0', '--workers', ...args], options)
}

/** The process that executes a run. */
export function pidOf({ data }: Counter): number {
  return data[0] as number
}

export function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

/** What a run has said that counted to `n`, or ended with an error on its way. */
export function upTo(n: number): number[] {
  return Array.from({ length: n }, (_, i) => i + 1)
}
