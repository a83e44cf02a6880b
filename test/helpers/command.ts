import { type ChildProcess, spawn } from 'node:child_process'
import { Collector } from './collector.ts'
import { root } from './root.ts'

/** The command line as it was built. */
export const MILLRACE: string = `${root}dist/server/cli/main.js`

export type CommandOptions = {
  env?: Record<string, string>
  cwd?: string
  /** Written to stdin, which is then closed. */
  input?: string
  /** Leaves stdin open, for a test that writes to it as it goes. */
  types?: boolean
}

export type Ended = { code: number | null; signal: NodeJS.Signals | null; stdout: string; stderr: string }

/** A child process and what it has said so far. Disposing of it ends it. */
export class Command implements AsyncDisposable {
  stdout = ''
  stderr = ''
  readonly child: ChildProcess
  /** Resolves when the process has ended and all its output was read. */
  readonly ended: Promise<Ended>
  readonly #came = new Collector<never>({ describe: () => JSON.stringify([this.stdout, this.stderr]) })

  constructor(
    file: string,
    args: readonly string[],
    { env = {}, cwd = root, input, types = false }: CommandOptions = {},
  ) {
    this.child = spawn(file, args, { cwd, env: { ...ownEnvironment(), ...env }, stdio: 'pipe' })
    for (const name of ['stdout', 'stderr'] as const) {
      this.child[name]?.setEncoding('utf8').on('data', (text: string) => {
        this[name] += text
        this.#came.look()
      })
    }
    this.ended = new Promise((resolve, reject) => {
      this.child.on('error', reject)
      this.child.on('close', (code, signal) => {
        this.#came.end('the command ended')
        resolve({ code, signal, stdout: this.stdout, stderr: this.stderr })
      })
    })
    this.child.stdin?.on('error', () => {})
    if (!types) this.child.stdin?.end(input)
  }

  /** Resolves with the match when the process has said something like `pattern`. Rejects when it ends without. */
  said(stream: 'stdout' | 'stderr', pattern: RegExp): Promise<RegExpExecArray> {
    return this.#came.find(() => pattern.exec(this[stream]) ?? undefined, `it said ${pattern}`)
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill('SIGKILL')
    await this.ended
  }
}

/** `millrace` with these arguments. */
export function millrace(args: readonly string[], options: CommandOptions = {}): Command {
  return new Command(process.execPath, [MILLRACE, ...args], options)
}

/** `millrace` that takes all its streams for a terminal of 100 columns, and says what it does with its keys. */
export function onTerminal(args: readonly string[], options: CommandOptions = {}): Command {
  const isTerminal = `
    for (const s of [process.stdout, process.stderr]) Object.assign(s, { isTTY: true, columns: 100, rows: 30 })
    Object.assign(process.stdin, { isTTY: true, setRawMode: (raw) => process.stderr.write('raw ' + raw + '\\n') })`
  const before = ['--import', `data:text/javascript,${encodeURIComponent(isTerminal)}`]
  const env = { TERM: 'xterm', ...options.env }
  return new Command(process.execPath, [...before, MILLRACE, ...args], { ...options, env, types: true })
}

/** `millrace serve` on a free port, once it listens. */
export async function serving(args: readonly string[] = [], options: CommandOptions = {}): Promise<Serving> {
  const server = millrace(['serve', '--port', '0', ...args], options)
  const [, url = ''] = await server.said('stdout', /listens on (\S+)[^]*drains this server/)
  const token = /token +([0-9a-f]{32})/.exec(server.stdout)?.[1] ?? ''
  const env = { MILLRACE_URL: url, MILLRACE_TOKEN: token, ...options.env }
  return { server, url, env, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() }
}

export type Serving = AsyncDisposable & {
  server: Command
  url: string
  /** With this in its environment a client reaches the server. */
  env: Record<string, string>
}

/** The environment without what would change how the command line behaves. */
function ownEnvironment(): NodeJS.ProcessEnv {
  const changes = /^(millrace|npm|openai|ollama|vitest|node_options|no_color|force_color|ci$|port$|url$)/i
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !changes.test(name)))
}
