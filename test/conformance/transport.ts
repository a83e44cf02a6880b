import { once } from 'node:events'
import { createServer as createTcpServer } from 'node:net'
import { describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { createClient } from '../../client-sdk/node.ts'
import { SUBPROTOCOL } from '../../protocol/frames.ts'
import { DEFAULT_LIMITS } from '../../protocol/index.ts'
import { actor } from '../../server/actors/actor.ts'
import { demoActors } from '../../server/cli/demo-actors.ts'
import { mixedActor, withoutTimes } from '../helpers/mixed-run.ts'
import { measured, type OpenTransport, openTransport } from '../helpers/open-transport.ts'
import { RawSocket, rawFrame, upgradeRequest } from '../helpers/raw-socket.ts'
import { readAll } from '../helpers/read-all.ts'
import { seededRandom } from '../helpers/seeded-random.ts'
import { eventually, testServer } from '../helpers/server.ts'
import { TcpProxy } from '../helpers/tcp-proxy.ts'
import { counted, counter, latch } from '../helpers/test-actors.ts'
import type { TransportUnderTest } from '../helpers/transports.ts'

/** Cuts at random bytes that one run survives. */
const CUTS = 20
/** A closing socket is given up by then. */
const BOUNDED_MS = 5_000

/**
 * What the contract of `Transport` and `Socket` says, sentence by sentence, and what a server does by it.
 * @param options.tcp False where there are no bytes of HTTP to write: what requests say is then tested elsewhere.
 */
export function transportSuite(
  under: TransportUnderTest,
  { ownPort, tcp = true }: { ownPort: boolean; tcp?: boolean },
): void {
  if (tcp) requestSuite(under, ownPort)

  describe(`a message on ${under.name}`, () => {
    test('of any size arrives unchanged both ways, also from the middle of a larger buffer', async () => {
      await using open = await openTransport(under)
      await using peer = await connected(open)
      const one = await open.socket()
      const large = Buffer.from(Array.from({ length: 70_000 }, (_, i) => i % 251))
      const sizes = [0, 1, 125, 126, 65_535, 65_536]
      for (const size of sizes) {
        expect(one.send(large.subarray(7, 7 + size))).toBe('sent')
        peer.socket.send(large.subarray(11, 11 + size))
      }
      await eventually(() => peer.messages.length === sizes.length, 'all messages down')
      await eventually(() => one.messages.length === sizes.length, 'all messages up')
      for (const [n, size] of sizes.entries()) {
        expect(peer.messages[n]?.equals(large.subarray(7, 7 + size)), `${size} bytes down`).toBe(true)
        expect(one.messages[n]?.equals(large.subarray(11, 11 + size)), `${size} bytes up`).toBe(true)
      }
      expect(one.texts).toBe(0)
    })

    test('is reported as it arrives until that is stopped, or its socket says how much it buffers unseen', async () => {
      await using open = await openTransport(under)
      await using peer = await connected(open)
      const one = await open.socket()
      peer.socket.send(Buffer.alloc(1_000))
      await eventually(() => one.messages.length === 1, 'the first message')
      if (one.socket.stopCounting === undefined) {
        expect(one.arrivedBytes).toBe(0)
        return
      }
      expect(one.arrivedBytes).toBeGreaterThanOrEqual(1_000)
      expect(one.socket.unseenBytes ?? 0).toBe(0)
      one.socket.stopCounting()
      const { arrivedBytes } = one
      peer.socket.send(Buffer.alloc(1_000))
      await eventually(() => one.messages.length === 2, 'the second message')
      expect(one.arrivedBytes).toBe(arrivedBytes)
    })

    test('of text is reported as text, without its words', async () => {
      await using open = await openTransport(under)
      await using peer = await connected(open)
      const one = await open.socket()
      peer.socket.send('hello')
      peer.socket.send('')
      peer.socket.send(Buffer.of(1))
      await eventually(() => one.messages.length === 1, 'the binary message')
      expect(one.texts).toBe(2)
    })

    test.each([1, 100_000])('that is too large by %i bytes closes 1009 and is not delivered', async (more) => {
      await using open = await openTransport(under)
      await using peer = await connected(open)
      const one = await open.socket()
      peer.socket.send(Buffer.alloc(65_536 + more))
      peer.socket.send(Buffer.of(1))
      expect(await peer.closed).toBe(1009)
      await one.gone()
      expect(one.messages).toEqual([])
    })

    test('that is a hundred times too large ends the socket before it has arrived', async () => {
      await using open = await openTransport(under)
      await using peer = await connected(open)
      const one = await open.socket()
      peer.socket.send(Buffer.alloc(6_553_600))
      expect([1009, 1006]).toContain(await peer.closed)
      await one.gone()
      expect(one.messages).toEqual([])
    })
  })

  describe(`a socket on ${under.name}`, () => {
    test('is full when the peer does not read, drains when it does, and loses nothing', async () => {
      const maxBuffered = 262_144
      await using open = await openTransport(under, { maxBuffered })
      await using peer = await connected(open)
      const one = await open.socket()
      expect(one.socket.bufferedAmount).toBe(0)
      peer.socket.pause()
      let sent = 0
      const fill = (): void => {
        while (one.send(numbered(sent)) === 'sent') sent++
      }
      // The kernel takes more after a while, without a word of the peer.
      for (let quiet = 0; quiet < 5; quiet++) {
        const before = sent
        fill()
        if (sent > before) quiet = 0
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
      expect(one.socket.bufferedAmount).toBeGreaterThan(maxBuffered)
      expect(one.socket.bufferedAmount).toBeLessThan(maxBuffered + 2 * numbered(0).length)
      const drainsBefore = one.drains
      peer.socket.resume()
      await eventually(() => one.drains > drainsBefore, 'drain')
      expect(one.send(numbered(sent))).toBe('sent')
      sent++
      await eventually(() => peer.messages.length === sent, 'everything that was accepted')
      expect(peer.messages.every((bytes, n) => bytes.readUInt32BE(0) === n)).toBe(true)
      await eventually(() => one.socket.bufferedAmount === 0, 'nothing is buffered')
    })

    test('that closes sends the peer code and reason, and neither receives nor sends more', async () => {
      await using open = await openTransport(under)
      await using peer = await connected(open)
      const one = await open.socket()
      one.send(Buffer.from('last'))
      one.close(4401, 'the credentials were refused')
      expect(one.send(Buffer.from('late'))).toBe('closed')
      one.close(4400, 'again')
      peer.socket.send(Buffer.from('late'))
      expect(await peer.closed).toBe(4401)
      expect(peer.reason).toBe('the credentials were refused')
      await one.gone()
      expect(one.send(Buffer.from('late'))).toBe('closed')
      one.close(4400, 'again')
      one.terminate()
      expect(one.socket.bufferedAmount).toBe(0)
      expect(peer.messages.map(String)).toEqual(['last'])
      expect(one.messages).toEqual([])
    })

    test('that closes in the middle of many messages receives none of those behind', async () => {
      await using open = await openTransport(under)
      await using peer = await connected(open)
      const one = await open.socket()
      const message = one.message.bind(one)
      one.message = (bytes) => {
        message(bytes)
        if (one.messages.length === 3) one.close(4429, 'enough')
      }
      for (let n = 0; n < 20; n++) peer.socket.send(Buffer.of(n))
      expect(await peer.closed).toBe(4429)
      await one.gone()
      expect(one.messages).toHaveLength(3)
    })

    test('that closes first delivers what it holds, and receives nothing meanwhile', async () => {
      await using open = await openTransport(under)
      await using peer = await connected(open)
      const one = await open.socket()
      peer.socket.pause()
      let sent = 0
      while (one.send(numbered(sent)) === 'sent') sent++
      one.close(4503, 'the server went away')
      peer.socket.send(Buffer.from('late'))
      await new Promise((resolve) => setTimeout(resolve, 20))
      peer.socket.resume()
      expect(await peer.closed).toBe(4503)
      expect(peer.messages).toHaveLength(sent)
      await one.gone()
      expect(one.messages).toEqual([])
    })

    // Attached it would be the same code that waits.
    if (ownPort) {
      test('whose peer does not answer a close is gone in bounded time', async () => {
        await using open = await openTransport(under)
        await using peer = await connected(open)
        const one = await open.socket()
        peer.socket.pause()
        while (one.send(numbered(0)) === 'sent') continue
        one.close(4430, 'the client reads too slowly')
        await one.gone(BOUNDED_MS)
      })
    }

    test('that is terminated is gone at once, without a close code', async () => {
      await using open = await openTransport(under)
      await using peer = await connected(open)
      const one = await open.socket()
      one.terminate()
      one.terminate()
      expect(await peer.closed).toBe(1006)
      expect(await one.gone()).toBe(1006)
      expect(one.send(Buffer.of(1))).toBe('closed')
    })

    test.each([
      ['with 4400', (peer: WebSocket) => peer.close(4400, 'malformed'), 4400],
      ['with 1000', (peer: WebSocket) => peer.close(1000), 1000],
      ['without a code', (peer: WebSocket) => peer.close(), 1005],
      ['without a word', (peer: WebSocket) => peer.terminate(), 1006],
    ])('whose peer leaves %s gets the close code', async (_, leave, code) => {
      await using open = await openTransport(under)
      await using peer = await connected(open)
      const one = await open.socket()
      leave(peer.socket)
      expect(await one.gone()).toBe(code)
      expect(one.send(Buffer.of(1))).toBe('closed')
    })
  })

  describe(`a transport on ${under.name}`, () => {
    test('that accepts no more leaves open sockets alone', async () => {
      await using open = await openTransport(under)
      await using peer = await connected(open)
      const one = await open.socket()
      open.transport.stopAccepting()
      const late = new (open.Peer ?? WebSocket)(open.url, [SUBPROTOCOL])
      const [error] = (await once(late, 'error')) as [Error]
      expect(error.message).toMatch(/503|ECONNREFUSED/)
      peer.socket.send(Buffer.of(1))
      await eventually(() => one.messages.length === 1, 'a message')
      one.send(Buffer.of(2))
      await eventually(() => peer.messages.length === 1, 'an answer')
      expect(open.accepted).toHaveLength(1)
    })

    test('that closes has reported the close of every socket when it is done, and may be closed again', async () => {
      await using open = await openTransport(under)
      await using peer = await connected(open)
      const one = await open.socket()
      await open.transport.close()
      expect(one.codes).toEqual([1006])
      expect(await peer.closed).toBe(1006)
      await open.transport.close()
    })

    test('that closes gives closing sockets the time to say why', async () => {
      await using open = await openTransport(under)
      const peers = await Promise.all(Array.from({ length: 5 }, () => connected(open)))
      await open.socket(4)
      for (const one of open.accepted) {
        for (let n = 0; n < 50; n++) one.send(numbered(n))
        one.close(4503, 'the server went away')
      }
      await open.transport.close()
      for (const peer of peers) {
        expect(await peer.closed).toBe(4503)
        expect(peer.messages).toHaveLength(50)
      }
    })

    if (ownPort && tcp) {
      test('says why it cannot listen, and frees its port when it closes', async () => {
        const first = await openTransport(under)
        const port = Number(new URL(first.url).port)
        const listen = (at: { port: number; host: string }) =>
          under.make().listen({ verify: () => ({ ok: true }), accept: () => undefined as never }, LIMITS, at)
        await expect(listen({ port, host: '127.0.0.1' })).rejects.toMatchObject({
          code: 'unavailable',
          message: expect.stringContaining(`port ${port} is in use`),
        })
        await expect(listen({ port: 0, host: '192.0.2.1' })).rejects.toMatchObject({
          code: 'unavailable',
          message: '192.0.2.1 is not an address of this machine: choose one, such as 127.0.0.1',
        })
        // A client that was cut leaves a port that only a listener finds free.
        await using _peer = await connected(first)
        await first[Symbol.asyncDispose]()
        const next = createTcpServer().listen(port, '127.0.0.1')
        await once(next, 'listening')
        await expect(listen({ port, host: '127.0.0.1' })).rejects.toMatchObject({ code: 'unavailable' })
        next.close()
        await once(next, 'close')
        const second = under.make()
        const at = { port, host: '127.0.0.1' }
        expect(
          await second.listen({ verify: () => ({ ok: true }), accept: () => undefined as never }, LIMITS, at),
        ).toEqual({ port })
        await second.close()
      })
    }
  })

  describe(`a server on ${under.name}`, () => {
    test('streams a run to its end', async () => {
      await using server = await testServer(demoActors, {}, under)
      const client = createClient<typeof demoActors>(server.url, { token: 'alice', ...server.reach })
      const tokens = await readAll(client.start('count', { to: 20_000 }).text())
      expect(tokens.join('')).toBe(counted(1, 20_000))
      await client.close()
    })

    test('closes an unknown subprotocol 4406, and the page of another origin 4403', async () => {
      await using server = await testServer(demoActors, {}, under)
      const client = await server.client({ subprotocols: ['mqtt'], hello: false })
      expect(await client.closed).toBe(4406)
      const page = await server.client({ headers: { origin: 'https://evil.example' }, hello: 'unanswered' })
      expect(await page.closed).toBe(4403)
      expect(page.frames).toEqual([])
    })

    test('cancels runs, each with a receipt', async () => {
      await using server = await testServer(demoActors, {}, under)
      const client = createClient<typeof demoActors>(server.url, { token: 'alice', ...server.reach })
      const runs = Array.from({ length: 20 }, () => client.start('sleep', { ms: 600_000 }))
      await Promise.all(runs.map(({ opened }) => opened))
      const receipts = await Promise.all(runs.map((run) => run.cancel()))
      for (const receipt of receipts) expect(receipt).toMatchObject({ outcome: 'cancelled', settled: true })
      await client.close()
    })

    if (tcp) {
      test(`survives ${CUTS} cuts at random bytes: each item arrives once and in order`, async () => {
        const actors = { mixed: mixedActor() }
        await using server = await testServer(actors, { limits: { startsPerSec: 1e6, startBurst: 1e6 } }, under)
        await using proxy = await TcpProxy.to(Number(new URL(server.url).port))
        const { pathname } = new URL(server.url)
        const read = async (url: string): Promise<object[]> => {
          const client = createClient<typeof actors>(url, { token: 'alice', delays: { quickMs: 2, backoffMs: 2 } })
          const events = await readAll(client.start('mixed', { rounds: 2 }, { credit: 16 }))
          await client.close()
          return withoutTimes(events)
        }
        const whole = await read(server.url)
        const seed = Date.now() | 0
        const random = seededRandom(seed)
        for (let n = 0; n < CUTS; n++) {
          const first = proxy.connections.length
          const bytesDown = Math.floor(random() * 4_000)
          proxy.plan = (connection) => (connection === first ? { bytesDown } : {})
          expect(await read(`${proxy.url}${pathname === '/' ? '' : pathname}`), `seed ${seed}, cut ${n}`).toEqual(whole)
        }
        expect(proxy.connections.length).toBeGreaterThan(CUTS)
      })
    }

    test('stops an unread actor after exactly what it may say', async () => {
      const numbers = counter()
      await using server = await testServer({ count: numbers }, {}, under)
      const client = createClient<{ count: typeof numbers }>(server.url, { token: 'alice', ...server.reach })
      const unread = client.start('count', 1_000_000, { credit: 1_900 })
      const events = unread[Symbol.asyncIterator]()
      await events.next()
      for await (const _ of client.start('count', 10_000)) continue
      expect(numbers.runs[0]!.count).toBe(1_900 + DEFAULT_LIMITS.readAhead)
      await client.close()
    })

    test('holds no more than its bound for a peer that reads nothing, and closes it 4430', async () => {
      let most = 0
      await using server = await testServer(
        { flood: demoActors.flood },
        { limits: { inflight: 100_000_000, slowMs: 300 } },
        { ...under, make: () => measured(under.make(), (buffered) => (most = Math.max(most, buffered))) },
      )
      await using client = await server.client({ pong: false })
      for (let sid = 1; sid <= 16; sid++)
        client.start(sid, 'flood', { tokens: 100_000, bytes: 1_024 }, { credit: 1_900 })
      await client.until(() => client.count(1) > 0)
      client.socket.pause()
      await eventually(() => server.server.connections === 0, 'the end of the connection')
      expect(most).toBeGreaterThan(0)
      expect(most).toBeLessThanOrEqual(DEFAULT_LIMITS.highWater + DEFAULT_LIMITS.maxDown)
      client.socket.resume()
      await client.closed
    })

    test('that goes away delivers the last items and the end of each run before it closes the connection', async () => {
      const gate = latch()
      const many = actor({
        async *stream() {
          await gate.opened
          for (let n = 1; n <= 200; n++) yield `${n} `
        },
      })
      await using server = await testServer({ many }, { limits: { startBurst: 1_000 } }, under)
      await using client = await server.client()
      for (let sid = 1; sid <= 60; sid++) client.start(sid, 'many')
      await client.next('opened', 60)
      const closing = server.server.close({ drainMs: 10_000 })
      gate.open()
      expect(await client.closed).toBe(4503)
      await closing
      for (let sid = 1; sid <= 60; sid++) expect(client.text(sid)).toBe(counted(1, 200))
      expect(client.frames.filter(({ kind }) => kind === 'end')).toHaveLength(60)
    })
  })
}

function requestSuite(under: TransportUnderTest, ownPort: boolean): void {
  describe(`a request on ${under.name}`, () => {
    test('shows path, query, headers, origin and address for the life of its socket', async () => {
      await using open = await openTransport(under)
      const path = `${new URL(open.url).pathname}?a=1&b=%20c`
      const headers = { Origin: 'https://app.example.com', Cookie: ['a=1', 'b=2'], 'X-Two': ['one', 'two'] }
      await using raw = await RawSocket.dial(open.url)
      raw.write(upgradeRequest({ ...headers, Authorization: ['Bearer x', 'Bearer y'] }, path))
      const { socket } = await open.socket()
      await new Promise((resolve) => setTimeout(resolve, 5))
      expect(socket.request).toMatchObject({ url: path, origin: headers.Origin, remoteAddress: '127.0.0.1' })
      expect(Object.fromEntries(socket.request.headers)).toMatchObject({
        host: '127.0.0.1',
        upgrade: 'websocket',
        origin: headers.Origin,
        cookie: 'a=1; b=2',
        'x-two': 'one, two',
        authorization: 'Bearer x',
        'sec-websocket-protocol': SUBPROTOCOL,
      })
      expect(open.requests).toEqual([socket.request])
    })

    test('without Origin has none, and one with several has none that a list could hold', async () => {
      await using open = await openTransport(under)
      const { pathname } = new URL(open.url)
      const origins = [undefined, ['https://a.example', 'https://a.example'], '']
      for (const Origin of origins) {
        await using raw = await RawSocket.dial(open.url)
        raw.write(upgradeRequest({ Origin }, pathname))
        await raw.until(() => raw.head !== undefined, 'an answer')
      }
      expect(open.requests.map(({ origin }) => origin)).toEqual([undefined, 'several', ''])
    })

    test.each([
      [SUBPROTOCOL, 'known', SUBPROTOCOL],
      [`mqtt, ${SUBPROTOCOL}`, 'known', SUBPROTOCOL],
      ['mqtt, graphql-ws', 'unknown', 'mqtt'],
      [undefined, 'unknown', undefined],
    ])('that offers %s is accepted as %s and answered %s', async (offered, as, answered) => {
      await using open = await openTransport(under)
      await using raw = await RawSocket.dial(open.url)
      raw.write(upgradeRequest({ 'Sec-WebSocket-Protocol': offered }, new URL(open.url).pathname))
      expect((await open.socket()).subprotocol).toBe(as)
      await raw.until(() => raw.head !== undefined, 'an answer')
      expect(raw.head).toContain('HTTP/1.1 101 ')
      expect(/sec-websocket-protocol: (.*)/i.exec(raw.head ?? '')?.[1]).toBe(answered)
      expect(raw.head).not.toMatch(/sec-websocket-extensions/i)
    })

    test.each([403, 404, 503] as const)(
      'that is refused gets status %i and the words, and no socket',
      async (status) => {
        await using open = await openTransport(under)
        open.verdict = { ok: false, status, message: 'not for you' }
        await using raw = await RawSocket.dial(open.url)
        raw.write(upgradeRequest({}, new URL(open.url).pathname))
        await raw.end()
        expect(raw.head).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `))
        expect(raw.rest.toString()).toBe('not for you\n')
        expect(open.accepted).toEqual([])
      },
    )

    test('that is refused with a close code gets it and the reason, whatever it sends, and no socket', async () => {
      await using open = await openTransport(under)
      open.verdict = { ok: false, closeCode: 4403, reason: 'not for you' }
      await using raw = await RawSocket.dial(open.url)
      raw.answersClose = false
      const messages = [1, 2_000, 60_000].map((bytes) => rawFrame(new Uint8Array(bytes)))
      raw.write(upgradeRequest({}, new URL(open.url).pathname))
      for (const message of messages) raw.write(message)
      expect(await raw.end()).toBe(4403)
      expect(raw.head).toContain('HTTP/1.1 101 ')
      expect(raw.frames.map(({ payload }) => payload.subarray(2).toString())).toEqual(['not for you'])
      expect(open.accepted).toEqual([])
    })

    test('that is refused with a close code is over soon, even if the client never answers', async () => {
      await using open = await openTransport(under)
      open.verdict = { ok: false, closeCode: 4403, reason: 'not for you' }
      await using raw = await RawSocket.dial(open.url)
      raw.answersClose = false
      raw.write(upgradeRequest({}, new URL(open.url).pathname))
      const drip = setInterval(() => raw.write(rawFrame(new Uint8Array(100))), 50)
      await raw.end()
      clearInterval(drip)
    })

    test('that is no upgrade is answered by the owner of the port', async () => {
      await using open = await openTransport(under)
      const response = await fetch(open.url.replace('ws:', 'http:'))
      expect(response.status).toBe(ownPort ? 426 : 200)
      expect(await response.text()).toMatch(ownPort ? /WebSocket/ : /^mine$/)
    })
  })
}

const LIMITS = { maxMessage: 65_536, maxBuffered: 262_144, silentMs: 30_000 }

/** A message of 16 KiB that begins with its number. */
function numbered(n: number): Buffer {
  const bytes = Buffer.alloc(16_384, n & 0xff)
  bytes.writeUInt32BE(n, 0)
  return bytes
}

type Peer = AsyncDisposable & {
  socket: WebSocket
  messages: Buffer[]
  /** The close code. */
  closed: Promise<number>
  reason: string
}

async function connected({ url, Peer = WebSocket }: OpenTransport): Promise<Peer> {
  const socket = new Peer(url, [SUBPROTOCOL])
  socket.on('error', () => {})
  const peer: Peer = {
    socket,
    messages: [],
    reason: '',
    closed: new Promise((resolve) => {
      socket.on('close', (code, reason) => {
        peer.reason = reason.toString()
        resolve(code)
      })
    }),
    async [Symbol.asyncDispose]() {
      socket.terminate()
      await peer.closed
    },
  }
  socket.on('message', (bytes: Buffer) => peer.messages.push(bytes))
  await once(socket, 'open')
  return peer
}
