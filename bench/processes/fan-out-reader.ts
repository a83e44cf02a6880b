import { once } from 'node:events'
import { DEFAULT_LIMITS, decodeDown, encodeUp, SUBPROTOCOL, type UpFrame } from 'millrace/protocol'
import { pack, unpack } from 'msgpackr'
import { WebSocket } from 'ws'
import type { PeerName } from '../peers/peers.ts'
import type { Down } from '../peers/raw-wire.ts'
import { machineUs, until } from '../stage/clock.ts'
import type { TokenRequest } from './token-source.ts'

/** How a thousand sockets of one peer watch the same stream: what they send to join it, and what a message holds. */
type Watching = {
  protocol?: string
  /** Sent when the socket opens. `run`: the id of what is watched, where streams have one. */
  greetings(run: string | undefined, n: number): (Uint8Array | string)[]
  /** What is answered to a message at once, if anything. */
  answer?(message: Buffer): Uint8Array | string | undefined
  /** Tokens in a message. */
  tokensIn(message: Buffer): number
}

const raw: Watching = {
  greetings: () => [pack([1, 'join'])],
  tokensIn(message) {
    const down = unpack(message) as Down
    let tokens = 0
    for (let i = 1; i < down.length; i += 2) tokens += Array.isArray(down[i]) ? (down[i] as string[]).length : 1
    return tokens
  },
}

const socketIo: Watching = {
  greetings: () => ['40'],
  answer: (message) => (String(message).startsWith('40') ? '42["j"]' : undefined),
  tokensIn: (message) => (String(message).startsWith('42["t"') ? 1 : 0),
}

/** A window that holds all that comes: nothing waits for these readers, which grant nothing and answer no PING. */
const CREDIT = 1_900
/** Nothing comes any more, to none of them. */
const SILENCE_US = 300_000

const millrace: Watching = {
  protocol: SUBPROTOCOL,
  greetings(run, n) {
    const frames: UpFrame[] = [
      {
        kind: 'hello',
        auth: `watcher-${process.pid}-${n}`,
        client: crypto.getRandomValues(new Uint8Array(16)),
        attempt: 1,
      },
      { kind: 'attach', sid: 1, run: run!, after: null, options: { policy: 'log', credit: CREDIT } },
    ]
    return [encodeUp(frames)]
  },
  tokensIn(message) {
    let tokens = 0
    for (const frame of decodeDown(message, { ...DEFAULT_LIMITS, maxBytes: DEFAULT_LIMITS.maxDown })) {
      if (frame.kind === 'delta') tokens += typeof frame.body === 'string' ? 1 : frame.body.length
      if (frame.kind === 'notice') throw new Error(frame.message)
    }
    return tokens
  },
}

const WATCHING: { readonly [Name in PeerName]?: Watching } = {
  'millrace, ws': millrace,
  'millrace, uWS': millrace,
  'raw ws': raw,
  'raw ws, a message per turn': raw,
  'raw uWS': raw,
  'socket.io': socketIo,
}

/**
 * Commands of a process of watchers. Its core cannot decode a million tokens a second and would slow the server that is
 * measured, so what arrives is kept as it is, and decoded and counted afterwards.
 */
export function watchers(peer: PeerName, port: number) {
  let arrived: Buffer[][] = []
  let lastUs = 0
  let over: Promise<void> | undefined
  const isSilent = (): boolean => machineUs() - lastUs > SILENCE_US

  return {
    /** Starts what is to be watched, with our own client. Returns its id. */
    async startWatched(request: TokenRequest): Promise<string> {
      const { createClient } = await import('millrace/client')
      const client = createClient(`ws://127.0.0.1:${port}`, { token: 'the-starter' })
      const run = client.start('tokens', request)
      over = run.result.then(() => client.close())
      return (await run.opened).id
    },

    /** Resolves when the starter has read all of it. */
    watchedIsOver: (): Promise<void> | undefined => over,

    /** Opens sockets that watch. Resolves when each has its confirmation, if the peer sends one. */
    async watch({ sockets, run }: { sockets: number; run?: string }): Promise<void> {
      const watching = WATCHING[peer]
      if (!watching) throw new Error('this peer cannot be watched')
      arrived = Array.from({ length: sockets }, () => [])
      for (let n = 0; n < sockets; n++) {
        const messages = arrived[n]!
        const path = peer === 'socket.io' ? '/socket.io/?EIO=4&transport=websocket' : ''
        const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`, watching.protocol ?? [], {
          perMessageDeflate: false,
        })
        socket.on('message', (message: Buffer) => {
          messages.push(message)
          lastUs = machineUs()
          const answer = messages.length < 4 ? watching.answer?.(message) : undefined
          if (answer !== undefined) socket.send(answer)
        })
        await once(socket, 'open')
        for (const greeting of watching.greetings(run, n)) socket.send(greeting)
      }
      lastUs = machineUs()
      await until(isSilent, 30_000, 'silence before the beginning')
    },

    /** Resolves when nothing more came for a while: with when the last came, in `machineUs`. */
    async silent(): Promise<number> {
      await until(isSilent, 50_000, 'the end')
      return lastUs
    },

    /** Tokens that each of the sockets was sent: the fewest and the most of them, and messages in all. */
    async received(): Promise<{ fewest: number; most: number; messages: number }> {
      const counts = arrived.map((messages) => messages.reduce((sum, one) => sum + WATCHING[peer]!.tokensIn(one), 0))
      return {
        fewest: Math.min(...counts),
        most: Math.max(...counts),
        messages: arrived.reduce((sum, messages) => sum + messages.length, 0),
      }
    },
  }
}
