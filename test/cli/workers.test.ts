import { once } from 'node:events'
import { Agent, get, type IncomingMessage } from 'node:http'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { NoticeReceiver, SECRET } from '../helpers/notice-receiver.ts'
import { HAS_REDIS, RedisServer } from '../helpers/redis-server.ts'
import { isAlive, pidOf, ServedWorkers, upTo, workers } from '../helpers/served-workers.ts'

describe.skipIf(!HAS_REDIS)('millrace serve --workers', () => {
  let redis: RedisServer
  beforeAll(async () => {
    redis = await RedisServer.start()
  })
  afterAll(() => redis[Symbol.asyncDispose]())

  test('shares a port among processes; one that is killed under load is begun again, SIGTERM drains all, and each end has one notice', async () => {
    await using receiver = await NoticeReceiver.start()
    const notified = ['--notify', receiver.url, '--notify-allow', '127.0.0.1']
    await using serve = await ServedWorkers.start(redis, notified, { env: { MILLRACE_NOTIFY_SECRET: SECRET } })
    expect(serve.server.stdout).toContain(`notify  notices go to 127.0.0.1:${receiver.port}\n`)
    expect(serve.server.stdout).toContain('  workers 2 processes\n')
    expect(serve.server.stdout.match(/listens on/g)).toHaveLength(1)
    const runs = await serve.count(8, 150)
    const pids = new Set(runs.map(pidOf))
    expect(pids.size).toBe(2)
    expect(pids).not.toContain(serve.server.child.pid)
    const killed = pidOf(runs[0]!)
    process.kill(killed, 'SIGKILL')
    await serve.server.said('stderr', /worker \d ended \(SIGKILL\): another one takes its place/)
    await serve.server.said('stderr', /worker \d listens again/)
    await Promise.all(runs.map(({ over }) => over))
    for (const run of runs) {
      expect(run.numbers).toEqual(upTo(run.numbers.length))
      if (pidOf(run) === killed) expect(run.error).toMatchObject({ code: 'interrupted' })
      else expect({ last: run.numbers.length, error: run.error }).toEqual({ last: 150, error: undefined })
    }

    const later = await serve.count(4, 60)
    const pidsLater = new Set(later.map(pidOf))
    expect(pidsLater.size).toBe(2)
    expect(pidsLater).not.toContain(killed)
    serve.server.kill('SIGTERM')
    const { code, stderr } = await serve.server.ended
    expect(code).toBe(0)
    const drained = [...stderr.matchAll(/worker (\d): draining: waiting up to 10 s for (\d) runs? to end/g)]
    expect(drained.map(([, worker]) => worker).toSorted()).toEqual(['1', '2'])
    // How many connections each has is the affair of Node.
    expect(drained.reduce((sum, [, , count]) => sum + Number(count), 0)).toBe(4)
    expect(stderr).toMatch(/worker 2: draining[^]*\ndrained\n$/)
    await Promise.all(later.map(({ over }) => over))
    expect(later.map(({ numbers, error }) => [numbers, error])).toEqual(later.map(() => [upTo(60), undefined]))
    expect([...pidsLater].filter(isAlive)).toEqual([])
    // Whoever ended a run, or took it from the worker that was killed: one notice of each.
    expect(receiver.received).toHaveLength(12)
    const outcomes = receiver.received.map(({ notice: { data } }) => 'outcome' in data && [data.run, data.outcome])
    const ends = [...runs, ...later].map(({ run, error }) => [run.position?.run, error ? 'error' : 'done'])
    expect(outcomes.toSorted()).toEqual(ends.toSorted())
  })

  test('answers GET /metrics for all workers, whichever is asked, also for one that took the place of another', async () => {
    await using serve = await ServedWorkers.start(redis, ['--metrics'])
    const [, url = ''] = await serve.server.said('stdout', /metrics (http:\S+\/metrics)\n/)
    const runs = await serve.count(6, 100_000)
    const scrape = async (): Promise<string> => (await fetch(url, { headers: { connection: 'close' } })).text()
    /** What each worker says of a metric. */
    const valuesOf = (text: string, name: string): Record<string, number> => {
      const found = text.matchAll(new RegExp(`^${name}\\{[^}\\n]*worker="(\\d)"\\} (\\d+)$`, 'gm'))
      return Object.fromEntries([...found].map(([, worker = '', value]) => [worker, Number(value)]))
    }
    const started = 'millrace_runs_started_total'
    const perWorker = [...new Set(runs.map(pidOf))].map((pid) => runs.filter((run) => pidOf(run) === pid).length)
    for (let times = 0; times < 4; times++) {
      const text = await scrape()
      expect(text.match(new RegExp(`^# TYPE ${started} counter$`, 'gm'))).toHaveLength(1)
      expect(Object.values(valuesOf(text, started)).toSorted()).toEqual(perWorker.toSorted())
      expect(Object.keys(valuesOf(text, 'millrace_connections'))).toEqual(['1', '2'])
    }
    process.kill(pidOf(runs[0]!), 'SIGKILL')
    const [, place = ''] = await serve.server.said('stderr', /worker (\d) listens again/)
    const text = await scrape()
    expect(Object.keys(valuesOf(text, 'millrace_connections')).toSorted()).toEqual(['1', '2'])
    // It counts from 0, and the other goes on.
    expect(valuesOf(text, started)[place] ?? 0).toBeLessThan(
      runs.filter((run) => pidOf(run) === pidOf(runs[0]!)).length,
    )
  })

  test('a worker answers GET /metrics for itself while the process that began it stands still', async () => {
    await using serve = await ServedWorkers.start(redis, ['--metrics'])
    const [, url = ''] = await serve.server.said('stdout', /metrics (http:\S+\/metrics)\n/)
    // The connection is at a worker already: new ones go through the process that stands still.
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    const workersIn = async (): Promise<string[]> => {
      const [answer] = (await once(get(url, { agent }), 'response')) as [IncomingMessage]
      const named = (await text(answer)).matchAll(/^millrace_connections\{[^}\n]*worker="(\d)"\}/gm)
      return [...named].map(([, worker = '']) => worker)
    }
    try {
      expect(await workersIn()).toEqual(['1', '2'])
      serve.server.kill('SIGSTOP')
      expect(await workersIn()).toHaveLength(1)
    } finally {
      serve.server.kill('SIGCONT')
      agent.destroy()
    }
  })

  test.each([
    [['2'], /needs a store that processes share: add --redis URL, set MILLRACE_REDIS/],
    [['2', '--redis', 'REDIS', '--transport', 'uws'], /needs the transport ws: uws cannot share its port/],
    [['0', '--redis', 'REDIS'], /takes a whole number from 1/],
  ])('refuses --workers %j in one line, with exit code 2', async (args, says) => {
    const { code, stdout, stderr } = await workers(args.map((arg) => (arg === 'REDIS' ? redis.url : arg))).ended
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(new RegExp(`^millrace: --workers ${says.source}[^\n]*\n$`))
  })

  test('refuses an address that the machine does not have, as one process does', async () => {
    const elsewhere = ['--redis', redis.url, '--host', '203.0.113.9']
    const [one, two] = await Promise.all([workers(['1', ...elsewhere]).ended, workers(['2', ...elsewhere]).ended])
    expect(two).toEqual(one)
    expect(two).toMatchObject({
      code: 3,
      stderr: expect.stringMatching(/^millrace: 203\.0\.113\.9 is not an ad/) as string,
    })
  })
})
