import { once } from 'node:events'
import { request } from 'node:http'
import { Registry } from 'prom-client'
import { describe, expect, test, vi } from 'vitest'
import { createClient } from '../../../client-sdk/node.ts'
import { MillraceError } from '../../../protocol/errors.ts'
import {
  type ActorContext,
  type ActorMap,
  type Authenticate,
  actor,
  agent,
  createServer,
  type LogEvent,
  type Model,
  type ModelEvent,
  remote,
  type ServerOptions,
  webhook,
  workflow,
} from '../../../server/index.ts'
import { RECORDS } from '../../../server/logging/logger.ts'
import { CATALOGUE, type MetricName } from '../../../server/metrics/catalogue.ts'
import type { Metrics, MetricsView } from '../../../server/metrics/metrics.ts'
import { prometheus } from '../../../server/metrics/prometheus.ts'
import { nodeRuntime } from '../../../server/runtime.ts'
import { bearer } from '../../../server/sessions/auth.ts'
import { memoryStore } from '../../../server/stores/memory-store.ts'
import { FailingStore } from '../../helpers/failing-store.ts'
import { NoticeReceiver, SECRET } from '../../helpers/notice-receiver.ts'
import { onOneStore } from '../../helpers/one-store.ts'
import { redisStore } from '../../helpers/redis-harness.ts'
import { HAS_REDIS, RedisServer } from '../../helpers/redis-server.ts'
import { seededRandom } from '../../helpers/seeded-random.ts'
import { quiet } from '../../helpers/server.ts'
import { counter, latch, silent } from '../../helpers/test-actors.ts'
import { repetitions } from '../../helpers/tier.ts'

const STEPS = repetitions({ quick: 2_000, full: 10_000 })

const people = bearer({ alice: 'alice', ops: { id: 'ops', rights: ['observe'] } })

/** The samples of a scrape: `name{labels}` and its value. */
class Scrape {
  readonly text: string
  readonly samples = new Map<string, number>()

  constructor(text: string) {
    this.text = text
    for (const line of text.split('\n')) {
      const [, name, value] = /^([^#\s][^\s]*|[^#\s{]+\{.*\}) (\S+)$/.exec(line) ?? []
      if (name !== undefined) this.samples.set(name, Number(value))
    }
  }

  /** The sum of all samples of a metric whose labels contain `labels`. */
  of(name: string, ...labels: string[]): number {
    let sum = 0
    for (const [sample, value] of this.samples)
      if (sample.replace(/\{.*/, '') === name && labels.every((label) => sample.includes(label))) sum += value
    return sum
  }
}

const failing: Model = {
  id: 'test:failing',
  provider: 'test',
  // biome-ignore lint/correctness/useYield: it fails before its first word
  async *stream(): AsyncGenerator<ModelEvent> {
    throw new MillraceError('provider_error', 'the provider is gone')
  },
}

const spending: Model = {
  id: 'test:spending',
  provider: 'test',
  async *stream(): AsyncGenerator<ModelEvent> {
    yield { type: 'text', text: 'well' }
    yield { type: 'usage', input: 7, output: 3 }
    yield { type: 'finish', stop: 'stop' }
  },
}

/** A run as a scrape looks at it. */
class FakeRun {
  readonly id: string
  readonly registeredName: string
  logged = { items: 0, bytes: 0 }
  end: { outcome: 'done' } | undefined
  readonly state = 'running'
  readonly followers = []

  constructor(id: string, registeredName: string) {
    this.id = id
    this.registeredName = registeredName
  }
}

function served(
  settings: Partial<Pick<ServerOptions<ActorMap>, 'authenticate' | 'limits' | 'notify' | 'store'>> & {
    register?: Registry
  } = {},
) {
  const { store, register, notify, authenticate = people, limits } = settings
  const metrics = prometheus({ register })
  const server = createServer({
    actors: {
      count: counter(),
      silent: silent(),
      spends: agent({ model: spending }),
      breaks: actor({
        // biome-ignore lint/correctness/useYield: it fails before its first word
        async *stream(): AsyncGenerator<string> {
          throw new Error('broken')
        },
      }),
      failing: agent({ model: failing }),
    },
    authenticate,
    logger: quiet,
    http: true,
    limits: { maxRuns: 2, ...limits },
    metrics,
    notify,
    onError: () => {},
    store,
  })
  return { server, metrics }
}

async function scrape(url: string, headers: Record<string, string> = {}): Promise<Scrape> {
  const answer = await fetch(`${url}/metrics`, { headers })
  expect(answer.status).toBe(200)
  return new Scrape(await answer.text())
}

describe('GET /metrics', () => {
  test('each metric moves as its description says, under a load that does all of it', async () => {
    const store = new FailingStore(memoryStore(), nodeRuntime)
    const answers = latch()
    // It wants the first notice never again, and takes its time for the second one.
    await using receiver = await NoticeReceiver.start(async (response, n) => {
      if (n === 2) await answers.opened
      response.writeHead(n === 1 ? 410 : 204).end()
    })
    const notify = webhook({ url: receiver.url, secret: SECRET, allowAddresses: ['127.0.0.1'] })
    let failures = 0
    const authenticate: Authenticate = (credentials) => {
      if (credentials.headers.get('authorization') !== 'Bearer broken') return people(credentials)
      failures++
      throw new Error('the directory of people is gone')
    }
    const { server } = served({ store, notify, authenticate })
    const { url, httpUrl = '' } = await server.listen(0)
    const before = await scrape(httpUrl)
    const client = createClient(url, { token: 'alice' })
    const { start } = client

    await start('count', 5).result
    await start('spends', 'hello').result
    await expect(start('breaks' as never, 0).result).rejects.toMatchObject({ code: 'actor_failed' })
    await expect(start('failing', 'hello').result).rejects.toMatchObject({ retryable: expect.anything() as boolean })
    await expect(start('nobody' as never, 0).result).rejects.toMatchObject({ code: 'not_found' })
    const stopped = start('silent', 0)
    await stopped.opened
    await stopped.cancel()

    const held = start('count', 1_000, { credit: 1 })
    await held[Symbol.asyncIterator]().next()
    const live = await until(httpUrl, (now) => now.of('millrace_readers_blocked') === 1)
    expect(live.of('millrace_runs', 'actor="count"')).toBe(1)
    expect(live.of('millrace_runs_gated')).toBe(1)
    expect(live.of('millrace_readers')).toBe(1)
    expect(live.of('millrace_reader_lag_items')).toBeGreaterThan(0)
    expect(live.of('millrace_connections')).toBe(1)
    expect(live.of('millrace_sessions')).toBe(1)
    const second = start('silent', 0)
    await second.opened
    await expect(start('silent', 0).result).rejects.toMatchObject({ code: 'overloaded' })
    await second.cancel()
    await held.cancel()
    const items = live.of('millrace_items_total', 'actor="count"')
    expect(items).toBeGreaterThanOrEqual(5)

    await expect(new Promise<void>((_, reject) => refused(url, reject))).rejects.toThrow()
    await client.close()
    await until(httpUrl, (now) => now.of('millrace_connections') === 0)
    await until(httpUrl, (now) => now.of('millrace_notices_waiting') === 1)
    answers.open()
    const after = await until(httpUrl, (now) => now.of('millrace_notices_waiting') === 0)
    const moved: Partial<Record<MetricName | `${MetricName}_count`, [number, ...string[]]>> = {
      millrace_connections_opened_total: [1],
      millrace_connections_closed_total: [1],
      millrace_connections_refused_total: [1, 'code="4401"'],
      millrace_limits_met_total: [1, 'code="overloaded"'],
      millrace_runs_started_total: [7],
      millrace_runs_refused_total: [1, 'code="not_found"'],
      millrace_actor_failures_total: [1, 'actor="breaks"'],
      millrace_usage_tokens_total: [10, 'actor="spends"'],
      millrace_notices_sent_total: [6, 'type="run.ended"'],
      millrace_notice_seconds_count: [6, 'type="run.ended"'],
      millrace_notice_failures_total: [1, 'code="gone"'],
      millrace_notices_dropped_total: [1, 'code="gone"'],
    }
    for (const [name, [by, ...labels]] of Object.entries(moved))
      expect([name, after.of(name, ...labels) - before.of(name, ...labels)]).toEqual([name, by])
    expect(after.of('millrace_model_failures_total', 'actor="failing"')).toBeGreaterThanOrEqual(1)
    expect(after.of('millrace_runs_ended_total', 'outcome="done"')).toBe(2)
    expect(after.of('millrace_runs_ended_total', 'outcome="cancelled"')).toBe(3)
    expect(after.of('millrace_runs_ended_total', 'outcome="error"', 'actor="breaks"', 'code="actor_failed"')).toBe(1)
    expect(after.of('millrace_run_seconds_count')).toBe(7)
    expect(after.of('millrace_first_item_seconds_count', 'actor="count"')).toBe(2)
    expect(after.of('millrace_cancel_seconds_count', 'settled="true"')).toBe(3)
    expect(after.of('millrace_items_total', 'actor="count"')).toBeGreaterThanOrEqual(items)
    expect(after.of('millrace_bytes_total')).toBeGreaterThan(0)
    expect(after.of('millrace_ended_runs')).toBeGreaterThan(0)
    expect(after.of('millrace_ended_bytes')).toBeGreaterThan(0)
    expect(after.of('millrace_limit', 'limit="maxRuns"')).toBe(2)
    expect(after.of('millrace_memory_short')).toBe(0)
    for (const name of Object.keys(CATALOGUE)) expect(after.text).toContain(`# HELP ${name} `)

    const leaving = createClient(url, { token: 'alice' })
    const alone = leaving.start('silent', 0, { onDetach: 'continue' })
    const { id } = await alone.opened
    await leaving.close({ runs: 'detach' })
    await until(httpUrl, (now) => now.of('millrace_runs_detached') === 1)
    const leave = new AbortController()
    const headers = { authorization: 'Bearer alice' }
    await fetch(`${httpUrl}/runs/${id}/events`, { headers, signal: leave.signal })
    await until(httpUrl, (now) => now.of('millrace_http_streams') === 1 && now.of('millrace_runs_detached') === 0)
    leave.abort()
    await until(httpUrl, (now) => now.of('millrace_http_streams') === 0)
    await fetch(`${httpUrl}/runs`, { headers: { authorization: 'Bearer broken' } })
    expect(failures).toBe(1)
    expect((await scrape(httpUrl)).of('millrace_server_failures_total')).toBe(failures)
    await server.close({ drainMs: 0 })
  })

  test.skipIf(!HAS_REDIS)('counts the runs that wait for a worker, and those that no worker took in time', async () => {
    await using redisServer = await RedisServer.start()
    const store = redisStore([redisServer], redisServer.prefix())
    const metrics = prometheus()
    const server = createServer({
      actors: { far: remote('far', { pool: 'gpu', waitMs: 100 }) },
      authenticate: people,
      logger: quiet,
      metrics,
      store,
    })
    const { url } = await server.listen(0)
    const client = createClient(url, { token: 'alice' })
    await expect(client.start('far' as never, 0).result).rejects.toMatchObject({ code: 'unavailable' })
    const now = new Scrape((await metrics.text()).text)
    expect(now.of('millrace_runs_queued_total', 'actor="far"')).toBe(1)
    expect(now.of('millrace_runs_untaken_total', 'actor="far"')).toBe(1)
    await client.close()
    await server.close({ drainMs: 0 })
  })

  test('has no id and no text of a client in a label', async () => {
    const { server } = served()
    const { url, httpUrl = '' } = await server.listen(0)
    const client = createClient(url, { token: 'alice' })
    const run = client.start('count', 3, { meta: { canary: 'canary-meta' } })
    const { id } = await run.opened
    await run.result
    await client.start('canary-actor' as never, 'canary-input').result.catch(() => {})
    const { text } = await scrape(httpUrl)
    for (const secret of [id, 'canary', 'alice']) expect(text).not.toContain(secret)
    await client.close()
    await server.close({ drainMs: 0 })
  })

  const strangers: [string, Record<string, string>][] = [
    ['that a proxy passed on', { 'x-forwarded-for': '203.0.113.7' }],
    ['of a page', { origin: 'http://127.0.0.1' }],
    ['with wrong credentials', { authorization: 'Bearer wrong' }],
    ['of a principal without the right', { authorization: 'Bearer alice' }],
    ['for another host', { host: 'metrics.example' }],
  ]
  for (const [which, headers] of strangers)
    test(`refuses a request ${which}`, async () => {
      const { server } = served()
      const { httpUrl = '' } = await server.listen(0)
      const asked = request(`${httpUrl}/metrics`, { headers })
      asked.end()
      const [answer] = (await once(asked, 'response')) as [{ statusCode: number; resume(): void }]
      answer.resume()
      expect([401, 403]).toContain(answer.statusCode)
      await server.close({ drainMs: 0 })
    })

  test('answers a principal that may inspect the server, wherever it is', async () => {
    const { server } = served()
    const { httpUrl = '' } = await server.listen(0)
    const headers = { authorization: 'Bearer ops', 'x-forwarded-for': '203.0.113.7' }
    expect((await scrape(httpUrl, headers)).of('millrace_limit', 'limit="maxRuns"')).toBe(2)
    await server.close({ drainMs: 0 })
  })

  test('is nothing where a server has no metrics', async () => {
    const server = createServer({ actors: { count: counter() }, authenticate: people, logger: quiet, http: true })
    const { httpUrl = '' } = await server.listen(0)
    expect((await fetch(`${httpUrl}/metrics`)).status).toBe(404)
    await server.close({ drainMs: 0 })
  })
})

describe('prometheus()', () => {
  test(`has as many series after ${STEPS} step ids as after few: a child counts for its registered actor`, async () => {
    const metrics = prometheus()
    const registered = actor({ ask: (item: unknown) => item })
    const own = actor({
      async *stream(item: unknown) {
        yield { type: 'progress', current: Number(item) } as const
        if (Number(item) % 1_000 === 1) throw new Error('no such item')
      },
    })
    const flow = workflow({
      steps: (steps) =>
        steps.map('each', { over: (count) => Array.from({ length: Number(count) }, (_, n) => n), chunk: 1 }, (item) =>
          item.step('own', own, { recover: () => 0 }).step('other', registered),
        ),
    })
    const server = createServer({
      actors: { flow, registered },
      authenticate: people,
      logger: quiet,
      metrics,
      limits: { maxRuns: 1_000 },
      onError: () => {},
    })
    const series = async (): Promise<string[]> =>
      (await metrics.text()).text.split('\n').flatMap((line) => /^millrace_[^ ]*/.exec(line)?.[0] ?? [])
    const started: string[] = []
    for (const count of [2, 2, STEPS / 2]) {
      const run = server.router.stream('flow', count)
      let events = 0
      for await (const _ of run)
        if (++events % 1_000 === 10) for (const one of await series()) expect(one).not.toContain('each')
      started.push((await series()).sort().join('\n'))
    }
    expect(started[2]).toBe(started[1])
    expect(started[2]).not.toContain('each')
    const now = new Scrape((await metrics.text()).text)
    expect(now.of('millrace_runs_started_total', 'actor="agent"')).toBeGreaterThanOrEqual(STEPS / 2)
    expect(now.of('millrace_runs_started_total', 'actor="registered"')).toBe(STEPS / 2 + 4)
    expect(now.of('millrace_actor_failures_total', 'actor="agent"')).toBe(2 + Math.ceil(STEPS / 2_000))
    await server.close({ drainMs: 0 })
  })

  test('counts the cost of a child once that was let go, and the child for its registered actor', async () => {
    const metrics = prometheus()
    const rest = latch()
    const own = actor({
      async *stream(_: unknown, { ai }: ActorContext) {
        yield await ai.complete('one', { model: spending })
        await rest.opened
        yield await ai.complete('two', { model: spending })
        throw new Error('no third')
      },
    })
    const boss = actor({
      async *stream(_: unknown, { spawn }: ActorContext) {
        yield* spawn(own, undefined, { name: 'row 4711' })
      },
    })
    const actors = { boss }
    const server = createServer({ actors, authenticate: people, logger: quiet, metrics, onError: () => {} })
    const { url } = await server.listen(0)
    const client = createClient<typeof actors>(url, { token: 'alice' })
    const run = client.start('boss', undefined)
    for await (const event of run) if (event.type === 'token') void run.cancel({ cascade: false })
    const { receipt } = await run.end
    rest.open()
    const child = client.attach('boss', receipt?.continuing?.[0] ?? '')
    expect((await child.end).usage).toMatchObject({ input: 14, output: 6 })
    const now = new Scrape((await metrics.text()).text)
    expect(now.of('millrace_usage_tokens_total', 'actor="boss"')).toBe(10)
    expect(now.of('millrace_usage_tokens_total', 'actor="agent"')).toBe(10)
    expect(now.of('millrace_actor_failures_total', 'actor="agent"')).toBe(1)
    expect(now.text).not.toContain('4711')
    await client.close()
    await server.close({ drainMs: 0 })
  })

  test('never lets a counter fall, and counts each item once, whatever becomes of runs', async () => {
    for (let seed = 1; seed <= 20; seed++) {
      const random = seededRandom(seed)
      const some = (most: number): number => Math.floor(random() * most)
      const metrics = prometheus()
      const live = new Map<string, FakeRun>()
      const lost: FakeRun[] = []
      const none = { connections: 0, streams: 0, pendingNotices: 0, endedRuns: 0, endedBytes: 0, isShort: false }
      const view = { ...none, limits: {}, runs: () => live.values(), sessions: () => [] }
      metrics.begin(view as unknown as MetricsView)
      let items = 0
      let last = new Map<string, number>()
      const looked = async (): Promise<void> => {
        const now = new Scrape((await metrics.text()).text)
        for (const [name, value] of last)
          expect(now.samples.get(name), `seed ${seed}: ${name}`).toBeGreaterThanOrEqual(value)
        last = new Map([...now.samples].filter(([name]) => /_(total|count|sum|bucket)\b/.test(name)))
      }
      const record = (event: LogEvent, run: FakeRun): void =>
        metrics.record(event, { run: run.id, actor: run.registeredName, ...run.logged, outcome: 'done' })
      for (let n = 0; n < 200; n++) {
        const runs = [...live.values()]
        const run = runs[some(runs.length)]
        const action = some(7)
        if (action === 0 || !run) {
          const begun = new FakeRun(`r_${n}`, `actor ${some(2)}`)
          live.set(begun.id, begun)
          record('run.started', begun)
        } else if (action <= 2 && !run.end) {
          run.logged = { items: run.logged.items + 1, bytes: run.logged.bytes + 10 }
          items++
        } else if (action === 3 && !run.end) {
          // Its end may be there before it is reported.
          run.end = { outcome: 'done' }
          if (random() < 0.5) await looked()
          record('run.ended', run)
        } else if (action === 4 && (run.end || random() < 0.3)) {
          live.delete(run.id)
          if (!run.end) record('run.moved', run)
        } else if (action === 5 && random() < 0.1) {
          // Left to the next process, when this one ends.
          live.delete(run.id)
          if (!run.end) lost.push(run)
        } else await looked()
      }
      await looked()
      const now = new Scrape((await metrics.text()).text)
      const most = lost.reduce((sum, run) => sum + run.logged.items, 0)
      const counted = now.of('millrace_items_total')
      expect([counted <= items, counted >= items - most], `seed ${seed}`).toEqual([true, true])
      if (lost.length === 0) expect(now.of('millrace_bytes_total'), `seed ${seed}`).toBe(items * 10)
    }
  })

  test('counts what a run logs here, and not again what an earlier process had counted', async () => {
    const asks = actor({
      async *stream(_input: unknown, { checkpoint, request }) {
        checkpoint(() => ({}))
        yield String(await request({ kind: 'text', prompt: 'which?' }))
      },
    })
    const { begin, stored, kept } = onOneStore({ asks, silent: silent() })
    const counts = async (metrics: Metrics): Promise<number[]> => {
      const now = new Scrape((await metrics.text()).text)
      return ['items', 'bytes'].map((what) => now.of(`millrace_${what}_total`, 'actor="asks"'))
    }
    const [before, after] = [prometheus(), prometheus()]
    let run = ''
    let [items, bytes] = [0, 0]
    {
      await using first = await begin({ metrics: before })
      await using client = await first.client()
      client.start(1, 'asks')
      run = (await client.next('opened', 1)).run
      client.start(2, 'silent')
      await client.next('opened', 2)
      await stored(run, ({ parked }) => parked !== undefined)
      ;[items = 0, bytes = 0] = await counts(before)
      first.kill()
      client.cut()
    }
    expect(await counts(before)).toEqual([items, bytes])
    expect([items > 0, bytes > 0]).toEqual([true, true])
    await using second = await begin({ metrics: after })
    await using client = await second.client()
    client.attach(1, run, items)
    const [asked] = (await client.next('opened', 1)).pending ?? []
    expect(await counts(after)).toEqual([0, 0])
    client.send({
      kind: 'input',
      sid: 1,
      mid: 'm',
      type: 'answer',
      data: { request: asked?.['request'], value: 'this one' },
    })
    await client.next('end', 1)
    const [more = 0, moreBytes = 0] = await counts(after)
    expect([items + more, moreBytes > 0]).toEqual([(await kept.find(run))!.next - 1, true])
    const now = new Scrape((await after.text()).text)
    expect(now.of('millrace_runs_restored_total', 'actor="asks"')).toBe(1)
    expect(now.of('millrace_runs_interrupted_total', 'actor="silent"')).toBe(1)
  })

  test('keeps what a run had logged that another server has taken over', async () => {
    const inner = memoryStore()
    const shared = {
      leaseMs: 1_000_000,
      idOf: (key: string) => key,
      follow: async () => () => {},
      ask: async () => 'missing' as const,
      attend: async () => {},
    }
    const store = Object.assign(inner, { shared })
    const metrics = prometheus()
    const server = createServer({ actors: { count: counter() }, authenticate: people, logger: quiet, metrics, store })
    const { url } = await server.listen(0)
    const client = createClient(url, { token: 'alice' })
    const run = client.start('count', 1_000, { credit: 8 })
    const { id } = await run.opened
    const now = async (): Promise<Scrape> => new Scrape((await metrics.text()).text)
    await untilSo(async () => (await now()).of('millrace_runs_gated') === 1)
    const items = (await now()).of('millrace_items_total')
    expect(items).toBeGreaterThan(0)
    await store.remove(id)
    const reading = (async () => {
      for await (const _ of run) if ((await now()).of('millrace_runs_moved_total') === 1) break
    })().catch(() => {})
    await untilSo(async () => (await now()).of('millrace_runs_moved_total') === 1)
    expect((await now()).of('millrace_items_total')).toBeGreaterThanOrEqual(items)
    await client.close()
    await reading
    await server.close({ drainMs: 0 })
  })

  test('says that the store is down, and up again', async () => {
    const store = new FailingStore(memoryStore(), nodeRuntime)
    const { server, metrics } = served({ store })
    const { url } = await server.listen(0)
    const client = createClient(url, { token: 'alice' })
    const run = client.start('count', 3)
    await run.opened
    store.faults.failBefore = 1
    const now = async (): Promise<Scrape> => new Scrape((await metrics.text()).text)
    const other = client.start('count', 3)
    other.result.catch(() => {})
    await untilSo(async () => (await now()).of('millrace_store_down') === 1)
    expect((await now()).of('millrace_store_failures_total')).toBeGreaterThan(0)
    store.faults.failBefore = 0
    await untilSo(async () => (await now()).of('millrace_store_down') === 0)
    await client.close()
    await server.close({ drainMs: 0 })
  })

  test('counts an ended run that makes room for others', async () => {
    const { server, metrics } = served({ limits: { retainPrincipal: 1 } })
    const { url } = await server.listen(0)
    const client = createClient(url, { token: 'alice' })
    await expect(client.start('count', 3).end).rejects.toThrow('given up to make room')
    await untilSo(async () => new Scrape((await metrics.text()).text).of('millrace_runs_dropped_total') === 1)
    await client.close()
    await server.close({ drainMs: 0 })
  })

  test('says that memory is short, and that it no longer is', async () => {
    const { server, metrics } = served()
    await server.listen(0)
    const isShort = async (): Promise<number> => new Scrape((await metrics.text()).text).of('millrace_memory_short')
    expect(await isShort()).toBe(0)
    const usage = process.memoryUsage()
    const full = Object.assign(() => ({ ...usage, external: 1e15 }), { rss: () => usage.rss })
    const fake = vi.spyOn(process, 'memoryUsage').mockImplementation(full)
    try {
      await untilSo(async () => (await isShort()) === 1)
    } finally {
      fake.mockRestore()
    }
    await untilSo(async () => (await isShort()) === 0)
    await server.close({ drainMs: 0 })
  })

  test('joins the metrics of a process in its registry, and is for one server', () => {
    const register = new Registry()
    const { metrics } = served({ register })
    expect(register.getMetricsAsArray().map(({ name }) => name)).toEqual(Object.keys(CATALOGUE))
    expect(() => prometheus({ register })).toThrow('the registry has millrace_connections already')
    expect(() => metrics.begin({} as never)).toThrow('these metrics are those of another server')
    expect(() => prometheus({ registry: register } as never)).toThrow('registry')
    expect(() => createServer({ actors: { count: counter() }, authenticate: people, metrics: {} as never })).toThrow(
      'metrics must be metrics',
    )
  })

  test.each([
    [{ 'a-b': 'x' }, /"a-b" needs a name of letters/],
    [{ '1st': 'x' }, /"1st" needs a name of letters/],
    [{ __name__: 'x' }, /"__name__" needs a name of letters/],
    [{ '': 'x' }, /"" needs a name of letters/],
    [{ actor: 'x' }, /"actor" is one that metrics have themselves/],
    [{ le: 'x' }, /"le" is one that metrics have themselves/],
    [{ zone: 1 as unknown as string }, /"zone" needs a text/],
  ])('refuses the label %j', (labels, says) => {
    expect(() => prometheus({ labels })).toThrow(says)
  })

  test('has what is live also where the registry of a process is read', async () => {
    const register = new Registry()
    const { server, metrics } = served({ register })
    const { url } = await server.listen(0)
    const client = createClient(url, { token: 'alice' })
    const run = client.start('count', 1_000, { credit: 1 })
    await run.opened
    const live = ['millrace_connections', 'millrace_sessions', 'millrace_runs', 'millrace_readers']
    const own = new Scrape(await register.metrics())
    expect(live.map((name) => own.of(name))).toEqual([1, 1, 1, 1])
    await run.cancel()
    await client.close()
    await untilSo(async () => new Scrape(await register.metrics()).of('millrace_connections') === 0)
    expect(new Scrape((await metrics.text()).text).of('millrace_runs')).toBe(0)
    await server.close({ drainMs: 0 })
  })

  test('takes every kind of record without an error', () => {
    const metrics = prometheus()
    for (const event of Object.keys(RECORDS) as LogEvent[]) metrics.record(event, {})
  })
})

/** Resolves with a scrape of which `so` holds. */
async function until(url: string, so: (scrape: Scrape) => boolean): Promise<Scrape> {
  let last: Scrape | undefined
  await untilSo(async () => so((last = await scrape(url))))
  return last!
}

async function untilSo(so: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + 20_000
  while (!(await so())) {
    if (performance.now() > end) throw new Error('it did not come')
    await new Promise((resolve) => void setImmediate(resolve))
  }
}

/** Connects with a wrong token, and reports that it was refused. */
function refused(url: string, done: (error: Error) => void): void {
  const client = createClient(url, { token: 'wrong' })
  client.start('count', 1).result.catch((error: unknown) => {
    void client.close()
    done(error as Error)
  })
}
