import type { Transport } from '../transports/transport.ts'
import { ws } from '../transports/ws.ts'
import { EXIT, Failure, messageOf } from './exit.ts'

/**
 * Makes the transport with the given name: `ws`, or `uws`, whose package it loads.
 * @throws Failure for an unknown transport, and for a package that is not installed or does not support this machine.
 * Its one line says what to do.
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
      throw new Failure(EXIT.usage, `unknown transport ${named}; known transports: ws, uws`)
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
