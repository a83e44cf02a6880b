import { describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import {
  type Client,
  type ClientOptions,
  createClient,
  type MillraceError,
  type Status,
} from '../../client-sdk/node.ts'
import { eventually, testServer } from '../helpers/server.ts'
import { counter } from '../helpers/test-actors.ts'
import { onUws, onWs } from '../helpers/transports.ts'

const count = counter()
type Actors = { count: typeof count }

/** A client, and the first error that `onStatus` gives it. */
function watched(url: string, options: ClientOptions = {}) {
  const changes: Status[] = []
  let first: (error: MillraceError) => void
  const error = new Promise<MillraceError>((resolve) => (first = resolve))
  const client: Client<Actors> = createClient<Actors>(url, {
    token: 'alice',
    onStatus: (status, why) => {
      changes.push(status)
      if (why) first(why)
    },
    ...options,
  })
  return { client, changes, error }
}

/** As in a browser: a page of that origin, whose errors have no message. */
function pageOf(origin: string): NonNullable<ClientOptions['WebSocket']> {
  return class extends WebSocket {
    constructor(url: string, protocol: string) {
      super(url, protocol, { headers: { origin } })
    }
  }
}

describe.each([onWs, onUws])('a client of a server on $name learns at once', (transport) => {
  test('that its address is none', async () => {
    await using server = await testServer({ count }, {}, transport)
    const { client, changes, error } = watched(`${server.url}999`)
    const answer = client.ask('count', 3)
    expect(await error).toMatchObject({ code: 'bad_request', message: expect.stringContaining('Invalid URL') })
    await expect(answer).rejects.toBe(await error)
    expect(changes).toEqual(['connecting', 'closed'])
  })

  test('that nobody listens on the port, and goes on trying', async () => {
    const gone = await testServer({ count }, {}, transport)
    await gone[Symbol.asyncDispose]()
    const { client, changes, error } = watched(gone.url)
    const answer = client.ask('count', 3)
    const message = `${gone.url} cannot be reached: connect ECONNREFUSED ${new URL(gone.url).host}`
    expect(await error).toMatchObject({ code: 'connection_lost', message, retryable: true })
    expect(changes).toEqual(['connecting', 'lost'])
    await client.close()
    await expect(answer).rejects.toMatchObject({ code: 'cancelled' })
  })

  test('that its page may not connect, and so does the operator', async () => {
    await using server = await testServer({ count }, {}, transport)
    const { client, changes, error } = watched(server.url, { WebSocket: pageOf('http://localhost:5173') })
    const answer = client.ask('count', 3)
    const message =
      'the server closed with 4403: this server does not accept pages of this origin: see its option `origins`'
    expect(await error).toMatchObject({ code: 'forbidden', message, retryable: false })
    await expect(answer).rejects.toMatchObject({ code: 'forbidden', message })
    expect(changes).toEqual(['connecting', 'closed'])
    const hint = expect.stringContaining('`origins`')
    expect(server.warnings).toMatchObject([{ event: 'origin.refused', origin: 'http://localhost:5173', hint }])
  })

  test('that its principal has too many connections, and so does the operator, and connects when one is free', async () => {
    await using server = await testServer({ count }, { limits: { maxConnections: 2 } }, transport)
    const others = [watched(server.url), watched(server.url)]
    for (const { client } of others) client.connect()
    await eventually(() => others.every(({ client }) => client.status === 'open'), 'two connections')
    const { client, changes, error } = watched(server.url, { delays: { backoffMs: 50, maxBackoffMs: 50 } })
    const answer = client.ask('count', 3)
    const message = 'the server closed with 4429: this principal has more than 2 connections'
    expect(await error).toMatchObject({ code: 'connection_lost', message, retryable: true })
    expect(changes).toEqual(['connecting', 'lost'])
    const reason = 'this principal has more than 2 connections'
    expect(server.warnings).toMatchObject([{ event: 'limit.met', code: 4429, reason }])
    await others[0]!.client.close()
    expect(await answer).toBe('1 2 3 ')
    for (const one of [client, others[1]!.client]) await one.close()
  })

  test('that its run will not come, with the same reason', async () => {
    await using server = await testServer({ count }, { limits: { maxConnections: 1 } }, transport)
    const other = watched(server.url)
    other.client.connect()
    await eventually(() => other.client.status === 'open', 'a connection')
    const { client } = watched(server.url, { connectMs: 200, delays: { backoffMs: 50, maxBackoffMs: 50 } })
    await expect(client.ask('count', 3)).rejects.toMatchObject({
      code: 'connection_lost',
      message: 'the server closed with 4429: this principal has more than 1 connections',
    })
    await other.client.close()
  })
})
