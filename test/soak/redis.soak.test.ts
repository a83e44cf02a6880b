/** All of these experiments, with their full counts; and the suite of all stores on a Redis that misbehaves. */
import { afterAll, beforeAll, describe } from 'vitest'
import { redisHarness, StubbornStore } from '../helpers/redis-harness.ts'
import { HAS_REDIS, RedisServer } from '../helpers/redis-server.ts'
import { runStoreSuite, type StoreHarness } from '../server/stores/run-store-suite.ts'
import '../e2e/two-servers.test.ts'
import '../server/runs/remote-actors.test.ts'

/** How often all connections are cut, and how long Redis stands still and then works, in milliseconds. */
const CUT_MS = 150
const FROZEN_MS = 2_000
const THAWED_MS = 1_500

describe.skipIf(!HAS_REDIS)('Redis as a store', () => {
  let server: RedisServer
  beforeAll(async () => {
    server = await RedisServer.start()
  })
  afterAll(() => server[Symbol.asyncDispose]())
  const harness = (): Promise<StoreHarness> =>
    redisHarness([server], { leaseMs: 3 * FROZEN_MS }, (store) => new StubbornStore(store))

  describe('whose connections are cut all the time', () => {
    let cutting: NodeJS.Timeout
    beforeAll(() => {
      cutting = setInterval(() => void server.cut().catch(() => {}), CUT_MS)
    })
    afterAll(() => clearInterval(cutting))
    runStoreSuite('Redis', harness)
  })

  describe('that stands still again and again', () => {
    let freezing: NodeJS.Timeout | undefined
    const freeze = (is: boolean): void => {
      server.freeze(is)
      freezing = setTimeout(() => freeze(!is), is ? FROZEN_MS : THAWED_MS)
    }
    beforeAll(() => freeze(true))
    afterAll(() => {
      clearTimeout(freezing)
      server.freeze(false)
    })
    runStoreSuite('Redis', harness)
  })
})
