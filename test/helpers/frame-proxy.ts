import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { WebSocket, WebSocketServer } from 'ws'
import { decodeDown } from '../../protocol/decode.ts'
import { encodeDown, encodeUp } from '../../protocol/encode.ts'
import { type DownFrame, SUBPROTOCOL, type UpFrame } from '../../protocol/frames.ts'
import { DEFAULT_LIMITS } from '../../protocol/limits.ts'

/** What a proxy does to what passes it. Whatever is left out passes as it is. */
export type Alteration = {
  /** The frames in place of those of a message of the server. Without any, the message is dropped. */
  down?(frames: DownFrame[], passed: Passed): DownFrame[]
  /** The message in place of one of the client. Undefined: it is dropped. */
  up?(message: Buffer, passed: Passed): Uint8Array | undefined
  /** Whether text messages pass. Default true. */
  texts?: boolean
  /** The code in place of that with which the server closes. */
  close?(code: number): number
  /** The subprotocol that is taken. Default: that of the protocol, else the first one offered. */
  subprotocol?: (offered: Set<string>) => string | false
  /** Whether the server learns the Origin of the client. Default true. */
  origin?: boolean
}

/** One connection of a proxy, for an alteration that needs to know what came before. */
export type Passed = {
  sayUp(...frames: UpFrame[]): void
  /** Closes the connection of the client. */
  close(code: number): void
}

/** A proxy in front of a server, which speaks frames and breaks a rule. */
export interface FrameProxy extends AsyncDisposable {
  readonly url: string
}

const { maxDown, maxDepth, maxValues } = DEFAULT_LIMITS

/** Listens in front of the server at `target`. */
export async function frameProxy(target: string, alteration: Alteration): Promise<FrameProxy> {
  const usual = (offered: Set<string>): string | false => (offered.has(SUBPROTOCOL) ? SUBPROTOCOL : [...offered][0]!)
  const handleProtocols = alteration.subprotocol ?? usual
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', handleProtocols })
  await once(server, 'listening')
  server.on('connection', (client, request) => {
    const given: Record<string, string> = request.headers.origin === undefined ? {} : { Origin: request.headers.origin }
    const offered = (request.headers['sec-websocket-protocol'] ?? '').split(/, ?/).filter(Boolean)
    const upstream = new WebSocket(target, offered, {
      perMessageDeflate: false,
      headers: alteration.origin === false ? {} : given,
    })
    const passed: Passed = {
      sayUp: (...frames) => upstream.send(encodeUp(frames)),
      close: (code) => client.close(code),
    }
    const waiting: (() => void)[] = []
    upstream.on('open', () => waiting.splice(0).forEach((send) => send()))
    client.on('message', (message: Buffer, isBinary) => {
      const send = (): void => {
        if (!isBinary) return alteration.texts === false ? undefined : upstream.send(message.toString())
        const altered = alteration.up ? alteration.up(message, passed) : message
        if (altered !== undefined) upstream.send(altered)
      }
      if (upstream.readyState === WebSocket.CONNECTING) waiting.push(send)
      else if (upstream.readyState === WebSocket.OPEN) send()
    })
    upstream.on('message', (message: Buffer) => {
      if (!alteration.down) return client.send(message)
      const frames = alteration.down(decodeDown(message, { maxBytes: maxDown, maxDepth, maxValues }), passed)
      if (frames.length > 0) client.send(encodeDown(frames))
    })
    upstream.on('close', (code) => {
      const altered = alteration.close?.(code) ?? code
      if (altered >= 3_000 || altered === 1_000) client.close(altered)
      else client.terminate()
    })
    upstream.on('error', () => {})
    client.on('error', () => {})
    client.on('close', () => upstream.terminate())
  })
  return {
    url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      for (const client of server.clients) client.terminate()
      const closed = once(server, 'close')
      server.close()
      await closed
    },
  }
}
