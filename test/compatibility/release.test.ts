import { describe, expect, test } from 'vitest'
import type { Client, StreamEvent } from '../../client-sdk/index.ts'
import { createClient } from '../../client-sdk/node.ts'
import type { ActorContext } from '../../server/index.ts'
import { readAll } from '../helpers/read-all.ts'
import { eventually } from '../helpers/server.ts'
import { TcpProxy } from '../helpers/tcp-proxy.ts'
import { counted } from '../helpers/test-actors.ts'
import { wireClient } from '../helpers/wire-client.ts'
import { oldServer, type Pair, pairs, type ServerModule } from './releases.ts'

const DELAYS = { quickMs: 2, backoffMs: 5 }
/** The default of every release. */
const READ_AHEAD = 32

/** The actors of every server here, made by its own release. */
function actorsOf({ actor }: ServerModule) {
  const produced = { count: 0 }
  return {
    produced,
    actors: {
      counter: actor({
        async *stream(to: unknown) {
          for (let n = 1; n <= Number(to); n++) {
            produced.count = n
            yield `${n} `
          }
          return { counted: Number(to) }
        },
      }),
      patient: actor({
        async *stream(_: unknown, { signal }: ActorContext) {
          yield { type: 'thinking' as const, text: 'hm' }
          yield 'begun '
          await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
        },
      }),
      listener: actor({
        interactive: true,
        async *stream(_: unknown, { inputs, request }: ActorContext) {
          for await (const { data } of inputs) {
            yield `${String(data)} `
            if (data === 'enough') break
          }
          return await request({ kind: 'confirm', prompt: 'Was that all?' })
        },
      }),
    },
  }
}
type Actors = ReturnType<typeof actorsOf>['actors']

/** A server and a client of a pair, with a proxy between them. */
async function connected({ client: { createClient }, server: module }: Pair) {
  const { actors, produced } = actorsOf(module)
  const server = module.createServer({ actors, authenticate: module.bearer({ alice: 'alice', bob: 'bob' }) })
  const { url } = await server.listen(0)
  const proxy = await TcpProxy.to(Number(new URL(url).port))
  const clients: Client<Actors>[] = []
  return {
    server,
    proxy,
    produced,
    client(token = 'alice'): Client<Actors> {
      const client = createClient<Actors>(proxy.url, { token, delays: DELAYS })
      clients.push(client)
      return client
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(clients.map((client) => client.close()))
      await proxy[Symbol.asyncDispose]()
      await server.close({ drainMs: 0 })
    },
  }
}

function seqs(events: readonly StreamEvent[]): number[] {
  return events.map(({ seq }) => seq)
}

const range = (to: number): number[] => Array.from({ length: to }, (_, n) => n + 1)

describe.each(await pairs())('$name', (pair) => {
  test('starts a run, reads each item once, and has its result', async () => {
    await using side = await connected(pair)
    const run = side.client().start('counter', 500)
    expect(seqs(await readAll(run))).toEqual(range(500))
    expect(await run.result).toEqual({ counted: 500 })
    expect(await run.end).toMatchObject({ outcome: 'done', seq: 501 })
    expect(await side.client().ask('counter', 3)).toEqual({ counted: 3 })
    const nobody = side.client() as unknown as Client
    await expect(nobody.ask('nobody', null)).rejects.toMatchObject({ code: 'not_found' })
  })

  test('cancels a run, and has its receipt', async () => {
    await using side = await connected(pair)
    const run = side.client().start('patient', null)
    for await (const text of run.text()) {
      expect(text).toBe('begun ')
      break
    }
    expect(await run.cancel({ reason: 'superseded', note: 'newer' })).toMatchObject({
      ...{ outcome: 'cancelled', confirmed: true, by: 'client', settled: true, provider: 'none', kept: 4 },
    })
    await eventually(() => side.server.liveRuns === 0, 'the run has settled')
  })

  test('attaches to a run from its first item, from the next one, and behind an item', async () => {
    await using side = await connected(pair)
    const run = side.client().start('patient', null)
    const events = run[Symbol.asyncIterator]()
    for (let n = 0; n < 2; n++) await events.next()
    const { id, gen } = await run.opened
    const other = side.client()
    const whole = other.attach('patient', id)
    const behind = other.attach('patient', id, { after: 2, gen })
    const live = other.attach('patient', id, { after: 'live' })
    await Promise.all([whole.opened, behind.opened, live.opened])
    expect(await other.attach('patient', id).cancel()).toMatchObject({ outcome: 'cancelled' })
    for (const [view, first] of [
      [whole, 'hm'],
      [behind, 'begun '],
      [live, undefined],
    ] as const) {
      const texts: string[] = []
      await expect(
        (async () => {
          for await (const event of view) if ('text' in event) texts.push(event.text)
        })(),
      ).rejects.toMatchObject({ code: 'cancelled' })
      expect(texts[0]).toBe(first)
    }
    await expect(events.next()).rejects.toMatchObject({ code: 'cancelled' })
    const stranger = side.client('bob').attach('patient', id)
    await expect(stranger.opened).rejects.toMatchObject({ code: 'not_found' })
  })

  test('resumes a run after each of several cuts, and gets each item once', async () => {
    await using side = await connected(pair)
    side.proxy.plan = (n) => (n < 4 ? { messagesDown: 3 + 2 * n } : {})
    const run = side.client().start('counter', 2_000, { credit: 40 })
    expect((await readAll(run.text())).join('')).toBe(counted(1, 2_000))
    expect(await run.result).toEqual({ counted: 2_000 })
    expect(side.proxy.connections.length).toBe(5)
  })

  test('holds an actor back whose items nobody reads', async () => {
    await using side = await connected(pair)
    const run = side.client().start('counter', 100_000, { credit: 50 })
    const events = run[Symbol.asyncIterator]()
    for (let n = 0; n < 50; n++) await events.next()
    const most = 50 + 50 + READ_AHEAD
    await eventually(() => side.produced.count === most, `${most} were produced`)
    run.pause()
    run.resume()
    for (let n = 0; n < 25; n++) await events.next()
    await eventually(() => side.produced.count === most + 25, `${most + 25} were produced`)
    expect(await run.cancel()).toMatchObject({ outcome: 'cancelled' })
  })

  test('sends inputs, and answers what an actor asks', async () => {
    await using side = await connected(pair)
    const run = side.client().start('listener', null)
    expect(await run.send('message', 'one')).toBe('accepted')
    expect(await run.send('message', 'enough')).toBe('accepted')
    const texts: string[] = []
    for await (const event of run) {
      if (event.type === 'token') texts.push(event.text)
      if (event.type === 'request')
        expect(await run.send('answer', { request: event.id, value: 'yes' })).toBe('accepted')
    }
    expect(texts).toEqual(['one ', 'enough '])
    expect(await run.result).toBe('yes')
    await expect(run.send('message', 'too late')).rejects.toMatchObject({ code: 'connection_lost' })
  })
})

describe('a server of 0.1.0', () => {
  test('is asked for no list: runs() is unsupported, and the connection with its runs goes on', async () => {
    await using side = await connected({ name: '', client: { createClient }, server: await oldServer() })
    const client = side.client()
    const run = client.start('patient', null)
    const early = client.runs()
    await expect(early).rejects.toMatchObject({ code: 'unsupported', retryable: false })
    await run.opened
    await expect(client.runs()).rejects.toMatchObject({ code: 'unsupported' })
    await expect(client.runs({ watch: true }).next()).rejects.toMatchObject({ code: 'unsupported' })
    expect(await run.cancel()).toMatchObject({ outcome: 'cancelled', settled: true })
    expect([client.status, side.proxy.connections.length]).toEqual(['open', 1])
  })

  test('gets no order, and no message in a mode that it does not know, and no delivery is known of the others', async () => {
    await using side = await connected({ name: '', client: { createClient }, server: await oldServer() })
    const run = side.client().start('listener', null)
    await expect(run.send('message.now', 'enough')).rejects.toMatchObject({ code: 'unsupported' })
    await expect(run.send('govern', { paused: true })).rejects.toMatchObject({ code: 'unsupported' })
    await expect(run.send('approve', { call: 'c', ok: true, args: {} })).rejects.toMatchObject({ code: 'unsupported' })
    expect(await run.cancel({ ifSeq: 1 })).toEqual({ confirmed: false, code: 'unsupported' })
    expect(await run.cancel({ cascade: false })).toEqual({ confirmed: false, code: 'unsupported' })
    const sent = run.send('message', 'enough')
    expect(await sent).toBe('accepted')
    await run.cancel()
    expect(await sent.delivery).toEqual({ lost: 'unknown' })
  })

  test('gives back a reason of a cancel that it does not know', async () => {
    await using side = await connected({ name: '', client: { createClient }, server: await oldServer() })
    const run = side.client().start('patient', null)
    await run.opened
    expect(await run.cancel({ reason: 'timeout' })).toMatchObject({
      outcome: 'cancelled',
      reason: 'timeout',
      by: 'client',
    })
  })

  test('closes the connection of a client that asks for a list all the same', async () => {
    await using side = await connected({ name: '', client: { createClient }, server: await oldServer() })
    await using client = await wireClient(side.proxy.url)
    expect(client.frames[0]).toMatchObject({ kind: 'welcome' })
    expect(client.frames[0]).not.toHaveProperty('features')
    client.send({ kind: 'list', sid: 1 })
    expect(await client.closed).toBe(4400)
  })
})
