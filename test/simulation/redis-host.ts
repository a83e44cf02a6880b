import type { Argument, RedisClient, RedisModule, Reply } from '../../server/stores/redis/client.ts'
import { ModelRedis, type ModelReply, ReplyError, Status } from '../helpers/model-redis/model-redis.ts'
import { RedisData } from '../helpers/model-redis/redis-data.ts'
import type { SimProcess } from './sim-process.ts'
import type { Stage } from './stage.ts'

/** As the package has them: how long a silent connection is kept, and how long one may take to be made. */
const SILENCE_MS = 5_000
const CONNECT_MS = 2_000

type Command = {
  readonly args: readonly string[]
  readonly resolve: (reply: Reply) => void
  readonly reject: (error: Error) => void
}

/** One Redis in virtual time: it can freeze, die, lose hints, and come back with what a replica of it had. */
export class RedisHost {
  readonly model: ModelRedis
  readonly stage: Stage
  readonly #connections = new Set<RedisConnection>()
  /** What came while it was frozen. */
  #backlog: (() => void)[] = []
  #state: 'up' | 'frozen' | 'down' = 'up'
  /** Processes that cannot reach it, nor hear of that. */
  readonly #cutOff = new Set<SimProcess>()
  /** What its replica has. */
  #replica: RedisData | undefined
  /** How many of its hints are lost, from 0 to 1. */
  lossRate = 0
  /** The longest that a message to or from it takes, in milliseconds. */
  latencyMs = 2
  /** By how much its clock is ahead of that of the world. */
  #aheadMs = 0
  /** Whose command it performs. */
  caller: SimProcess | undefined
  readonly #watch: (host: RedisHost, channel: string, message: string) => void

  /** @param watch hears all that is said over its channels, as it is said. */
  constructor(stage: Stage, watch: (host: RedisHost, channel: string, message: string) => void = () => {}) {
    this.stage = stage
    this.#watch = watch
    this.model = new ModelRedis({
      now: () => this.now(),
      random: () => stage.chance.next(),
      published: (channel, message) => this.#published(channel, message),
    })
  }

  /** Its own clock, in epoch milliseconds. */
  now(): number {
    return this.stage.time.wallClock() + this.#aheadMs
  }

  get isUp(): boolean {
    return this.#state === 'up'
  }

  get isDown(): boolean {
    return this.#state === 'down'
  }

  isCutOff(process: SimProcess): boolean {
    return this.#cutOff.has(process)
  }

  // --- what happens to it

  freeze(): void {
    if (this.#state === 'up') this.#state = 'frozen'
  }

  /** Dies, and keeps what it has said to have. */
  kill(): void {
    this.#state = 'down'
    this.#backlog = []
    this.cutAll()
    this.model.forgetScripts()
  }

  /** Goes on, or starts again. */
  goOn(): void {
    const wasFrozen = this.#state === 'frozen'
    this.#state = 'up'
    if (!wasFrozen) return
    const backlog = this.#backlog
    this.#backlog = []
    for (const each of backlog) each()
  }

  cutOff(process: SimProcess): void {
    this.#cutOff.add(process)
  }

  /** Everybody reaches it again. What was on its way comes. */
  reconnect(): void {
    this.#cutOff.clear()
    for (const connection of [...this.#connections]) connection.goOn()
  }

  /** A process is dead. What it has sent is taken, or not. */
  drop(process: SimProcess): void {
    for (const connection of [...this.#connections]) if (connection.client.process === process) connection.break()
    this.#cutOff.delete(process)
  }

  cutAll(): void {
    for (const connection of [...this.#connections]) connection.break()
  }

  /** Its replica gets nothing more from here on. */
  lag(): void {
    this.#replica ??= new RedisData(() => this.now())
    this.#replica.takeFrom(this.model.data)
  }

  get hasReplica(): boolean {
    return this.#replica !== undefined
  }

  /** The runs of which its replica lacks something. */
  changedRuns(prefix: string): string[] {
    const before = this.#replica
    const behind = '}:m'
    return this.model.data.keys().flatMap((key) => {
      if (!key.startsWith(`${prefix}:{`) || !key.endsWith(behind)) return []
      const [now, then] = [this.model.data.get(key), before?.get(key)]
      // A lease that was renewed is no news.
      const facts = (meta: unknown): string =>
        meta instanceof Map ? [...meta].filter(([field]) => field !== 'x').join() : ''
      const isSame = facts(now) === facts(then)
      return isSame ? [] : [key.slice(prefix.length + 2, -behind.length)]
    })
  }

  /** How many runs wait in a pool. @param key has them. */
  waitingIn(key: string): number {
    return Number(this.model.run(['ZCARD', key]))
  }

  /** Keys of runs that never expire. */
  keysForEver(prefix: string): string[] {
    const { data } = this.model
    const isOfRun = (key: string): boolean => key !== `${prefix}:secret`
    return data.keys().filter((key) => isOfRun(key) && data.expiresAt(key) === Number.POSITIVE_INFINITY)
  }

  /** Its replica takes its place: what came since is lost. It has a clock of its own. */
  failOver(aheadMs: number): void {
    this.kill()
    this.#aheadMs = aheadMs
    if (this.#replica) this.model.data.takeFrom(this.#replica)
    this.#replica = undefined
    this.#state = 'up'
  }

  wipe(): void {
    this.kill()
    this.model.data.clear()
    this.#replica = undefined
    this.#state = 'up'
  }

  // --- connections

  add(connection: RedisConnection): void {
    this.#connections.add(connection)
  }

  remove(connection: RedisConnection): void {
    this.#connections.delete(connection)
  }

  /** Runs `callback` when it takes commands; never, if it dies before. */
  take(callback: () => void): void {
    if (this.#state === 'frozen') this.#backlog.push(callback)
    else if (this.#state === 'up') callback()
  }

  #published(channel: string, message: string): void {
    this.#watch(this, channel, message)
    for (const connection of this.#connections) {
      if (!connection.channels.has(channel)) continue
      if (this.lossRate > 0 && this.stage.chance.of(this.lossRate)) continue
      connection.say(() => connection.client.heard(channel, message))
    }
  }
}

/** One connection of a client. What is sent over it comes in order, or the connection breaks. */
class RedisConnection {
  readonly host: RedisHost
  readonly client: ModelClient
  readonly channels = new Set<string>()
  #isBroken = false
  #upAt = 0
  #downAt = 0
  /** What waits while the network is cut, each way. */
  #heldUp: (() => void)[] = []
  #heldDown: (() => void)[] = []
  /** Commands without an answer. */
  readonly #open = new Set<Command>()
  /** The texts of scripts that were just sent: they travel together. */
  #texts: Command[] | undefined
  heardAt: number

  constructor(host: RedisHost, client: ModelClient) {
    this.host = host
    this.client = client
    this.heardAt = host.stage.time.now()
    host.add(this)
  }

  send(command: Command): void {
    this.#open.add(command)
    // Its process does not know yet that nobody hears it.
    if (this.#isBroken) return
    const isText = command.args[0] === 'SCRIPT'
    if (isText && this.#texts) return void this.#texts.push(command)
    const commands = [command]
    this.#texts = isText ? commands : undefined
    const { time } = this.host.stage
    this.#upAt = Math.max(this.#upAt, time.now() + this.#latency())
    time.setTimer(this.#upAt - time.now(), () => {
      if (this.#texts === commands) this.#texts = undefined
      this.#arrives(() => this.#perform(commands))
    })
  }

  /** What Redis has not read when the connection breaks, it reads or does not. */
  #arrives(callback: () => void): void {
    if (this.#isBroken && this.host.stage.chance.of(0.5)) return
    if (this.host.isCutOff(this.client.process)) this.#heldUp.push(callback)
    else this.host.take(callback)
  }

  #perform(commands: readonly Command[]): void {
    const answers = commands.map((command) => this.#answerOf(command))
    this.say(() => {
      for (const [n, command] of commands.entries()) {
        if (!this.#open.delete(command)) continue
        const answer = answers[n] as Reply | Error
        if (answer instanceof Error) command.reject(answer)
        else command.resolve(answer)
      }
    })
  }

  #answerOf({ args }: Command): Reply | Error {
    const { host, client } = this
    host.caller = client.process
    const answer = answerOf(host.model, args)
    host.caller = undefined
    const [name = '', channel = ''] = args
    if (name === 'SUBSCRIBE' && !this.#isBroken) this.channels.add(channel)
    if (name === 'UNSUBSCRIBE') this.channels.delete(channel)
    return answer
  }

  /** Something goes to the client. */
  say(callback: () => void): void {
    const { time } = this.host.stage
    this.#downAt = Math.max(this.#downAt, time.now() + this.#latency())
    time.setTimer(this.#downAt - time.now(), () => {
      if (this.#isBroken) return
      if (this.host.isCutOff(this.client.process)) return void this.#heldDown.push(callback)
      this.heardAt = time.now()
      this.client.process.enter(() => {
        if (!this.#isBroken) callback()
      })
    })
  }

  /** The network is whole again. */
  goOn(): void {
    for (const callback of this.#heldUp.splice(0)) this.host.take(callback)
    const held = this.#heldDown.splice(0)
    for (const callback of held) this.say(callback)
  }

  /** It is over. What Redis has not taken yet, it may take or not. */
  break(): void {
    if (this.#isBroken) return
    this.#isBroken = true
    this.host.remove(this)
    this.channels.clear()
    this.client.process.enter(() => {
      for (const { reject } of this.#open) reject(new Error('Socket closed unexpectedly'))
      this.#open.clear()
      this.client.lost(this)
    })
  }

  #latency(): number {
    const { chance } = this.host.stage
    return chance.next() * this.host.latencyMs
  }
}

function answerOf(model: ModelRedis, args: readonly string[]): Reply | Error {
  const [name = ''] = args
  if (name === 'SUBSCRIBE' || name === 'UNSUBSCRIBE') return null
  try {
    return replyOf(model.run(args))
  } catch (error) {
    return error as Error
  }
}

/** An argument as the model has it: one character for each byte. */
function bytesOf(arg: Argument): string {
  if (typeof arg !== 'string') return arg.toString('latin1')
  return ASCII.test(arg) ? arg : Buffer.from(arg).toString('latin1')
}
// biome-ignore lint/suspicious/noControlCharactersInRegex: every byte of a text counts.
const ASCII = /^[\0-\x7f]*$/

/** A reply as the package gives it: bytes as buffers, states as texts. */
function replyOf(reply: ModelReply): Reply {
  if (reply instanceof Status) return reply.text
  if (typeof reply === 'string') return Buffer.from(reply, 'latin1')
  return Array.isArray(reply) ? reply.map(replyOf) : reply
}

type ClientOptions = { readonly url: string; readonly socket: { reconnectStrategy(retries: number): number } }

/** A client of a process, in the shape of that of the package `redis`. */
class ModelClient implements RedisClient {
  readonly process: SimProcess
  readonly #host: RedisHost
  readonly #options: ClientOptions
  readonly #listeners: { readonly event: string; readonly listener: (error?: unknown) => void }[] = []
  readonly #channels = new Map<string, (message: Buffer) => void>()
  #connection: RedisConnection | undefined
  #isDestroyed = false
  #retries = 0

  constructor(process: SimProcess, host: RedisHost, options: ClientOptions) {
    this.process = process
    this.#host = host
    this.#options = options
  }

  get isReady(): boolean {
    return this.#connection !== undefined
  }

  connect(): Promise<unknown> {
    // Its first promise ends with the first connection, or with `destroy`.
    return new Promise((resolve) => {
      this.on('ready', () => resolve(undefined))
      this.#connectAfter(0)
    })
  }

  destroy(): void {
    this.#isDestroyed = true
    const connection = this.#connection
    this.#connection = undefined
    connection?.break()
  }

  sendCommand(args: readonly Argument[]): Promise<Reply> {
    const connection = this.#connection
    if (!connection) return Promise.reject(new Error('The client is offline'))
    const command = args.map(bytesOf)
    return new Promise((resolve, reject) => connection.send({ args: command, resolve, reject }))
  }

  async subscribe(channel: string, listener: (message: Buffer) => void): Promise<void> {
    const name = Buffer.from(channel).toString('latin1')
    await this.sendCommand(['SUBSCRIBE', channel])
    this.#channels.set(name, listener)
  }

  async unsubscribe(channel: string): Promise<void> {
    this.#channels.delete(Buffer.from(channel).toString('latin1'))
    await this.sendCommand(['UNSUBSCRIBE', channel])
  }

  on(event: 'ready' | 'error', listener: (error?: unknown) => void): void {
    this.#listeners.push({ event, listener })
  }

  heard(channel: string, message: string): void {
    this.#channels.get(channel)?.(Buffer.from(message, 'latin1'))
  }

  /** Its connection is over. */
  lost(connection: RedisConnection): void {
    if (this.#isDestroyed || this.#connection !== connection) return
    this.#connection = undefined
    this.#say('error', new Error('Socket closed unexpectedly'))
    this.#connectAfter(this.#options.socket.reconnectStrategy(0))
  }

  #connectAfter(ms: number): void {
    this.process.setTimer(ms + this.#host.stage.chance.next() * this.#host.latencyMs, () => {
      if (this.#isDestroyed) return
      if (this.#host.isDown) return this.#refused(0, 'ECONNREFUSED')
      if (this.#host.isCutOff(this.process) || !this.#host.isUp) return this.#refused(CONNECT_MS, 'Connection timeout')
      const connection = new RedisConnection(this.#host, this)
      this.#connection = connection
      this.#retries = 0
      for (const channel of this.#channels.keys()) connection.channels.add(channel)
      this.#watch(connection)
      this.#say('ready')
    })
  }

  #refused(ms: number, why: string): void {
    this.process.setTimer(ms, () => {
      if (this.#isDestroyed) return
      this.#say('error', new Error(why))
      this.#connectAfter(this.#options.socket.reconnectStrategy(++this.#retries))
    })
  }

  /** Pings keep a connection: one that is silent is given up. */
  #watch(connection: RedisConnection): void {
    this.process.setTimer(SILENCE_MS / 2, () => {
      if (this.#connection !== connection) return
      const host = this.#host
      if (host.isUp && !host.isCutOff(this.process)) connection.heardAt = host.stage.time.now()
      if (host.stage.time.now() - connection.heardAt >= SILENCE_MS) connection.break()
      else this.#watch(connection)
    })
  }

  #say(event: string, error?: Error): void {
    for (const each of [...this.#listeners]) if (each.event === event) each.listener(error)
  }
}

/** The package `redis` in a process, for some hosts by their URLs. */
export function redisModule(process: SimProcess, hosts: ReadonlyMap<string, RedisHost>): RedisModule {
  return {
    createClient: (options) => {
      const { url } = options as ClientOptions
      return new ModelClient(process, hosts.get(url)!, options as ClientOptions)
    },
    ErrorReply: ReplyError,
    RESP_TYPES: { BLOB_STRING: 36 },
  }
}
