import type { Peer } from './peer.ts'

/** Loaded when asked for: a server has nothing in its memory but its own packages. */
export const PEERS = {
  'millrace, ws': async () => (await import('./millrace.ts')).onWs,
  'millrace, uWS': async () => (await import('./millrace.ts')).onUws,
  'raw ws': async () => (await import('./raw-ws.ts')).perToken,
  'raw ws, a message per turn': async () => (await import('./raw-ws.ts')).perTurn,
  'raw ws, a message per 6 ms': async () => (await import('./raw-ws.ts')).held,
  'raw uWS': async () => (await import('./raw-uws.ts')).perToken,
  'raw uWS, a message per turn': async () => (await import('./raw-uws.ts')).perTurn,
  'raw uWS, a message per 6 ms': async () => (await import('./raw-uws.ts')).held,
  'server-sent events': async () => (await import('./sse.ts')).sse,
  'socket.io': async () => (await import('./socket-io.ts')).socketIo,
  'graphql-ws': async () => (await import('./graphql-ws.ts')).graphqlWs,
} satisfies Record<string, () => Promise<Peer>>

export type PeerName = keyof typeof PEERS

export const OURS = ['millrace, ws', 'millrace, uWS'] as const satisfies PeerName[]

/** The bare loop on the same transport as ours: a message for all that a turn, or 6 ms, make. */
export const BARE_LOOP = {
  turn: { 'millrace, ws': 'raw ws, a message per turn', 'millrace, uWS': 'raw uWS, a message per turn' },
  hold: { 'millrace, ws': 'raw ws, a message per 6 ms', 'millrace, uWS': 'raw uWS, a message per 6 ms' },
} as const satisfies Record<string, Record<(typeof OURS)[number], PeerName>>

/** What all others are set in proportion to. */
export const BASE = 'raw ws' satisfies PeerName

const OTHERS = [
  'raw ws, a message per turn',
  'raw uWS',
  'raw uWS, a message per turn',
  'server-sent events',
  'socket.io',
  'graphql-ws',
] as const satisfies PeerName[]

export const ALL: readonly PeerName[] = [BASE, ...OURS, ...OTHERS]
