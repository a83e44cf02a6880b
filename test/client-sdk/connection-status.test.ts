import { describe, expect, test } from 'vitest'
import type { Client, ClientOptions, MillraceError, Status } from '../../client-sdk/index.ts'
import { createClient } from '../../client-sdk/node.ts'
import { CLOSE } from '../../protocol/errors.ts'
import { done, opened, ScriptedServer, ScriptedSocket, text } from '../helpers/scripted-server.ts'

type Change = [status: Status, message?: string]

/** A client whose every change of status is written down, with the error's message. */
function watched(options: ClientOptions = {}) {
  const server = new ScriptedServer()
  const changes: Change[] = []
  const errors: MillraceError[] = []
  const onStatus = (status: Status, error?: MillraceError): void => {
    changes.push(error ? [status, error.message] : [status])
    if (error) errors.push(error)
  }
  const client = server.client({ onStatus, ...options })
  return { server, client, changes, errors }
}

describe('onStatus says why', () => {
  test('a connection is lost: the close code and the reason of the server', () => {
    const { server, client, changes, errors } = watched()
    client.start('chat', {}).detach()
    client.start('chat', {})
    server.socket.welcome()
    server.socket.end(1012, 'the service restarts')
    expect(changes).toEqual([['connecting'], ['open'], ['lost', 'the server closed with 1012: the service restarts']])
    expect(errors[0]).toMatchObject({ code: 'connection_lost', retryable: true })
  })

  test('a connection cannot be made: the error of the WebSocket', () => {
    const { server, client, changes, errors } = watched()
    client.start('chat', {})
    const cause = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })
    server.socket.fail(cause)
    expect(changes[1]).toEqual(['lost', 'ws://scripted cannot be reached: connect ECONNREFUSED'])
    expect(errors[0]).toMatchObject({ code: 'connection_lost', cause })
  })

  test('a server does not answer, or a token does not come, in time', async () => {
    const silent = watched({ connectMs: 4_000 })
    silent.client.start('chat', {})
    await silent.server.time.advance(2_000)
    expect(silent.changes[1]).toEqual(['lost', 'no answer within 2000 ms'])
    const waiting = watched({ token: () => new Promise<string>(() => {}) })
    const run = waiting.client.start('chat', {})
    await waiting.server.time.advance(5_000)
    expect(waiting.changes[1]).toEqual(['lost', 'no credentials within 5000 ms'])
    await waiting.server.time.advance(5_000)
    await expect(run.result).rejects.toMatchObject({ message: 'no credentials within 5000 ms' })
  })

  test.each([
    [
      'throws',
      () => {
        throw new Error('login is down')
      },
      'no credentials: login is down',
    ],
    ['rejects', () => Promise.reject(new Error('login is down')), 'no credentials: login is down'],
    ['rejects with nothing', () => Promise.reject(undefined as unknown as Error), 'no credentials: undefined'],
  ])('the token function fails: it %s', async (_, token, message) => {
    const { server, client, changes, errors } = watched({ token })
    client.start('chat', {})
    await server.settle()
    expect(changes).toEqual([['connecting'], ['lost', message]])
    expect(errors[0]).toMatchObject({ code: 'connection_lost', retryable: true })
  })

  test('a connection is closed, with the same error as its runs', async () => {
    const { server, client, errors, changes } = watched()
    const run = client.start('chat', {})
    server.socket.welcome()
    server.socket.end(4403, 'this page may not connect')
    expect(changes.at(-1)).toEqual(['closed', 'the server closed with 4403: this page may not connect'])
    const failure = await run.result.catch((error: unknown) => error)
    expect(failure).toMatchObject({ code: 'forbidden', message: errors[0]!.message })
  })

  test('credentials are refused: the words of the NOTICE', async () => {
    const { server, client, changes } = watched({ token: 'old' })
    const run = client.start('chat', {})
    server.socket.open()
    server.socket.say({ kind: 'notice', code: 'unauthenticated', message: 'the credentials were refused' })
    server.socket.end(4401, 'the credentials were refused')
    expect(changes.at(-1)).toEqual(['closed', 'the credentials were refused'])
    await expect(run.result).rejects.toMatchObject({ code: 'unauthenticated' })
  })

  test('and gives no error for a close of the application', async () => {
    const { server, client, changes } = watched()
    client.connect()
    server.socket.welcome()
    await client.close()
    expect(changes).toEqual([['connecting'], ['open'], ['closed']])
  })

  test('and forgets an old reason once it is connected', async () => {
    const { server, client, changes } = watched()
    client.start('chat', {})
    server.socket.open()
    server.socket.say({ kind: 'notice', code: 'unauthenticated', message: 'an old reason' })
    server.socket.end(1012, 'again')
    await server.reconnected()
    server.socket.end()
    expect(changes.filter(([status]) => status === 'lost').at(-1)).toEqual(['lost', 'ws://scripted cannot be reached'])
  })
})

describe('an address that is none', () => {
  test.each(['nonsense', 'ws://127.0.0.1:99999', 'ftp://127.0.0.1'])('%s closes the client at once', async (url) => {
    const changes: [Status, string | undefined][] = []
    const client = createClient(url, { onStatus: (status, error) => changes.push([status, error?.code]) })
    const run = client.start('chat', {})
    expect(changes).toEqual([
      ['connecting', undefined],
      ['closed', 'bad_request'],
    ])
    await expect(run.result).rejects.toMatchObject({ code: 'bad_request', cause: expect.any(SyntaxError) })
  })

  test('is the same with a token function, and so are credentials that cannot travel', async () => {
    const token = (): string => 'token'
    await expect(createClient('nonsense', { token }).ask('chat', {})).rejects.toMatchObject({ code: 'bad_request' })
    const { client, server } = watched({ auth: () => Symbol('no data') })
    await expect(client.ask('chat', {})).rejects.toMatchObject({ code: 'bad_request' })
    expect([client.status, server.time.pending]).toEqual(['closed', 0])
  })
})

describe('connect', () => {
  test('opens a connection again after the server has refused the credentials, with new ones', async () => {
    let token = 'old'
    const { server, client } = watched({ token: () => token })
    const before = client.start('chat', {})
    for (let n = 0; n < 2; n++) {
      while (server.sockets.length === n) await server.time.advance(100)
      server.socket.open()
      server.socket.end(4401)
    }
    expect(client.status).toBe('closed')
    await expect(before.result).rejects.toMatchObject({ code: 'unauthenticated' })
    await expect(client.ask('chat', {})).rejects.toMatchObject({ code: 'unauthenticated' })
    token = 'new'
    client.connect()
    await server.settle()
    server.socket.welcome()
    expect([client.status, server.socket.last('hello').auth]).toEqual(['open', 'new'])
    const run = client.start('chat', {})
    await server.settle()
    server.socket.say(opened(1), text(1, 1, 'a'), done(1, 2))
    expect(await run.result).toBe('a')
  })

  test('allows one more try for refused credentials each time', async () => {
    const { server, client } = watched({ token: () => 'wrong' })
    for (let round = 1; round <= 2; round++) {
      client.connect()
      const run = client.start('chat', {})
      for (let n = 0; n < 2; n++) {
        while (server.sockets.length < 2 * round - 1 + n) await server.time.advance(100)
        server.socket.open()
        server.socket.end(4401)
      }
      await expect(run.result).rejects.toMatchObject({ code: 'unauthenticated' })
      await server.time.advance(60_000)
      expect(server.sockets).toHaveLength(2 * round)
    }
  })

  test('opens a closed client again, as the same client instance', async () => {
    const { server, client, changes } = watched()
    client.connect()
    server.socket.welcome()
    const first = server.socket.last('hello')
    await client.close()
    client.connect()
    server.socket.welcome()
    const again = server.socket.last('hello')
    expect([again.client, again.attempt]).toEqual([first.client, first.attempt + 1])
    expect(changes.map(([status]) => status)).toEqual(['connecting', 'open', 'closed', 'connecting', 'open'])
  })

  test('during a close keeps the connection, as in React StrictMode', async () => {
    const { server, client } = watched()
    client.connect()
    const closing = client.close()
    client.connect()
    await closing
    server.socket.welcome()
    expect([client.status, server.sockets.length, server.socket.closeCode]).toEqual(['open', 1, undefined])
  })

  test('may be called by onStatus itself, and so may close', async () => {
    const server = new ScriptedServer()
    const client: Client = server.client({
      onStatus: (status) => {
        if (status === 'closed' && server.sockets.length === 1) client.connect()
        if (status === 'lost') void client.close({ runs: 'detach' })
      },
    })
    const run = client.start('chat', {})
    server.socket.welcome()
    server.socket.end(4403)
    await expect(run.result).rejects.toMatchObject({ code: 'forbidden' })
    expect([client.status, server.sockets.length]).toEqual(['connecting', 2])
    client.start('chat', {})
    server.socket.end()
    await server.time.advance(60_000)
    expect([client.status, server.sockets.length, server.time.pending]).toEqual(['closed', 2, 0])
  })
})

describe('a client that is closed while it connects', () => {
  test('does not close a WebSocket that is still connecting, but once it is open', async () => {
    const { server, client } = watched()
    client.connect()
    await client.close()
    expect([client.status, server.socket.closeCode]).toEqual(['closed', undefined])
    server.socket.open()
    expect(server.socket.closeCode).toBe(CLOSE.done)
    expect([server.socket.messages, server.time.pending]).toEqual([[], 0])
  })

  test('leaves one alone whose connection fails', async () => {
    const { server, client, changes } = watched()
    client.connect()
    await client.close()
    server.socket.fail(new Error('no network'))
    expect([client.status, server.socket.closeCode]).toEqual(['closed', undefined])
    expect(changes).toEqual([['connecting'], ['closed']])
  })

  test('ends a WebSocket at once that can be ended', async () => {
    let ends = 0
    class Endable extends ScriptedSocket {
      terminate(): void {
        ends++
      }
    }
    const { client } = watched({ WebSocket: Endable })
    client.connect()
    await client.close()
    expect(ends).toBe(1)
  })

  test('gives up one that does not answer in time at once: the next try must not wait for it', async () => {
    const { server, client } = watched()
    client.start('chat', {})
    await server.time.advance(5_000)
    expect([client.status, server.socket.closeCode]).toEqual(['lost', null])
  })
})

describe('client.onStatus', () => {
  test('gives the present status with its reason, and then each change, until it is ended', async () => {
    const { server, client } = watched()
    client.start('chat', {})
    server.socket.end(1012, 'the service restarts')
    const changes: Change[] = []
    const stop = client.onStatus((status, error) => void changes.push(error ? [status, error.message] : [status]))
    const reason = 'the server closed with 1012: the service restarts'
    expect(changes).toEqual([['lost', reason]])
    client.connect()
    await client.close()
    expect(changes).toEqual([['lost', reason], ['closed']])
    stop()
    client.connect()
    expect(changes).toHaveLength(2)
  })

  test('gives a listener the newest status only, where another one has changed it', async () => {
    const { client } = watched()
    client.onStatus((status) => {
      if (status === 'closed') client.connect()
    })
    const statuses: Status[] = []
    client.onStatus((status) => void statuses.push(status))
    client.connect()
    await client.close()
    expect(client.status).toBe('connecting')
    expect(statuses.filter((status, at) => status !== statuses[at - 1])).toEqual(['idle', 'connecting'])
  })
})
