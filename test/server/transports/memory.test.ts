import { describe, expect, test, vi } from 'vitest'
import { createClient } from '../../../client-sdk/index.ts'
import { SUBPROTOCOL } from '../../../protocol/frames.ts'
import { actor, anonymous, createServer, type MemoryTransport, memory } from '../../../server/index.ts'
import { transportSuite } from '../../conformance/transport.ts'
import { handClock } from '../../helpers/hand-clock.ts'
import { mixedActor, withoutTimes } from '../../helpers/mixed-run.ts'
import { openTransport } from '../../helpers/open-transport.ts'
import { eventually, testServer } from '../../helpers/server.ts'
import { counted, counter } from '../../helpers/test-actors.ts'
import { inMemory } from '../../helpers/transports.ts'

transportSuite(inMemory, { ownPort: true, tcp: false })

describe('a request in memory', () => {
  test('shows path, query, headers, origin and address for the life of its socket', async () => {
    await using open = await openTransport(inMemory)
    const { WebSocket } = open.transport as MemoryTransport
    const headers = { Origin: 'https://app.example.com', cookie: 'a=1' }
    const peer = new WebSocket('ws://agents.example/path?a=1&b=%20c', ['mqtt', SUBPROTOCOL], { headers })
    const { socket } = await open.socket()
    expect(socket.request).toMatchObject({
      url: '/path?a=1&b=%20c',
      origin: headers.Origin,
      remoteAddress: '127.0.0.1',
    })
    expect(Object.fromEntries(socket.request.headers)).toMatchObject({
      host: 'agents.example',
      upgrade: 'websocket',
      origin: headers.Origin,
      cookie: 'a=1',
      'sec-websocket-protocol': `mqtt, ${SUBPROTOCOL}`,
    })
    expect(open.requests).toEqual([socket.request])
    expect(peer.url).toBe('ws://agents.example/path?a=1&b=%20c')
  })

  test.each([
    [[SUBPROTOCOL], 'known', SUBPROTOCOL],
    [['mqtt', SUBPROTOCOL], 'known', SUBPROTOCOL],
    [['mqtt', 'graphql-ws'], 'unknown', 'mqtt'],
    [[], 'unknown', ''],
  ])('that offers %j is accepted as %s and answered %j', async (offered, as, answered) => {
    await using open = await openTransport(inMemory)
    const peer = new (open.transport as MemoryTransport).WebSocket(open.url, offered)
    expect(peer.readyState).toBe(0)
    const opened = new Promise((resolve) => (peer.onopen = resolve))
    expect((await open.socket()).subprotocol).toBe(as)
    await opened
    expect([peer.protocol, peer.readyState]).toEqual([answered, 1])
  })

  test('that is refused fails as in a browser, and leaves no socket', async () => {
    await using open = await openTransport(inMemory)
    open.verdict = { ok: false, status: 403, message: 'not for you' }
    expect(await failed(open.transport as MemoryTransport)).toEqual(['Unexpected server response: 403', 1006])
    expect(open.accepted).toEqual([])
  })

  test('without a server fails as in a browser', async () => {
    expect(await failed(memory())).toEqual([expect.stringContaining('ECONNREFUSED'), 1006])
  })

  test('that is given up while it connects fails, and leaves no socket', async () => {
    await using open = await openTransport(inMemory)
    const { WebSocket } = open.transport as MemoryTransport
    const peer = new WebSocket(open.url, SUBPROTOCOL)
    const closed = new Promise((resolve) => (peer.onclose = resolve))
    peer.close()
    expect(await closed).toMatchObject({ code: 1006, wasClean: false })
    expect(open.accepted).toEqual([])
  })

  test('needs an address of a WebSocket', () => {
    const { WebSocket } = memory()
    expect(() => new WebSocket('http://127.0.0.1')).toThrow(SyntaxError)
    expect(() => new WebSocket('nowhere')).toThrow(/URL/)
  })
})

describe('a client socket in memory', () => {
  test('sends nothing before it is open, nothing once it closes, and a copy of what it is given', async () => {
    await using open = await openTransport(inMemory)
    const peer = new (open.transport as MemoryTransport).WebSocket(open.url, SUBPROTOCOL)
    expect(() => peer.send('x')).toThrow('not open yet')
    const one = await open.socket()
    const bytes = Uint8Array.of(1, 2, 3)
    peer.send(bytes.subarray(1))
    peer.send(bytes.buffer)
    expect(peer.bufferedAmount).toBe(5)
    bytes.fill(9)
    peer.close(4000, 'enough')
    peer.send(bytes)
    peer.close()
    expect(await one.gone()).toBe(4000)
    expect(one.messages.map((message) => [...message])).toEqual([
      [2, 3],
      [1, 2, 3],
    ])
  })

  test('receives what the server sent before the close', async () => {
    await using open = await openTransport(inMemory)
    const peer = new (open.transport as MemoryTransport).WebSocket(open.url, SUBPROTOCOL)
    const heard: unknown[] = []
    peer.onmessage = ({ data }: { data: ArrayBuffer }) => heard.push(...new Uint8Array(data))
    const closed = new Promise((resolve) => (peer.onclose = resolve))
    const one = await open.socket()
    one.send(Uint8Array.of(7))
    peer.close(1000)
    expect(await closed).toMatchObject({ code: 1000, wasClean: true })
    expect(heard).toEqual([7])
  })

  test.each([999, 1001, 1005, 1006, 2999, 5000])('may not close with %i', async (code) => {
    await using open = await openTransport(inMemory)
    const peer = new (open.transport as MemoryTransport).WebSocket(open.url, SUBPROTOCOL)
    expect(() => peer.close(code)).toThrow(`invalid close code ${code}`)
  })
})

describe('an application under test', () => {
  test('survives cuts: each item comes once and in order', async () => {
    const actors = { mixed: mixedActor() }
    const transport = memory()
    await using server = createServer({ actors, authenticate: anonymous(), transport })
    await server.listen()
    const read = async (cuts: number): Promise<object[]> => {
      const client = createClient<typeof actors>(transport.url, {
        WebSocket: transport.WebSocket,
        delays: { quickMs: 0, backoffMs: 0 },
      })
      const events = []
      for await (const event of client.start('mixed', { rounds: 2 }, { credit: 4 })) {
        if (events.length % 3 === 0 && cuts-- > 0) transport.cut()
        events.push(event)
      }
      await client.close()
      return withoutTimes(events)
    }
    const whole = await read(0)
    expect(await read(10)).toEqual(whole)
  })

  test('with a network that stands still is missed by both sides, and goes on when it is back', async () => {
    const time = handClock()
    const transport = memory({ runtime: time })
    const count = counter()
    await using server = await testServer({ count }, { transport, runtime: time })
    const statuses: string[] = []
    const client = createClient<{ count: typeof count }>(transport.url, {
      token: 'alice',
      WebSocket: transport.WebSocket,
      runtime: time,
      onStatus: (status) => statuses.push(status),
    })
    const run = client.start('count', 100, { credit: 10 })
    await run.opened
    transport.pause()
    for (let second = 0; second < 25; second++) {
      time.advance(1_000)
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(server.server.connections).toBe(0)
    expect(client.status).not.toBe('open')
    transport.resume()
    let text: string | undefined
    void run.result.then((all) => (text = String(all)))
    await eventually(() => {
      time.advance(100)
      return text !== undefined
    }, 'the rest of the run')
    expect(text).toBe(counted(1, 100))
    expect([...statuses.slice(0, 3), statuses.at(-1)]).toEqual(['connecting', 'open', 'lost', 'open'])
    await client.close()
  })

  test('may have its server restarted: another one listens on the same transport', async () => {
    const transport = memory()
    const count = counter()
    const actors = { count }
    const first = createServer({ actors, authenticate: anonymous(), transport })
    await first.listen()
    await expect(createServer({ actors, authenticate: anonymous(), transport }).listen()).rejects.toMatchObject({
      code: 'unavailable',
      message: 'a server listens on this memory() already: make another memory() for another server',
    })
    const client = createClient<typeof actors>(transport.url, { WebSocket: transport.WebSocket })
    expect(await client.ask('count', 3)).toBe(counted(1, 3))
    await first.close()
    await using second = createServer({ actors, authenticate: anonymous(), transport })
    await second.listen()
    expect(await client.ask('count', 4)).toBe(counted(1, 4))
    await client.close()
  })

  test('passes hours in no time with fake timers', async () => {
    vi.useFakeTimers()
    try {
      const transport = memory()
      const slow = actor({
        async *stream() {
          await new Promise((resolve) => setTimeout(resolve, 400_000))
          yield 'done'
        },
      })
      const server = createServer({ actors: { slow }, authenticate: anonymous(), transport })
      await server.listen()
      const client = createClient<{ slow: typeof slow }>(transport.url, { WebSocket: transport.WebSocket })
      let result: unknown
      void client.start('slow', undefined).result.then((text) => (result = text))
      await vi.advanceTimersByTimeAsync(399_000)
      expect([result, client.status]).toEqual([undefined, 'open'])
      await vi.advanceTimersByTimeAsync(2_000)
      expect(result).toBe('done')
      const closing = Promise.all([client.close(), server.close()])
      await vi.advanceTimersByTimeAsync(20_000)
      await closing
      expect(vi.getTimerCount()).toBe(0)
    } finally {
      vi.useRealTimers()
    }
  })
})

/** Why a connection cannot be had, and its close code. */
async function failed(transport: MemoryTransport): Promise<[string, number]> {
  const socket = new transport.WebSocket(transport.url, SUBPROTOCOL)
  let why = ''
  socket.onerror = ({ error }: { error: Error }) => (why = error.message)
  const code = await new Promise<number>((resolve) => {
    socket.onclose = (event: { code: number }) => resolve(event.code)
  })
  expect(socket.readyState).toBe(3)
  return [why, code]
}
