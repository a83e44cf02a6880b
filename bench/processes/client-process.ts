/** The process of clients: reads what one peer sends, and checks it. */
import { subscribe } from 'node:diagnostics_channel'
import type { Socket } from 'node:net'
import type { PeerClient } from '../peers/peer.ts'
import { PEERS, type PeerName } from '../peers/peers.ts'
import { machineUs, pass, until } from '../stage/clock.ts'
import { answerCommands } from '../stage/commands.ts'
import { beginWindow, spentInWindow } from './cpu-window.ts'
import { watchers } from './fan-out-reader.ts'
import { memory } from './memory.ts'
import type { TokenRequest } from './token-source.ts'
import { LARGE, WORDS } from './token-text.ts'

export type ClientProcessOptions = { peer: PeerName; port: number }

const { peer, port } = JSON.parse(process.argv[2]!) as ClientProcessOptions
const found = PEERS[peer]()

/** All sockets that this process ever opened. What came over them is counted here, whichever reader takes it. */
const sockets = new Set<Socket>()
subscribe('net.client.socket', (message) => {
  sockets.add((message as { socket: Socket }).socket)
})

let clients: PeerClient[] = []
let connected = 0
/** Whether clients come back from a loss without the delay that spreads them. */
let atOnce = false

/** Where the streams that are read stand. */
const reading = {
  streams: 0,
  running: 0,
  tokens: 0,
  latenciesUs: [] as number[],
  /** Of each running stream: when its tokens that say their time were made and came, since the last cut. */
  stamps: new Map<string, { made: number; came: number }[]>(),
  fault: undefined as string | undefined,
}
/** One that was read up to a point, and is read no further. */
let unread: AsyncIterator<string> | undefined

const commands = {
  /** Opens connections, a few at a time. */
  async connect(connections: number): Promise<void> {
    const one = await found
    for (let left = connections; left > 0; left -= 50)
      clients.push(
        ...(await Promise.all(
          Array.from({ length: Math.min(50, left) }, () => one.connect(port, ++connected, atOnce)),
        )),
      )
  },

  async disconnect(): Promise<void> {
    await Promise.all(clients.map((client) => client.close()))
    clients = []
  },

  /** Begins streams, so many on each connection, and reads them until they end. */
  read({ perConnection, request, credit }: Reading): void {
    reading.fault = undefined
    reading.tokens = 0
    reading.latenciesUs = []
    for (const client of clients)
      for (let n = 0; n < perConnection; n++)
        void readOne(client, { ...request, id: `${request.id}-${++reading.streams}` }, credit)
  },

  /** Resolves when all streams have ended. Fails when a token was lost or out of place. */
  async finished(): Promise<{ tokens: number }> {
    await until(() => reading.running === 0 || reading.fault !== undefined, 50_000, 'the end of all streams')
    if (reading.fault !== undefined) throw new Error(reading.fault)
    return { tokens: reading.tokens }
  },

  /** Tokens since the last `read`. Fails as `finished` does. */
  soFar(): { tokens: number; us: number } {
    if (reading.fault !== undefined) throw new Error(reading.fault)
    return { tokens: reading.tokens, us: machineUs() }
  },

  /** What tokens that say their time took, since this was last asked. */
  latencies(): number[] {
    return reading.latenciesUs.splice(0)
  },

  /** Bytes that came over all sockets so far. */
  bytes: (): number => [...sockets].reduce((sum, socket) => sum + socket.bytesRead, 0),

  /** A window begins. */
  begin: (): number => beginWindow(),

  /** What was spent since the window began: what reads and checks the tokens is in it. */
  spent: () => spentInWindow(),

  memory: () => memory(),

  /** From now on clients are connected that come back at once. */
  returnAt(_once: 'once'): void {
    atOnce = true
  },

  /** Milliseconds from a cut at `cutAt` to the first token of each stream that was made after it. */
  async recovered(cutAt: number): Promise<number[]> {
    const came = (): (number | undefined)[] =>
      [...reading.stamps.values()].map((stamps) => stamps.find(({ made }) => made > cutAt)?.came)
    const isBack = (): boolean => reading.fault !== undefined || !came().includes(undefined)
    await until(isBack, 20_000, 'the return of all streams')
    if (reading.fault !== undefined) throw new Error(reading.fault)
    const ms = came().map((at) => (at! - cutAt) / 1_000)
    for (const stamps of reading.stamps.values()) stamps.length = 0
    return ms
  },

  /** Connects one after the other; how long each took to its first token, in microseconds. */
  async anew(count: number): Promise<number[]> {
    const one = await found
    const took: number[] = []
    for (let n = 0; n < count; n++) {
      const from = machineUs()
      const client = await one.connect(port, ++connected, false)
      const iterator = client.read({ id: `anew-${n}`, pace: { type: 'full' }, tokens: 1 })[Symbol.asyncIterator]()
      await iterator.next()
      took.push(machineUs() - from)
      await client.close()
    }
    return took
  },

  /** Starts runs one after the other; how long each took to its first token, in microseconds. */
  async starts({ count, request }: { count: number; request: TokenRequest }): Promise<number[]> {
    const took: number[] = []
    for (let n = 0; n < count; n++) {
      const from = machineUs()
      const iterator = clients[0]!.read({ ...request, id: `${request.id}-${n}` })[Symbol.asyncIterator]()
      await iterator.next()
      took.push(machineUs() - from)
      while (!(await iterator.next()).done);
    }
    return took
  },

  /** Starts a run that the server refuses; how long that took, in milliseconds. */
  async refused(request: TokenRequest): Promise<number> {
    const from = machineUs()
    const iterator = clients[0]!.read(request)[Symbol.asyncIterator]()
    await iterator.next().then(
      () => Promise.reject(new Error('the run was not refused')),
      () => {},
    )
    return (machineUs() - from) / 1_000
  },

  /**
   * Starts runs one after the other, waits a little after the first token, and cancels. With `atOnce` it never waits.
   * @returns when each was cancelled, in `machineUs`.
   */
  async cancels({ count, request, atOnce = false }: Cancels): Promise<{ id: string; at: number }[]> {
    const cancelled: { id: string; at: number }[] = []
    for (let n = 0; n < count; n++) {
      const id = `${request.id}-${n}`
      const iterator = clients[0]!.read({ ...request, id })[Symbol.asyncIterator]()
      await iterator.next()
      if (!atOnce) await pass(4 + 4 * Math.random())
      cancelled.push({ id, at: machineUs() })
      await iterator.return?.()
      if (!atOnce) await pass(1 + 2 * Math.random())
    }
    return cancelled
  },

  /** Starts runs and reads one token of each, then stops reading the sockets. */
  async clog({ count, request, credit }: { count: number; request: TokenRequest; credit: number }): Promise<void> {
    clogged = []
    for (let n = 0; n < count; n++) {
      const id = `${request.id}-${n}`
      const iterator = clients[0]!.read({ ...request, id }, credit)[Symbol.asyncIterator]()
      await iterator.next()
      clogged.push({ id, iterator })
    }
    for (const socket of sockets) socket.pause()
  },

  /** Cancels them one after the other. */
  async unclog(): Promise<{ id: string; at: number }[]> {
    const cancelled: { id: string; at: number }[] = []
    for (const { id, iterator } of clogged) {
      cancelled.push({ id, at: machineUs() })
      void iterator.return?.()
      await pass(4 + 4 * Math.random())
    }
    for (const socket of sockets) socket.resume()
    return cancelled
  },

  /** Begins one more stream on the first connection, reads so many tokens, and then reads no further. */
  async readPart({ request, take, credit }: { request: TokenRequest; take: number; credit?: number }): Promise<void> {
    unread = clients[0]!.read(request, credit)[Symbol.asyncIterator]()
    for (let n = 0; n < take; n++) await unread.next()
  },

  async leavePart(): Promise<void> {
    await unread?.return?.()
    unread = undefined
  },

  /** Clients of the fan-out, which only take messages off their sockets until they are asked what came. */
  ...watchers(peer, port),
}

let clogged: { id: string; iterator: AsyncIterator<string> }[] = []

export type Cancels = { count: number; request: TokenRequest; atOnce?: boolean }

export type Reading = { perConnection: number; request: TokenRequest; credit?: number }

async function readOne(client: PeerClient, request: TokenRequest, credit: number | undefined): Promise<void> {
  const { pace, large } = request
  reading.running++
  let n = 0
  let lastMade = 0
  const stamps: { made: number; came: number }[] = []
  reading.stamps.set(request.id, stamps)
  try {
    for await (const text of client.read(request, credit)) {
      const expected = large ? LARGE : WORDS[n % WORDS.length]!
      n++
      reading.tokens++
      if (pace.type === 'paced' || (pace.type === 'bursts' && n % pace.size === 1)) {
        const made = Number.parseInt(text, 36)
        const came = machineUs()
        reading.latenciesUs.push(came - made)
        stamps.push({ made, came })
        if (made < lastMade) reading.fault ??= `token ${n} of ${request.id} was made before the one before it`
        lastMade = made
      } else if (text !== expected) {
        reading.fault ??= `token ${n} of ${request.id} was ${JSON.stringify(text.slice(0, 20))}`
        return
      }
    }
    if (n !== request.tokens && request.tokens < ENDLESS) reading.fault ??= `${n} of ${request.tokens} tokens arrived`
  } catch (error) {
    reading.fault ??= error instanceof Error ? error.message : String(error)
  } finally {
    reading.running--
    reading.stamps.delete(request.id)
  }
}

/** A stream of so many is ended by the server. */
const ENDLESS = 1_000_000_000

export type ClientCommands = typeof commands

answerCommands(commands)
