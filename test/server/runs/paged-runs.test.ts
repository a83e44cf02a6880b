import { describe, expect, test } from 'vitest'
import { type Actor, actor } from '../../../server/index.ts'
import { ws } from '../../../server/transports/ws.ts'
import { HttpClient } from '../../helpers/http-client.ts'
import { onOneStore } from '../../helpers/one-store.ts'
import { eventually } from '../../helpers/server.ts'
import type { WireClient } from '../../helpers/wire-client.ts'

const LIMITS = { retainEvents: 50, readAhead: 8, initialCredit: 40, maxCredit: 40 }

/** Counts to `first`, waits until it is let on, and counts to `last`. */
function counting(first: number, last: number): { counter: Actor; letOn(): void } {
  let letOn = (): void => {}
  const let_ = new Promise<void>((resolve) => (letOn = resolve))
  const counter = actor({
    async *stream() {
      for (let n = 1; n <= first; n++) yield `${n},`
      await let_
      for (let n = first + 1; n <= last; n++) yield `${n},`
      return { counted: last }
    },
  })
  return { counter, letOn: () => letOn() }
}

const counted = (from: number, to: number): string =>
  Array.from({ length: to - from + 1 }, (_, i) => `${from + i},`).join('')

/** Reads a stream to `count` items, however little credit it has at a time. */
async function readTo(client: WireClient, sid: number, count: number): Promise<void> {
  for (let read = client.count(sid); read < count; read = client.count(sid)) {
    client.send({ kind: 'credit', sid, n: 40 })
    await client.until(() => client.count(sid) > read)
  }
}

const gapsOf = (client: WireClient, sid: number): unknown[] =>
  client.frames.flatMap((frame) => (frame.kind === 'gap' && frame.sid === sid ? [frame.reason] : []))

describe('a reader that begins before the items in memory', () => {
  test.each(['eager', 'logged'] as const)(
    'gets all of them from the store while the run goes on, then those to come, and the end (%s)',
    async (durability) => {
      const { counter, letOn } = counting(1_500, 1_600)
      const { begin } = onOneStore({ counter })
      await using served = await begin({ durability, limits: LIMITS })
      await using client = await served.client()
      client.start(1, 'counter', undefined, { credit: 40 })
      const { run } = await client.next('opened')
      await readTo(client, 1, 1_500)
      await using late = await served.client()
      late.attach(1, run, 0, { credit: 40 })
      expect(await late.next('opened', 1)).toMatchObject({ next: 1, gen: 1 })
      // As fast as it has credit, and no faster.
      await late.until(() => late.count(1) === 40)
      await late.settle()
      expect(late.count(1)).toBe(40)
      await readTo(late, 1, 1_000)
      late.attach(2, run, 1_234, { gen: 1, credit: 40, policy: 'merge' })
      letOn()
      await readTo(client, 1, 1_600)
      await readTo(late, 1, 1_600)
      await readTo(late, 2, 1_600 - 1_234)
      for (const sid of [1, 2]) {
        expect(await late.next('end', sid)).toMatchObject({ outcome: 'done', seq: 1_601 })
        expect(gapsOf(late, sid)).toEqual([])
      }
      expect(late.text(1)).toBe(counted(1, 1_600))
      expect(late.text(2)).toBe(counted(1_235, 1_600))
    },
  )

  test('answers, cancels and is counted as a reader like any other', async () => {
    const { counter, letOn } = counting(500, 600)
    const { begin } = onOneStore({ counter })
    await using served = await begin({ limits: LIMITS })
    let run = ''
    {
      await using client = await served.client()
      client.start(1, 'counter', undefined, { credit: 40, onDetach: 'cancel', detachMs: 50 })
      ;({ run } = await client.next('opened'))
      await readTo(client, 1, 500)
      await using late = await served.client()
      late.attach(1, run, 0, { credit: 40 })
      await late.next('opened', 1)
      // It is there: the run goes on without the one that started it.
      client.send({ kind: 'detach', sid: 1 })
      await readTo(late, 1, 500)
      late.send({ kind: 'cancel', sid: 1 })
      expect(await late.next('end', 1)).toMatchObject({ outcome: 'cancelled', data: { code: 0 } })
    }
    letOn()
    await eventually(() => served.server.liveRuns === 0, 'the run settles')
  })

  test('gets a gap where the run would wait for it', async () => {
    const { counter } = counting(500, 600)
    const { begin } = onOneStore({ counter })
    await using served = await begin({ limits: LIMITS })
    await using client = await served.client()
    client.start(1, 'counter', undefined, { credit: 40 })
    const { run } = await client.next('opened')
    await readTo(client, 1, 500)
    client.attach(2, run, 0, { policy: 'pace' })
    expect(await client.next('gap', 2)).toMatchObject({ reason: 'retention' })
  })

  test('over plain HTTP gets them as well', async () => {
    const { counter, letOn } = counting(500, 510)
    const { begin } = onOneStore({ counter })
    // A transport that takes requests, whichever is tested otherwise.
    await using served = await begin({ limits: LIMITS, http: true, transport: ws() })
    await using client = await served.client()
    client.start(1, 'counter', undefined, { credit: 40 })
    const { run } = await client.next('opened')
    await readTo(client, 1, 500)
    letOn()
    await readTo(client, 1, 510)
    await client.next('end', 1)
    const http = new HttpClient(served.url.replace('ws', 'http'), 'alice')
    const response = await http.request('GET', `/runs/${run}/events?after=start`)
    const text = await response.text()
    const tokens = [...text.matchAll(/"text":"([^"]*)"/g)].map(([, said]) => said).join('')
    expect(tokens).toBe(counted(1, 510))
    expect(text).not.toContain('event: gap')
  })
})
