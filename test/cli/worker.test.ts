import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { remote } from '../../server/index.ts'
import { redis as redisRuns } from '../../server/stores/redis/redis.ts'
import { type Command, millrace } from '../helpers/command.ts'
import { HAS_REDIS, RedisServer } from '../helpers/redis-server.ts'
import { root } from '../helpers/root.ts'
import { testServer } from '../helpers/server.ts'

const LEASE_MS = 1_000
const built = (path: string): string => JSON.stringify(pathToFileURL(`${root}dist/server/${path}`).href)

describe.skipIf(!HAS_REDIS)('millrace worker', () => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-worker-'))
  let redis: RedisServer
  beforeAll(async () => {
    redis = await RedisServer.start()
  })
  afterAll(async () => {
    await redis[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true })
  })

  let names = 0
  /** A server whose actor `count` is in a pool, and what starts workers of that pool. */
  async function deployment() {
    const prefix = `test${++names}`
    const config = join(folder, `${prefix}.mjs`)
    writeFileSync(
      config,
      `import { actor } from ${built('index.js')}
       import { redis } from ${built('stores/redis/redis.js')}
       export default {
         store: redis({ url: ${JSON.stringify(redis.url)}, prefix: '${prefix}', leaseMs: ${LEASE_MS} }),
         actors: {
           count: actor({
             interactive: true,
             async *stream(to, { inputs }) {
               for (let i = 1; i <= to; i++) yield i + ','
               for await (const { data } of inputs) return data
             },
           }),
         },
       }`,
    )
    const store = redisRuns({ url: redis.url, prefix, leaseMs: LEASE_MS })
    const gateway = await testServer({ count: remote('count', { pool: 'gpu' }) }, { store })
    const worker = async (): Promise<Command> => {
      const begun = millrace(['worker', '--pool', 'gpu', '--slots', '1', '--config', config])
      await begun.said('stdout', /works for the pool gpu[^]*drains this worker/)
      return begun
    }
    return { gateway, worker, [Symbol.asyncDispose]: () => gateway[Symbol.asyncDispose]() }
  }

  test('executes runs of its pool; on SIGTERM it finishes them, begins none, and exits 0', async () => {
    await using deployed = await deployment()
    const { gateway } = deployed
    await using first = await deployed.worker()
    expect(first.stdout).toContain('  actors  count\n')
    await using alice = await gateway.client()
    alice.start(1, 'count', 3)
    await alice.until(() => alice.text(1) === '1,2,3,')
    first.kill('SIGTERM')
    await first.said('stderr', /draining: waiting up to 10 s for 1 run to end/)
    alice.start(2, 'count', 1)
    await alice.next('opened', 2)
    alice.send({ kind: 'input', sid: 1, mid: 'm', type: 'message', data: 'enough' })
    expect(await alice.next('end', 1)).toMatchObject({ outcome: 'done', data: { result: 'enough' } })
    expect(await first.ended).toMatchObject({ code: 0, stderr: expect.stringMatching(/drained\n$/) as string })
    expect(alice.count(2)).toBe(0)
    await using _second = await deployed.worker()
    await alice.until(() => alice.text(2) === '1,')
  })

  test('leaves a run in the middle of its work to end as interrupted, once, when it is killed; the next one goes on with the pool', async () => {
    await using deployed = await deployment()
    const { gateway } = deployed
    await using first = await deployed.worker()
    await using alice = await gateway.client()
    alice.start(1, 'count', 3)
    await alice.until(() => alice.text(1) === '1,2,3,')
    alice.start(2, 'count', 2)
    const { run } = await alice.next('opened', 1)
    await alice.next('opened', 2)
    first.kill('SIGKILL')
    expect(await alice.next('end', 1)).toMatchObject({ outcome: 'error', seq: 4, data: { code: 'interrupted' } })
    await using _second = await deployed.worker()
    await alice.until(() => alice.text(2) === '1,2,')
    alice.attach(3, run, 0)
    expect(await alice.next('end', 3)).toMatchObject({ outcome: 'error', seq: 4, data: { code: 'interrupted' } })
    expect(alice.text(3)).toBe('1,2,3,')
    alice.send({ kind: 'cancel', sid: 2 })
    expect(await alice.next('end', 2)).toMatchObject({ outcome: 'cancelled', data: { settled: true } })
  })

  test.each([
    [['worker'], 2, /needs --pool/],
    [['worker', '--pool', 'gpu'], 2, /needs --redis, MILLRACE_REDIS or a store in the config file/],
    [['worker', '--pool', 'a pool', '--redis', 'redis://127.0.0.1:9'], 2, /pool must be 1 to 64 letters/],
    [['worker', '--pool', 'gpu', '--slots', '0', '--redis', 'redis://127.0.0.1:9'], 2, /--slots/],
  ])('%j exits %i, and says what to do', async (args, code, message) => {
    expect(await millrace(args).ended).toMatchObject({ code, stderr: expect.stringMatching(message) as string })
  })
})
