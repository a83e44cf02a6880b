import { describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { SUBPROTOCOL } from '../../protocol/frames.ts'
import { openTransport } from '../helpers/open-transport.ts'
import { eventually } from '../helpers/server.ts'
import { onUws, onWs } from '../helpers/transports.ts'

const MESSAGES = 8

/** A socket on `ws` has two seconds. µWebSockets looks at its timeouts every four: a wait of five has met each of them. */
const LATE = [
  { under: onWs, lateMs: 1_000 },
  { under: onUws, lateMs: 5_000 },
]

describe.each(LATE)(
  'a peer on $under.name that is busy for $lateMs ms while its socket is closed',
  ({ under, lateMs }) => {
    test('gets what was sent before, and the code', { timeout: 60_000 }, async () => {
      await using open = await openTransport(under)
      const socket = new WebSocket(open.url, [SUBPROTOCOL])
      const messages: Buffer[] = []
      socket.on('message', (bytes: Buffer) => messages.push(bytes))
      const closed = new Promise<number>((resolve) => {
        socket.on('close', resolve)
        socket.on('error', () => {})
      })
      const one = await open.socket()
      await eventually(() => socket.readyState === WebSocket.OPEN, 'it is open')
      socket.pause()
      for (let n = 0; n < MESSAGES; n++) expect(one.send(Buffer.alloc(16_384, n))).toBe('sent')
      one.close(4429, 'too many requests at once')
      // The time is what is tested.
      await new Promise((resolve) => setTimeout(resolve, lateMs))
      // As a client that answers a PING which it finds among them.
      socket.send(Buffer.from('pong'))
      socket.resume()
      expect(await closed).toBe(4429)
      expect(messages.map((bytes) => bytes[0])).toEqual(Array.from({ length: MESSAGES }, (_, n) => n))
    })
  },
)
