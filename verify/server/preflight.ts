import { Mismatch } from '../mismatch.ts'
import { Peer, type PeerPlace, Unreachable } from './peer.ts'

/** Why a server cannot be judged at all: no WebSocket, or a close that refuses this client. */
export type Obstacle =
  | { readonly kind: 'unreachable'; readonly cause: Error }
  | { readonly kind: 'refused'; readonly code: 4401 | 4403 }

/** Connects once. Resolves with undefined for whatever the checks can judge, such as a WELCOME that does not come. */
export async function preflight(place: PeerPlace): Promise<Obstacle | undefined> {
  try {
    await using peer = await Peer.connect(place, { hello: 'unanswered' })
    await peer.until(() => peer.frames.some(({ kind }) => kind === 'welcome'), 'WELCOME').catch(passOver)
    const { closeCode: code } = peer
    return code === 4401 || code === 4403 ? { kind: 'refused', code } : undefined
  } catch (error) {
    if (error instanceof Unreachable) return { kind: 'unreachable', cause: error.cause }
    if (error instanceof Mismatch) return { kind: 'unreachable', cause: new Error('Opening handshake has timed out') }
    throw error
  }
}

function passOver(error: unknown): void {
  if (!(error instanceof Mismatch)) throw error
}
