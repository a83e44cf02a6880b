import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { createClient } from '../../client-sdk/node.ts'
import { millrace, onTerminal, type Serving, serving } from '../helpers/command.ts'
import { freePort } from '../helpers/free-port.ts'
import { HAS_REDIS, RedisServer } from '../helpers/redis-server.ts'

const CERTIFICATE = fileURLToPath(new URL('../helpers/tls/cert.pem', import.meta.url))
const KEY = fileURLToPath(new URL('../helpers/tls/key.pem', import.meta.url))
const TRUSTS = { NODE_EXTRA_CA_CERTS: CERTIFICATE }

async function count({ url }: Serving): Promise<string> {
  const client = createClient(url, { token: 't' })
  let said = ''
  for await (const text of client.start('count', { to: 3 }).text()) said += text
  await client.close()
  return said
}

describe.skipIf(!HAS_REDIS)('millrace with --redis', () => {
  test('listens while Redis is down, says so once, is not ready, and recovers by itself; a worker waits, too', async () => {
    await using redis = await RedisServer.start()
    await redis.kill()
    await using worker = millrace(['worker', '--pool', 'gpu', '--redis', redis.url])
    await using serve = await serving(['--token', 't', '--redis', redis.url])
    const readyz = async (): Promise<number> => (await fetch(`${serve.url.replace('ws', 'http')}/readyz`)).status
    const says =
      /^millrace: the store failed: live runs wait for it, and no run starts: no Redis listens at 127\.0\.0\.1:\d+: start it, or correct the address\n$/
    for (const one of [serve.server, worker]) await one.said('stderr', says)
    expect(await readyz()).toBe(503)
    await redis.begin()
    for (const one of [serve.server, worker]) await one.said('stderr', /\nthe store works again\n$/)
    await worker.said('stdout', /works for the pool gpu/)
    expect(await readyz()).toBe(200)
    expect(await count(serve)).toBe('1 2 3 ')
  })

  test('top --all shows the run of another server with its text, and stops it', async () => {
    await using redis = await RedisServer.start()
    const options = ['--token', 't', '--redis', redis.url]
    await using here = await serving(options)
    await using there = await serving(options)
    const client = createClient(there.url, { token: 't' })
    const run = client.start('count', { to: 100_000, delayMs: 20 })
    const { id } = await run.opened
    const reading = (async () => {
      for await (const _ of run);
    })().catch(() => {})
    await using screen = onTerminal(['top', '--all', '--url', here.url, '--token', 't'])
    await screen.said('stdout', new RegExp(`\u001b\\[7m${id} +count[^]*\\d+ \\d+ \\d+ [^]*q quit`))
    screen.child.stdin?.write('c')
    await screen.said('stdout', new RegExp(`${id} was cancelled`))
    expect((await run.end).outcome).toBe('cancelled')
    await reading
    screen.child.stdin?.write('q')
    expect(await screen.ended).toMatchObject({ code: 0 })
    await client.close()
  })

  test('cancel says what its receipt may wait for while Redis stands still, and prints it when Redis goes on', async () => {
    await using redis = await RedisServer.start()
    await using serve = await serving(['--token', 't', '--redis', redis.url])
    const access = ['--url', serve.url, '--token', 't']
    await using counting = millrace(['run', 'count', '{"to":100000,"delayMs":20}', '--stream', ...access])
    const [, id = ''] = await counting.said('stderr', /run (r_\S+)/)
    await counting.said('stdout', /^1 2 /)
    redis.freeze(true)
    await using cancelling = millrace(['cancel', id, ...access])
    await cancelling.said('stderr', /^no receipt yet: the cancel was sent, .* Ctrl-C stops waiting\n$/)
    redis.freeze(false)
    expect(await cancelling.ended).toMatchObject({ code: 0, stdout: expect.stringMatching(/^cancelled in /) })
    expect(await counting.ended).toMatchObject({ code: 1 })
  })

  test('a Ctrl-C at run says the same', async () => {
    await using redis = await RedisServer.start()
    await using serve = await serving(['--redis', redis.url])
    await using counting = millrace(['run', 'count', '{"to":100000,"delayMs":20}', '--stream'], { env: serve.env })
    await counting.said('stdout', /^1 2 /)
    redis.freeze(true)
    counting.kill('SIGINT')
    await counting.said('stderr', /\nno receipt yet: the cancel was sent, /)
    redis.freeze(false)
    expect(await counting.ended).toMatchObject({ code: 130, stderr: expect.stringMatching(/\ncancelled in /) })
  })

  test('speaks TLS to Redis, as a user with the rights that the guide names, and says what to correct', async () => {
    const port = await freePort()
    const tls = ['--tls-port', `${port}`, '--tls-cert-file', CERTIFICATE, '--tls-key-file', KEY]
    await using redis = await RedisServer.start(...tls, '--tls-auth-clients', 'no')
    const rights = '~millrace:* &millrace:* +@read +@write +@scripting +@pubsub +@connection +time +info'
    await redis.command('ACL', 'SETUSER', 'millrace', 'on', '>a-password', ...rights.split(' '))
    await redis.command('ACL', 'SETUSER', 'reader', 'on', '>a-password', '~*', '&*', '+@read', '+@connection', '+info')
    const url = (user: string, password = 'a-password'): string => `rediss://${user}:${password}@127.0.0.1:${port}`
    await using serve = await serving(['--token', 't', '--redis', url('millrace')], { env: TRUSTS })
    expect(await count(serve)).toBe('1 2 3 ')
    const list = millrace(['ls', '--once', '--all', '--token', 't', '--url', serve.url])
    expect(await list.ended).toMatchObject({ code: 0 })
    expect(serve.server.stderr).toBe('')
    expect(serve.server.stdout).not.toContain('a-password')

    const refused = async (address: string, env: Record<string, string>): Promise<string> => {
      const { code, stdout, stderr } = await millrace(['serve', '--port', '0', '--redis', address], { env }).ended
      expect([code, stdout]).toEqual([2, ''])
      expect(stderr).not.toContain('a-password')
      return stderr
    }
    const said = await Promise.all([
      refused(url('millrace'), {}),
      refused(url('millrace', 'another'), TRUSTS),
      refused(url('reader'), TRUSTS),
    ])
    expect(said).toEqual([
      expect.stringMatching(/^millrace: the certificate of Redis at .* is not trusted: .* NODE_EXTRA_CA_CERTS\n$/),
      expect.stringMatching(/^millrace: Redis at .* refuses the user or the password: correct them in the URL\n$/),
      expect.stringMatching(/^millrace: the user of Redis at .* may not do that: .*\n$/),
    ])
  })
})
