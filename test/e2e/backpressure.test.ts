import { expect, test } from 'vitest'
import { createClient } from '../../client-sdk/node.ts'
import { DEFAULT_LIMITS } from '../../protocol/index.ts'
import { clientProcess } from '../helpers/client-process.ts'
import { growth, megabytes } from '../helpers/figures.ts'
import { readAll } from '../helpers/read-all.ts'
import type { ServedActors } from '../helpers/served-actors.ts'
import { type ServedStatus, servedProcess } from '../helpers/served-process.ts'
import { eventually, testServer } from '../helpers/server.ts'
import { counted, counter } from '../helpers/test-actors.ts'
import { repetitions } from '../helpers/tier.ts'

const { readAhead, initialCredit, highWater } = DEFAULT_LIMITS

test.each([
  { credit: initialCredit, read: 0, expected: initialCredit + readAhead },
  { credit: 1, read: 0, expected: 1 + readAhead },
  { credit: 1_900, read: 0, expected: 1_900 + readAhead },
  // Credit for read items is granted again as soon as it is half a window.
  { credit: 256, read: 127, expected: 256 + readAhead },
  { credit: 256, read: 128, expected: 128 + 256 + readAhead },
  { credit: 100, read: 1_000, expected: 1_000 + 100 + readAhead },
])(
  'an unread actor stops after what was read ($read) + credit ($credit) + 32 items, and another run is unharmed',
  async ({ credit, read, expected }) => {
    const numbers = counter()
    await using server = await testServer({ count: numbers })
    const client = createClient<{ count: typeof numbers }>(server.url, { token: 'alice' })
    const unread = client.start('count', 1_000_000, credit === initialCredit ? {} : { credit })
    const events = unread[Symbol.asyncIterator]()
    for (let n = 0; n < read; n++) await events.next()
    const bystander = client.start('count', 30_000)
    expect((await readAll(bystander.text())).join('')).toBe(counted(1, 30_000))
    await eventually(() => numbers.runs[0]!.count >= expected, 'the actor uses all it may')
    // Another round trip: it has no more to come.
    for await (const _ of client.start('count', 5_000)) continue
    expect(numbers.runs[0]!.count).toBe(expected)
    expect(unread.position?.seq).toBe(read)
    await client.close()
  },
)

const FROZEN_MS = repetitions({ quick: 2_000, full: 10_000 })
const MAX_GROWTH_MB = 4

const LARGE = {
  what: 'tokens of 1 KiB and the largest window',
  tokens: repetitions({ quick: 6_000, full: 40_000 }),
  how: { bytes: 1_024, credit: 1_900 },
}
const SMALL = { what: 'small tokens', tokens: 100_000, how: {} }
const READINGS = [
  { ...LARGE, transport: 'ws' },
  { ...LARGE, transport: 'uws' },
  { ...SMALL, transport: 'ws' },
  { ...SMALL, transport: 'uws' },
] as const

test.each(READINGS.slice(0, repetitions({ quick: 2, full: 4 })))(
  `a client frozen for ${FROZEN_MS / 1_000} s costs the server next to nothing, and then gets everything once: $what, on $transport`,
  async ({ what, tokens, how, transport }) => {
    await using server = await servedProcess({ transport })
    // Memory that a server needs once it has served a client at full speed.
    const { credit, ...flood } = { credit: initialCredit, bytes: 6, tokens, ...how }
    const first = createClient<ServedActors>(server.url, { token: 'alice' })
    await first.start('flood', flood, { credit }).result
    await first.close()
    await using client = clientProcess({ url: server.url, tokens, reportAt: Math.floor(tokens / 4), ...how })
    await client.said('read')
    client.signal('SIGSTOP')
    const before = server.rss
    let peak = before
    let buffered = 0
    const thawAt = performance.now() + FROZEN_MS
    while (performance.now() < thawAt) {
      await new Promise((resolve) => setTimeout(resolve, 50))
      const status = await server.ask<ServedStatus>({ type: 'status' })
      expect(status).toMatchObject({ connections: 1, liveRuns: 1 })
      peak = Math.max(peak, server.rss)
      buffered = Math.max(buffered, status.buffered)
    }
    client.signal('SIGCONT')
    expect(await client.said('end')).toMatchObject({ items: tokens, disorder: 0, outcome: 'done' })
    console.log(
      `client frozen ${FROZEN_MS / 1_000} s (${what}, ${transport}): server RSS ${growth(before, peak)} at most on ${megabytes(before).toFixed(1)} MB, ${buffered} B waiting in its socket at most, all ${tokens} items once`,
    )
    expect(buffered).toBeLessThanOrEqual(highWater)
    expect(megabytes(peak - before)).toBeLessThanOrEqual(MAX_GROWTH_MB)
  },
)
