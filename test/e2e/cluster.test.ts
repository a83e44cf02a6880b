import { once } from 'node:events'
import { createServer } from 'node:net'
import { describe, expect, test } from 'vitest'
import { Command, type CommandOptions, millrace } from '../helpers/command.ts'
import { freePort } from '../helpers/free-port.ts'
import { HAS_REDIS } from '../helpers/redis-server.ts'
import { root } from '../helpers/root.ts'
import { isAlive } from '../helpers/served-workers.ts'

/** What `npm run cluster` does once the package is built. */
function cluster(port: string, options?: CommandOptions): Command {
  return new Command(process.execPath, [`${root}scripts/cluster.mjs`, '--port', port], options)
}

describe('npm run cluster', () => {
  test.skipIf(!HAS_REDIS)('serves at one address, and ends all that it began when its terminal is closed', async () => {
    const port = await freePort()
    await using command = cluster(`${port}`, { env: { MILLRACE_TOKEN: 'a-token' } })
    const [, one, two] = await command.said('stdout', /Kill one server \((\d+) or (\d+)\)/)
    const args = ['ls', '--all', '--url', `ws://127.0.0.1:${port}`, '--token', 'a-token']
    expect(await millrace(args).ended).toMatchObject({ code: 0, stderr: '' })
    command.kill('SIGHUP')
    expect(await command.ended).toMatchObject({ code: 0 })
    expect([one, two].map(Number).filter(isAlive)).toEqual([])
  })

  test('begins nothing where its port is in use, and says so in one line', async () => {
    const other = createServer().listen(await freePort(), '127.0.0.1')
    await once(other, 'listening')
    const { port } = other.address() as { port: number }
    const { code, stdout, stderr } = await cluster(`${port}`).ended
    other.close()
    expect({ code, stdout, stderr }).toEqual({
      code: 2,
      stdout: '',
      stderr: `port ${port} is in use: choose another one with npm run cluster -- --port PORT\n`,
    })
  })

  test('says in one line that a port is none, and that redis-server is missing', async () => {
    const wrong = await cluster('here').ended
    expect(wrong).toMatchObject({ code: 2, stderr: '--port takes a whole number from 0 to 65535, not here\n' })
    const bare = await cluster('0', { env: { PATH: '/nowhere' } }).ended
    expect(bare).toMatchObject({ code: 1, stderr: 'redis ended: redis-server is missing: install it\n' })
  })
})
