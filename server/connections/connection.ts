import { CLOSE, MillraceError, ProtocolFault } from '../../protocol/errors.ts'
import type { Attach, List, Start, SubscriptionOptions } from '../../protocol/frames.ts'
import type { Runtime } from '../../protocol/runtime.ts'
import { element } from '../../protocol/scan.ts'
import type { Principal } from '../actors/actor.ts'
import { BEGINNING, type StartPosition } from '../log/cursor.ts'
import { errorData } from '../log/error-data.ts'
import { decodeClient, type ReceivedFrame } from '../log/payload.ts'
import { noteLimit } from '../logging/limit-errors.ts'
import type { ReadableRun } from '../runs/readable-run.ts'
import { GuardedRuntime } from '../runtime.ts'
import { TokenBucket } from '../sessions/admission.ts'
import type { ListedRun } from '../sessions/listed-run.ts'
import type { FoundRun } from '../sessions/registry.ts'
import type { SessionSocket } from '../sessions/session.ts'
import { excerptBytes, wellFormed } from '../text.ts'
import type { Socket, SocketEvents } from '../transports/transport.ts'
import { Commands } from './commands.ts'
import type { FlushQueue } from './flush-queue.ts'
import { checkOrder } from './frame-order.ts'
import { Greeting, type GreetingOptions, type WelcomedClient } from './greeting.ts'
import { Heartbeat } from './heartbeat.ts'
import { Listing, Listings } from './listing.ts'
import { OpeningStreams, type StreamFrame } from './opening-streams.ts'
import { Outbox } from './outbox.ts'
import { Subscription } from './subscription.ts'

/** The longest reason of a close: a WebSocket takes 123 bytes. */
const MAX_REASON_BYTES = 120
/** Closes that report a limit of the server. */
const LIMIT_CODES: readonly number[] = [CLOSE.tooMany, CLOSE.slow, CLOSE.tooLarge]
/** Frames of one message that count as one against `messagesPerSec`. */
const FRAMES_PER_MESSAGE = 16

/** Of a connection that has opened no stream: an empty Map of its own takes 240 bytes. */
const NO_SUBSCRIPTIONS = new Map<number, Subscription>()

/** The run of a stream that opens. */
type FoundStream = { readonly run: ReadableRun; readonly own: boolean; readonly reused: boolean }

export type ConnectionOptions = GreetingOptions & {
  readonly runtime: Runtime
  readonly flushes: FlushQueue
  /** It ended, and applies no more frames. Its socket may still be closing. */
  closed(connection: Connection): void
  /** The socket of a client at this address is closed. */
  socketClosed(address: string): void
  /** One of its streams is over. */
  streamOver(): void
}

/** One socket of one client. It reads frames, applies them in order, and holds the client to its limits. */
export class Connection implements SocketEvents, SessionSocket {
  readonly #socket: Socket
  /** Guards every entry from outside but a message: timers, later loop turns, promises, socket events. */
  readonly #runtime: GuardedRuntime
  readonly #options: ConnectionOptions
  readonly #outbox: Outbox
  readonly #greeting: Greeting
  readonly #heartbeat: Heartbeat
  readonly #messages: TokenBucket
  #subscriptions: Map<number, Subscription> = NO_SUBSCRIPTIONS
  readonly #listings = new Listings()
  /** The streams for which a store has not answered yet. Made for the first of them. */
  #opening: OpeningStreams | undefined
  /** Made for the first CANCEL or INPUT. */
  #commands: Commands | undefined
  /** Known from WELCOME on. */
  #client: WelcomedClient | undefined
  #isClosed = false
  /** By which its socket is counted. */
  readonly #address: string
  /** The highest stream id seen. */
  #lastSid = 0

  /** @param address of the client, also behind a proxy. */
  constructor(socket: Socket, address: string, options: ConnectionOptions) {
    const { limits } = options
    const runtime = new GuardedRuntime(options.runtime, (error) => this.#broke(error))
    this.#socket = socket
    this.#address = address
    this.#runtime = runtime
    this.#options = options
    this.#messages = new TokenBucket(runtime, limits.messagesPerSec, limits.messagesPerSec)
    const fault = (code: number, reason: string): void => this.fault(code, reason)
    this.#outbox = new Outbox(socket, runtime, options.flushes, limits, fault)
    this.#greeting = new Greeting(socket, this, this.#outbox, runtime, options, (client, early) => {
      this.#client = client
      options.log.write('connection.opened', this.#fields)
      socket.stopCounting?.()
      socket.dropRequest?.()
      this.#heartbeat.start()
      runtime.enter(() => this.#apply(early))
    })
    this.#heartbeat = new Heartbeat(
      runtime,
      limits,
      () => this.#outbox.ping(),
      () => {
        socket.terminate()
        this.#end(1006, 'the client fell silent')
      },
    )
  }

  // --- socket events

  arrived(bytes: number): void {
    if (!this.#isClosed && !this.#client) this.#runtime.enter(() => this.#greeting.arrived(bytes))
  }

  message(bytes: Uint8Array): void {
    if (this.#isClosed) return
    const { limits } = this.#options
    this.#heartbeat.heard()
    this.#outbox.cork()
    try {
      if (!this.#client) this.#greeting.count(bytes.length)
      // A copy: the transport reuses its buffer, and the frames refer to theirs.
      const received = decodeClient(
        new Uint8Array(bytes),
        { maxBytes: limits.maxMessage, maxDepth: limits.maxDepth, maxValues: limits.maxValues },
        (frames) => this.#admit(frames),
      )
      this.#lastSid = checkOrder(received, this.#greeting.begun, this.#lastSid)
      this.#apply(received)
    } catch (error) {
      if (error instanceof ProtocolFault) this.fault(error.closeCode, error.message)
      else this.#broke(error)
    }
    this.#outbox.uncork()
  }

  /** Counts a message. One of many frames counts as several. */
  #admit(frames: number): void {
    const { messagesPerSec } = this.#options.limits
    // A client sends at most one CREDIT for each item. Reading fast is therefore never too many messages.
    this.#messages.give(this.#outbox.takeItems())
    if (!this.#messages.take(Math.ceil(frames / FRAMES_PER_MESSAGE)))
      throw new ProtocolFault(`more than ${messagesPerSec} messages a second`, CLOSE.tooMany)
  }

  text(): void {
    this.fault(CLOSE.malformed, 'a text message: this protocol is binary')
  }

  drain(): void {
    this.#runtime.enter(() => this.#outbox.drained())
  }

  closed(code: number): void {
    this.#runtime.enter(() => this.#end(code))
    this.#options.socketClosed(this.#address)
  }

  // --- closing

  /** Closes the connection with a code of the protocol. No further frame is applied. */
  fault(code: number, reason: string): void {
    if (this.#isClosed) return
    this.#outbox.finish()
    this.#socket.close(code, excerptBytes(wellFormed(reason), MAX_REASON_BYTES))
    this.#end(code, reason)
  }

  /** Ends the connection at once, and frees what its socket holds. */
  drop(): void {
    this.#socket.terminate()
    this.#end(CLOSE.tooMany, 'all sockets together hold more than beforeWelcomeTotal bytes before WELCOME')
  }

  /** The server itself failed while it handled this connection. Only this connection ends. */
  #broke(error: unknown): void {
    this.#options.report(error)
    try {
      this.fault(1011, 'the server failed; connect again')
    } catch (second) {
      // What failed is the closing itself.
      this.#options.report(second)
      this.#socket.terminate()
    }
  }

  /** Sends GOAWAY. */
  goaway(reason: string, graceMs: number): void {
    if (this.#client && !this.#isClosed) this.#outbox.send({ kind: 'goaway', reason, graceMs })
  }

  /** @param reason undefined when the client closed the connection. */
  #end(code: number, reason?: string): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#record(code, reason)
    this.#heartbeat.stop()
    this.#outbox.close()
    for (const subscription of [...this.#subscriptions.values()]) subscription.close()
    this.#listings.closeAll()
    this.#greeting.close()
    this.#options.closed(this)
  }

  /** Writes to the log why the connection ended. One that never said HELLO, and left by itself, is not worth a line. */
  #record(code: number, reason: string | undefined): void {
    const { log } = this.#options
    const why = { code, ...(reason === undefined ? {} : { reason }) }
    if (LIMIT_CODES.includes(code) && reason !== undefined) log.write('limit.met', { ...this.#fields, ...why })
    if (this.#client) log.write('connection.closed', { ...this.#fields, ...why })
    else if (reason !== undefined) log.write('connection.refused', { ...this.#fields, ...why })
  }

  /** Whose connection it is, as the log has it. */
  get #fields(): { readonly [name: string]: unknown } {
    const address = this.#socket.request.remoteAddress
    const { session, principal } = this.#client ?? {}
    return session ? { address, session: session.id, principal: principal?.id } : { address }
  }

  /** No stream of a run is open. A list is no reason to wait. */
  get idle(): boolean {
    return this.#subscriptions.size === 0 && !this.#opening?.size
  }

  /** Nothing is left that credit and rate allow to send. False while a run goes on. */
  get delivered(): boolean {
    for (const { run, paused, cursor } of this.#subscriptions.values())
      if (!run.end || (!paused && cursor.balance > 0)) return false
    return true
  }

  // --- frames

  #apply(received: readonly ReceivedFrame[]): void {
    let ping: number | undefined
    for (const one of received) {
      if (this.#isClosed) return
      const { frame, bytes } = one
      if (frame.kind === 'hello') this.#greeting.hello(frame, bytes.length)
      else if (!this.#client) this.#greeting.hold(one)
      else if (frame.kind === 'ping') ping = frame.nonce
      else this.#applyOne(frame, bytes)
    }
    if (ping !== undefined && !this.#isClosed) this.#outbox.pong(ping)
  }

  #applyOne(frame: StreamFrame, bytes: Uint8Array): void {
    if (this.#opening?.hold(frame, bytes)) return
    switch (frame.kind) {
      case 'start':
        return this.#start(frame, element(bytes, 3))
      case 'attach':
        return this.#attach(frame)
      case 'credit':
        return this.#subscriptions.get(frame.sid)?.grant(frame.n)
      case 'rate':
        return this.#subscriptions.get(frame.sid)?.setRate(frame.perSec)
      case 'detach':
        this.#listings.close(frame.sid)
        return this.#subscriptions.get(frame.sid)?.close()
      case 'list':
        return this.#list(frame)
      case 'cancel':
        return this.#command(frame.sid, (commands, subscription) => commands.cancel(frame, subscription))
      case 'input':
        return this.#command(frame.sid, (commands, subscription) => commands.input(frame, bytes.length, subscription))
      case 'pong':
        return this.#outbox.answered(frame.nonce)
    }
  }

  // --- streams

  #start(frame: Start, inputBytes: Uint8Array): void {
    const { options } = frame
    this.#open(frame.sid, options, options.policy ?? 'pace', BEGINNING, (principal) => {
      const own = true
      const started = this.#options.registry.start(principal, frame, inputBytes)
      return started instanceof Promise ? started.then((given) => ({ ...given, own })) : { ...started, own }
    })
  }

  #attach(frame: Attach): void {
    const { options, after } = frame
    const policy = options.policy ?? 'log'
    const from = { after, gen: options.gen }
    this.#open(frame.sid, options, policy, from, (principal) => {
      const { registry } = this.#options
      const checked = ({ run, own }: FoundRun): FoundStream => {
        if (policy === 'pace' && !registry.permits(principal, 'govern', run))
          throw new MillraceError('forbidden', 'this principal may not pace the run; attach with another policy')
        return { run, own, reused: false }
      }
      const found = registry.find(principal, frame.run, from, policy === 'log' || policy === 'merge')
      return found instanceof Promise ? found.then(checked) : checked(found)
    })
  }

  #open(
    sid: number,
    options: SubscriptionOptions,
    policy: NonNullable<SubscriptionOptions['policy']>,
    from: StartPosition,
    find: (principal: Principal) => FoundStream | Promise<FoundStream>,
  ): void {
    this.#admitted(sid, (client) => {
      const found = find(client.principal)
      const subscribe = (to: FoundStream): void => this.#subscribe(client, sid, options, policy, from, to)
      if (found instanceof Promise) this.#openLater().wait(sid, found, subscribe)
      else subscribe(found)
    })
  }

  #openLater(): OpeningStreams {
    this.#opening ??= new OpeningStreams({
      runtime: this.#runtime,
      isClosed: () => this.#isClosed,
      apply: (frame, bytes) => this.#applyOne(frame, bytes),
      refuse: (sid, error) => this.#refuse(sid, error),
      fault: (code, reason) => this.fault(code, reason),
    })
    return this.#opening
  }

  #subscribe(
    { session }: WelcomedClient,
    sid: number,
    { credit, rate, ts = false }: SubscriptionOptions,
    policy: NonNullable<SubscriptionOptions['policy']>,
    from: StartPosition,
    { run, own, reused }: FoundStream,
  ): void {
    const { limits, registry, sessions } = this.#options
    const settings = { sid, own, client: session.client, from, credit, policy, rate, ts, reused }
    const subscription = new Subscription(this.#outbox, this.#runtime, limits, run, settings, () => {
      this.#subscriptions.delete(sid)
      this.#options.streamOver()
    })
    if (this.#subscriptions === NO_SUBSCRIPTIONS) this.#subscriptions = new Map()
    this.#subscriptions.set(sid, subscription)
    const live = registry.run(run.id)
    if (live) sessions.opened(session, live)
    subscription.open()
  }

  #list({ sid, watch = false }: List): void {
    const { limits, registry } = this.#options
    this.#admitted(sid, ({ principal }) => {
      const settings = { sid, isWatched: watch }
      const mayRead = (run: ListedRun['run']): boolean => registry.permits(principal, 'attach', run)
      const open = (): void =>
        this.#listings.add(
          sid,
          (closed) => new Listing(this.#outbox, limits, registry.lists, principal, settings, mayRead, closed),
        )
      const completing = registry.lists.complete(principal)
      if (completing) this.#openLater().wait(sid, completing, open)
      else open()
    })
  }

  /** Opens a stream with `open`, if this client may have another now. Every failure refuses the stream. */
  #admitted(sid: number, open: (client: WelcomedClient) => void): void {
    const { limits } = this.#options
    const client = this.#client
    if (!client) return
    try {
      const opening = this.#opening?.size ?? 0
      if (this.#subscriptions.size + opening + this.#listings.size >= limits.maxStreams) {
        throw new MillraceError(
          'too_many_streams',
          `${limits.maxStreams} streams are open on this connection, as many as allowed; end one first`,
        )
      }
      client.quota.takeStart()
      open(client)
    } catch (error) {
      this.#refuse(sid, error)
    }
  }

  #refuse(sid: number, error: unknown): void {
    const { limits } = this.#options
    if (!MillraceError.is(error) || error.cause !== undefined) this.#options.report(error)
    const refusal = MillraceError.from(error, 'internal', 'the server failed to open this stream')
    this.#recordRefusal(refusal)
    this.#outbox.send({ kind: 'end', sid, seq: 0, outcome: 'error', data: errorData(refusal, limits) })
  }

  #recordRefusal(refusal: MillraceError): void {
    const { log } = this.#options
    if (!noteLimit(log, refusal, this.#fields)) log.write('run.refused', { ...this.#fields, code: refusal.code })
  }

  #command(sid: number, run: (commands: Commands, subscription: Subscription) => void): void {
    const subscription = this.#subscriptions.get(sid)
    const client = this.#client
    if (!subscription || !client) return
    this.#commands ??= new Commands({
      outbox: this.#outbox,
      runtime: this.#runtime,
      registry: this.#options.registry,
      client,
      isClosed: () => this.#isClosed,
      broke: (error) => this.#broke(error),
    })
    run(this.#commands, subscription)
  }
}
