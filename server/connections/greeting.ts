import { CLOSE, ProtocolFault } from '../../protocol/errors.ts'
import { FEATURES } from '../../protocol/features.ts'
import type { Hello } from '../../protocol/frames.ts'
import { type Limits, STATED_LIMITS } from '../../protocol/limits.ts'
import type { Timer } from '../../protocol/runtime.ts'
import type { Principal } from '../actors/actor.ts'
import type { ReceivedFrame } from '../log/payload.ts'
import type { ServerLog } from '../logging/logger.ts'
import type { GuardedRuntime } from '../runtime.ts'
import type { Quota } from '../sessions/admission.ts'
import { type Authenticate, type Credentials, type Identity, identityOf } from '../sessions/auth.ts'
import type { Registry } from '../sessions/registry.ts'
import type { Session, SessionSocket } from '../sessions/session.ts'
import type { Sessions } from '../sessions/sessions.ts'
import { isThenable } from '../streams/thenable.ts'
import type { Socket, UpgradeRequest } from '../transports/transport.ts'
import type { EarlyBytes, EarlyShare } from './early-bytes.ts'
import type { Outbox } from './outbox.ts'

/** The bytes of the header of a WebSocket frame, at most. */
const FRAME_HEADER_BYTES = 14
/** The longest batching that a client may ask for. */
const MAX_FLUSH_MS = 1_000

export type GreetingOptions = {
  readonly limits: Limits
  readonly log: ServerLog
  readonly registry: Registry
  readonly sessions: Sessions
  readonly authenticate: Authenticate
  /** The IP address of the client behind a request. */
  addressOf(request: UpgradeRequest): string
  /** The bytes that all sockets hold before WELCOME. */
  readonly earlyBytes: EarlyBytes
  /** The server's name, for WELCOME. */
  readonly server: string | undefined
  /** The content of GOAWAY; undefined until the server goes away. */
  leaving(): { reason: string; graceMs: number } | undefined
  /** Reports a failure that is not the client's. */
  report(error: unknown): void
}

/** The connection of a greeting, as the greeting ends it. */
export interface GreetedConnection extends SessionSocket {
  /** Ends the connection at once, and frees what its socket holds. */
  drop(): void
}

/** A client that was sent WELCOME. */
export type WelcomedClient = { readonly session: Session; readonly principal: Principal; readonly quota: Quota }

/**
 * The opening of a connection, from HELLO to WELCOME. It checks the credentials, moves the client's session to this
 * connection, and holds the frames that came early. A refused client is disconnected, and so is one whose credentials
 * expire later.
 */
export class Greeting {
  /** Undefined once the client is welcome: its headers and timers are not kept beyond that. */
  #request: UpgradeRequest | undefined
  readonly #connection: GreetedConnection
  readonly #outbox: Outbox
  readonly #runtime: GuardedRuntime
  readonly #options: GreetingOptions
  readonly #welcomed: (client: WelcomedClient, early: readonly ReceivedFrame[]) => void
  #helloTimer: Timer | undefined
  #expiryTimer: Timer | undefined
  #begun = false
  /** Bytes of complete messages, their number, and all bytes that arrived as far as the transport reports them. */
  #receivedBytes = 0
  #messages = 0
  #arrivedBytes = 0
  readonly #unseenBytes: number
  #share: EarlyShare | undefined
  #early: ReceivedFrame[] = []
  #client: WelcomedClient | undefined
  #isClosed = false

  /** @param welcomed receives the client, and the frames that came before its WELCOME. */
  constructor(
    socket: Pick<Socket, 'request' | 'unseenBytes'>,
    connection: GreetedConnection,
    outbox: Outbox,
    runtime: GuardedRuntime,
    options: GreetingOptions,
    welcomed: (client: WelcomedClient, early: readonly ReceivedFrame[]) => void,
  ) {
    this.#request = socket.request
    this.#unseenBytes = socket.unseenBytes ?? 0
    this.#connection = connection
    this.#outbox = outbox
    this.#runtime = runtime
    this.#options = options
    this.#welcomed = welcomed
    this.#helloTimer = runtime.setTimer(options.limits.helloMs, () =>
      connection.fault(CLOSE.helloTimeout, 'no HELLO came in time'),
    )
    const share = options.earlyBytes.add(() => connection.drop())
    this.#share = share
    share.set(this.#unseenBytes)
  }

  /** HELLO has come. */
  get begun(): boolean {
    return this.#begun
  }

  /**
   * Counts what comes before WELCOME.
   * @throws ProtocolFault when it is more than `beforeWelcomeBytes`.
   */
  count(bytes: number): void {
    const { beforeWelcomeBytes } = this.#options.limits
    this.#receivedBytes += bytes
    this.#messages++
    this.#share?.set(Math.max(this.#receivedBytes, this.#arrivedBytes))
    if (this.#receivedBytes > beforeWelcomeBytes)
      throw new ProtocolFault(`more than ${beforeWelcomeBytes} bytes before WELCOME`, CLOSE.tooLarge)
  }

  /** Bytes arrived, of a message that may not be complete. The connection is closed when they are too many. */
  arrived(bytes: number): void {
    const { beforeWelcomeBytes } = this.#options.limits
    this.#arrivedBytes += bytes
    this.#share?.set(this.#arrivedBytes)
    if (this.#arrivedBytes - FRAME_HEADER_BYTES * (this.#messages + 1) > beforeWelcomeBytes && !this.#isClosed)
      this.#connection.fault(CLOSE.tooLarge, `more than ${beforeWelcomeBytes} bytes before WELCOME`)
  }

  /** Keeps a frame until WELCOME. */
  hold(frame: ReceivedFrame): void {
    this.#early.push(frame)
  }

  /**
   * HELLO has come: checks its credentials.
   * @param bytes the size of the frame.
   * @throws ProtocolFault when it is larger than `helloBytes`.
   */
  hello(hello: Hello, bytes: number): void {
    const { limits, authenticate } = this.#options
    if (bytes > limits.helloBytes)
      throw new ProtocolFault(`HELLO is larger than ${limits.helloBytes} bytes`, CLOSE.tooLarge)
    this.#begun = true
    const request = this.#request
    if (!request) return
    const credentials = this.#credentials(request, hello)
    let identity: Identity | undefined
    try {
      const answer: unknown = authenticate(credentials)
      if (isThenable(answer)) return this.#wait(hello, answer)
      identity = identityOf(answer)
    } catch (error) {
      return this.#failed(error)
    }
    this.#decide(hello, identity)
  }

  /** The connection is closed: its session loses it, and its place in the quota is free. */
  close(): void {
    this.#isClosed = true
    this.#release()
    this.#early = []
    this.#expiryTimer?.clear()
    const client = this.#client
    if (!client) return
    client.quota.disconnected()
    this.#options.sessions.lost(client.session, this.#connection)
  }

  /** Frees what only a connection before its WELCOME needs. */
  #release(): void {
    this.#share?.release()
    this.#share = undefined
    this.#helloTimer?.clear()
    this.#helloTimer = undefined
    this.#request = undefined
  }

  #credentials(request: UpgradeRequest, { auth, client }: Hello): Credentials {
    const { headers, origin } = request
    const shown = new Map(headers)
    if (origin === undefined) shown.delete('cookie')
    const remoteAddress = this.#options.addressOf(request)
    return { auth, headers: shown, remoteAddress, client: Buffer.from(client).toString('hex') }
  }

  #wait(hello: Hello, answer: PromiseLike<unknown>): void {
    Promise.resolve(answer)
      .then(identityOf)
      .then(
        (identity) => this.#runtime.enter(() => this.#decide(hello, identity)),
        (error: unknown) => this.#runtime.enter(() => this.#failed(error)),
      )
  }

  #failed(error: unknown): void {
    this.#options.report(error)
    this.#connection.fault(1011, 'credentials could not be checked; come back')
  }

  #decide(hello: Hello, identity: Identity | undefined): void {
    if (this.#isClosed) return
    if (!identity) return this.#refuse('the credentials were refused')
    const { expiresAt } = identity
    if (expiresAt !== undefined && expiresAt <= this.#runtime.wallClock())
      return this.#refuse('the credentials have expired')
    const { registry, sessions } = this.#options
    const quota = registry.quota(identity)
    const moved = sessions.hello(identity, hello, this.#connection)
    if (!moved) return this.#connection.fault(CLOSE.takenOver, 'a newer connection of this client instance exists')
    const client = { session: moved.session, principal: identity, quota }
    this.#client = client
    quota.connected()
    const tooMany = quota.connectionFault
    if (tooMany !== undefined) return this.#connection.fault(CLOSE.tooMany, tooMany)
    this.#release()
    this.#welcome(hello, client, moved.known)
    if (expiresAt !== undefined) this.#expireAt(expiresAt)
    const early = this.#early
    this.#early = []
    this.#welcomed(client, early)
  }

  #welcome({ flushMs }: Hello, { session }: WelcomedClient, known: boolean): void {
    const { limits, server } = this.#options
    this.#outbox.flushMs = Math.min(flushMs ?? limits.flushMs, MAX_FLUSH_MS)
    this.#outbox.send({
      kind: 'welcome',
      session: session.id,
      known,
      limits: statedLimits(limits),
      now: this.#runtime.wallClock(),
      ...(server === undefined ? {} : { server }),
      features: [...FEATURES],
    })
    const goaway = this.#options.leaving()
    if (goaway) this.#outbox.send({ kind: 'goaway', ...goaway })
  }

  #expireAt(expiresAt: number): void {
    const runtime = this.#runtime
    this.#expiryTimer = runtime.setTimer(Math.max(0, expiresAt - runtime.wallClock()), () => {
      if (runtime.wallClock() < expiresAt) this.#expireAt(expiresAt)
      else this.#refuse('the credentials have expired')
    })
  }

  #refuse(message: string): void {
    this.#outbox.notify({ kind: 'notice', code: 'unauthenticated', message })
    this.#connection.fault(CLOSE.unauthenticated, message)
  }
}

/** The limits that WELCOME states, with this server's values. */
function statedLimits(limits: Limits): Partial<Limits> {
  return Object.fromEntries(Object.keys(STATED_LIMITS).map((name) => [name, limits[name as keyof Limits]]))
}
