import { describe, expect, test } from 'vitest'
import { MillraceError } from '../../../protocol/errors.ts'
import { actor, inspector, type LogFields } from '../../../server/index.ts'
import type { LiveRun, NewRun } from '../../../server/stores/run-store.ts'
import { watching } from '../../helpers/inspector-watcher.ts'
import { redisDeployment } from '../../helpers/redis-deployment.ts'
import { redisStore } from '../../helpers/redis-harness.ts'
import { withBefore } from '../../helpers/redis-module.ts'
import { HAS_REDIS, RedisServer } from '../../helpers/redis-server.ts'
import { eventually, quiet } from '../../helpers/server.ts'

/** No run changes hands: that is another trouble. */
const LEASE_MS = 20_000

const actors = {
  inspector: inspector(),
  echo: actor({
    interactive: true,
    async *stream(_: unknown, { inputs }) {
      for await (const { data } of inputs) yield String(data)
    },
  }),
}

/** What happens to Redis at one moment, and how it is well again. `isLasting`: it answers nothing until then, or refuses. */
type Trouble = {
  readonly isLasting: boolean
  begin(redis: RedisServer): Promise<unknown> | undefined
  end(redis: RedisServer): Promise<unknown> | undefined
}

const TROUBLES: [string, Trouble][] = [
  ['loses its connections', { isLasting: false, begin: (redis) => redis.cut(), end: () => undefined }],
  [
    'stands still',
    { isLasting: true, begin: async (redis) => redis.freeze(true), end: async (redis) => redis.freeze(false) },
  ],
  ['dies, and is started again', { isLasting: true, begin: (redis) => redis.kill(), end: (redis) => redis.begin() }],
  ['is full', { isLasting: true, begin: (redis) => redis.full(true), end: (redis) => redis.full(false) }],
]

/** A trouble that begins before the next call of a script that is waited for. */
class Moment {
  readonly #redis: RedisServer
  readonly #trouble: Trouble
  #script: string | undefined
  #calls = 0
  #begun = (): void => {}

  constructor(redis: RedisServer, trouble: Trouble) {
    this.#redis = redis
    this.#trouble = trouble
  }

  /** @param calls before how many calls from now on of the script it begins. @returns what resolves once it has. */
  at(script: string, calls = 1): Promise<void> {
    this.#script = script
    this.#calls = calls
    return new Promise((resolve) => (this.#begun = resolve))
  }

  readonly before = (script: string): Promise<unknown> | undefined => {
    if (script !== this.#script || --this.#calls > 0) return undefined
    this.#script = undefined
    return Promise.resolve(this.#trouble.begin(this.#redis)).then(this.#begun)
  }

  async end(): Promise<void> {
    await this.#trouble.end(this.#redis)
  }
}

/** Gives what a store says at last, which refuses each call until Redis answers. Other refusals fail the test. */
async function untilAnswered<T>(call: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await call()
    } catch (error) {
      if (!(MillraceError.is(error, 'store_unavailable') && error.retryable)) throw error
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
}

describe.skipIf(!HAS_REDIS).each(TROUBLES)('when Redis %s', (_, trouble) => {
  const { isLasting } = trouble
  const started = (): Promise<RedisServer> => RedisServer.start('--appendonly', 'yes', '--appendfsync', 'always')
  const newRun: NewRun = { facts: { actor: 'a', principal: 'alice', startedAt: 1, packed: new Uint8Array() } }

  test('between two pages of the live runs, a server has all of them or may ask again, and then has all', async () => {
    await using redis = await started()
    const moment = new Moment(redis, trouble)
    const store = redisStore([redis], 'p', { leaseMs: LEASE_MS, standIn: await withBefore(moment.before) })
    const other = redisStore([redis], 'p', { leaseMs: LEASE_MS })
    await Promise.all([store.open(), other.open()])
    for (let n = 0; n < 3; n++) await other.begin(`other-${n}`, newRun)
    // The own ones fill the first pages: those come first whose lease ends last.
    for (let n = 0; n < 6; n++) await store.begin(`own-${n}`, newRun)
    const others = (runs: readonly LiveRun[]): string[] =>
      runs.flatMap(({ id, isHere }) => (isHere ? [] : [id])).toSorted()
    const all = ['other-0', 'other-1', 'other-2']
    const begun = moment.at('live', 2)
    const read = store.live(3).then(others, (error: unknown) => error)
    await begun
    // One that is started again at once may be in time.
    const answer = await read
    if (answer instanceof Error) expect(answer).toMatchObject({ code: 'store_unavailable', retryable: true })
    else expect(answer).toEqual(all)
    await moment.end()
    expect(others(await untilAnswered(() => store.live(3)))).toEqual(all)
    await Promise.all([store.close(), other.close()])
  })

  test('while an inspector looks for the runs of all servers, it goes on to report, and has all of them afterwards', async () => {
    await using redis = await started()
    const moment = new Moment(redis, trouble)
    const node = redisDeployment(redis, { leaseMs: LEASE_MS })
    await using a = await node(actors)
    await using b = await node(actors, {}, { standIn: await withBefore(moment.before) })
    await using here = await a.client()
    await using there = await b.client()
    here.start(1, 'echo')
    const { run } = await here.next('opened', 1)
    await using watcher = await watching(b, { input: { everyMs: 100, all: true } })
    await watcher.run(run)
    const begun = moment.at('live')
    there.start(1, 'inspector', { everyMs: 60_000 })
    const { run: own } = await there.next('opened', 1)
    await begun
    await watcher.run(own)
    expect(watcher.state.runs.has(run)).toBe(true)
    await moment.end()
    here.start(2, 'echo')
    const { run: second } = await here.next('opened', 2)
    await watcher.run(second)
    expect(watcher.updates.filter(({ goneRuns }) => goneRuns?.includes(run))).toEqual([])
  })

  test('while a client of another server sends an input, it is taken once: at once, or when it is sent again', async () => {
    await using redis = await started()
    const moment = new Moment(redis, trouble)
    const node = redisDeployment(redis, { leaseMs: LEASE_MS })
    await using a = await node(actors)
    await using b = await node(actors, {}, { standIn: await withBefore(moment.before) })
    await using here = await a.client()
    await using there = await b.client()
    here.start(1, 'echo')
    const { run } = await here.next('opened', 1)
    await untilAnswered(async () => {
      while (!(await b.store.find(run)));
    })
    there.attach(1, run, 0)
    await there.next('opened', 1)
    const send = (): void => there.send({ kind: 'input', sid: 1, mid: 'm', type: 'message', data: 'once' })
    const begun = moment.at('ask')
    send()
    await begun
    let ack = await there.next('input_ack', 1)
    await moment.end()
    while (ack.status === 'busy') {
      send()
      ack = await there.next('input_ack', 1)
    }
    expect(['accepted', 'duplicate']).toContain(ack.status)
    await Promise.all([here, there].map((client) => client.until(() => client.text(1) === 'once')))
  })

  test('while a client of another server cancels, the run is stopped, and both have its receipt', async () => {
    await using redis = await started()
    const moment = new Moment(redis, trouble)
    const node = redisDeployment(redis, { leaseMs: LEASE_MS })
    await using a = await node(actors)
    const records: LogFields[] = []
    const logger = { ...quiet, error: (fields: LogFields) => records.push(fields) }
    await using b = await node(actors, { logger }, { standIn: await withBefore(moment.before) })
    await using here = await a.client()
    await using there = await b.client()
    here.start(1, 'echo')
    const { run } = await here.next('opened', 1)
    await untilAnswered(async () => {
      while (!(await b.store.find(run)));
    })
    there.attach(1, run, 0)
    await there.next('opened', 1)
    const begun = moment.at('ask')
    there.send({ kind: 'cancel', sid: 1 })
    await begun
    // A connection that breaks is no failure: what was under way is repeated on the next one.
    if (isLasting) await eventually(() => records.some(({ event }) => event === 'store.failed'), 'the failure')
    await moment.end()
    const [end, same] = await Promise.all([here.next('end', 1), there.next('end', 1)])
    expect(end).toMatchObject({ outcome: 'cancelled', data: { by: 'client', settled: true } })
    expect(same).toEqual(end)
  })
})
