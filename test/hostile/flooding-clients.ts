import { encodeUp } from '../../protocol/encode.ts'
import type { UpFrame } from '../../protocol/frames.ts'
import { OPCODE, RawSocket, rawFrame } from '../helpers/raw-socket.ts'
import type { ServerProcess } from '../helpers/server-process.ts'
import type { WireClient } from '../helpers/wire-client.ts'

const PAIRS_PER_MESSAGE = 32
/** The most starts that may wait for their ends. */
const MOST_OPEN = 1_000

/** Starts a silent run and cancels it, `count` times, at most `perSec` a second. Resolves when the last has ended. */
export async function startAndCancel(
  client: WireClient,
  count: number,
  perSec: number,
  firstSid: number,
): Promise<void> {
  const startedAt = performance.now()
  const next = firstSid + count
  let ended = 0
  let heard = (): void => {}
  let failed = (_why: Error): void => {}
  const listener = (): void => {
    ended += client.frames.filter((frame) => frame.kind === 'end').length
    // Frames are counted and dropped: keeping them would only measure this side.
    ;(client.frames as unknown[]).length = (client.messages as unknown[]).length = 0
    heard()
  }
  client.socket.on('message', listener)
  client.socket.once('close', (code) => failed(new Error(`the server closed the connection with ${code}`)))
  /** Resolves when no more than `most` of those that were sent have not ended. */
  const settled = (sent: number, most: number): Promise<void> =>
    new Promise((resolve, reject) => {
      failed = reject
      heard = () => {
        if (sent - ended <= most) resolve()
      }
      heard()
    })
  for (let sid = firstSid; sid < next; ) {
    const frames: UpFrame[] = []
    for (let n = 0; n < PAIRS_PER_MESSAGE && sid < next; n++, sid++) {
      frames.push({ kind: 'start', sid, actor: 'sleep', input: { ms: 60_000 }, options: {} }, { kind: 'cancel', sid })
    }
    client.send(...frames)
    const dueMs = ((sid - firstSid) / perSec) * 1000 - (performance.now() - startedAt)
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, dueMs)))
    // A server that has no time is not flooded with what it would have to close the connection for.
    await settled(sid - firstSid, MOST_OPEN)
  }
  await settled(count, 0)
  client.socket.off('message', listener)
}

/** Watches the list of its runs and leaves it in the same message, `count` times; of every tenth it waits for the answer. */
export async function askAndLeave(client: WireClient, count: number, firstSid: number): Promise<void> {
  for (let sid = firstSid; sid < firstSid + count; sid++) {
    client.send({ kind: 'list', sid, watch: true })
    if (sid % 10 === 0) await client.find((frame) => frame.kind === 'listed' && frame.sid === sid && !frame.run)
    client.send({ kind: 'detach', sid })
    // Frames are counted and dropped: keeping them would only measure this side.
    ;(client.frames as unknown[]).length = (client.messages as unknown[]).length = 0
  }
  await client.settle()
}

/** Connects, starts a run and is gone without a word, `count` times: each as a client instance of its own. */
export async function abandonSessions(server: ServerProcess, count: number, who: (n: number) => string): Promise<void> {
  const numbers = Array.from({ length: count }, (_, n) => n).values()
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      for (const n of numbers) {
        const raw = await RawSocket.open(server.url)
        const client = crypto.getRandomValues(new Uint8Array(16))
        const start: UpFrame = { kind: 'start', sid: 1, actor: 'sleep', input: { ms: 3_600_000 }, options: {} }
        raw.message(encodeUp([{ kind: 'hello', auth: who(n), client, attempt: 1 }, start]))
        await raw.until(() => raw.frames.length > 0, 'WELCOME')
        raw.socket.resetAndDestroy()
      }
    }),
  )
}

/** A client that has said HELLO, sends `chunk` for as long as it is taken, and never reads. Resolves when it is cut off. */
export async function neverReads(url: string, chunk: Uint8Array, maxBytes: number): Promise<number> {
  const raw = await RawSocket.open(url)
  const { socket } = raw
  raw.message(
    encodeUp([{ kind: 'hello', auth: 'mallory', client: crypto.getRandomValues(new Uint8Array(16)), attempt: 1 }]),
  )
  await raw.until(() => raw.frames.length > 0, 'WELCOME')
  socket.pause()
  let sent = 0
  await new Promise<void>((resolve) => {
    socket.once('close', () => resolve())
    const send = (): void => {
      while (sent < maxBytes && !socket.destroyed) {
        sent += chunk.length
        if (!socket.write(chunk)) {
          socket.once('drain', () => setImmediate(send))
          return
        }
      }
      // A paused socket does not notice its end by itself.
      socket.resume()
    }
    send()
  })
  return sent
}

/** Connects, says HELLO and `message`, and is closed, over and over for `ms`. Resolves with how often. */
export async function attackFor(ms: number, url: string, message: Uint8Array): Promise<number> {
  const end = performance.now() + ms
  let attacks = 0
  for (; performance.now() < end; attacks++) {
    await using raw = await RawSocket.open(url)
    const hello: UpFrame = {
      kind: 'hello',
      auth: 'mallory',
      client: crypto.getRandomValues(new Uint8Array(16)),
      attempt: 1,
    }
    raw.message(encodeUp([hello]))
    raw.message(message)
    // Some of them are legal: an empty one is not.
    raw.message(Buffer.alloc(0))
    await raw.end()
  }
  return attacks
}

/** As many copies of a WebSocket ping of the largest payload as fit in 64 KiB. */
export function socketPings(): Uint8Array {
  const ping = rawFrame(Buffer.alloc(125, 0x70), { opcode: OPCODE.ping })
  return Buffer.concat(Array.from({ length: 500 }, () => ping))
}
