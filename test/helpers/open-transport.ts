import type {
  Socket,
  SocketAcceptor,
  SocketEvents,
  Transport,
  TransportLimits,
  UpgradeRequest,
  UpgradeVerdict,
} from '../../server/index.ts'
import { eventually } from './server.ts'
import type { Reached, TransportUnderTest } from './transports.ts'

/** A socket that came in, and what was said of it. */
export class Accepted implements SocketEvents {
  readonly socket: Socket
  readonly subprotocol: 'known' | 'unknown'
  /** Binary messages, copied. */
  readonly messages: Buffer[] = []
  texts = 0
  /** Bytes reported before their message was complete. */
  arrivedBytes = 0
  drains = 0
  /** The codes with which its close was reported: one, in the end. */
  readonly codes: number[] = []
  /** Calls that may not happen. */
  readonly wrongs: string[] = []
  #isInside = false

  constructor(socket: Socket, subprotocol: 'known' | 'unknown') {
    this.socket = socket
    this.subprotocol = subprotocol
  }

  send(bytes: Uint8Array): ReturnType<Socket['send']> {
    const before = Buffer.from(bytes)
    const result = this.#inside(() => this.socket.send(bytes))
    if (!before.equals(bytes)) this.wrongs.push('send changed the bytes')
    return result
  }

  close(code: number, reason: string): void {
    this.#inside(() => this.socket.close(code, reason))
  }

  terminate(): void {
    this.socket.terminate()
  }

  /** Resolves with the code when it is gone. */
  async gone(patienceMs?: number): Promise<number> {
    await eventually(() => this.codes.length > 0, 'closed', patienceMs)
    return this.codes[0]!
  }

  arrived(bytes: number): void {
    this.#note('arrived')
    this.arrivedBytes += bytes
  }

  message(bytes: Uint8Array): void {
    this.#note('message')
    this.messages.push(Buffer.from(bytes))
  }

  text(): void {
    this.#note('text')
    this.texts++
  }

  drain(): void {
    this.#note('drain')
    this.drains++
  }

  closed(code: number): void {
    this.#note('closed')
    this.codes.push(code)
  }

  #note(what: string): void {
    if (this.#isInside) this.wrongs.push(`${what} came from inside a call`)
    if (this.codes.length > 0) this.wrongs.push(`${what} came after closed`)
  }

  #inside<Result>(call: () => Result): Result {
    this.#isInside = true
    try {
      return call()
    } finally {
      this.#isInside = false
    }
  }
}

/** A transport alone, and an acceptor that records its calls. Its disposal fails after a call that may not happen. */
export interface OpenTransport extends AsyncDisposable {
  readonly transport: Transport
  readonly url: string
  /** What peers are made with, where it is not the class of `ws`. */
  readonly Peer: Reached['Peer']
  readonly accepted: readonly Accepted[]
  readonly requests: readonly UpgradeRequest[]
  /** What `verify` answers. */
  verdict: UpgradeVerdict
  /** The next socket to come in, or the `n`th, from 0. */
  socket(n?: number): Promise<Accepted>
}

export async function openTransport(
  under: TransportUnderTest,
  limits: Partial<TransportLimits> = {},
): Promise<OpenTransport> {
  const transport = under.make()
  const accepted: Accepted[] = []
  const requests: UpgradeRequest[] = []
  const acceptor: SocketAcceptor = {
    verify(request) {
      requests.push(request)
      return self.verdict
    },
    accept(socket, subprotocol) {
      const one = new Accepted(socket, subprotocol)
      accepted.push(one)
      return one
    },
  }
  const reached = await under.open(transport, acceptor, {
    maxMessage: 65_536,
    maxBuffered: 262_144,
    silentMs: 30_000,
    ...limits,
  })
  const self: OpenTransport = {
    transport,
    url: reached.url,
    Peer: reached.Peer,
    accepted,
    requests,
    verdict: { ok: true },
    async socket(n = 0) {
      await eventually(() => accepted.length > n, `socket ${n}`)
      return accepted[n]!
    },
    async [Symbol.asyncDispose]() {
      await transport.close()
      await reached[Symbol.asyncDispose]?.()
      const wrongs = accepted.flatMap((one) => [
        ...one.wrongs,
        ...(one.codes.length === 1 ? [] : [`closed was called ${one.codes.length} times`]),
      ])
      if (wrongs.length > 0) throw new Error(wrongs.join('; '))
    },
  }
  return self
}

/** The transport, and what each of its sockets has buffered after each message. */
export function measured(transport: Transport, note: (buffered: number) => void): Transport {
  const watching = (acceptor: SocketAcceptor): SocketAcceptor => ({
    ...acceptor,
    accept: (socket, subprotocol) =>
      acceptor.accept(
        {
          request: socket.request,
          get bufferedAmount() {
            return socket.bufferedAmount
          },
          send(bytes) {
            const result = socket.send(bytes)
            note(socket.bufferedAmount)
            return result
          },
          close: (code, reason) => socket.close(code, reason),
          terminate: () => socket.terminate(),
        },
        subprotocol,
      ),
  })
  return {
    ...transport,
    listen: (acceptor, limits, at) => transport.listen(watching(acceptor), limits, at),
    attach: (acceptor, limits, server, path) => transport.attach!(watching(acceptor), limits, server, path),
  }
}
