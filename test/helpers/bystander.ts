import { expect } from 'vitest'
import { encodeUp } from '../../protocol/encode.ts'
import { itemsOf } from './frame-items.ts'
import type { WireClient } from './wire-client.ts'

/** Credit goes back for so many items at a time. */
const RETURNED_ITEMS = 128

export interface Bystander {
  /** Stops, and fails the test if anything was lost or out of order. Resolves with what it saw. */
  finish(): Promise<{ items: number; rttMaxMs: number }>
}

/** A client that has nothing to do with the test: it reads the actor `ticker` and sends PINGs all the time. */
export async function bystander(client: WireClient): Promise<Bystander> {
  client.start(1, 'ticker', null, { credit: 4 * RETURNED_ITEMS })
  let items = 0
  let returned = 0
  let wrong: string | undefined
  const take = (seq: number, text: string): void => {
    if (seq !== items + 1 || text !== `${seq} `) wrong ??= `item ${seq} says ${text} behind item ${items}`
    items = seq
  }
  client.socket.on('message', () => {
    for (const frame of client.frames) {
      if (frame.kind === 'delta') for (const { seq, text = '' } of itemsOf(frame)) take(seq, text)
      else if (frame.kind === 'event' || frame.kind === 'gap') wrong ??= frame.kind
    }
    // It may live long, so it keeps nothing of what it has checked.
    ;(client.frames as unknown[]).length = (client.messages as unknown[]).length = 0
    if (items - returned < RETURNED_ITEMS) return
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
  // `finish` reports a failure.
  pinging.catch(() => {})
  return {
    async finish() {
      on = false
      await pinging
      client.send({ kind: 'cancel', sid: 1 })
      const end = await client.next('end', 1)
      expect(end.outcome, 'the bystander was served to the end').toBe('cancelled')
      expect(wrong, 'the bystander lost nothing').toBeUndefined()
      expect(items).toBeGreaterThan(0)
      return { items, rttMaxMs: Math.round(rttMaxMs) }
    },
  }
}
