import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { WebSocket } from 'ws'
import { type Client, createClient } from '../../client-sdk/node.ts'
import type { Actor } from '../../server/index.ts'
import { Command, MILLRACE } from '../helpers/command.ts'
import { freePort } from '../helpers/free-port.ts'
import { redisDeployment } from '../helpers/redis-deployment.ts'
import { HAS_REDIS, RedisServer } from '../helpers/redis-server.ts'
import {
  CADDY,
  caddy,
  deployFile,
  NGINX,
  nginx,
  type ReverseProxy,
  SYSTEMD_ANALYZE,
  webSocketWith,
} from '../helpers/reverse-proxy.ts'
import { root } from '../helpers/root.ts'
import { eventually, type TestServer, testServer } from '../helpers/server.ts'
import { counted, counter, silent } from '../helpers/test-actors.ts'
import { wireClient } from '../helpers/wire-client.ts'

const APP = 'https://app.example.com'

type Served = { count: Actor<number>; silent: Actor }

/** A server as behind a proxy: on loopback, with the origins of its pages. */
function served(limits: { heartbeatMs?: number } = {}): Promise<TestServer<Served>> {
  return testServer({ count: counter(), silent: silent() }, { origins: [APP], limits })
}

function clientOf({ url }: ReverseProxy, origin?: string): Client<Served> {
  return createClient<Served>(url, {
    token: 'alice',
    WebSocket: webSocketWith(origin === undefined ? {} : { origin }),
    connectMs: 2_000,
  })
}

// Skipped tests are counted, and fail the run where skips are forbidden.
describe.skipIf(NGINX === undefined)('behind nginx as in examples/deploy/nginx.conf', () => {
  behindProxy((upstream) => nginx(upstream))

  const short = { 'proxy_read_timeout 60s': 'proxy_read_timeout 2s' }

  test('an idle connection outlives the timeout of the proxy, because the server sends heartbeats', async () => {
    await using server = await served({ heartbeatMs: 300 })
    await using proxy = await nginx(server.url, short)
    await using client = await wireClient(proxy.url, { WebSocket: webSocketWith() })
    await client.until(() => client.frames.filter(({ kind }) => kind === 'ping').length >= 10, 'heartbeats of 3 s')
    await client.settle()
    expect(server.server.connections).toBe(1)
  })

  test('a connection that is silent for longer than the timeout of the proxy is closed', async () => {
    await using server = await served({ heartbeatMs: 60_000 })
    await using proxy = await nginx(server.url, short)
    await using client = await wireClient(proxy.url, { WebSocket: webSocketWith() })
    expect(await client.closed).toBe(1006)
  })

  test('one address has at most 20 connections', async () => {
    await using server = await served()
    await using proxy = await nginx(server.url)
    const clients = await Promise.all(
      Array.from({ length: 20 }, (_, n) =>
        wireClient(proxy.url, { WebSocket: webSocketWith(), auth: n % 2 ? 'alice' : 'bob' }),
      ),
    )
    await expect(wireClient(proxy.url, { WebSocket: webSocketWith() })).rejects.toThrow('503')
    for (const client of clients) await client[Symbol.asyncDispose]()
  })
})

describe.skipIf(CADDY === undefined)('behind Caddy as in examples/deploy/Caddyfile', () => {
  behindProxy((upstream) => caddy(upstream))
})

function behindProxy(start: (upstream: string | readonly string[]) => Promise<ReverseProxy>): void {
  test('a run streams its text, and a cancel reaches it', async () => {
    await using server = await served()
    await using proxy = await start(server.url)
    await using closing = closed(clientOf(proxy))
    expect(await closing.client.ask('count', 5_000)).toBe(counted(1, 5_000))
    const run = closing.client.start('silent', undefined)
    await run.opened
    expect(await run.cancel()).toMatchObject({ outcome: 'cancelled', settled: true })
    expect(server.server.liveRuns).toBe(0)
  })

  test('a page of a listed origin connects, and a page of another origin does not', async () => {
    await using server = await served()
    await using proxy = await start(server.url)
    await using app = closed(clientOf(proxy, APP))
    expect(await app.client.ask('count', 3)).toBe('1 2 3 ')
    const other = webSocketWith({ origin: 'https://evil.example' })
    const page = await wireClient(proxy.url, { WebSocket: other, hello: 'unanswered' })
    expect(await page.closed).toBe(4403)
  })

  test('a run goes on where it was when the proxy was restarted', async () => {
    await using server = await served()
    await using proxy = await start(server.url)
    await using closing = closed(clientOf(proxy))
    let text = ''
    for await (const piece of closing.client.start('count', 2_000).text()) {
      if (text === '') await proxy.restart()
      text += piece
    }
    expect(text).toBe(counted(1, 2_000))
  })

  test.skipIf(!HAS_REDIS)('of two servers, the other one goes on with a client whose connection is lost', async () => {
    await using redis = await RedisServer.start()
    const node = redisDeployment(redis)
    const actors: Served = { count: counter(), silent: silent() }
    await using one = await node(actors)
    await using two = await node(actors)
    await using proxy = await start([one.url, two.url])
    const sockets: WebSocket[] = []
    const kept = class extends webSocketWith() {
      constructor(url: string | URL, subprotocols?: string | string[]) {
        super(url, subprotocols)
        sockets.push(this)
      }
    }
    await using closing = closed(createClient<Served>(proxy.url, { token: 'alice', WebSocket: kept }))
    const run = closing.client.start('count', 2_000)
    await run.opened
    const [first, second] = one.server.connections > 0 ? [one, two] : [two, one]
    let text = ''
    let left: Promise<void> | undefined
    for await (const piece of run.text()) {
      text += piece
      if (left) continue
      // It takes no new connections, and its run goes on.
      left = first.server.close({ drainMs: 30_000 })
      sockets[0]?.terminate()
      await eventually(() => second.server.connections === 1, 'the client is at the other server')
    }
    expect(text).toBe(counted(1, 2_000))
    expect(await run.end).toMatchObject({ outcome: 'done' })
    await left
  })
}

describe('examples/deploy/millrace.service', () => {
  const paths = {
    '/usr/bin/node': process.execPath,
    '/opt/agents/node_modules/millrace/dist/server/cli/main.js': MILLRACE,
    '/opt/agents/agents.mjs': `${root}examples/deploy/agents.mjs`,
  }

  test('starts a server that finishes its runs after SIGTERM, within the time that systemd gives it', async () => {
    const unit = await deployFile('millrace.service', paths)
    const [program = '', ...args] = valueOf(unit, 'ExecStart').split(' ')
    const drainS = Number(args[args.indexOf('--drain') + 1])
    expect(Number(valueOf(unit, 'TimeoutStopSec'))).toBeGreaterThan(drainS)
    await using server = new Command(program, [...args, '--port', '0'], { env: { AGENTS_TOKEN: 'a-long-secret' } })
    const [, url = ''] = await server.said('stdout', /listens on (\S+)/)
    await using closing = closed(createClient<{ chat: Actor<string> }>(url, { token: 'a-long-secret' }))
    const run = closing.client.start('chat', 'Tell me about millrace')
    await run.opened
    server.kill('SIGTERM')
    expect(await run.end).toMatchObject({ outcome: 'done' })
    expect(await server.ended).toMatchObject({ code: 0, signal: null })
  })

  test('is not started again and again when a secret is missing', async () => {
    const unit = await deployFile('millrace.service', paths)
    const [program = '', ...args] = valueOf(unit, 'ExecStart').split(' ')
    await using server = new Command(program, [...args, '--port', '0'])
    const { code, stderr } = await server.ended
    expect(stderr).toContain('is its environment variable set?')
    expect(code).toBe(Number(valueOf(unit, 'RestartPreventExitStatus')))
  })

  test.skipIf(SYSTEMD_ANALYZE === undefined)('has only settings that systemd knows', async () => {
    const unit = await deployFile('millrace.service', { ...paths, '/opt/agents': root })
    const folder = await mkdtemp(join(tmpdir(), 'millrace-unit-'))
    try {
      await writeFile(join(folder, 'millrace.service'), unit)
      await using verify = new Command(SYSTEMD_ANALYZE!, ['verify', '--man=no', join(folder, 'millrace.service')])
      const { code, stderr } = await verify.ended
      expect({ code, faults: stderr.split('\n').filter((line) => line.includes('millrace.service')) }).toEqual({
        code: 0,
        faults: [],
      })
    } finally {
      await rm(folder, { recursive: true })
    }
  })
})

test.skipIf(NGINX === undefined)(
  'nginx takes the configuration that examples/deploy/compose.yaml gives it',
  async () => {
    const compose = await readFile(`${root}examples/deploy/compose.yaml`, 'utf8')
    const [, indented = ''] = /^ {4}content: \|\n((?: {6}.*\n)+)/m.exec(compose) ?? []
    expect(indented).toContain('proxy_set_header Upgrade $$http_upgrade;')
    // Compose reads two dollars as one, and knows the names of its services.
    const config = indented.replaceAll('$$', '$').replaceAll(/server (one|two):/g, 'server 127.0.0.1:')
    const folder = await mkdtemp(join(tmpdir(), 'millrace-compose-'))
    const file = join(folder, 'nginx.conf')
    const own = `error_log stderr;\npid ${join(folder, 'pid')};\nevents {}\nhttp {\naccess_log off;\n${config}}\n`
    await writeFile(file, own.replace('listen 80', `listen 127.0.0.1:${await freePort()}`))
    const { code, stderr } = await new Command(NGINX!, ['-t', '-c', file]).ended
    await rm(folder, { recursive: true })
    expect({ code, stderr }).toMatchObject({ code: 0, stderr: expect.stringContaining('syntax is ok') as string })
  },
)

test('the command of examples/deploy/Dockerfile serves, and its health check notices when it does not', async () => {
  const port = await freePort()
  const dockerfile = await readFile(`${root}examples/deploy/Dockerfile`, 'utf8')
  const here = (line: RegExp): string[] =>
    (JSON.parse(line.exec(dockerfile)?.[1] ?? '[]') as string[]).map((part) =>
      part
        .replace('127.0.0.1:7400', `127.0.0.1:${port}`)
        .replace('node_modules/millrace/dist/server/cli/main.js', MILLRACE),
    )
  const [node = '', ...args] = here(/^CMD (\[.*\])$/m)
  const [, ...check] = here(/^HEALTHCHECK .* CMD (\[.*\])$/m)
  expect(node).toBe('node')
  const health = async (): Promise<number | null> => {
    await using command = new Command(process.execPath, check)
    return (await command.ended).code
  }
  expect(await health()).toBe(1)
  await using server = new Command(process.execPath, [...args, '--port', String(port)], {
    cwd: `${root}examples/deploy`,
    env: { AGENTS_TOKEN: 'a-long-secret' },
  })
  await server.said('stdout', /listens on/)
  expect(await health()).toBe(0)
})

/** A client that is closed at the end of its scope. */
function closed<C extends Pick<Client, 'close'>>(client: C): AsyncDisposable & { client: C } {
  return { client, [Symbol.asyncDispose]: () => client.close() }
}

/** The value of a setting of a systemd unit. */
function valueOf(unit: string, name: string): string {
  return new RegExp(`^${name}=(.+)$`, 'm').exec(unit)?.[1] ?? ''
}
