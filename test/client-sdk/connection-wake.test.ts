import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { Client } from '../../client-sdk/index.ts'
import { opened, ScriptedServer } from '../helpers/scripted-server.ts'

/** The events for which the client listens to its page. */
let listeners: Map<string, () => void>

beforeEach(() => {
  listeners = new Map()
  vi.stubGlobal('addEventListener', (type: string, listener: () => void) => listeners.set(type, listener))
  vi.stubGlobal('removeEventListener', (type: string) => listeners.delete(type))
})
afterEach(() => vi.unstubAllGlobals())

function happens(type: string): void {
  listeners.get(type)?.()
}

/** A client with one open run. */
async function running(): Promise<{ server: ScriptedServer; client: Client }> {
  const server = new ScriptedServer()
  const client = server.client()
  client.start('chat', {})
  server.socket.welcome()
  server.socket.say(opened(1))
  await server.settle()
  return { server, client }
}

/** The same, after so many failed tries: the next one is up to 15 s away. */
async function lostFor(losses: number): Promise<{ server: ScriptedServer; client: Client }> {
  const { server, client } = await running()
  for (let n = 0; n < losses; n++) {
    const { length } = server.sockets
    server.socket.end()
    while (n < losses - 1 && server.sockets.length === length) await server.time.advance(100)
  }
  return { server, client }
}

describe('a lost connection', () => {
  test.each(['online', 'visibilitychange', 'pageshow'])('is tried again at once on %s', async (type) => {
    const { server, client } = await lostFor(6)
    const { length } = server.sockets
    expect(client.status).toBe('lost')
    happens(type)
    await server.settle()
    expect([client.status, server.sockets.length]).toEqual(['connecting', length + 1])
  })

  test('gets one try for each event, and waits as long as before when that fails', async () => {
    const { server } = await lostFor(6)
    const { length } = server.sockets
    for (let n = 0; n < 5; n++) happens('online')
    await server.settle()
    expect(server.sockets).toHaveLength(length + 1)
    server.socket.end()
    await server.time.advance(500)
    expect(server.sockets).toHaveLength(length + 1)
    await server.reconnected()
    expect(server.sockets).toHaveLength(length + 2)
  })

  test('is not tried before the time that GOAWAY gave', async () => {
    const { server } = await running()
    server.socket.say({ kind: 'goaway', reason: 'deploy', graceMs: 1_000, retryAfterMs: 4_000 })
    server.socket.end(4503)
    await server.time.advance(3_900)
    happens('online')
    expect(server.sockets).toHaveLength(1)
    await server.time.advance(100)
    happens('online')
    expect(server.sockets).toHaveLength(2)
  })
})

test('an open connection is sent a PING at once when the page is shown or the network returns', async () => {
  const { server, client } = await running()
  for (const type of listeners.keys()) {
    happens(type)
    server.socket.say({ kind: 'pong', nonce: 1 })
  }
  await server.settle()
  expect(server.socket.all('ping')).toHaveLength(3)
  happens('online')
  await server.time.advance(10_000)
  expect(client.status).toBe('lost')
})

test('a client that is at rest does not listen to its page', async () => {
  const server = new ScriptedServer()
  const client = server.client()
  expect([...listeners]).toEqual([])
  client.connect()
  expect([...listeners.keys()]).toEqual(['online', 'visibilitychange', 'pageshow'])
  server.socket.welcome()
  server.socket.end()
  expect([client.status, ...listeners]).toEqual(['idle'])
  client.connect()
  await client.close()
  expect([client.status, ...listeners]).toEqual(['closed'])
})

describe('a hidden page, whose timers run once a minute,', () => {
  /** Lets `minutes` pass. `each` is called after each of them. */
  async function minutes(server: ScriptedServer, count: number, each: () => void = () => {}): Promise<void> {
    for (let n = 0; n < count; n++) {
      server.sleep(50_000)
      await server.time.advance(10_000)
      each()
    }
  }

  test('notices a dead connection within three minutes', async () => {
    const { server, client } = await running()
    await minutes(server, 3)
    expect(client.status).not.toBe('open')
    expect(server.sockets[0]!.closeCode).toBeNull()
  })

  test('keeps a connection whose server answers', async () => {
    const { server, client } = await running()
    await minutes(server, 60, () => server.socket.say({ kind: 'pong', nonce: 1 }))
    expect([client.status, server.sockets.length]).toEqual(['open', 1])
  })

  test('notices a dead connection also when its user looks at it again and again', async () => {
    const { server, client } = await running()
    for (let n = 0; n < 5; n++) {
      happens('visibilitychange')
      await server.time.advance(5_000)
    }
    expect(client.status).not.toBe('open')
  })
})
