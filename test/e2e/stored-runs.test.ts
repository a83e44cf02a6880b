import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { type Client, createClient, MillraceError } from '../../client-sdk/node.ts'
import { Command, MILLRACE } from '../helpers/command.ts'
import { Counter } from '../helpers/counter.ts'
import { EventTypes } from '../helpers/event-types.ts'
import { freePort } from '../helpers/free-port.ts'
import { HAS_REDIS, RedisServer } from '../helpers/redis-server.ts'
import { root } from '../helpers/root.ts'
import { seededRandom } from '../helpers/seeded-random.ts'
import { firstSeed, repetitions } from '../helpers/tier.ts'

const KILLS = repetitions({ quick: 2, full: 10, long: 100 })
const STREAMS = repetitions({ quick: 20, full: 100 })
/** All streams are started at once on one connection, and attached to again. */
const LIMITS = { maxStreams: 400, maxRuns: 1_000, startsPerSec: 1_000, startBurst: 1_000 }
/** Of clients, which would wait for seconds until a server that was killed is there again. */
const DELAYS = { quickMs: 5, backoffMs: 20, maxBackoffMs: 50 }
/** What eager sends before it is stored, at 50 items a second: a flush, a commit, and a busy machine. */
const EAGER_LOSS = 25

const PAYING = `
import { appendFileSync } from 'node:fs'
import { agent, agentTool, tool } from '${new URL('../../dist/server/index.js', import.meta.url).href}'

const pay = tool({
  description: 'Pays somebody',
  parameters: { type: 'object', properties: { who: { type: 'string' } }, required: ['who'] },
  needsApproval: true,
  run() {
    appendFileSync(new URL('paid', import.meta.url), 'x')
    return 'paid'
  },
})
/** Calls its tool once. */
const caller = (name, args) => ({
  id: 'demo:caller',
  provider: 'demo',
  async *stream({ messages }) {
    const isAnswered = messages.at(-1).role === 'tool'
    yield isAnswered ? { type: 'text', text: 'done' } : { type: 'tool.call', call: name, name, args }
    yield { type: 'finish', stop: isAnswered ? 'stop' : 'tool_calls' }
  },
})
const clerk = agent({ model: caller('pay', { who: 'Ada' }), tools: { pay } })
const delegate = agentTool(clerk, { description: 'Pays', name: 'clerk' })
export default { actors: { boss: agent({ model: caller('delegate', { prompt: 'pay' }), tools: { delegate } }) } }
`

/** Where the runs are stored. */
type Place = 'a folder' | 'Redis'
/** So long does a run belong to a process that was killed: nobody waits for 15 seconds here. */
const LEASE_MS = 1_000

/** A folder for data or a Redis, and servers on it, one after the other, on one port. */
class DataServers implements AsyncDisposable {
  readonly url: string
  readonly #folder: string
  readonly #redis: RedisServer | undefined
  readonly #port: number
  readonly #more: readonly string[]
  readonly #clients: Client[] = []
  #running: Command | undefined

  static async make(place: Place, durability: 'eager' | 'logged' = 'eager'): Promise<DataServers> {
    const folder = await mkdtemp(join(tmpdir(), 'millrace-data-'))
    const redis = place === 'Redis' ? await RedisServer.start() : undefined
    const store = redis && `redis(${JSON.stringify({ url: redis.url, leaseMs: LEASE_MS })})`
    const config = [
      ...(redis ? [`import { redis } from ${JSON.stringify(`${root}dist/server/stores/redis/redis.js`)}`] : []),
      `export default { limits: ${JSON.stringify(LIMITS)}, ${store ? `durability: '${durability}', store: ${store}` : ''} }`,
    ]
    await writeFile(join(folder, 'config.mjs'), config.join('\n'))
    return new DataServers(folder, redis, await freePort(), redis ? [] : ['--data', folder, '--durability', durability])
  }

  /** Servers with an agent, `boss`, whose tool is another agent, which pays if somebody approves. */
  static async paying(): Promise<DataServers> {
    const servers = await DataServers.make('a folder')
    await writeFile(join(servers.#folder, 'config.mjs'), PAYING)
    return servers
  }

  /** How often the tool ran, in all processes. */
  async payments(): Promise<number> {
    return (await readFile(join(this.#folder, 'paid'), 'utf8')).length
  }

  private constructor(folder: string, redis: RedisServer | undefined, port: number, more: readonly string[]) {
    this.#folder = folder
    this.#redis = redis
    this.#port = port
    this.#more = more
    this.url = `ws://127.0.0.1:${port}`
  }

  async begin(): Promise<void> {
    const config = join(this.#folder, 'config.mjs')
    const args = ['serve', '--config', config, '--port', `${this.#port}`, '--token', 't', ...this.#more]
    this.#running = new Command(process.execPath, [MILLRACE, ...args])
    await this.#running.said('stdout', /listens on/)
  }

  /** The process dies without a word. */
  async kill(): Promise<void> {
    this.#running?.kill('SIGKILL')
    await this.#running?.ended
  }

  client(): Client {
    const client = createClient(this.url, { token: 't', delays: DELAYS })
    this.#clients.push(client)
    return client
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.close()))
    await this.kill()
    await this.#redis?.[Symbol.asyncDispose]()
    await rm(this.#folder, { recursive: true })
  }
}

const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1)

for (const place of ['a folder', 'Redis'] as const)
  describe.skipIf(place === 'Redis' && !HAS_REDIS)(`a server whose runs are stored in ${place} that is killed`, () =>
    killed(place),
  )

function killed(place: Place): void {
  test.each(['logged', 'eager'] as const)(
    `${KILLS} times under load loses no more than it may (%s)`,
    {
      timeout: 60_000 + KILLS * 20_000,
    },
    async (durability) => {
      const seed = firstSeed()
      console.log(`kills from seed ${seed} (MILLRACE_SEED)`)
      const random = seededRandom(seed)
      await using servers = await DataServers.make(place, durability)
      await servers.begin()
      let lost = 0
      for (let kill = 0; kill < KILLS; kill++) {
        const client = servers.client()
        const runs = upTo(STREAMS).map(() => client.start('count', { to: 100_000, delayMs: 20 }))
        const counters = runs.map((run) => new Counter(run))
        const last = counters[counters.length - 1]!
        const reached = 1 + Math.floor(random() * 60)
        await last.has(reached)
        await servers.kill()
        await servers.begin()
        await Promise.all(counters.map(({ over }) => over))
        const again = servers.client()
        for (const [i, { numbers, error }] of counters.entries()) {
          expect(numbers).toEqual(upTo(numbers.length))
          if (MillraceError.is(error, 'not_found')) {
            // It had begun a moment before, and nothing of it was stored.
            expect(numbers.length).toBeLessThanOrEqual(durability === 'logged' ? 0 : EAGER_LOSS)
            continue
          }
          expect(error).toMatchObject({ code: 'interrupted' })
          const id = runs[i]?.position?.run ?? ''
          const second = new Counter(again.attach('count', id, { after: 0 }))
          await second.over
          expect(second.error).toMatchObject({ code: 'interrupted' })
          expect(second.numbers).toEqual(numbers)
        }
        lost = Math.max(lost, ...counters.map((counter) => counter.lost))
        await Promise.all([client.close(), again.close()])
      }
      expect(lost).toBeLessThanOrEqual(durability === 'logged' ? 0 : EAGER_LOSS)
    },
  )

  test('while an approval waits asks it again, and the tool runs once when another client answers', async () => {
    await using servers = await DataServers.make(place)
    await servers.begin()
    const client = servers.client()
    const run = client.start('assistant', 'Send a mail to Ada')
    const events = new EventTypes(run)
    await events.has('request')
    // The request is stored at the latest when another client, which reads from the store's side of it, can see it.
    await new Promise((resolve) => setTimeout(resolve, 300))
    await servers.kill()
    await servers.begin()
    const other = servers.client()
    const watched = other.attach('assistant', run.position?.run ?? '', { after: 0 })
    const results: unknown[] = []
    for await (const event of watched) {
      if (event.type === 'request')
        expect(await watched.send('approve', { call: event.call, ok: true })).toBe('accepted')
      if (event.type === 'tool.result') results.push(event.outcome)
    }
    await events.over
    expect(results).toEqual(['ok'])
    expect(events.types.filter((type) => type === 'tool.result')).toHaveLength(1)
    expect(events.types.filter((type) => type === 'request')).toHaveLength(1)
  })
}

describe('a server whose runs are stored in a folder that is killed', () => {
  test('while the agent of an agent waits for an approval goes on with both, and the tool runs once', async () => {
    await using servers = await DataServers.paying()
    await servers.begin()
    const client = servers.client()
    const run = client.start('boss', 'go')
    const events = new EventTypes(run)
    await events.has('request')
    for (const _ of ['once', 'and again']) {
      await new Promise((resolve) => setTimeout(resolve, 300))
      await servers.kill()
      await servers.begin()
    }
    const other = servers.client()
    const watched = other.attach('boss', run.position?.run ?? '', { after: 0 })
    const ended: unknown[] = []
    for await (const event of watched) {
      if (event.type === 'request')
        expect(await watched.send('approve', { call: event.call, ok: true })).toBe('accepted')
      if (event.type === 'tool.result' || event.type === 'agent.end') ended.push(event.outcome)
    }
    await events.over
    expect(ended).toEqual(['ok', 'ok', 'ok'])
    expect(events.types.filter((type) => ['request', 'agent.start', 'agent.end'].includes(type))).toEqual([
      'agent.start',
      'request',
      'agent.end',
    ])
    expect(await servers.payments()).toBe(1)
  })
})
