import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { type WebSocket, WebSocketServer } from 'ws'
import { decodeUp } from '../../protocol/decode.ts'
import { encodeDown } from '../../protocol/encode.ts'
import type { Attach, DownFrame, Start, UpFrame } from '../../protocol/frames.ts'
import { SUBPROTOCOL } from '../../protocol/frames.ts'
import type { Limits } from '../../protocol/limits.ts'
import { scanLimits } from './codec-paths.ts'

/** One connection of a server that says whatever a test wants. */
export type Liar = {
  readonly socket: WebSocket
  /** From 0. */
  readonly connection: number
  /** All that the client said on it. */
  readonly heard: readonly UpFrame[]
  /** Says one message: frames, bytes as they are, or text. */
  say(message: readonly DownFrame[] | Uint8Array | string): void
}

export type Script = {
  /** What HELLO is answered with. Default: a WELCOME. */
  greet?: (liar: Liar) => void
  limits?: Partial<Limits>
  /** What a START or ATTACH is answered with. */
  asked: (request: Start | Attach, liar: Liar) => void
  /** Told of everything else. */
  said?: (frame: UpFrame, liar: Liar) => void
}

export interface LyingServer extends AsyncDisposable {
  readonly url: string
  readonly liars: readonly Liar[]
  /** The code with which the client closed connection `n`. */
  closed(n: number): Promise<number>
}

export function welcome(limits: Partial<Limits> = {}): DownFrame {
  return { kind: 'welcome', session: 's_1', known: false, limits, now: 1_754_006_400_000 }
}

/** A WebSocket server that follows a script, and checks that what a client says is well-formed. */
export async function lyingServer(script: Script): Promise<LyingServer> {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', handleProtocols: () => SUBPROTOCOL })
  await once(server, 'listening')
  const liars: Liar[] = []
  const closes: Promise<number>[] = []
  const faults: unknown[] = []
  server.on('connection', (socket) => {
    const heard: UpFrame[] = []
    const liar: Liar = {
      socket,
      connection: liars.length,
      heard,
      say: (message) => socket.send(Array.isArray(message) ? encodeDown(message) : (message as Uint8Array | string)),
    }
    liars.push(liar)
    socket.on('error', () => {})
    closes.push(new Promise((resolve) => socket.once('close', resolve)))
    socket.on('message', (bytes: Buffer) => {
      try {
        for (const frame of decodeUp(bytes, scanLimits.up)) {
          heard.push(frame)
          if (frame.kind === 'hello') (script.greet ?? (() => liar.say([welcome(script.limits)])))(liar)
          else if (frame.kind === 'start' || frame.kind === 'attach') script.asked(frame, liar)
          else script.said?.(frame, liar)
        }
      } catch (error) {
        faults.push(error)
      }
    })
  })
  return {
    url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`,
    liars,
    closed: (n) => closes[n] ?? Promise.reject(new Error(`there was no connection ${n}`)),
    async [Symbol.asyncDispose]() {
      for (const { socket } of liars) socket.terminate()
      const closed = once(server, 'close')
      server.close()
      await closed
      if (faults.length > 0) throw new Error('the client said something malformed', { cause: faults[0] })
    },
  }
}
