import { describe, expect, test } from 'vitest'
import { nodeRuntime } from '../../../server/runtime.ts'
import { memoryStore } from '../../../server/stores/memory-store.ts'
import { FailingStore } from '../../helpers/failing-store.ts'
import { httpServed } from '../../helpers/http-served.ts'
import { silent } from '../../helpers/test-actors.ts'

const actors = { silent: silent() }

describe('a probe without credentials', () => {
  test('is told that the server is alive and ready, by a server that takes runs', async () => {
    await using server = await httpServed(actors)
    for (const [path, status] of [
      ['/healthz', 'alive'],
      ['/readyz', 'ready'],
    ] as const) {
      const response = await fetch(`${server.httpUrl}${path}`)
      expect(response.status).toBe(200)
      expect(response.headers.get('cache-control')).toBe('no-store')
      expect(await response.json()).toEqual({ status })
    }
  })

  test('is told that a server that is closed by and by takes no runs, and is still alive', async () => {
    await using server = await httpServed(actors)
    await using client = await server.client()
    client.start(1, 'silent', null)
    await client.next('opened', 1)
    const closed = server.server.close({ drainMs: 60_000 })
    const ask = (path: string): Promise<Response> => server.server.fetch(new Request(`${server.httpUrl}${path}`))
    const ready = await ask('/readyz')
    expect(ready.status).toBe(503)
    expect(await ready.json()).toMatchObject({ code: 'draining' })
    expect((await ask('/healthz')).status).toBe(200)
    await server.server.close({ drainMs: 0 })
    await closed
  })

  test('is told that a server whose store fails takes no runs, until it works again', async () => {
    const store = new FailingStore(memoryStore(), nodeRuntime)
    await using server = await httpServed(actors, { store })
    await using client = await server.client()
    const ready = async (): Promise<number> => (await fetch(`${server.httpUrl}/readyz`)).status
    const becomes = async (status: number): Promise<void> => {
      while ((await ready()) !== status);
    }
    expect(await ready()).toBe(200)
    store.faults.isFull = true
    client.start(1, 'silent', null)
    await becomes(503)
    expect(await (await fetch(`${server.httpUrl}/readyz`)).json()).toMatchObject({ code: 'store_unavailable' })
    expect((await fetch(`${server.httpUrl}/healthz`)).status).toBe(200)
    store.faults.isFull = false
    await becomes(200)
  })

  test('is answered while the server has as many connections as it may', async () => {
    await using server = await httpServed(actors, { limits: { maxConnectionsTotal: 2 } })
    await using _one = await server.client()
    await using _two = await server.client()
    expect((await server.http().request('GET', '/runs')).status).toBe(503)
    for (let n = 0; n < 5; n++) {
      expect((await fetch(`${server.httpUrl}/readyz`)).status).toBe(200)
      expect((await fetch(`${server.httpUrl}/healthz`)).status).toBe(200)
    }
    expect((await server.http().request('GET', '/runs')).status).toBe(503)
  })

  test('of a page is answered by the rules of origins, like every other request', async () => {
    await using server = await httpServed(actors)
    const headers = { origin: 'https://elsewhere.example' }
    expect((await fetch(`${server.httpUrl}/readyz`, { headers })).status).toBe(403)
  })
})
