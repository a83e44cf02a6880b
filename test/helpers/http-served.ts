import type { Actor } from '../../server/actors/actor.ts'
import type { ServerOptions } from '../../server/server-options.ts'
import { HttpClient } from './http-client.ts'
import { type TestServer, testServer } from './server.ts'
import { onWs } from './transports.ts'

export type HttpTestServer<Actors extends Record<string, Actor>> = TestServer<Actors> & {
  readonly httpUrl: string
  /** A client over plain HTTP. @param token Default: that of alice. null: none. */
  http(token?: string | null): HttpClient
}

/** A real server that serves plain HTTP on the port of its WebSockets. */
export async function httpServed<const Actors extends Record<string, Actor>>(
  actors: Actors,
  options: Partial<ServerOptions<Actors>> = {},
): Promise<HttpTestServer<Actors>> {
  const served = await testServer<Actors>(actors, { http: true, ...options }, onWs)
  const httpUrl = served.url.replace(/^ws/, 'http')
  return Object.assign(served, {
    httpUrl,
    http: (token: string | null = 'alice') => new HttpClient(httpUrl, token ?? undefined),
  })
}
