import { createServer as createVite } from 'vite'
import { expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { createClient } from '../../client-sdk/node.ts'
import { httpServed } from '../helpers/http-served.ts'
import { counted, counter } from '../helpers/test-actors.ts'

test('a page of a Vite server with a proxy starts, reads and stops runs, over its WebSocket and over plain HTTP', async () => {
  await using server = await httpServed({ count: counter() })
  const rewrite = (path: string): string => path.replace(/^\/agents/, '')
  const vite = await createVite({
    configFile: false,
    logLevel: 'silent',
    server: { port: 0, host: '127.0.0.1', proxy: { '/agents': { target: server.url, ws: true, rewrite } } },
  })
  try {
    await vite.listen()
    const { port } = vite.httpServer?.address() as { port: number }
    const origin = `http://127.0.0.1:${port}`
    /** A socket as a page of that server opens it. */
    class OfPage extends WebSocket {
      constructor(url: string, protocol: string) {
        super(url, protocol, { origin })
      }
    }
    const client = createClient(`ws://127.0.0.1:${port}/agents`, { token: 'alice', WebSocket: OfPage })
    const run = client.start('count', 3)
    let text = ''
    for await (const piece of run.text()) text += piece
    expect(text).toBe(counted(1, 3))
    const endless = client.start('count', 1e9)
    const { id } = await endless.opened
    const headers = { origin, authorization: 'Bearer alice', 'content-type': 'application/json' }
    const stopped = await fetch(`${origin}/agents/runs/${id}/cancel`, { method: 'POST', headers, body: '{}' })
    expect(await stopped.json()).toMatchObject({ outcome: 'cancelled' })
    expect(await endless.end).toMatchObject({ outcome: 'cancelled' })
    await client.close()
  } finally {
    await vite.close()
  }
})
