import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import type { McpServer } from '../../server/tools/mcp/mcp-tools.ts'
import { Collector } from './collector.ts'
import { compiledScript } from './compiled-scripts.ts'

/**
 * How a fake MCP server is reached. `stateful` has sessions of the older protocol; `stateless` is of the newer protocol,
 * without sessions; `forgetful` is of the older one, without sessions.
 */
export type McpServerKind = 'stdio' | 'stateful' | 'stateless' | 'forgetful'

/** What a fake MCP server reports. */
export type McpReport =
  | { type: 'started'; pid: number }
  | { type: 'listening'; port: number }
  | { type: 'request'; method: string; authorization: string | null }
  | { type: 'called'; tool: string }
  | { type: 'cancelled'; reason: string }

/** What it does when it is told to. */
export type McpCommand = { type: 'finish' } | { type: 'addTool'; name: string; description: string }

const SCRIPT = 'test/helpers/mcp-server-process.ts'

/** A real MCP server in a process of its own. */
export class FakeMcpServer implements AsyncDisposable {
  readonly #kind: McpServerKind
  readonly #reports = new Collector<McpReport>({ describe: () => JSON.stringify(this.reports) })
  readonly #sockets = new Set<Socket>()
  readonly #control = createServer((socket) => {
    this.#sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => {
      this.#sockets.delete(socket)
      this.#reports.look()
    })
    createInterface({ input: socket }).on('line', (line) => this.#reports.add(JSON.parse(line) as McpReport))
  })
  #process: ChildProcess | undefined
  #port = 0
  #controlPort = 0

  private constructor(kind: McpServerKind) {
    this.#kind = kind
  }

  static async start(kind: McpServerKind): Promise<FakeMcpServer> {
    const fake = new FakeMcpServer(kind)
    fake.#control.listen(0, '127.0.0.1')
    await once(fake.#control, 'listening')
    fake.#controlPort = (fake.#control.address() as { port: number }).port
    if (kind !== 'stdio') await fake.restart()
    return fake
  }

  get reports(): readonly McpReport[] {
    return this.#reports.items
  }

  /** How to reach it. */
  get options(): McpServer {
    if (this.#kind !== 'stdio')
      return { url: `http://127.0.0.1:${this.#port}/mcp`, headers: { authorization: 'Bearer k' } }
    return {
      command: process.execPath,
      args: [compiledScript(SCRIPT), 'stdio', String(this.#controlPort)],
      env: { NAMED: '1' },
    }
  }

  /** The `n`th report of that type, from 1. */
  said<Type extends McpReport['type']>(type: Type, n = 1): Promise<Extract<McpReport, { type: Type }>> {
    const all = () => this.reports.filter((one): one is Extract<McpReport, { type: Type }> => one.type === type)
    return this.#reports.find(() => all()[n - 1], `report ${n} of type ${type}`)
  }

  /** Resolves when none of its processes is left. */
  async ended(): Promise<void> {
    await this.#reports.until(() => this.#sockets.size === 0, 'the end of its processes')
  }

  tell(command: McpCommand): void {
    for (const socket of this.#sockets) socket.write(`${JSON.stringify(command)}\n`)
  }

  /** The process that serves now. */
  get pid(): number {
    return this.reports.findLast((report) => report.type === 'started')!.pid
  }

  /** Ends it at once, as a crash would. */
  async kill(): Promise<void> {
    if (this.#sockets.size > 0) process.kill(this.pid, 'SIGKILL')
    await this.ended()
  }

  /** Starts the HTTP server, on the port that it had. A program is started by those who use it. */
  async restart(): Promise<void> {
    const n = this.reports.filter(({ type }) => type === 'listening').length + 1
    const args = [compiledScript(SCRIPT), this.#kind, String(this.#controlPort), String(this.#port)]
    this.#process = spawn(process.execPath, args, { stdio: 'inherit', env: { PATH: process.env['PATH'] } })
    this.#port = (await this.said('listening', n)).port
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process) this.#process.kill('SIGKILL')
    for (const socket of this.#sockets) socket.destroy()
    this.#control.close()
  }
}
