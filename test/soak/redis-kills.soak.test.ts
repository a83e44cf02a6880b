import { expect, test } from 'vitest'
import { createClient } from '../../client-sdk/node.ts'
import { actor } from '../../server/index.ts'
import { redisDeployment } from '../helpers/redis-deployment.ts'
import { HAS_REDIS, RedisServer } from '../helpers/redis-server.ts'
import { repetitions } from '../helpers/tier.ts'

const KILLS = repetitions({ quick: 2, full: 10, long: 100 })
const RUNS = 20
const ITEMS = 60
/** Between two items of a run, in milliseconds. */
const EVERY_MS = 5
/** Longer than Redis is away. */
const LEASE_MS = 20_000

const WHOLE = Array.from({ length: ITEMS }, (_, i) => `${i + 1},`).join('')

const actors = {
  count: actor({
    async *stream() {
      for (let n = 1; n <= ITEMS; n++) {
        await new Promise((resolve) => setTimeout(resolve, EVERY_MS))
        yield `${n},`
      }
    },
  }),
}

test.skipIf(!HAS_REDIS)(
  `Redis is killed ${KILLS} times while ${RUNS} runs go on: nothing that a client saw is missing`,
  {
    timeout: 7_200_000,
  },
  async () => {
    await using redis = await RedisServer.start('--appendonly', 'yes', '--appendfsync', 'always')
    const node = redisDeployment(redis, { leaseMs: LEASE_MS })
    await using one = await node(actors, { durability: 'logged' })
    await using other = await node(actors, { durability: 'logged' })
    const here = createClient<typeof actors>(one.url, { token: 'alice' })
    const there = createClient<typeof actors>(other.url, { token: 'alice' })
    for (let kill = 1; kill <= KILLS; kill++) {
      // Each time somewhere else in the runs.
      const enough = Math.ceil((RUNS * WHOLE.length * (kill % 9)) / 10) + 1
      const runs = Array.from({ length: RUNS }, () => here.start('count', null))
      const seen = runs.map(() => '')
      let isEnough = (): void => {}
      const killing = new Promise<void>((resolve) => (isEnough = resolve))
      const reading = runs.map(async (run, i) => {
        for await (const text of run.text()) {
          seen[i] = (seen[i] ?? '') + text
          if (seen.join('').length >= enough) isEnough()
        }
      })
      await killing
      await redis.kill()
      const before = [...seen]
      await redis.begin()
      await Promise.all(reading)
      expect({ kill, seen }).toEqual({ kill, seen: runs.map(() => WHOLE) })
      const ids = await Promise.all(runs.map(({ opened }) => opened))
      const again = ids.map(async ({ id }) => {
        let said = ''
        for await (const text of there.attach('count', id, { after: 0 }).text()) said += text
        return said
      })
      expect({ kill, said: await Promise.all(again) }).toEqual({ kill, said: runs.map(() => WHOLE) })
      for (const text of before) expect(WHOLE.startsWith(text)).toBe(true)
    }
    await Promise.all([here.close(), there.close()])
  },
)
