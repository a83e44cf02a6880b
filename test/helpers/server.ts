import type { ClientOptions } from '../../client-sdk/index.ts'
import type { Limits } from '../../protocol/limits.ts'
import type { Actor } from '../../server/actors/actor.ts'
import type { LogFields, Logger } from '../../server/logging/logger.ts'
import { demo } from '../../server/models/demo.ts'
import { createServer, type MillraceServer } from '../../server/server.ts'
import type { ServerOptions } from '../../server/server-options.ts'
import { bearer } from '../../server/sessions/auth.ts'
import type { HandClock } from './hand-clock.ts'
import { PATIENCE_MS } from './patience.ts'
import type { Reached, TransportUnderTest } from './transports.ts'
import { type WireClient, type WireClientOptions, wireClient } from './wire-client.ts'

/** alice and bob are two people; eve may watch the runs of others. Each token is the name. */
const threePeople = bearer({ alice: 'alice', bob: 'bob', eve: { id: 'eve', rights: ['observe'] } })

/** For tests of which nobody reads the log. */
export const quiet: Logger = { debug() {}, info() {}, warn() {}, error() {} }

export interface TestServer<Actors extends Record<string, Actor>> extends AsyncDisposable {
  readonly server: MillraceServer<Actors>
  readonly url: string
  /** What a client of this server needs apart from its address. */
  readonly reach: Pick<ClientOptions, 'WebSocket'>
  /** The errors that `onError` got. */
  readonly errors: unknown[]
  /** The warnings that the logger got, unless the test gave one. */
  readonly warnings: LogFields[]
  /** A client of this server, who knows its limits. */
  client(options?: WireClientOptions): Promise<WireClient>
}

/**
 * A real server on a port of its own. Its disposal fails the test if a promise was rejected with nobody listening: the
 * process of a user would have died of it.
 * @param by How clients reach it. Default: as MILLRACE_TEST_TRANSPORT says, `uws` or `ws`, and else `ws`.
 */
export async function testServer<const Actors extends Record<string, Actor>>(
  actors: Actors,
  options: Partial<ServerOptions<Actors>> = {},
  by?: TransportUnderTest,
): Promise<TestServer<Actors>> {
  const errors: unknown[] = []
  const warnings: LogFields[] = []
  const unhandled: unknown[] = []
  const note = (reason: unknown): void => void unhandled.push(reason)
  process.on('unhandledRejection', note)
  const chosen = by ?? (await chosenTransport())
  const transport = options.transport ?? chosen?.make()
  const server = createServer<Actors>({
    actors,
    authenticate: threePeople,
    defaultModel: demo(),
    onError: (error) => errors.push(error),
    logger: { ...quiet, warn: (fields) => warnings.push(fields) },
    ...options,
    ...(transport ? { transport } : {}),
  })
  const reached: Reached = await (chosen && transport ? chosen.reach(server, transport) : server.listen(0))
  const { url, WebSocket, Peer } = reached
  return {
    server,
    url,
    reach: WebSocket ? { WebSocket } : {},
    errors,
    warnings,
    client: (clientOptions = {}) =>
      wireClient(url, {
        ...(Peer ? { WebSocket: Peer } : {}),
        ...(options.limits ? { limits: options.limits as Partial<Limits> } : {}),
        ...clientOptions,
      }),
    async [Symbol.asyncDispose]() {
      // A server whose time stands still would wait for ever for its last graces.
      const { runtime } = options
      const passing =
        runtime && 'advance' in runtime ? setInterval(() => (runtime as HandClock).advance(1_000), 1) : undefined
      await server.close({ drainMs: 0 })
      clearInterval(passing)
      await reached[Symbol.asyncDispose]?.()
      await new Promise((resolve) => setImmediate(resolve))
      process.off('unhandledRejection', note)
      if (unhandled.length > 0) throw new Error('a promise was rejected and nobody listened', { cause: unhandled[0] })
    },
  }
}

/** The transport that the whole suite is to run on, if it is not the usual one. Only then its package is loaded. */
async function chosenTransport(): Promise<TransportUnderTest | undefined> {
  if (process.env['MILLRACE_TEST_TRANSPORT'] !== 'uws') return undefined
  const { onUws } = await import('./transports.ts')
  return onUws
}

/** Resolves when `holds`; looked at each turn of the event loop. */
export async function eventually(holds: () => boolean, what: string, patienceMs = PATIENCE_MS): Promise<void> {
  const end = performance.now() + patienceMs
  while (!holds()) {
    if (performance.now() > end) throw new Error(`it never happened: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
}
