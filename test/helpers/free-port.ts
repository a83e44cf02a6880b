import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'

/**
 * A port on which nobody listens: binds it, and frees it again.
 * @param wanted Default: any.
 * @throws Error if it is in use.
 */
export async function freePort(host = '127.0.0.1', wanted = 0): Promise<number> {
  const probe = createServer().listen(wanted, host)
  await once(probe, 'listening')
  const { port } = probe.address() as AddressInfo
  probe.close()
  await once(probe, 'close')
  return port
}
