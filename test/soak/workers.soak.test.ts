/** What happens to `millrace serve --workers` less often. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { serving } from '../helpers/command.ts'
import { HAS_REDIS, RedisServer } from '../helpers/redis-server.ts'
import { isAlive, pidOf, ServedWorkers, upTo, workerConfig, workers } from '../helpers/served-workers.ts'
import '../cli/workers.test.ts'

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

describe.skipIf(!HAS_REDIS)('millrace serve --workers', () => {
  let redis: RedisServer
  beforeAll(async () => {
    redis = await RedisServer.start()
  })
  afterAll(() => redis[Symbol.asyncDispose]())

  test('drains one worker on a SIGTERM of its own, and begins another one', async () => {
    await using serve = await ServedWorkers.start(redis)
    const [run] = await serve.count(1, 60)
    process.kill(pidOf(run!), 'SIGTERM')
    await run!.over
    expect([run!.numbers, run!.error]).toEqual([upTo(60), undefined])
    await serve.server.said('stderr', /worker \d ended \(exit code 0\): another one takes its place/)
    await serve.server.said('stderr', /worker \d listens again/)
  })

  test('leaves no worker behind when it is killed itself: they drain, and end', async () => {
    await using serve = await ServedWorkers.start(redis)
    const [run] = await serve.count(1, 60)
    serve.server.kill('SIGKILL')
    await run!.over
    expect([run!.numbers, run!.error]).toEqual([upTo(60), undefined])
    while (isAlive(pidOf(run!))) await turn()
  })

  test('quits at once on a second Ctrl-C', async () => {
    await using serve = await ServedWorkers.start(redis, ['--drain', '600'])
    const [run] = await serve.count(1, 100_000)
    serve.server.kill('SIGINT')
    await serve.server.said('stderr', /press Ctrl-C again to quit at once/)
    serve.server.kill('SIGINT')
    expect(await serve.server.ended).toMatchObject({ code: 130, stderr: expect.stringMatching(/quit at once\n/) })
    while (isAlive(pidOf(run!))) await turn()
  })

  test('gives up when a worker ends again and again, drains the others, and exits 1', async () => {
    const flag = join(mkdtempSync(join(tmpdir(), 'millrace-flag-')), 'flag')
    // The first worker listens. Those that come later end at once.
    const { path, folder } = workerConfig(
      redis,
      `import { appendFileSync, readFileSync } from 'node:fs'
       appendFileSync(${JSON.stringify(flag)}, 'x')
       if (readFileSync(${JSON.stringify(flag)}, 'utf8').length > 1) process.exit(7)`,
    )
    const { code, stderr } = await workers(['2', '--config', path]).ended
    for (const one of [folder, dirname(flag)]) rmSync(one, { recursive: true })
    expect(code).toBe(1)
    expect(stderr.match(/worker 2 ended \(exit code 7\): another one takes its place/g)).toHaveLength(4)
    expect(stderr).toMatch(
      /millrace: worker 2 ended 5 times in a row, each within 10 s of its start \(exit code 7\): the others are drained\n/,
    )
  })

  test('reports a port in use in one line, with exit code 3', async () => {
    await using serve = await serving()
    const { code, stderr } = await workers(['2', '--redis', redis.url, '--port', new URL(serve.url).port]).ended
    expect(code).toBe(3)
    expect(stderr).toMatch(/^millrace: port \d+ is in use: [^\n]*\n$/)
  })
})
