import { describe, expect, test, vi } from 'vitest'
import type { ClientOptions, Status } from '../../client-sdk/index.ts'
import { createClient } from '../../client-sdk/index.ts'
import { CLOSE } from '../../protocol/errors.ts'
import { cancelled, done, opened, ScriptedServer, text } from '../helpers/scripted-server.ts'

/** A client that is open, and whose every change of status is written down. */
function connected(options: ClientOptions = {}) {
  const statuses: Status[] = []
  const server = new ScriptedServer()
  const client = server.client({ onStatus: (status) => statuses.push(status), ...options })
  client.connect()
  if (typeof options.token !== 'function') server.socket.welcome()
  return { server, client, statuses }
}

/** How long the client waits before it connects again. */
async function waited(server: ScriptedServer): Promise<number> {
  const { length } = server.sockets
  for (let ms = 0; ms <= 60_000; ms += 10) {
    if (server.sockets.length > length) return ms
    await server.time.advance(10)
  }
  return Number.POSITIVE_INFINITY
}

describe('a connection', () => {
  test('is opened when it is first needed, and reports its status', async () => {
    const statuses: Status[] = []
    const server = new ScriptedServer()
    const client = server.client({ onStatus: (status) => statuses.push(status) })
    expect([client.status, server.sockets.length]).toEqual(['idle', 0])
    client.start('chat', {})
    expect(client.status).toBe('connecting')
    server.socket.welcome()
    expect(client.status).toBe('open')
    server.socket.end()
    await server.reconnected()
    await client.close({ runs: 'detach' })
    expect(statuses).toEqual(['connecting', 'open', 'lost', 'connecting', 'open', 'closed'])
  })

  test('without a WebSocket class fails with what to give it', () => {
    vi.stubGlobal('WebSocket', undefined)
    expect(() => createClient('ws://x')).toThrow(expect.objectContaining({ code: 'bad_request' }))
    vi.unstubAllGlobals()
  })

  test('numbers its tries, and keeps its client instance', async () => {
    const { server, client } = connected()
    client.start('chat', {})
    const first = server.socket.last('hello')
    expect(first.client).toHaveLength(16)
    server.socket.end()
    const again = (await server.reconnected()).last('hello')
    expect([again.attempt, again.client]).toEqual([2, first.client])
  })

  test('asks for its credentials anew each time it connects', async () => {
    let n = 0
    const server = new ScriptedServer()
    server.client({ token: () => Promise.resolve(`token ${++n}`) }).start('chat', {})
    await server.settle()
    server.socket.welcome()
    server.socket.end()
    await server.reconnected()
    expect(server.sockets.map((socket) => socket.last('hello').auth)).toEqual(['token 1', 'token 2'])
  })

  test('whose credentials cannot be fetched tries again, and reports why it failed', async () => {
    const server = new ScriptedServer()
    const cause = new Error('login is down')
    const run = server.client({ token: () => Promise.reject(cause) }).start('chat', {})
    await server.time.advance(10_000)
    await expect(run.result).rejects.toMatchObject({ code: 'connection_lost', cause })
    expect(server.sockets).toEqual([])
  })

  test('takes any shape of credentials', () => {
    const { server } = connected({ auth: { user: 'me', pass: 'word' } })
    expect(server.socket.last('hello').auth).toEqual({ user: 'me', pass: 'word' })
  })

  test('that nothing needs is not opened again after a loss', async () => {
    const { server, client } = connected()
    server.socket.end()
    await server.time.advance(60_000)
    expect([client.status, server.sockets.length]).toEqual(['idle', 1])
    client.start('chat', {})
    expect(server.sockets).toHaveLength(2)
  })
})

describe('a message', () => {
  test('holds all frames of a turn', async () => {
    const { server, client } = connected()
    const run = client.start('chat', {})
    client.start('chat', {})
    run.pause()
    void run.send('message', 'hi')
    await server.settle()
    expect(server.socket.messages.at(-1)?.map(({ kind }) => kind)).toEqual(['start', 'input', 'start'])
    expect(server.socket.messages).toHaveLength(2)
  })

  test('is never larger than the server takes', async () => {
    const { server, client } = connected()
    const prompt = 'x'.repeat(100_000)
    for (let n = 0; n < 5; n++) client.start('chat', { prompt })
    await server.settle()
    expect(server.socket.messages.map((frames) => frames.length)).toEqual([1, 2, 2, 1])
    expect(Math.max(...server.socket.sizes)).toBeLessThanOrEqual(262_144)
  })

  test('before WELCOME leaves for later what exceeds beforeWelcomeBytes', async () => {
    const server = new ScriptedServer()
    const client = server.client()
    client.start('chat', { prompt: 'x'.repeat(40_000) })
    client.start('chat', { prompt: 'x'.repeat(40_000) })
    server.socket.open()
    expect(server.socket.messages.map((frames) => frames.map(({ kind }) => kind))).toEqual([['hello', 'start']])
    server.socket.say({ kind: 'welcome', session: 's', known: false, limits: {}, now: 0 })
    await server.settle()
    expect(server.socket.all('start')).toHaveLength(2)
  })

  test('that could never be sent is refused where it is made', () => {
    const { server, client } = connected()
    const tooLarge = { prompt: 'x'.repeat(300_000) }
    expect(() => client.start('chat', tooLarge)).toThrow(expect.objectContaining({ code: 'bad_request' }))
    const notPlain = { prompt: (() => 1) as unknown as string }
    expect(() => client.start('chat', notPlain)).toThrow(expect.objectContaining({ code: 'bad_request' }))
    const justTooLarge = { prompt: 'x'.repeat(262_075) }
    const tooMany = { prompt: Array.from({ length: 20_000 }, () => 1) as unknown as string }
    for (const input of [justTooLarge, tooMany])
      expect(() => client.start('chat', input)).toThrow(expect.objectContaining({ code: 'bad_request' }))
    for (const options of [{ key: 'k'.repeat(65) }, { key: new Uint8Array(65) }, { meta: { note: 'x'.repeat(1_024) } }])
      expect(() => client.start('chat', {}, options)).toThrow(expect.objectContaining({ code: 'bad_request' }))
    client.start('chat', {}, { key: 'k'.repeat(64), meta: { note: 'x'.repeat(1_000) } }).detach()
    expect(() => client.start('chat', {}, { credit: -1 })).toThrow(/malformed credit/)
    expect(() => client.attach('chat', 'r', { after: 0.5 })).toThrow(/malformed after/)
    expect(server.socket.said()).toEqual([])
  })

  test('that breaks the protocol ends the connection, and its runs with an internal error', async () => {
    const { server, client } = connected()
    const run = client.start('chat', {})
    server.socket.sayBytes(Uint8Array.of(0xc1))
    expect(server.socket.closeCode).toBe(CLOSE.malformed)
    await expect(run.result).rejects.toMatchObject({ code: 'internal' })
    expect(client.status).toBe('closed')
  })

  test('is answered with one PONG, for its last PING', async () => {
    const { server } = connected()
    server.socket.say({ kind: 'ping', nonce: 1 }, { kind: 'ping', nonce: 2 })
    await server.settle()
    expect(server.socket.all('pong')).toEqual([{ kind: 'pong', nonce: 2 }])
  })
})

describe('a lost connection', () => {
  test('is tried again within 300 ms, then within times that double up to 15 s', async () => {
    const most: number[] = []
    for (let seed = 1; seed <= 40; seed++) {
      const server = new ScriptedServer(seed)
      server.client().start('chat', {})
      server.socket.welcome()
      server.socket.say(opened(1))
      for (let n = 0; n < 7; n++) {
        server.socket.end()
        most[n] = Math.max(most[n] ?? 0, await waited(server))
      }
    }
    const bounds = [300, 2_000, 4_000, 8_000, 15_000, 15_000, 15_000]
    most.forEach((ms, n) => {
      expect(ms).toBeLessThanOrEqual(bounds[n]! + 10)
      expect(ms).toBeGreaterThan(bounds[n]! * 0.7)
    })
  })

  test('that was stable for a while counts as a single loss again', async () => {
    const { server, client } = connected()
    client.start('chat', {})
    server.socket.end()
    await waited(server)
    server.socket.end()
    await waited(server)
    server.socket.welcome()
    server.socket.say(opened(1))
    await server.time.advance(9_000)
    server.socket.say({ kind: 'pong', nonce: 1 })
    await server.time.advance(2_000)
    server.socket.end()
    expect(await waited(server)).toBeLessThanOrEqual(310)
  })

  test('waits longer each time while the server closes 50 ms after WELCOME, and as at first once one has lasted', async () => {
    const heartbeatMs = 10_000
    const lastedMs = [50, 50, 50, 50, 50, heartbeatMs - 1, heartbeatMs]
    const bounds = [1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 1_000]
    const most = bounds.map(() => 0)
    for (let seed = 1; seed <= 40; seed++) {
      const server = new ScriptedServer(seed)
      server.client().start('chat', {})
      for (const [n, ms] of lastedMs.entries()) {
        server.socket.welcome({ heartbeatMs })
        server.socket.say(opened(1))
        await server.time.advance(ms)
        server.socket.end(1012)
        most[n] = Math.max(most[n]!, await waited(server))
      }
    }
    most.forEach((ms, n) => {
      expect(ms).toBeLessThanOrEqual(bounds[n]! + 10)
      expect(ms).toBeGreaterThan(bounds[n]! * 0.7)
    })
  })

  test.each([1001, 1012, 4408, 4429, 4430, 4503])(
    'closed with %i comes back, and not all clients at once',
    async (code) => {
      let most = 0
      for (let seed = 1; seed <= 20; seed++) {
        const server = new ScriptedServer(seed)
        server.client().start('chat', {})
        server.socket.welcome()
        server.socket.end(code)
        most = Math.max(most, await waited(server))
      }
      expect(most).toBeGreaterThan(500)
      expect(most).toBeLessThanOrEqual(1_010)
    },
  )

  test('after GOAWAY waits at least as long as GOAWAY says', async () => {
    const { server, client } = connected()
    client.start('chat', {})
    server.socket.say({ kind: 'goaway', reason: 'deploy', graceMs: 1_000, retryAfterMs: 4_000 })
    server.socket.end(4503)
    expect(await waited(server)).toBeGreaterThanOrEqual(4_000)
  })

  test('that never opened ends its runs after connectMs', async () => {
    const server = new ScriptedServer()
    const client = server.client({ connectMs: 2_000 })
    const answer = client.ask('chat', {})
    answer.catch(() => {})
    for (let n = 0; n < 20; n++) {
      server.socket.end()
      await server.time.advance(100)
    }
    await expect(answer).rejects.toMatchObject({
      code: 'connection_lost',
      retryable: true,
      message: 'ws://scripted cannot be reached',
    })
  })

  test('that is never answered is given up for another try', async () => {
    const server = new ScriptedServer()
    const run = server.client({ connectMs: 10_000 }).start('chat', {})
    server.socket.open()
    await server.time.advance(5_000)
    expect(server.socket.closeCode).toBeNull()
    await server.reconnected()
    server.socket.say(opened(1), text(1, 1, 'a'), done(1, 2))
    expect(await run.result).toBe('a')
  })

  test('that never got open in eight tries is not tried again until it is needed', async () => {
    const server = new ScriptedServer()
    const client = server.client({ connectMs: 1e9 })
    const run = client.start('chat', {})
    for (let n = 1; n < 8; n++) {
      server.socket.end()
      await waited(server)
    }
    server.socket.end()
    await expect(run.result).rejects.toMatchObject({ code: 'connection_lost' })
    await server.time.advance(60_000)
    expect([client.status, server.sockets.length]).toEqual(['idle', 8])
  })

  test('ignores events of a socket that it has left', async () => {
    const { server, client } = connected()
    const run = client.start('chat', {})
    await server.settle()
    const left = server.socket
    left.end()
    await server.reconnected()
    left.say(opened(1), text(1, 1, 'from a left socket'))
    left.end(4409)
    left.open()
    expect([client.status, run.id]).toEqual(['open', undefined])
    expect(server.sockets).toHaveLength(2)
  })
})

describe('a close', () => {
  test.each([
    [1000, 'connection_lost'],
    [1002, 'internal'],
    [1007, 'internal'],
    [1009, 'internal'],
    [4400, 'internal'],
    [4403, 'forbidden'],
    [4406, 'internal'],
    [4409, 'connection_lost'],
    [4413, 'internal'],
    [4499, 'internal'],
  ])('with %i is final, and ends the runs with %s', async (closeCode, code) => {
    const { server, client } = connected()
    const run = client.start('chat', {})
    server.socket.end(closeCode)
    await expect(run.result).rejects.toMatchObject({ code })
    expect(client.status).toBe('closed')
    await expect(client.ask('chat', {})).rejects.toMatchObject({ code })
    await server.time.advance(60_000)
    expect(server.sockets).toHaveLength(1)
  })

  test('for credentials that have expired fetches new ones, once', async () => {
    let n = 0
    const { server, client } = connected({ token: () => `token ${++n}` })
    await server.settle()
    server.socket.welcome()
    const run = client.start('chat', {})
    server.socket.end(4401)
    await waited(server)
    server.socket.open()
    expect(server.socket.last('hello').auth).toBe('token 2')
    server.socket.say({ kind: 'notice', code: 'unauthenticated', message: 'this token is not known' })
    server.socket.end(4401)
    await expect(run.result).rejects.toMatchObject({ code: 'unauthenticated', message: 'this token is not known' })
    await server.time.advance(60_000)
    expect(server.sockets).toHaveLength(2)
  })

  test('of a HELLO that another one overtook is answered by one higher try, once', async () => {
    const server = new ScriptedServer()
    const client = server.client()
    const run = client.start('chat', {})
    server.socket.open()
    server.socket.end(CLOSE.takenOver)
    await waited(server)
    server.socket.open()
    expect(server.socket.last('hello').attempt).toBe(2)
    server.socket.end(CLOSE.takenOver)
    await expect(run.result).rejects.toMatchObject({ code: 'connection_lost' })
    expect(client.status).toBe('closed')
  })

  test('by the client cancels its runs and waits for their ends', async () => {
    const { server, client } = connected()
    const run = client.start('chat', {})
    const view = client.attach('chat', 'r_2')
    await server.settle()
    server.socket.say(opened(1), opened(2, { run: 'r_2' }))
    const closing = client.close()
    await server.settle()
    expect(server.socket.said()).toEqual(['start', 'attach', 'cancel'])
    expect(server.socket.closeCode).toBeUndefined()
    server.socket.say(cancelled(1, 1))
    await closing
    expect(server.socket.closeCode).toBe(1000)
    await expect(run.result).rejects.toMatchObject({ code: 'cancelled' })
    await expect(view.end).rejects.toMatchObject({ code: 'connection_lost', message: 'the client is closed' })
  })

  test('by the client does not wait long for an end that does not come', async () => {
    const { server, client } = connected()
    client.start('chat', {})
    await server.settle()
    const closing = client.close()
    await server.time.advance(2_000)
    await closing
    expect([client.status, server.socket.closeCode]).toEqual(['closed', 1000])
    expect(server.time.pending).toBe(0)
  })

  test('by the client leaves its runs alone with runs: detach', async () => {
    const { server, client } = connected()
    client.start('chat', {})
    await server.settle()
    await client.close({ runs: 'detach' })
    expect(server.socket.said()).toEqual(['start', 'detach'])
    expect(server.socket.closeCode).toBe(1000)
    expect(server.time.pending).toBe(0)
  })

  test('by the client twice, or before it connected, does nothing more', async () => {
    const server = new ScriptedServer()
    const client = server.client()
    await client.close()
    await client.close()
    expect(server.sockets).toEqual([])
    const run = client.start('chat', {})
    await expect(run.result).rejects.toMatchObject({ code: 'connection_lost', message: 'the client is closed' })
  })
})

describe('a silent server', () => {
  test('is sent a PING after 10 s, and left 10 s later', async () => {
    const { server, client } = connected()
    client.start('chat', {})
    await server.time.advance(9_999)
    expect(server.socket.all('ping')).toEqual([])
    await server.time.advance(1)
    expect(server.socket.all('ping')).toHaveLength(1)
    await server.time.advance(9_999)
    expect(client.status).toBe('open')
    await server.time.advance(1)
    expect([client.status, server.socket.closeCode]).toEqual(['lost', null])
  })

  test('that answers in time is not left', async () => {
    const { server, client } = connected()
    for (let n = 0; n < 10; n++) {
      await server.time.advance(9_000)
      server.socket.say({ kind: 'pong', nonce: 1 })
    }
    expect([client.status, server.socket.all('ping').length]).toEqual(['open', 0])
  })

  test('is waited for as long as its WELCOME says', async () => {
    const server = new ScriptedServer()
    const client = server.client()
    client.start('chat', {})
    server.socket.welcome({ heartbeatMs: 1_000, pongMs: 500 })
    await server.time.advance(1_000)
    expect(server.socket.all('ping')).toHaveLength(1)
    await server.time.advance(500)
    expect(client.status).toBe('lost')
  })

  test('is sent a PING again, and not left, by a timer that slept with the machine', async () => {
    const { server, client } = connected()
    client.start('chat', {})
    server.sleep(3_600_000)
    await server.time.advance(10_000)
    expect([client.status, server.socket.all('ping').length]).toEqual(['open', 1])
    await server.time.advance(10_000)
    expect(client.status).toBe('lost')
  })
})
