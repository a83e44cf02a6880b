import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Client, createClient, MillraceError } from '../../client-sdk/node.ts'
import { Command, MILLRACE } from '../helpers/command.ts'
import { Counter } from '../helpers/counter.ts'
import { EventTypes } from '../helpers/event-types.ts'
import { freePort } from '../helpers/free-port.ts'
import { HAS_REDIS, RedisServer } from '../helpers/redis-server.ts'
import { root } from '../helpers/root.ts'
import { repetitions } from '../helpers/tier.ts'

/** Streams of a restart of both servers, over ten clients. */
const STREAMS = repetitions({ quick: 50, full: 500 })
const ROUNDS = repetitions({ quick: 1, full: 10, long: 100 })
const LEASE_MS = 1_000
/** The lease, and what a client may then take to learn of it. A busy machine takes longer. */
const PATIENCE_MS = LEASE_MS + 2_000
const SLACK_MS = 5_000

/** Server processes that share a Redis, and one address in front of them, as a load balancer has. */
class Deployment implements AsyncDisposable {
  readonly #folder: string
  readonly #balancer: Server
  readonly #through = new Set<Socket>()
  readonly #clients: Client[] = []
  readonly servers: { readonly command: Command; readonly port: number }[] = []
  /** Where the next connections go. */
  target = 0

  static async make(redis: RedisServer): Promise<Deployment> {
    const folder = await mkdtemp(join(tmpdir(), 'millrace-two-'))
    const options = { url: redis.url, prefix: redis.prefix(), leaseMs: LEASE_MS }
    await writeFile(
      join(folder, 'config.mjs'),
      `import { redis } from ${JSON.stringify(`${root}dist/server/stores/redis/redis.js`)}
       export default { store: redis(${JSON.stringify(options)}), limits: { startsPerSec: 1000, startBurst: 1000, maxRuns: 1000 } }`,
    )
    const deployment = new Deployment(folder)
    await new Promise<void>((resolve) => deployment.#balancer.listen(0, '127.0.0.1', resolve))
    return deployment
  }

  private constructor(folder: string) {
    this.#folder = folder
    this.#balancer = createServer((socket) => {
      const server = connect(this.servers[this.target]!.port, '127.0.0.1')
      for (const one of [socket, server]) {
        this.#through.add(one)
        one
          .on('error', () => {})
          .on('close', () => {
            this.#through.delete(one)
            socket.destroy()
            server.destroy()
          })
      }
      socket.pipe(server).pipe(socket)
    })
  }

  /** Starts another server. @param more arguments of `millrace serve`. */
  async begin(...more: string[]): Promise<number> {
    const port = await freePort()
    const args = ['serve', '--config', join(this.#folder, 'config.mjs'), '--port', `${port}`, '--token', 't', ...more]
    const command = new Command(process.execPath, [MILLRACE, ...args])
    await command.said('stdout', /listens on/)
    return this.servers.push({ command, port }) - 1
  }

  signal(server: number, name: NodeJS.Signals): void {
    this.servers[server]!.command.kill(name)
  }

  /** A client of one server, or of the address in front of all. */
  client(server?: number): Client {
    const address = this.#balancer.address()
    const port = server === undefined ? (typeof address === 'object' ? address?.port : 0) : this.servers[server]!.port
    const client = createClient(`ws://127.0.0.1:${port}`, { token: 't' })
    this.#clients.push(client)
    return client
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { command } of this.servers) {
      command.kill('SIGCONT')
      command.kill('SIGKILL')
    }
    await Promise.all(this.#clients.map((client) => client.close()))
    await Promise.all(this.servers.map(({ command }) => command.ended))
    for (const socket of this.#through) socket.destroy()
    await new Promise((resolve) => this.#balancer.close(resolve))
    await rm(this.#folder, { recursive: true, force: true })
  }
}

const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1)

describe.skipIf(!HAS_REDIS)('of two servers that share a Redis', () => {
  let redis: RedisServer
  beforeAll(async () => {
    redis = await RedisServer.start()
  })
  afterAll(() => redis[Symbol.asyncDispose]())

  test(`one is killed, ${ROUNDS} times: its clients go on at the other one, where the run has its one end`, {
    timeout: 60_000 + ROUNDS * 20_000,
  }, async () => {
    await using deployment = await Deployment.make(redis)
    let owner = await deployment.begin()
    for (let round = 0; round < ROUNDS; round++) {
      const other = await deployment.begin()
      deployment.target = owner
      const run = deployment.client().start('count', { to: 100_000, delayMs: 20 })
      const reader = new Counter(run)
      await reader.has(20)
      const id = run.position!.run
      const watcher = new Counter(deployment.client(other).attach('count', id, { after: 0 }))
      await watcher.has(20)
      deployment.target = other
      const killedAt = performance.now()
      deployment.signal(owner, 'SIGKILL')
      // On every second round somebody wants to stop a run that nobody executes any more.
      if (round % 2 === 0)
        void deployment
          .client(other)
          .attach('count', id)
          .cancel()
          .catch(() => {})
      await Promise.all([reader.over, watcher.over])
      expect(performance.now() - killedAt).toBeLessThan(PATIENCE_MS + SLACK_MS)
      for (const one of [reader, watcher]) {
        expect(one.numbers).toEqual(upTo(one.numbers.length))
        expect(one.error).toMatchObject({ code: 'interrupted' })
      }
      expect(reader.numbers).toEqual(watcher.numbers)
      owner = other
    }
  })

  test(`one stands still for longer than its lease, ${ROUNDS} times: what it then says nobody sees`, {
    timeout: 60_000 + ROUNDS * 20_000,
  }, async () => {
    await using deployment = await Deployment.make(redis)
    const owner = await deployment.begin()
    const other = await deployment.begin()
    for (let round = 0; round < ROUNDS; round++) {
      const run = deployment.client(owner).start('count', { to: 100_000, delayMs: 5 })
      const reader = new Counter(run)
      await reader.has(20)
      const watched = deployment.client(other).attach('count', run.position!.run, { after: 0 })
      const watcher = new Counter(watched)
      await watcher.has(20)
      deployment.signal(owner, 'SIGSTOP')
      await watcher.over
      expect(watcher.error).toMatchObject({ code: 'interrupted' })
      const last = watcher.numbers.length
      deployment.signal(owner, 'SIGCONT')
      await reader.over
      expect(reader.error).toMatchObject({ code: 'interrupted' })
      expect(reader.numbers).toEqual(upTo(last))
      // Also the server that stood still has no other truth.
      const again = new Counter(deployment.client(owner).attach('count', run.position!.run, { after: 0 }))
      await again.over
      expect(again.numbers).toEqual(upTo(last))
      expect(again.error).toMatchObject({ code: 'interrupted' })
    }
  })

  test('one is asked to stop a run of the other: the receipt comes from there', async () => {
    await using deployment = await Deployment.make(redis)
    const [owner, other] = [await deployment.begin(), await deployment.begin()]
    const run = deployment.client(owner).start('sleep', { ms: 600_000 })
    const over = run.result.catch((error: unknown) => error)
    const { id } = await run.opened
    const receipt = await deployment.client(other).attach('sleep', id).cancel({ note: 'enough' })
    expect(receipt).toMatchObject({ outcome: 'cancelled', settled: true, note: 'enough' })
    expect(MillraceError.is(await over, 'cancelled')).toBe(true)
  })

  test(`both are restarted, one after the other, under ${STREAMS} streams: each has every item once, on the other server or with a typed end`, {
    timeout: 120_000,
  }, async () => {
    await using deployment = await Deployment.make(redis)
    const [first, second] = [await deployment.begin('--drain', '3'), await deployment.begin('--drain', '3')]
    // Every second stream may end in time. The others are in the middle of their work when the drain is over.
    const SHORT = 100
    const begin = (client: Client, n: number): Counter =>
      new Counter(client.start('count', { to: n % 2 === 0 ? SHORT : 1_000_000, delayMs: 10 }))
    const readers: Counter[] = []
    for (let n = 0; n < 10; n++) {
      deployment.target = n % 2 === 0 ? first : second
      const client = deployment.client()
      for (let i = 0; i < STREAMS / 10; i++) readers.push(begin(client, readers.length))
      await client.runs()
    }
    deployment.target = first
    const waiting = deployment.client().start('assistant', 'Send a mail to Ada')
    const events = new EventTypes(waiting)
    await Promise.all([events.has('request'), ...readers.map((reader) => reader.has(1))])

    const restart = async (leaving: number, to: number): Promise<void> => {
      deployment.target = to
      const askedAt = performance.now()
      deployment.signal(leaving, 'SIGTERM')
      expect((await deployment.servers[leaving]!.command.ended).code).toBe(0)
      // The drain, and the time in which cancelled runs settle and ends are delivered.
      expect(performance.now() - askedAt).toBeLessThan(3_000 + 6_000 + SLACK_MS)
    }
    await restart(first, second)
    const third = await deployment.begin('--drain', '3')
    await restart(second, third)
    await Promise.all(readers.map(({ over }) => over))
    for (const { numbers, error, lost } of readers) {
      expect(numbers).toEqual(upTo(numbers.length))
      expect(lost).toBe(0)
      if (error === undefined) expect(numbers).toHaveLength(SHORT)
      else expect(error).toMatchObject({ code: 'interrupted', retryable: true })
    }
    const ended = readers.filter(({ error }) => error === undefined).length
    expect(ended).toBeGreaterThan(0)
    expect(ended).toBeLessThanOrEqual(STREAMS / 2)
    const watched = deployment.client(third).attach('assistant', waiting.position!.run, { after: 0 })
    for await (const event of watched)
      if (event.type === 'request')
        expect(await watched.send('approve', { call: event.call, ok: true })).toBe('accepted')
    await events.over
    expect(events.types.filter((type) => type === 'tool.result')).toHaveLength(1)
  })

  test('one goes away in order: a run that waits for an approval is answered at the other', async () => {
    await using deployment = await Deployment.make(redis)
    const [owner, other] = [await deployment.begin(), await deployment.begin()]
    deployment.target = owner
    const run = deployment.client().start('assistant', 'Send a mail to Ada')
    const events = new EventTypes(run)
    await events.has('request')
    deployment.target = other
    deployment.signal(owner, 'SIGTERM')
    expect((await deployment.servers[owner]!.command.ended).code).toBe(0)
    const watched = deployment.client(other).attach('assistant', run.position!.run, { after: 0 })
    for await (const event of watched)
      if (event.type === 'request')
        expect(await watched.send('approve', { call: event.call, ok: true })).toBe('accepted')
    await events.over
    expect(events.types.filter((type) => type === 'tool.result')).toHaveLength(1)
    expect(events.types.filter((type) => type === 'request')).toHaveLength(1)
  })
})
