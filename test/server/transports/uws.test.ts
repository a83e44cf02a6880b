import uWS from 'uWebSockets.js'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { createClient } from '../../../client-sdk/node.ts'
import { uws } from '../../../server/transports/uws.ts'
import { transportSuite } from '../../conformance/transport.ts'
import { testServer } from '../../helpers/server.ts'
import { counted, counter } from '../../helpers/test-actors.ts'
import { onUws } from '../../helpers/transports.ts'

transportSuite(onUws, { ownPort: true })

/** A self-signed certificate for 127.0.0.1, good for a hundred years, and its key. */
const keyFile = fileURLToPath(new URL('../../helpers/tls/key.pem', import.meta.url))
const certFile = fileURLToPath(new URL('../../helpers/tls/cert.pem', import.meta.url))

test('uws speaks TLS with the files it is given, and its server says wss', async () => {
  const count = counter()
  await using server = await testServer({ count }, { transport: uws({ module: uWS, ssl: { keyFile, certFile } }) })
  expect(server.url).toMatch(/^wss:/)
  class Trusting extends WebSocket {
    constructor(url: string | URL, protocols?: string | string[]) {
      super(url, protocols, { rejectUnauthorized: false })
    }
  }
  const client = createClient<{ count: typeof count }>(server.url, { token: 'alice', WebSocket: Trusting })
  expect(await client.start('count', 1_000).result).toBe(counted(1, 1_000))
  await client.close()
})

test('uws names the files with which it could not speak TLS', async () => {
  const transport = uws({ module: uWS, ssl: { keyFile: '/nowhere/key.pem', certFile } })
  const host = { verify: () => ({ ok: true }) as const, accept: () => undefined as never }
  const listening = transport.listen(
    host,
    { maxMessage: 1_000, maxBuffered: 1_000, silentMs: 30_000 },
    { port: 0, host: '127.0.0.1' },
  )
  await expect(listening).rejects.toMatchObject({
    code: 'bad_request',
    message: `cannot set up TLS with /nowhere/key.pem and ${certFile}: check both files and the passphrase`,
  })
})
