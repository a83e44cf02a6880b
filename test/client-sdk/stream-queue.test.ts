import { describe, expect, test } from 'vitest'
import { createClient } from '../../client-sdk/node.ts'
import type { DownFrame } from '../../protocol/frames.ts'
import { actor } from '../../server/index.ts'
import { done, opened, ScriptedServer } from '../helpers/scripted-server.ts'
import { testServer } from '../helpers/server.ts'
import { counter } from '../helpers/test-actors.ts'
import { onUws, onWs } from '../helpers/transports.ts'

/** A refusal of the server because of a limit. */
function limited(sid: number, code: 'too_many_streams' | 'rate_limited', details?: object): DownFrame {
  const data = { code, message: `because of ${code}`, retryable: true, ...(details && { details: { ...details } }) }
  return { kind: 'end', sid, seq: 0, outcome: 'error', data }
}

/** A client that is connected to a server which allows `maxStreams` streams. */
async function connected(maxStreams: number) {
  const server = new ScriptedServer()
  const client = server.client()
  client.connect()
  server.socket.welcome({ maxStreams })
  await server.settle()
  const start = (prompt: string, options = {}) => client.start('chat', { prompt }, options)
  /** The prompts of all STARTs, in order. */
  const started = (): unknown[] => server.socket.all('start').map(({ input }) => (input as { prompt: string }).prompt)
  return { server, client, start, started }
}

describe.each([onWs, onUws])('a client of a server on $name', (transport) => {
  test('gets 200 answers that are asked for at once, although 64 streams may be open and 100 may start at once', async () => {
    await using server = await testServer({ count: counter() }, {}, transport)
    const client = createClient<{ count: ReturnType<typeof counter> }>(server.url, { token: 'alice' })
    const answers = await Promise.all(Array.from({ length: 200 }, () => client.ask('count', 2)))
    expect(answers).toEqual(Array.from({ length: 200 }, () => '1 2 '))
    await client.close()
  })

  test('gets 300 answers in a loop that is faster than the server allows', async () => {
    await using server = await testServer({ count: counter() }, { limits: { startsPerSec: 200 } }, transport)
    const client = createClient<{ count: ReturnType<typeof counter> }>(server.url, { token: 'alice' })
    for (let n = 0; n < 300; n++) expect(await client.ask('count', 1)).toBe('1 ')
    await client.close()
  })

  test('starts in the order of its calls when it may open few streams at once', async () => {
    const order: number[] = []
    const note = actor({
      async *stream(n: unknown) {
        order.push(n as number)
        yield 'noted'
      },
    })
    await using server = await testServer({ note }, { limits: { maxStreams: 4 } }, transport)
    const client = createClient<{ note: typeof note }>(server.url, { token: 'alice' })
    await Promise.all(Array.from({ length: 40 }, (_, n) => client.ask('note', n)))
    expect(order).toEqual(Array.from({ length: 40 }, (_, n) => n))
    await client.close()
  })
})

describe('a start behind many open streams', () => {
  /** A client with so many open runs, of at most 64. */
  async function crowded(count: number) {
    const made = await connected(64)
    const runs = Array.from({ length: count }, (_, n) => made.start(String(n)))
    await made.server.settle()
    made.server.socket.say(...runs.map((_, n) => opened(n + 1, { run: `r_${n}` })))
    await made.server.settle()
    made.server.socket.said()
    return { ...made, runs }
  }

  test('is sent, whether or not other frames were sent since the last one', async () => {
    const { server, start, started, runs } = await crowded(50)
    for (const run of runs) void run.send('message', 'x').catch(() => {})
    await server.settle()
    expect(server.socket.said()).toEqual(Array.from({ length: 50 }, () => 'input'))
    start('later')
    await server.settle()
    expect([started().at(-1), server.socket.said()]).toEqual(['later', ['start']])
  })

  test('is sent in the message of the frames that others send in the same loop turn', async () => {
    const { server, start, started, runs } = await crowded(50)
    const before = server.socket.messages.length
    void runs[0]!.send('message', 'x').catch(() => {})
    start('one')
    void runs[1]!.send('message', 'y').catch(() => {})
    start('two')
    await server.settle()
    expect(started().slice(-2)).toEqual(['one', 'two'])
    expect(server.socket.messages).toHaveLength(before + 1)
  })

  test('takes the last place, and the one behind it waits although frames of others are sent', async () => {
    const { server, start, started, runs } = await crowded(63)
    start('last')
    start('waits')
    await server.settle()
    for (const run of runs) void run.send('message', 'x').catch(() => {})
    await server.settle()
    expect(started().at(-1)).toBe('last')
    server.socket.say(done(30, 1))
    await server.settle()
    expect(started().at(-1)).toBe('waits')
  })
})

describe('a start beyond maxStreams', () => {
  test('waits until a stream ends, and then its turn', async () => {
    const { server, start, started } = await connected(2)
    const runs = ['a', 'b', 'c', 'd'].map((prompt) => start(prompt))
    await server.settle()
    expect(started()).toEqual(['a', 'b'])
    server.socket.say(opened(1), opened(2, { run: 'r_2' }), done(2, 1))
    await server.settle()
    expect(started()).toEqual(['a', 'b', 'c'])
    await runs[1]!.end
    runs[0]!.detach()
    await server.settle()
    expect(started()).toEqual(['a', 'b', 'c', 'd'])
    expect(server.socket.said()).toEqual(['start', 'start', 'start', 'detach', 'start'])
  })

  test('waits for at most connectMs, and ends with the reason', async () => {
    const { server, start, started } = await connected(1)
    start('a')
    await server.settle()
    server.socket.say(opened(1))
    const run = start('b')
    await server.time.advance(9_999)
    server.socket.say({ kind: 'pong', nonce: 1 })
    await server.time.advance(1)
    await expect(run.result).rejects.toMatchObject({ code: 'too_many_streams', retryable: true })
    expect(started()).toEqual(['a'])
  })

  test.each(['cancel', 'detach', 'abort'] as const)('that is left by %s before its turn is never sent', async (how) => {
    const { server, start, started } = await connected(1)
    const [first] = [start('a')]
    await server.settle()
    server.socket.say(opened(1))
    const aborting = new AbortController()
    const run = start('b', { signal: aborting.signal })
    const last = start('c')
    await server.settle()
    if (how === 'abort') aborting.abort()
    else if (how === 'detach') run.detach()
    else expect(await run.cancel()).toMatchObject({ outcome: 'cancelled', confirmed: true, settled: true })
    await expect(run.result).rejects.toMatchObject({ code: 'cancelled' })
    server.socket.say(done(1, 1))
    await first.end
    await server.settle()
    expect(started()).toEqual(['a', 'c'])
    expect(server.socket.said()).toEqual(['start', 'start'])
    last.detach()
  })

  test('is one of at most 1,000 that wait', async () => {
    const { server, start, started } = await connected(1)
    const runs = Array.from({ length: 1_002 }, (_, n) => start(String(n)))
    await server.settle()
    await expect(runs[1_001]!.result).rejects.toMatchObject({ code: 'too_many_streams' })
    expect(started()).toEqual(['0'])
    server.socket.say(opened(1), done(1, 1))
    await server.settle()
    expect(started()).toEqual(['0', '1'])
    for (const run of runs) run.detach()
  })

  test('waits on the next connection too, behind the streams that were open', async () => {
    const { server, start } = await connected(1)
    start('a')
    await server.settle()
    server.socket.say(opened(1))
    start('b')
    await server.settle()
    server.socket.end()
    while (server.sockets.length < 2) await server.time.advance(100)
    server.socket.welcome({ maxStreams: 1 })
    await server.settle()
    expect(server.socket.said()).toEqual(['attach'])
  })

  test('before WELCOME waits once WELCOME says how many there may be', async () => {
    const server = new ScriptedServer()
    const client = server.client()
    for (let n = 0; n < 66; n++) client.start('chat', { prompt: String(n) })
    server.socket.welcome({ maxStreams: 2 })
    await server.settle()
    expect(server.socket.all('start')).toHaveLength(64)
    for (let sid = 1; sid <= 64; sid++)
      server.socket.say(sid <= 2 ? opened(sid, { run: `r_${sid}` }) : limited(sid, 'too_many_streams'))
    await server.time.advance(2_000)
    expect(server.socket.all('start')).toHaveLength(64)
    server.socket.say(done(1, 1))
    await server.settle()
    const { input, options } = server.socket.last('start')
    expect(input).toEqual({ prompt: '2' })
    expect(options.key).toEqual(server.socket.all('start')[2]!.options.key)
  })

  test('is tried again after a while if the server refuses it although there should be room', async () => {
    const { server, start, started } = await connected(4)
    const run = start('a')
    await server.settle()
    server.socket.say(limited(1, 'too_many_streams'))
    await server.settle()
    expect(started()).toEqual(['a'])
    await server.time.advance(1_000)
    expect(started()).toEqual(['a', 'a'])
    server.socket.say(opened(2), done(2, 1))
    await run.end
  })
})

describe('an attach beyond maxStreams', () => {
  test('ends at once with too_many_streams, and leaves the other streams alone', async () => {
    const { server, client, start } = await connected(1)
    const run = start('a')
    await server.settle()
    server.socket.say(opened(1))
    const view = client.attach('chat', 'r_9')
    await expect(view.result).rejects.toMatchObject({ code: 'too_many_streams', retryable: true })
    expect(server.socket.said()).toEqual(['start'])
    server.socket.say(done(1, 1))
    expect(await run.end).toMatchObject({ outcome: 'done' })
  })

  test('ends when WELCOME says how many there may be', async () => {
    const server = new ScriptedServer()
    const client = server.client()
    const views = Array.from({ length: 65 }, (_, n) => client.attach('chat', `r_${n}`))
    server.socket.welcome({ maxStreams: 64 })
    await expect(views[64]!.result).rejects.toMatchObject({ code: 'too_many_streams' })
    expect(server.socket.all('attach')).toHaveLength(64)
  })
})

describe('a stream that is refused with rate_limited', () => {
  test('is opened again after afterMs, with the same key, and no other before it', async () => {
    const { server, start, started } = await connected(8)
    const runs = [start('a'), start('b')]
    await server.settle()
    server.socket.say(opened(1), limited(2, 'rate_limited', { afterMs: 20 }))
    runs.push(start('c'))
    await server.time.advance(19)
    expect(started()).toEqual(['a', 'b'])
    await server.time.advance(1)
    expect(started()).toEqual(['a', 'b', 'b'])
    await server.time.advance(20)
    expect(started()).toEqual(['a', 'b', 'b', 'c'])
    const [, first, again] = server.socket.all('start')
    expect(again!.options.key).toEqual(first!.options.key)
    await server.time.advance(20)
    start('d')
    start('e')
    await server.settle()
    expect(started().slice(4)).toEqual(['d', 'e'])
  })

  test('waits longer with each refusal, for at most connectMs, and ends with it', async () => {
    const { server, start, started } = await connected(8)
    const run = start('a')
    for (let sid = 1; run.id === undefined && server.time.now() < 11_000; sid++) {
      await server.settle()
      if (server.socket.all('start').length < sid) break
      server.socket.say(limited(sid, 'rate_limited', { afterMs: 1 }), { kind: 'pong', nonce: 1 })
      for (let ms = 0; ms < 1_000 && server.socket.all('start').length === sid; ms++) await server.time.advance(1)
    }
    await expect(run.result).rejects.toMatchObject({ code: 'rate_limited', details: { afterMs: 1 } })
    expect(started().length).toBeLessThan(200)
    expect(server.time.now()).toBeLessThan(11_000)
  })

  test('is the same for a view, and one that says no time waits for one of its own', async () => {
    const { server, client } = await connected(8)
    client.attach('chat', 'r_1')
    await server.settle()
    server.socket.say(limited(1, 'rate_limited'))
    await server.time.advance(1_000)
    expect(server.socket.all('attach')).toHaveLength(2)
  })

  test('is not sent again when it is cancelled meanwhile: nothing has begun', async () => {
    const { server, start } = await connected(8)
    const run = start('a')
    await server.settle()
    server.socket.say(limited(1, 'rate_limited', { afterMs: 20 }))
    expect(await run.cancel()).toMatchObject({ outcome: 'cancelled', confirmed: true })
    await server.time.advance(60_000)
    expect(server.socket.said().filter((kind) => kind !== 'ping')).toEqual(['start'])
  })

  test('keeps no timer once the client is closed', async () => {
    const { server, client, start } = await connected(8)
    start('a')
    await server.settle()
    server.socket.say(limited(1, 'rate_limited', { afterMs: 1_000_000 }))
    await client.close()
    expect(server.time.pending).toBe(0)
  })
})
