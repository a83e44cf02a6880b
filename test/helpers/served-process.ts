/** A server of `servedActors` in a process of its own: its clock, its heap and its sockets are not those of the tests. */
import { bearer, createServer, demo, type Limits, type Socket, type Transport, ws } from '../../server/index.ts'
import { asChild, Child } from './child-process.ts'
import { wallMs } from './fake-provider-wire.ts'
import { servedActors } from './served-actors.ts'

export type ServedSettings = {
  port?: number
  limits?: Partial<Limits>
  drainMs?: number
  /** Default: as MILLRACE_TEST_TRANSPORT says, else `ws`. */
  transport?: 'ws' | 'uws'
}

export type ServedReport =
  | { type: 'listening'; port: number; url: string }
  /** The signal of a run of `sleep`, `stubborn` or `ask` fired. */
  | { type: 'aborted'; run: string; at: number }

export type ServedCommand = { type: 'status' } | { type: 'memory' }

/** `buffered`: bytes that its fullest socket has not taken. `busy`: share of the time since it was last asked. */
export type ServedStatus = { connections: number; liveRuns: number; buffered: number; busy: number }

/** After a garbage collection. `heap`: with external memory. */
export type ServedMemory = { heap: number; rss: number }

export type ServedProcess = Child<ServedReport, ServedCommand>

/** A server whose clients show the token `alice`. SIGTERM drains it. */
export async function servedProcess(settings: ServedSettings = {}): Promise<ServedProcess & { url: string }> {
  const transport = settings.transport ?? process.env['MILLRACE_TEST_TRANSPORT'] ?? 'ws'
  const child: ServedProcess = new Child('served-process.ts', { ...settings, transport })
  const { url } = await child.said('listening')
  return Object.assign(child, { url })
}

/** The transport, and the sockets that came in by it. */
function watched(transport: Transport, sockets: Set<Socket>): Transport {
  return {
    ...transport,
    listen: (acceptor, limits, at) =>
      transport.listen(
        {
          ...acceptor,
          accept(socket, subprotocol) {
            sockets.add(socket)
            const events = acceptor.accept(socket, subprotocol)
            return {
              arrived: (bytes) => events.arrived(bytes),
              message: (bytes) => events.message(bytes),
              text: (text) => events.text(text),
              drain: () => events.drain(),
              closed(code) {
                sockets.delete(socket)
                events.closed(code)
              },
            }
          },
        },
        limits,
        at,
      ),
  }
}

if (process.argv[1] === import.meta.filename) {
  const sockets = new Set<Socket>()
  let asked = performance.eventLoopUtilization()
  const self = asChild((command: ServedCommand) => {
    switch (command.type) {
      case 'status': {
        const { utilization: busy } = performance.eventLoopUtilization(asked)
        asked = performance.eventLoopUtilization()
        const { connections, liveRuns } = server
        const buffered = Math.max(0, ...[...sockets].map(({ bufferedAmount }) => bufferedAmount))
        return { connections, liveRuns, buffered, busy } satisfies ServedStatus
      }
      case 'memory': {
        for (let n = 0; n < 3; n++) globalThis.gc?.()
        const { heapUsed, external, rss } = process.memoryUsage()
        return { heap: heapUsed + external, rss } satisfies ServedMemory
      }
    }
  })
  const { port = 0, limits = {}, drainMs = 10_000, transport } = self.options as ServedSettings
  const report: (said: ServedReport) => void = self.report
  const server = createServer({
    actors: servedActors((run) => report({ type: 'aborted', run, at: wallMs() })),
    authenticate: bearer({ alice: 'alice' }),
    defaultModel: demo(),
    limits,
    transport: watched(transport === 'uws' ? (await import('./transports.ts')).onUws.make() : ws(), sockets),
  })
  process.on('SIGTERM', () => void server.close({ drainMs }).then(() => process.exit(0)))
  report({ type: 'listening', ...(await server.listen(port)) })
}
