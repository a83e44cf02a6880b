import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { EVENT } from '../../../protocol/events.ts'
import type { WireMap } from '../../../protocol/frames.ts'
import { actor } from '../../../server/index.ts'
import { type Node, redisDeployment } from '../../helpers/redis-deployment.ts'
import { otherRelease } from '../../helpers/redis-module.ts'
import { HAS_REDIS, RedisServer } from '../../helpers/redis-server.ts'
import type { WireClient } from '../../helpers/wire-client.ts'

const LEASE_MS = 1_000

const actors = {
  echo: actor({
    interactive: true,
    async *stream(_: unknown, { inputs }) {
      for await (const { data } of inputs) yield String(data)
    },
  }),
  asker: actor({
    async *stream(_: unknown, { checkpoint, request }) {
      checkpoint(() => ({}))
      yield `you said ${String(await request({ kind: 'text', prompt: 'Which?' }))}`
    },
  }),
}

/** Starts a run, and attaches to it with another client. Resolves when both read it. */
async function bothRead(
  sid: number,
  name: keyof typeof actors,
  from: WireClient,
  other: WireClient,
  { store }: Node<typeof actors>,
): Promise<string> {
  from.start(sid, name)
  const { run } = await from.next('opened', sid)
  // The other server may be faster than the store.
  while (!(await store.find(run)));
  other.attach(sid, run, 0)
  await other.next('opened', sid)
  return run
}

async function asked(client: WireClient, sid: number): Promise<WireMap> {
  const found = await client.find(
    (frame) => frame.kind === 'event' && frame.sid === sid && frame.type === EVENT.inputRequest,
  )
  return (found as { data: WireMap }).data
}

describe.skipIf(!HAS_REDIS)('servers of two releases that share a Redis, each with scripts of its own,', () => {
  let redis: RedisServer
  beforeAll(async () => {
    // A script that goes on for longer may be killed.
    redis = await RedisServer.start('--lua-time-limit', '20')
  })
  afterAll(() => redis[Symbol.asyncDispose]())

  type Release = 'earlier' | 'later'

  /** A server of each release. The later one has other scripts. @param first With what they begin. */
  async function servers(first = '-- changed'): Promise<Record<Release, Node<typeof actors>>> {
    const node = redisDeployment(redis, { leaseMs: LEASE_MS })
    const standIn = await otherRelease(first)
    return { earlier: await node(actors), later: await node(actors, {}, { standIn }) }
  }

  const orders: [Release, Release][] = [
    ['earlier', 'later'],
    ['later', 'earlier'],
  ]

  test.each(orders)(
    'read and steer the run of the %s one at the %s one, also once Redis has forgotten all scripts',
    async (first, second) => {
      const of = await servers()
      await using a = of[first]
      await using b = of[second]
      await using here = await a.client()
      await using there = await b.client()
      await bothRead(1, 'echo', here, there, b)
      let words = ''
      for (let n = 0; n < 4; n++) {
        await redis.command('SCRIPT', 'FLUSH')
        for (const [from, client] of Object.entries({ here, there })) {
          words += `${from} ${n},`
          client.send({ kind: 'input', sid: 1, mid: `${from}${n}`, type: 'message', data: `${from} ${n},` })
          expect(await client.next('input_ack', 1)).toMatchObject({ status: 'accepted' })
        }
        await here.until(() => here.text(1) === words)
        await there.until(() => there.text(1) === words)
      }
      await redis.command('SCRIPT', 'FLUSH')
      there.send({ kind: 'cancel', sid: 1 })
      const [end, same] = await Promise.all([here.next('end', 1), there.next('end', 1)])
      expect(end).toMatchObject({ outcome: 'cancelled', seq: 9 })
      expect(same).toEqual(end)
      expect([...a.errors, ...b.errors]).toEqual([])
    },
  )

  test.each(orders)(
    'take runs of the %s one over by the %s one: those that wait go on, and others end once',
    async (first, second) => {
      const of = await servers()
      const a = of[first]
      await using b = of[second]
      const here = await a.client()
      await using there = await b.client()
      await bothRead(1, 'asker', here, there, b)
      await bothRead(2, 'echo', here, there, b)
      const { request } = await asked(there, 1)
      here.send({ kind: 'input', sid: 2, mid: 'm', type: 'message', data: 'before' })
      await there.until(() => there.text(2) === 'before')
      await redis.command('SCRIPT', 'FLUSH')
      await a.server.close({ drainMs: 100 })
      expect(await there.next('end', 2)).toMatchObject({ outcome: 'error', seq: 2, data: { code: 'interrupted' } })
      there.send({ kind: 'input', sid: 1, mid: 'm', type: 'answer', data: { request, value: 'both' } })
      expect(await there.next('input_ack', 1)).toMatchObject({ status: 'accepted' })
      expect(await there.next('end', 1)).toMatchObject({ outcome: 'done' })
      expect(there.text(1)).toBe('you said both')
      await here[Symbol.asyncDispose]()
      await a[Symbol.asyncDispose]()
    },
  )

  test.each(orders)(
    'end the run of the %s one that died at the %s one, with all that it had stored',
    async (first, second) => {
      const of = await servers()
      const a = of[first]
      await using b = of[second]
      const here = await a.client()
      await using there = await b.client()
      const run = await bothRead(1, 'echo', here, there, b)
      here.send({ kind: 'input', sid: 1, mid: 'm', type: 'message', data: 'before' })
      await there.until(() => there.text(1) === 'before')
      a.store.crash()
      here.cut()
      await redis.command('SCRIPT', 'FLUSH')
      const end = await there.next('end', 1)
      expect(end).toMatchObject({ outcome: 'error', seq: 2, data: { code: 'interrupted' } })
      there.attach(2, run, 0)
      expect(await there.next('end', 2)).toEqual({ ...end, sid: 2 })
      expect(there.text(2)).toBe('before')
      await a[Symbol.asyncDispose]()
    },
  )

  describe('of which one has a script that does not return, until it is killed', () => {
    const HOLD = 'hold the scripts of the later one'
    const first = `if redis.call('EXISTS', '${HOLD}') == 1 then while true do end end`

    /** Whether Redis does a command, which it refuses where `refusal` says that it cannot now. */
    const does = (refusal: string, ...command: string[]): Promise<boolean> =>
      redis.command(...command).then(
        () => true,
        (error: unknown) => {
          expect(String(error)).toContain(refusal)
          return false
        },
      )

    /** Kills the script that is held as soon as there is one, and each further one until none is held any more. */
    async function killScripts(): Promise<void> {
      while (!(await does('NOTBUSY', 'SCRIPT', 'KILL')));
      while (!(await does('BUSY', 'DEL', HOLD))) await does('NOTBUSY', 'SCRIPT', 'KILL')
    }

    test('store each item once that it had to append', async () => {
      const of = await servers(first)
      await using a = of.later
      await using b = of.earlier
      await using here = await a.client()
      await using there = await b.client()
      await bothRead(1, 'echo', here, there, b)
      await redis.command('SET', HOLD, '1')
      here.send({ kind: 'input', sid: 1, mid: 'm', type: 'message', data: 'held,' })
      await killScripts()
      await there.until(() => there.text(1) === 'held,')
      there.send({ kind: 'input', sid: 1, mid: 'm', type: 'message', data: 'after' })
      expect(await there.next('input_ack', 1)).toMatchObject({ status: 'duplicate' })
      there.send({ kind: 'input', sid: 1, mid: 'm2', type: 'message', data: 'after' })
      await Promise.all([here, there].map((client) => client.until(() => client.text(1) === 'held,after')))
    })

    test('go on with their readers whose page could not be read', async () => {
      const of = await servers(first)
      await using a = of.earlier
      await using b = of.later
      await using here = await a.client()
      await using there = await b.client()
      await bothRead(1, 'echo', here, there, b)
      // It is read again now and then, whatever was heard of it.
      await redis.command('SET', HOLD, '1')
      await killScripts()
      here.send({ kind: 'input', sid: 1, mid: 'm', type: 'message', data: 'after' })
      await there.until(() => there.text(1) === 'after')
      expect(there.frames.filter(({ kind }) => kind === 'end')).toEqual([])
    })

    test('say that it can be asked again, where a client waits for it', async () => {
      const of = await servers(first)
      await using b = of.later
      await using _ = of.earlier
      await using there = await b.client()
      await redis.command('SET', HOLD, '1')
      there.attach(1, 'r_unknown', 0)
      await killScripts()
      const end = await there.next('end', 1)
      expect(end).toMatchObject({ outcome: 'error', data: { code: 'store_unavailable', retryable: true } })
    })
  })
})
