import { StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { expect, test } from 'vitest'
import { EndpointTransport } from '../../../../server/tools/mcp/endpoint-transport.ts'

test('a transport whose `onclose` closes it again is closed once', async () => {
  const transport = new EndpointTransport(new StreamableHTTPClientTransport(new URL('http://127.0.0.1:1/')))
  await transport.start()
  let closes = 0
  transport.onclose = () => {
    // Without a bound, a failure of this test would never end.
    if (++closes < 100) void transport.close()
  }
  await transport.close()
  await new Promise((resolve) => setImmediate(resolve))
  expect(closes).toBe(1)
})
