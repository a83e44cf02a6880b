import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer as createHttpServer } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { countedAddress } from '../../server/sessions/client-address.ts'
import { RawSocket, rawFrame, upgradeRequest } from '../helpers/raw-socket.ts'
import { eventually, type TestServer, testServer } from '../helpers/server.ts'
import { silent } from '../helpers/test-actors.ts'
import { onUws, onWs } from '../helpers/transports.ts'
import type { WireClient } from '../helpers/wire-client.ts'

const KB = 1_024

/** The answer to an upgrade. */
async function ask(url: string, headers: Record<string, string> = {}): Promise<{ status: string; raw: RawSocket }> {
  const raw = await RawSocket.dial(url)
  raw.write(upgradeRequest(headers))
  await raw.until(() => raw.head !== undefined, 'an answer')
  return { status: raw.head!.split('\r\n')[0]!, raw }
}

async function bodyOf(raw: RawSocket, word: string): Promise<string> {
  await raw.until(() => raw.rest.includes(word), `a body with ${word}`)
  return raw.rest.toString()
}

/** Most bytes of a message, but not its end. */
function unfinished(bytes: number): Buffer {
  return rawFrame(Buffer.alloc(250 * KB)).subarray(0, bytes)
}

describe.each([onWs, onUws])('the sockets of a node on $name', (by) => {
  test('are at most maxConnectionsTotal; one more is refused until one has gone', async () => {
    await using server = await testServer({ silent: silent() }, { limits: { maxConnectionsTotal: 2 } }, by)
    await using alice = await server.client()
    const bob = await server.client({ auth: 'bob' })
    const { status, raw } = await ask(server.url)
    expect(status).toBe('HTTP/1.1 503 Service Unavailable')
    expect(await bodyOf(raw, 'allows')).toContain('maxConnectionsTotal')
    bob.cut()
    await eventually(() => server.server.connections === 1, 'one has gone')
    await using again = await server.client({ auth: 'bob' })
    await again.settle()
    await alice.settle()
  })

  test('are at most maxConnectionsPerAddress of one address', async () => {
    await using server = await testServer({ silent: silent() }, { limits: { maxConnectionsPerAddress: 2 } }, by)
    await using alice = await server.client()
    await using bob = await server.client({ auth: 'bob' })
    const { status, raw } = await ask(server.url)
    expect(status).toBe('HTTP/1.1 503 Service Unavailable')
    expect(await bodyOf(raw, 'allows')).toContain('maxConnectionsPerAddress')
    await alice.settle()
    await bob.settle()
  })

  test('behind a trusted proxy are counted by the address that the proxy added last', async () => {
    const options = { trustProxy: true, limits: { maxConnectionsPerAddress: 1 } }
    await using server = await testServer({ silent: silent() }, options, by)
    const first = await ask(server.url, { 'X-Forwarded-For': '10.0.0.9, 192.0.2.1' })
    expect(first.status).toContain('101')
    // What a client invents stands before it, and changes nothing.
    expect((await ask(server.url, { 'X-Forwarded-For': '10.0.0.8, 192.0.2.1' })).status).toContain('503')
    const other = await ask(server.url, { 'X-Forwarded-For': '10.0.0.9, 192.0.2.2' })
    expect(other.status).toContain('101')
    first.raw.socket.destroy()
    other.raw.socket.destroy()
  })

  test('have the address of the peer where no proxy is trusted, whatever their headers say', async () => {
    await using server = await testServer({ silent: silent() }, { limits: { maxConnectionsPerAddress: 1 } }, by)
    const first = await ask(server.url, { 'X-Forwarded-For': '192.0.2.1' })
    expect(first.status).toContain('101')
    expect((await ask(server.url, { 'X-Forwarded-For': '192.0.2.2' })).status).toContain('503')
    first.raw.socket.destroy()
  })
})

describe('bytes before WELCOME', () => {
  test('of an unfinished message count, and close the connection before it is complete', async () => {
    await using server = await testServer({ silent: silent() }, {}, onWs)
    await using raw = await RawSocket.open(server.url)
    raw.write(unfinished(64 * KB))
    await using other = await server.client()
    await other.settle()
    expect(raw.ending).toBeUndefined()
    raw.write(Buffer.alloc(KB))
    expect(await raw.end()).toBe(4413)
  })

  test('of a socket that was closed for them are not read any more', async () => {
    const limits = { maxMessage: 32_768 * KB, beforeWelcomeTotal: 32_768 * KB }
    await using server = await testServer({ silent: silent() }, { limits }, onWs)
    const http = createHttpServer()
    http.listen(0, '127.0.0.1')
    const [[connected]] = (await Promise.all([
      once(http, 'connection'),
      (async () => {
        await once(http, 'listening')
        server.server.attach(http, { path: '/' })
        const raw = await RawSocket.open(`ws://127.0.0.1:${(http.address() as AddressInfo).port}`)
        raw.message(Buffer.alloc(32_000 * KB))
        expect(await raw.end()).toBe(4413)
      })(),
    ])) as [[Socket], void]
    expect(connected.bytesRead).toBeLessThan(1_024 * KB)
    http.close()
  })

  test('of all sockets have a limit: above it the oldest ends, and clients that say HELLO are not affected', async () => {
    const limits = { beforeWelcomeTotal: 256 * KB, maxMessage: 250 * KB }
    await using server = await testServer({ silent: silent() }, { limits }, onWs)
    await using early = await server.client()
    const raws: RawSocket[] = []
    for (let n = 0; n < 4; n++) raws.push(await flood(server, 60 * KB))
    for (const raw of raws) expect(raw.ending).toBeUndefined()
    const fifth = await flood(server, 60 * KB)
    expect(await raws[0]!.end()).toBe('reset')
    await using late = await server.client()
    await late.settle()
    await early.settle()
    for (const raw of [...raws.slice(1), fifth]) {
      expect(raw.ending).toBeUndefined()
      raw.socket.destroy()
    }
  })

  test('that µWebSockets does not report count as a whole message, until HELLO has come', async () => {
    const limits = { beforeWelcomeTotal: 4 * 65_536, maxMessage: 65_536 }
    await using server = await testServer({ silent: silent() }, { limits }, onUws)
    // A client that said HELLO holds what it said, and no more.
    const clients: WireClient[] = []
    for (let n = 0; n < 10; n++) clients.push(await server.client())
    const raws: RawSocket[] = []
    for (let n = 0; n < 4; n++) raws.push(await RawSocket.open(server.url))
    await eventually(() => server.server.connections === 14, 'all are open')
    const fifth = await RawSocket.open(server.url)
    expect(await raws[0]!.end()).toBe('reset')
    for (const raw of [...raws.slice(1), fifth]) {
      expect(raw.ending).toBeUndefined()
      raw.socket.destroy()
    }
    for (const client of clients) {
      await client.settle()
      await client[Symbol.asyncDispose]()
    }
  })
})

/** A socket that sends so much of a message and waits. Resolves when the server has read it. */
async function flood(server: TestServer<never>, bytes: number): Promise<RawSocket> {
  const raw = await RawSocket.open(server.url)
  raw.write(unfinished(bytes))
  await new Promise<void>((resolve) => raw.socket.write('', () => resolve()))
  await using bystander = await server.client()
  await bystander.settle()
  return raw
}

test('sockets in the file system have no address, and are not counted by it', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-'))
  const path = join(folder, 'socket')
  const http = createHttpServer()
  await new Promise<void>((resolve) => http.listen(path, resolve))
  try {
    await using server = await testServer({ silent: silent() }, { limits: { maxConnectionsPerAddress: 1 } }, onWs)
    server.server.attach(http, { path: '/agents' })
    const sockets = await Promise.all(
      Array.from({ length: 3 }, async () => {
        const raw = new RawSocket(connect(path))
        raw.write(upgradeRequest({}, '/agents'))
        await raw.until(() => raw.head !== undefined, 'an answer')
        return raw
      }),
    )
    for (const raw of sockets) {
      expect(raw.head).toContain('101')
      raw.socket.destroy()
    }
  } finally {
    http.close()
    await rm(folder, { recursive: true })
  }
})

test.each([
  ['192.0.2.7', '192.0.2.7'],
  ['::ffff:192.0.2.7', '192.0.2.7'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:db8:1:2::1', '2001:db8:1:2::/64'],
  ['2001:db8::1', '2001:db8:0:0::/64'],
  ['::1', '0:0:0:0::/64'],
  ['fe80::1%eth0', 'fe80:0:0:0::/64'],
  ['', undefined],
])('the address %s is counted as %s', (address, counted) => {
  expect(countedAddress(address)).toBe(counted)
})
