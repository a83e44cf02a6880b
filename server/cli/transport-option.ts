import type { Transport } from '../transports/transport.ts'
import { ws } from '../transports/ws.ts'
import { EXIT, Failure, messageOf } from './exit.ts'

/**
 * The transport that a person named: `ws` or `uws`, whose package is loaded only now.
 * @throws Failure with one line that says what to do: no such transport, package not installed, not for this machine.
 */
export async function parseTransport(named: string): Promise<Transport> {
  switch (named) {
    case 'ws':
      return ws()
    case 'uws': {
      const [{ uws }, module] = await Promise.all([import('../transports/uws.ts'), uWebSockets()])
      return uws({ module })
    }
    default:
      throw new Failure(EXIT.usage, `no transport ${named}: there is ws and uws`)
  }
}

async function uWebSockets() {
  try {
    return (await import('uWebSockets.js')).default
  } catch (error) {
    const isMissing = error instanceof Error && 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND'
    const [why = ''] = messageOf(error).split('\n')
    throw new Failure(
      EXIT.usage,
      isMissing
        ? '--transport uws needs the package uWebSockets.js: npm install uNetworking/uWebSockets.js'
        : `--transport uws does not work here: ${why}`,
      error,
    )
  }
}
