/** What a connection of this machine to itself takes for a reader that does not read: megabytes, and each kernel its own. */
import { once } from 'node:events'
import { type AddressInfo, createConnection, createServer } from 'node:net'
import type { Duplex } from 'node:stream'

const PIECE = Buffer.alloc(65_536)
/** A kernel that moves anything at all moves it sooner. */
const STUCK_MS = 250

/**
 * Measured, in bytes. A connection whose reader has read before holds more: kernels let the buffers of a busy reader grow.
 * Tests that compare with it allow for three times as much.
 */
export async function heldByLoopback(): Promise<number> {
  const server = createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const writer = createConnection({ port: (server.address() as AddressInfo).port, host: '127.0.0.1' })
  const [reader] = (await once(server, 'connection')) as [Duplex]
  let written = 0
  do written += PIECE.length
  while (writer.write(PIECE) || (await isDrained(writer)))
  const held = written - writer.writableLength
  writer.destroy()
  reader.destroy()
  server.close()
  return held
}

async function isDrained(writer: Duplex): Promise<boolean> {
  return once(writer, 'drain', { signal: AbortSignal.timeout(STUCK_MS) }).then(
    () => true,
    () => false,
  )
}
