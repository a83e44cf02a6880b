/** The child of `ServerProcess`: a server with the demo actors, in which a client is who its `auth` says. */
import { readdirSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { Limits } from '../../protocol/limits.ts'
import { demoActors } from '../../server/cli/demo-actors.ts'
import { demo } from '../../server/models/demo.ts'
import { createServer } from '../../server/server.ts'
import { ticker } from './bystander-actor.ts'
import { asChild } from './child-process.ts'
import type { Measured, MeasuredCommand, MeasuredReport } from './server-process.ts'

const { gc } = globalThis as { gc?: () => void }
const failures: string[] = []
process.on('unhandledRejection', (reason) => failures.push(`unhandled rejection: ${String(reason)}`))
process.on('uncaughtException', (error) => failures.push(`uncaught: ${error.stack ?? error.message}`))
const delay = monitorEventLoopDelay({ resolution: 5 })
delay.enable()

const child = asChild((_: MeasuredCommand) => measure())
const report: (said: MeasuredReport) => void = child.report

const server = createServer({
  actors: { ...demoActors, ticker: ticker() },
  authenticate: ({ auth }) => (typeof auth === 'string' && auth !== '' ? { id: auth } : undefined),
  defaultModel: demo(),
  limits: child.options as Partial<Limits>,
  onError: (error) => failures.push(String(error)),
})

async function measure(): Promise<Measured> {
  const pauseMs = Math.round(delay.max / 1e6)
  for (let i = 0; i < 3; i++) {
    await new Promise((resolve) => setImmediate(resolve))
    gc?.()
  }
  const { rss, heapUsed } = process.memoryUsage()
  delay.reset()
  return {
    rss,
    heap: heapUsed,
    fds: readdirSync('/proc/self/fd').length,
    liveRuns: server.liveRuns,
    connections: server.connections,
    pauseMs,
    failures,
  }
}

const { url } = await server.listen(0)
report({ type: 'listening', url })
