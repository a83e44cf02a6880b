import { afterAll, beforeAll, describe } from 'vitest'
import { redisHarness } from '../../helpers/redis-harness.ts'
import { HAS_REDIS, RedisServer } from '../../helpers/redis-server.ts'
import { outboxSuite, runStoreSuite } from './run-store-suite.ts'

describe.skipIf(!HAS_REDIS)('Redis as a store', () => {
  let servers: RedisServer[]
  beforeAll(async () => {
    servers = [await RedisServer.start(), await RedisServer.start()]
  })
  afterAll(async () => {
    for (const server of servers) await server[Symbol.asyncDispose]()
  })

  for (const suite of [runStoreSuite, outboxSuite]) {
    suite('Redis', () => redisHarness([servers[0]!]))
    suite('two Redis, without hearing their hints', () => redisHarness(servers, { isDeaf: true }))
  }
})
