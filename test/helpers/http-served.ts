import type { Actor } from '../../server/actors/actor.ts'
import type { ServerOptions } from '../../server/server-options.ts'
import { HttpClient } from './http-client.ts'
import { type TestServer, testServer } from './server.ts'
import { onWs, type TransportUnderTest } from './transports.ts'

export type HttpTestServer<Actors extends Record<string, Actor>> = TestServer<Actors> & {
  readonly httpUrl: string
  /** A client over plain HTTP. @param token Default: that of alice. null: none. */
  http(token?: string | null): HttpClient
}

/**
 * A real server that serves plain HTTP where it takes WebSockets.
 * @param place Default: a port of its own.
 */
export async function httpServed<const Actors extends Record<string, Actor>>(
  actors: Actors,
  options: Partial<ServerOptions<Actors>> = {},
  place: TransportUnderTest = onWs,
): Promise<HttpTestServer<Actors>> {
  const served = await testServer<Actors>(actors, { http: true, ...options }, place)
  const httpUrl = served.url.replace(/^ws/, 'http')
  return Object.assign(served, {
    httpUrl,
    http: (token: string | null = 'alice') => new HttpClient(httpUrl, token ?? undefined),
  })
}
