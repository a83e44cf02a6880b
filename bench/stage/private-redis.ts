import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A Redis that keeps its data in memory, on a free port of this machine, for one question. */
export class PrivateRedis implements AsyncDisposable {
  readonly url: string
  readonly #process: ChildProcess
  readonly #folder: string

  /** Undefined where there is no `redis-server`. */
  static async start(): Promise<PrivateRedis | undefined> {
    const port = await freePort()
    const folder = mkdtempSync(join(tmpdir(), 'millrace-bench-'))
    const args = ['--port', `${port}`, '--bind', '127.0.0.1', '--dir', folder, '--save', '', '--appendonly', 'no']
    const child = spawn('redis-server', args, { stdio: ['ignore', 'pipe', 'inherit'] })
    const isReady = await new Promise<boolean>((resolve) => {
      child.once('error', () => resolve(false)).once('exit', () => resolve(false))
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        if (text.includes('Ready to accept connections')) resolve(true)
      })
    })
    if (isReady) return new PrivateRedis(port, child, folder)
    rmSync(folder, { recursive: true, force: true })
    return undefined
  }

  private constructor(port: number, child: ChildProcess, folder: string) {
    this.url = `redis://127.0.0.1:${port}`
    this.#process = child
    this.#folder = folder
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const over = once(this.#process, 'exit')
    this.#process.kill()
    await over
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address() as { port: number }
  probe.close()
  await once(probe, 'close')
  return port
}
