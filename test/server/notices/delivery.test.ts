import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import { describe, expect, test } from 'vitest'
import type { Runtime } from '../../../protocol/runtime.ts'
import type { LogFields } from '../../../server/logging/logger.ts'
import { ServerLog } from '../../../server/logging/logger.ts'
import type { Resolve } from '../../../server/notices/addresses.ts'
import { Delivery } from '../../../server/notices/delivery.ts'
import type { NoticeTarget, SendResult } from '../../../server/notices/notice-target.ts'
import { type WebhookOptions, webhookWith } from '../../../server/notices/webhook.ts'
import { nodeRuntime } from '../../../server/runtime.ts'
import { MemoryOutbox } from '../../../server/stores/memory-outbox.ts'
import type { Outbox } from '../../../server/stores/run-store.ts'
import { handClock } from '../../helpers/hand-clock.ts'
import { NoticeReceiver, SECRET } from '../../helpers/notice-receiver.ts'
import { redisStore } from '../../helpers/redis-harness.ts'
import { HAS_REDIS, RedisServer } from '../../helpers/redis-server.ts'
import { eventually } from '../../helpers/server.ts'

/** Time is real, and each wait before an attempt the shortest that chance may give: none. */
const hasty: Runtime = { ...nodeRuntime, random: () => 0 }

type Delivering = AsyncDisposable & {
  readonly delivery: Delivery
  readonly outbox: Outbox
  readonly records: LogFields[]
  add(...ids: string[]): Promise<void>
  /** Resolves when the log has this many records of an event. */
  logged(event: string, count?: number): Promise<LogFields[]>
}

function delivering(target: NoticeTarget, runtime: Runtime = hasty, shared?: Outbox): Delivering {
  const records: LogFields[] = []
  const note = (fields: LogFields): void => void records.push(fields)
  const log = new ServerLog(
    runtime,
    { debug: note, info: note, warn: note, error: note },
    () => {},
    (event, fields) => counted.push({ event, ...fields }),
  )
  const counted: LogFields[] = []
  const outbox = shared ?? new MemoryOutbox(runtime)
  const opened = (): Promise<void> => Promise.resolve()
  const delivery = new Delivery({ runtime, log, outbox, target, isStored: shared !== undefined, opened })
  return {
    delivery,
    outbox,
    records: counted,
    async add(...ids) {
      await outbox.add(ids.map(noticeOf))
      delivery.look()
    },
    async logged(event, count = 1) {
      const found = (): LogFields[] => counted.filter((one) => one.event === event)
      await eventually(() => found().length >= count, `${count} records ${event}: ${JSON.stringify(counted)}`)
      return found()
    },
    async [Symbol.asyncDispose]() {
      await delivery.close()
      log.close()
    },
  }
}

function noticeOf(id: string) {
  const body = { version: 1, type: 'run.ended', timestamp: '', data: { run: id, actor: 'count', outcome: 'done' } }
  return { id, body: Buffer.from(JSON.stringify(body)) }
}

function hook(port: number, options: Partial<WebhookOptions> = {}, resolve?: Resolve): NoticeTarget {
  const url = `http://127.0.0.1:${port}/canary-path`
  return webhookWith({ url, secret: SECRET, allowAddresses: ['127.0.0.1'], timeoutMs: 1_000, ...options }, resolve)
}

/** A receiver that does with each connection what it likes. */
async function rawReceiver(
  take: (socket: Socket, n: number) => void,
): Promise<AsyncDisposable & { port: number; connections: Socket[] }> {
  const connections: Socket[] = []
  const server: Server = createServer((socket) => {
    socket.on('error', () => {})
    socket.resume()
    connections.push(socket)
    take(socket, connections.length)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  return {
    port,
    connections,
    async [Symbol.asyncDispose]() {
      for (const socket of connections) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

const OK = 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n'

describe('a notice arrives in the end, under one id, at a receiver', () => {
  test('that fails at first, in each way', async () => {
    await using receiver = await NoticeReceiver.start((response, n) => {
      if (n === 1) response.writeHead(500).end('no')
      else if (n === 2) response.destroy()
      else if (n === 3) response.writeHead(404).end()
      else response.writeHead(202).end('thanks')
    })
    await using delivering_ = delivering(hook(receiver.port))
    await delivering_.add('a')
    await delivering_.logged('notice.sent')
    expect(receiver.received.map(({ id }) => id)).toEqual(['a', 'a', 'a', 'a'])
    expect(new Set(receiver.received.map(({ body }) => body)).size).toBe(1)
    expect(delivering_.records.filter(({ event }) => event === 'notice.failed').map(({ code }) => code)).toEqual([
      'rejected',
      'connection_lost',
      'rejected',
    ])
    expect(await delivering_.outbox.trim(9)).toEqual({ removed: 0, left: 0 })
  })

  test('that takes longer than half of the time it has', async () => {
    await using receiver = await NoticeReceiver.start((response) => void setTimeout(() => response.end(), 1_200))
    await using delivering_ = delivering(hook(receiver.port, { timeoutMs: 2_000 }))
    await delivering_.add('a')
    expect(await delivering_.logged('notice.sent')).toMatchObject([{ attempt: 1 }])
  })

  const raw: [string, string, (socket: Socket, n: number) => void][] = [
    ['that hangs before it answers', 'timeout', (socket, n) => n > 1 && socket.once('data', () => socket.end(OK))],
    [
      'whose headers drip',
      'timeout',
      (socket, n) => {
        if (n > 1) return void socket.once('data', () => socket.end(OK))
        socket.write('HTTP/1.1 200 OK\r\n')
        const drip = setInterval(() => socket.write('x: y\r\n'), 20)
        socket.on('close', () => clearInterval(drip))
      },
    ],
    [
      'that closes without an answer',
      'connection_lost',
      (socket, n) => (n > 1 ? socket.once('data', () => socket.end(OK)) : socket.end()),
    ],
    [
      'that answers something else than HTTP',
      'connection_lost',
      (socket, n) => socket.once('data', () => socket.end(n > 1 ? OK : 'SSH-2.0-server\r\n')),
    ],
    [
      'whose headers are larger than any',
      'connection_lost',
      (socket, n) =>
        socket.once('data', () => socket.end(n > 1 ? OK : `HTTP/1.1 200 OK\r\nx: ${'y'.repeat(100_000)}\r\n`)),
    ],
    [
      'that switches protocols',
      'connection_lost',
      (socket, n) =>
        socket.once('data', () =>
          socket.write(n > 1 ? OK : 'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n'),
        ),
    ],
  ]
  test.each(raw)('%s', async (_what, code, take) => {
    await using receiver = await rawReceiver(take)
    await using delivering_ = delivering(hook(receiver.port))
    await delivering_.add('a')
    await delivering_.logged('notice.sent')
    expect(delivering_.records).toMatchObject([
      { event: 'notice.failed', code },
      { event: 'notice.sent', attempt: 2 },
    ])
  })

  test.each([
    ['hangs after its headers', 'HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n'],
    ['answers 10 MB', `HTTP/1.1 200 OK\r\ncontent-length: 10000000\r\n\r\n${'x'.repeat(10_000_000)}`],
  ])('that %s: it has accepted, and its connection is closed', async (_what, answer) => {
    await using receiver = await rawReceiver((socket) => socket.once('data', () => socket.write(answer)))
    await using delivering_ = delivering(hook(receiver.port))
    await delivering_.add('a')
    const [sent] = await delivering_.logged('notice.sent')
    expect(sent).toMatchObject({ attempt: 1 })
    await eventually(() => receiver.connections.every((socket) => socket.destroyed || socket.closed), 'closed')
    expect(receiver.connections).toHaveLength(1)
  })
})

describe('a notice never goes to', () => {
  test.each([301, 302, 303, 307, 308])('where a redirect leads: %i', async (status) => {
    await using trap = await rawReceiver((socket) => socket.end(OK))
    await using receiver = await NoticeReceiver.start((response, n) =>
      response.writeHead(n === 1 ? status : 200, { location: `http://127.0.0.1:${trap.port}/` }).end(),
    )
    await using delivering_ = delivering(hook(receiver.port))
    await delivering_.add('a')
    await delivering_.logged('notice.sent')
    expect(delivering_.records[0]).toMatchObject({ event: 'notice.failed', code: 'redirected' })
    expect(trap.connections).toHaveLength(0)
  })

  test('a private address behind a name, also when the name was public a moment ago', async () => {
    await using trap = await rawReceiver((socket) => socket.end(OK))
    const answers = ['10.0.0.1', '127.0.0.1', '::1', '::ffff:127.0.0.1']
    const asked: string[] = []
    const resolve: Resolve = (hostname, _options, callback) => {
      const address = answers[asked.length % answers.length]!
      asked.push(hostname)
      callback(null, [{ address, family: address.includes(':') ? 6 : 4 }])
    }
    const options = { url: `https://hooks.example:${trap.port}/`, allowAddresses: [], maxAttempts: 4 }
    await using delivering_ = delivering(hook(trap.port, options, resolve))
    await delivering_.add('a')
    await delivering_.logged('notice.dropped')
    const failed = await delivering_.logged('notice.failed', 4)
    for (const record of failed) expect(record).toMatchObject({ code: 'address_refused' })
    expect(asked).toEqual(Array(4).fill('hooks.example'))
    expect(trap.connections).toHaveLength(0)
  })

  test('localhost, unless its address was named', async () => {
    await using trap = await rawReceiver((socket) => socket.end(OK))
    const options = { url: `https://localhost:${trap.port}/`, allowAddresses: [], maxAttempts: 1 }
    await using delivering_ = delivering(hook(trap.port, options))
    await delivering_.add('a')
    await delivering_.logged('notice.dropped')
    expect(delivering_.records[0]).toMatchObject({ code: 'address_refused' })
    expect(trap.connections).toHaveLength(0)
  })

  test('a receiver whose certificate is not trusted, and the log has no path', async () => {
    await using receiver = await rawReceiver((socket) => socket.end(OK))
    const url = `https://127.0.0.1:${receiver.port}/canary-path`
    await using delivering_ = delivering(hook(receiver.port, { url, maxAttempts: 1 }))
    await delivering_.add('a')
    await delivering_.logged('notice.dropped')
    expect(delivering_.records[0]).toMatchObject({ code: 'unreachable' })
    expect(JSON.stringify(delivering_.records)).not.toContain('canary')
  })
})

describe('a server is bounded: it', () => {
  test('has no more attempts under way than it may', async () => {
    await using receiver = await rawReceiver(() => {})
    const target = hook(receiver.port, { concurrency: 3, timeoutMs: 500, maxAttempts: 1 })
    let [now, most] = [0, 0]
    const send: NoticeTarget['send'] = async (...args) => {
      most = Math.max(most, ++now)
      return target.send(...args).finally(() => now--)
    }
    await using delivering_ = delivering({ ...target, send })
    await delivering_.add(...Array.from({ length: 9 }, (_, n) => `n${n}`))
    await delivering_.logged('notice.dropped', 9)
    expect([receiver.connections.length, most]).toEqual([9, 3])
  })

  test('keeps no more notices than it may: the oldest go, and are counted', async () => {
    await using receiver = await rawReceiver(() => {})
    await using delivering_ = delivering(hook(receiver.port, { maxPending: 5, concurrency: 1, timeoutMs: 60_000 }))
    for (let n = 0; n < 20; n++) await delivering_.add(`n${n}`)
    await eventually(() => delivering_.delivery.pending === 5, 'trimmed')
    const dropped = await delivering_.logged('notice.dropped')
    expect(dropped.reduce((sum, { count }) => sum + Number(count), 0)).toBe(15)
    for (const record of dropped) expect(record).toMatchObject({ code: 'overloaded' })
    expect((await delivering_.outbox.trim(9)).left).toBe(5)
  })

  test('gives up after so many attempts', async () => {
    await using receiver = await NoticeReceiver.start((response) => response.writeHead(500).end())
    await using delivering_ = delivering(hook(receiver.port, { maxAttempts: 3 }))
    await delivering_.add('a')
    expect(await delivering_.logged('notice.dropped')).toMatchObject([{ code: 'attempts', attempt: 3, count: 1 }])
    expect(receiver.received).toHaveLength(3)
  })

  test('gives up a notice that is too old', async () => {
    const clock = handClock()
    const { target, results } = scriptedTarget({ maxAgeMs: 60_000, maxAttempts: 100 })
    results.push(...Array<SendResult>(100).fill(REJECTED))
    await using delivering_ = delivering(target, clock)
    await delivering_.add('a')
    for (let n = 0; n < 2_000 && !delivering_.records.some(({ code }) => code === 'age'); n++) {
      clock.advance(100)
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(await delivering_.logged('notice.dropped')).toMatchObject([{ code: 'age' }])
  })
})

test('a notice whose stored body nobody can read is given up at once, and the log says so', async () => {
  const { target, asked } = scriptedTarget()
  await using delivering_ = delivering(target)
  await delivering_.outbox.add([
    { id: 'cut', body: Buffer.from('{"version":1,"ty') },
    { id: 'bare', body: Buffer.from('{"type":"run.ended"}') },
  ])
  await delivering_.add('whole')
  const dropped = await delivering_.logged('notice.dropped', 2)
  expect(dropped).toMatchObject(['cut', 'bare'].map((notice) => ({ notice, code: 'unreadable', attempt: 1, count: 1 })))
  expect(await delivering_.logged('notice.sent')).toMatchObject([{ notice: 'whole' }])
  expect(asked).toHaveLength(1)
  expect(await delivering_.outbox.trim(9)).toEqual({ removed: 0, left: 0 })
})

const REJECTED: SendResult = { isSent: false, failure: 'rejected', words: '500' }

/** A target that answers what it is given, and says when it was asked. */
function scriptedTarget(limits: Partial<NoticeTarget['limits']> = {}) {
  const results: SendResult[] = []
  const asked: number[] = []
  const target: NoticeTarget = {
    limits: { maxAttempts: 15, maxAgeMs: 86_400_000, maxPending: 100, concurrency: 4, attemptMs: 1_000, ...limits },
    actors: undefined,
    on: ['run.ended'],
    host: 'hooks.example',
    async send(_notice, runtime) {
      asked.push(runtime.now())
      return results.shift() ?? { isSent: true }
    },
  }
  return { target, results, asked }
}

describe('an attempt that failed is repeated', () => {
  test('after a wait that doubles up to an hour, with full jitter, and the sum of all is bounded', async () => {
    const clock = { ...handClock() }
    const draws = [0.5, 1]
    const { target, results, asked } = scriptedTarget()
    for (let n = 0; n < 14; n++) results.push(REJECTED)
    const runtime: Runtime = Object.assign(clock, { random: () => draws[asked.length % 2]! })
    await using delivering_ = delivering(target, runtime)
    await delivering_.add('a')
    for (let n = 0; n < 60_000 && !delivering_.records.some(({ event }) => event === 'notice.sent'); n++) {
      clock.advance(500)
      await new Promise((resolve) => setImmediate(resolve))
    }
    const waits = asked.slice(1).map((at, n) => at - asked[n]!)
    for (const [n, wait] of waits.entries()) {
      const longest = Math.min(3_600_000, 5_000 * 2 ** n)
      const drawn = longest * draws[(n + 1) % 2]!
      // It may have looked for others just before: then it looks again six seconds later at most.
      expect([n, wait - drawn, Math.abs(wait - drawn) <= 6_500]).toEqual([n, wait - drawn, true])
    }
    expect(asked).toHaveLength(15)
  })

  test('not before the receiver wants it, and within an hour', async () => {
    const clock = handClock()
    const { target, results, asked } = scriptedTarget()
    results.push({ ...REJECTED, afterMs: 30_000 }, { ...REJECTED, afterMs: 1e9 })
    await using delivering_ = delivering(target, Object.assign(clock, { random: () => 0 }))
    await delivering_.add('a')
    for (let n = 0; n < 10_000 && asked.length < 3; n++) {
      clock.advance(500)
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(asked[1]! - asked[0]!).toBeGreaterThanOrEqual(30_000)
    expect(asked[2]! - asked[1]!).toBeGreaterThanOrEqual(3_599_000)
    expect(asked[2]! - asked[1]!).toBeLessThanOrEqual(3_602_000)
  })
})

describe('of several servers with one store', () => {
  test('one sends each notice', async () => {
    await using receiver = await NoticeReceiver.start()
    const outbox = new MemoryOutbox(nodeRuntime)
    const ids = Array.from({ length: 100 }, (_, n) => `n${n}`)
    await using one = delivering(hook(receiver.port), hasty, outbox)
    await using two = delivering(hook(receiver.port), hasty, outbox)
    await one.add(...ids)
    two.delivery.look()
    await receiver.count(100)
    expect(new Set(receiver.received.map(({ id }) => id)).size).toBe(100)
    expect(receiver.received).toHaveLength(100)
  })

  test.skipIf(!HAS_REDIS)('in Redis one sends each notice, and the other what a dead one had taken', async () => {
    await using redis = await RedisServer.start()
    await using receiver = await NoticeReceiver.start()
    const prefix = redis.prefix()
    const stores = [redisStore([redis], prefix), redisStore([redis], prefix)]
    for (const store of stores) await store.open()
    const ids = Array.from({ length: 50 }, (_, n) => `n${n}`)
    {
      await using one = delivering(hook(receiver.port), hasty, stores[0]!.outbox)
      await using two = delivering(hook(receiver.port), hasty, stores[1]!.outbox)
      await one.add(...ids)
      two.delivery.look()
      await receiver.count(50)
    }
    expect(receiver.received).toHaveLength(50)
    await stores[0]!.outbox.add([noticeOf('left')])
    expect(await stores[0]!.outbox.take(1, 1)).toHaveLength(1)
    stores[0]!.crash()
    await using after = delivering(hook(receiver.port), hasty, stores[1]!.outbox)
    await eventually(() => {
      after.delivery.look()
      return receiver.received.length === 51
    }, 'the other one sent it')
    await stores[1]!.close()
  })
})

describe('a shutdown', () => {
  test('does not wait for a receiver that hangs, and says what it loses without a store', async () => {
    await using receiver = await rawReceiver(() => {})
    const delivering_ = delivering(hook(receiver.port, { timeoutMs: 60_000 }))
    await delivering_.add('a', 'b')
    await eventually(() => receiver.connections.length === 2, 'two attempts')
    const startedAt = performance.now()
    await delivering_[Symbol.asyncDispose]()
    expect(performance.now() - startedAt).toBeLessThan(5_000)
    expect(await delivering_.logged('notice.dropped')).toMatchObject([{ code: 'shutdown', count: 2 }])
    await eventually(() => receiver.connections.every((socket) => socket.closed), 'its connections are closed')
  })

  test('leaves what waits in a store to the next process, at once', async () => {
    await using receiver = await rawReceiver(() => {})
    const outbox = new MemoryOutbox(nodeRuntime)
    const delivering_ = delivering(hook(receiver.port, { timeoutMs: 60_000 }), hasty, outbox)
    await delivering_.add('a')
    await eventually(() => receiver.connections.length === 1, 'an attempt')
    await delivering_[Symbol.asyncDispose]()
    expect(delivering_.records.filter(({ event }) => event === 'notice.dropped')).toEqual([])
    expect(await outbox.take(9, 1)).toMatchObject([{ id: 'a', attempt: 2 }])
  })

  test('is not held up by a store that does not answer', async () => {
    const never = (): Promise<never> => new Promise(() => {})
    const outbox: Outbox = { add: never, take: never, remove: never, putOff: never, trim: never }
    const { target } = scriptedTarget()
    const delivering_ = delivering(target, hasty, outbox)
    delivering_.delivery.look()
    const startedAt = performance.now()
    await delivering_[Symbol.asyncDispose]()
    expect(performance.now() - startedAt).toBeLessThan(5_000)
  })
})
