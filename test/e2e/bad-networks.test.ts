import { expect, test } from 'vitest'
import type { StreamEvent } from '../../client-sdk/index.ts'
import { createClient } from '../../client-sdk/node.ts'
import { mixedActor, withoutTimes } from '../helpers/mixed-run.ts'
import { readAll } from '../helpers/read-all.ts'
import { eventually, testServer } from '../helpers/server.ts'
import { type Fault, TcpProxy } from '../helpers/tcp-proxy.ts'

const actors = { mixed: mixedActor() }

async function read(url: string, options: Parameters<typeof createClient>[1], rounds = 1): Promise<object[]> {
  const client = createClient<typeof actors>(url, { token: 'alice', ...options })
  const events = await readAll(client.start('mixed', { rounds }, { credit: 16 }))
  await client.close()
  return withoutTimes(events)
}

async function throughProxy(fault: Fault, options: Parameters<typeof createClient>[1] = {}): Promise<void> {
  await using server = await testServer(actors)
  await using proxy = await TcpProxy.to(Number(new URL(server.url).port))
  proxy.plan = (n) => (n === 0 ? fault : {})
  expect(await read(proxy.url, options)).toEqual(await read(server.url, {}))
}

test('a run arrives whole over a link with 200 ms of delay', async () => {
  await throughProxy({ delayMs: 200 })
})

test('a run arrives whole over a link of 64 KB/s', async () => {
  await throughProxy({ bytesPerSec: 65_536 })
})

test('a connection that is never answered leaves time for another try', async () => {
  // The server sees it come and go; the client does not.
  await throughProxy({ bytesDown: 0, learns: 'server' }, { connectMs: 1_000, delays: { quickMs: 5 } })
})

test('a connection that falls silent is left for another one, on which the run goes on', async () => {
  await throughProxy({ bytesDown: 900, learns: 'server' }, { delays: { heartbeatMs: 50, pongMs: 50, quickMs: 5 } })
})

test('the server gives up a client that vanished, and its run waits for it', async () => {
  await using server = await testServer(actors, { limits: { heartbeatMs: 40, pongMs: 40 } })
  await using proxy = await TcpProxy.to(Number(new URL(server.url).port))
  const client = createClient<typeof actors>(proxy.url, {
    token: 'alice',
    delays: { heartbeatMs: 60_000, quickMs: 5 },
  })
  const events: StreamEvent[] = []
  for await (const event of client.start('mixed', { rounds: 3 }, { credit: 8 })) {
    events.push(event)
    if (events.length !== 5) continue
    proxy.connections[0]!.freeze()
    await eventually(() => server.server.connections === 0, 'the server gives the connection up')
    expect(server.server.liveRuns).toBe(1)
    proxy.connections[0]!.cut('client')
  }
  expect(withoutTimes(events)).toEqual(await read(server.url, {}, 3))
  await client.close()
})
