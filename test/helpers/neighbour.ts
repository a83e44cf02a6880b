import { expect } from 'vitest'
import { encodeUp } from '../../protocol/encode.ts'
import { counted } from './test-actors.ts'
import type { WireClient } from './wire-client.ts'

export interface Neighbour {
  /** Stops, and fails the test if anything was lost or out of order. Resolves with what it saw. */
  finish(): Promise<{ items: number; rttMaxMs: number }>
}

/** A client that minds its own business: it listens to `ticker` of the server and asks for a sign of life all the time. */
export async function neighbour(client: WireClient): Promise<Neighbour> {
  client.start(1, 'ticker', null, { credit: 512 })
  await client.next('opened', 1)
  let returned = 0
  client.socket.on('message', () => {
    const items = client.count(1)
    if (items - returned < 128) return
    client.socket.send(encodeUp([{ kind: 'credit', sid: 1, n: items - returned }]))
    returned = items
  })
  let rttMaxMs = 0
  let on = true
  const pinging = (async () => {
    for (let nonce = 1; on; nonce++) {
      const at = performance.now()
      client.send({ kind: 'ping', nonce })
      await client.find((frame) => frame.kind === 'pong' && frame.nonce === nonce)
      rttMaxMs = Math.max(rttMaxMs, performance.now() - at)
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  })()
  // A failure is told by `finish`.
  pinging.catch(() => {})
  return {
    async finish() {
      on = false
      await pinging
      client.send({ kind: 'cancel', sid: 1 })
      const end = await client.next('end', 1)
      expect(end.outcome, 'the neighbour was served to the end').toBe('cancelled')
      const items = client.count(1)
      expect(client.text(1), 'the neighbour lost nothing').toBe(counted(1, items))
      return { items, rttMaxMs: Math.round(rttMaxMs) }
    },
  }
}
