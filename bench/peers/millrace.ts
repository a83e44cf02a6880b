import type { Peer } from './peer.ts'

/** Neither side loads the other. */
const connect: Peer['connect'] = async (port, n, atOnce) =>
  (await import('./millrace-client.ts')).connect(port, n, atOnce)

export const onWs: Peer = {
  serve: async (options) => (await import('./millrace-server.ts')).onWs(options),
  connect,
}

export const onUws: Peer = {
  serve: async (options) => (await import('./millrace-server.ts')).onUws(options),
  connect,
}
