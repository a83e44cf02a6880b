import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Command, millrace, type Serving, serving } from '../helpers/command.ts'
import { root } from '../helpers/root.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-config-'))
let serve: Serving

beforeAll(async () => {
  const config = join(folder, 'patient.mjs')
  writeFileSync(
    config,
    `import { demo } from ${JSON.stringify(pathToFileURL(`${root}dist/server/index.js`).href)}
    export default {
      defaultModel: demo({ tokensPerSec: Infinity }),
      // A stop that is not heeded is not announced for a long time: a second Ctrl-C then has something to leave.
      limits: { cancelGraceMs: 600_000 },
    }`,
  )
  serve = await serving(['--config', config])
})
afterAll(async () => {
  await serve[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true })
})

const counted = (to: number): string => `${Array.from({ length: to }, (_, n) => n + 1).join(' ')} \n`

function run(args: readonly string[], options: { env?: Record<string, string>; input?: string } = {}): Command {
  return millrace(['run', ...args], { ...options, env: { ...serve.env, ...options.env } })
}

async function idOf(command: Command): Promise<string> {
  return (await command.said('stderr', /run (r_\S+)/))[1]!
}

describe('millrace run', () => {
  test('types an answer, and nothing else on stdout', async () => {
    await using typing = run(['count', '{"to":30,"delayMs":10}', '--stream'])
    const { code, stdout, stderr } = await typing.ended
    expect({ code, stdout }).toEqual({ code: 0, stdout: counted(30) })
    expect(stderr).toMatch(/^run r_\S+\n30 tokens in \d+\.\d s(, \d+ per second)?, first after \d+ ms\n$/)
  })

  test('types an answer as it comes', async () => {
    await using typing = run(['count', '{"to":100000,"delayMs":5}', '--stream'])
    await typing.said('stdout', /^1 2 /)
    expect(typing.child.exitCode).toBeNull()
  })

  test('prints the answer at the end without --stream', async () => {
    await using collecting = run(['count', '{"to":3}'])
    expect(await collecting.ended).toMatchObject({ code: 0, stdout: counted(3) })
  })

  test('prints the result of an actor that sends no text', async () => {
    await using quiet = run(['sleep', '{"ms":1}', '--stream'])
    expect(await quiet.ended).toMatchObject({ code: 0, stdout: '{"sleptMs":1}\n' })
  })

  test('reads its input from stdin, as JSON or as text', async () => {
    await using json = run(['count', '-'], { input: '{"to":2}\n' })
    await using text = run(['chat', '-'], { input: 'the river\nbelow the mill\n' })
    expect(await json.ended).toMatchObject({ code: 0, stdout: counted(2) })
    expect(await text.ended).toMatchObject({ code: 0, stdout: expect.stringContaining('“the river below the mill”') })
  })

  test('writes plain lines where there is no terminal', async () => {
    await using plain = run(['chat', 'hi'])
    const { stdout, stderr } = await plain.ended
    expect(stdout + stderr).not.toMatch(/[^\P{Cc}\n]/u)
  })

  test.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)('stops the run on %s and prints the receipt', async (signal) => {
    await using running = run(['count', '{"to":100000,"delayMs":5}', '--stream'])
    await running.said('stdout', /5 /)
    running.kill(signal)
    const { code, stderr, stdout } = await running.ended
    expect(code).toBe(130)
    const receipt = /cancelled in .* ms: all work has ended; no provider request was open\n(\d+) items are kept\n$/
    const [, kept] = receipt.exec(stderr) ?? []
    const seen = Number(/(\d+) \n$/.exec(stdout)?.[1])
    expect(Number(kept)).toBeGreaterThanOrEqual(seen)
  })

  test('leaves at once on a second Ctrl-C, and says how to stop the run', async () => {
    await using running = run(['stubborn', '{"ms":600000}'])
    const id = await idOf(running)
    // The first one shows nothing until its receipt comes, which it does not here.
    const pressing = setInterval(() => running.kill('SIGINT'), 50)
    const { code, stderr } = await running.ended
    clearInterval(pressing)
    expect(code).toBe(130)
    expect(stderr).toMatch(
      new RegExp(
        `millrace: quit at once; the run may go on; cancel it with: node dist/server/cli/main.js cancel ${id}\n$`,
      ),
    )
  })

  test('stops the run quietly when the reader of its stdout leaves', async () => {
    await using flood = run(['flood', '{"tokens":100000000}', '--stream'])
    const id = await idOf(flood)
    flood.child.stdout?.destroy()
    const { code, stderr } = await flood.ended
    expect({ code, stderr }).toEqual({ code: 0, stderr: `run ${id}\n` })
    const view = await millrace(['attach', id, '--live'], { env: serve.env }).ended
    expect(view).toMatchObject({ code: 1, stderr: expect.stringMatching(/another client ended the run: cancelled in/) })
  })
})

describe('millrace attach and cancel', () => {
  test('show a run from its beginning, or from a given item, in a second terminal', async () => {
    await using echo = run(['count', '{"to":5}', '--stream'])
    const id = await idOf(echo)
    await echo.ended
    const attached = await Promise.all(
      [[], ['--after', '3'], ['--policy', 'merge'], ['--live']].map(
        (options) => millrace(['attach', id, ...options], { env: serve.env }).ended,
      ),
    )
    expect(attached.map(({ stdout }) => stdout)).toEqual([counted(5), '4 5 \n', counted(5), ''])
    expect(attached.map(({ code }) => code)).toEqual([0, 0, 0, 0])
  })

  test('leave the run alone on Ctrl-C; cancel stops it and prints the receipt', async () => {
    await using running = run(['count', '{"to":100000,"delayMs":5}', '--stream'])
    const id = await idOf(running)
    await using view = millrace(['attach', id], { env: serve.env })
    await view.said('stdout', /5 /)
    view.kill('SIGINT')
    expect(await view.ended).toMatchObject({
      code: 130,
      stderr: expect.stringMatching(/detached; the run may go on; cancel it with: \S+ \S+ cancel r_\S+\n$/),
    })
    const seen = running.stdout.length
    await running.said('stdout', new RegExp(`^[^]{${seen + 1}}`))
    const cancelled = await millrace(['cancel', id, '--note', 'enough'], { env: serve.env }).ended
    expect(cancelled).toMatchObject({
      code: 0,
      stderr: '',
      stdout: expect.stringMatching(/^cancelled in .*\n\d+ items are kept; note: enough\n$/),
    })
    expect(await running.ended).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/\nmillrace: another client ended the run: cancelled in .*; note: enough\n$/),
    })
  })

  test('say so when the run to cancel is done', async () => {
    await using done = run(['count', '{"to":1}'])
    const id = await idOf(done)
    await done.ended
    expect(await millrace(['cancel', id], { env: serve.env }).ended).toMatchObject({
      code: 0,
      stdout: 'too late to cancel it: it was done already\n',
    })
  })
})

describe('a lost connection', () => {
  test('comes back, and no token is missing or repeated', async () => {
    await using line = await cuttable(serve.url)
    await using running = run(['count', '{"to":5000}', '--stream', '--url', line.url])
    await running.said('stdout', /5 /)
    line.cut()
    const { code, stdout, stderr } = await running.ended
    expect({ code, stdout }).toEqual({ code: 0, stdout: counted(5_000) })
    expect(stderr).toMatch(/\nconnection lost: reconnecting for up to 30 s\nreconnected\n5000 tokens/)
  })

  test('that does not come back is given up in one line that says how to go on', async () => {
    await using other = await serving()
    await using running = run(['count', '{"to":100000,"delayMs":5}', '--stream', '--reconnect', '1'], {
      env: other.env,
    })
    await running.said('stdout', /5 /)
    other.server.kill('SIGKILL')
    const { code, stderr } = await running.ended
    expect(code).toBe(3)
    expect(stderr).toMatch(
      /\nconnection lost: reconnecting for up to 1 s\nmillrace: the server did not come back; the run may go on; read on with: node \S+ attach r_\S+ --after \d+\n$/,
    )
  })

  test('is given up with a command that reaches the same server: with its address and policy, and without the token', async () => {
    await using other = await serving(['--token', 's3cret'])
    const access = ['--url', other.url, '--token', 's3cret']
    await using running = millrace(['run', 'count', '{"to":100000,"delayMs":5}', '--stream', ...access])
    const id = await idOf(running)
    const given = [...access, '--reconnect', '0']
    await using view = millrace(['attach', id, '--policy', 'pace', ...given])
    await using left = millrace(['attach', id, ...given])
    await Promise.all([view, left].map((one) => one.said('stdout', /5 /)))
    left.kill('SIGINT')
    const to = `--url ${other.url} --token TOKEN`
    expect((await left.ended).stderr).toMatch(new RegExp(`cancel it with: node \\S+ cancel ${id} ${to}\n$`))
    other.server.kill('SIGKILL')
    const readOn = `read on with: node \\S+ attach ${id} --after \\d+ --policy pace ${to}\n$`
    expect((await view.ended).stderr).toMatch(new RegExp(readOn))
  })

  test('to a restarted server is reported in one line', async () => {
    const token = ['--token', 'same']
    await using first = await serving(token)
    const { port } = new URL(first.url)
    const env = { MILLRACE_URL: first.url, MILLRACE_TOKEN: 'same' }
    await using running = run(['count', '{"to":100000,"delayMs":5}', '--stream'], { env })
    await running.said('stdout', /5 /)
    first.server.kill('SIGKILL')
    await first.server.ended
    await using _second = await serving([...token, '--port', port])
    expect(await running.ended).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(
        /\nmillrace: the server no longer has this run, as after a restart: start it again\n$/,
      ),
    })
  })
})

/** What the first connection through a `cuttable` way carries down, before nothing more comes: too little for any end. */
const HELD_AFTER_BYTES = 3_000

/** A way to the server at `url` that can be cut. What its first connection says is held until then. */
async function cuttable(url: string): Promise<AsyncDisposable & { url: string; cut(): void }> {
  const { hostname, port } = new URL(url)
  const sockets = new Set<Socket>()
  const proxy = createServer((near) => {
    const isFirst = sockets.size === 0
    const far = connect(Number(port), hostname)
    for (const socket of [near, far]) {
      sockets.add(socket)
      socket.on('error', () => {})
    }
    near.pipe(far)
    near.on('close', () => far.destroy())
    far.on('close', () => near.destroy())
    far.on('data', (bytes) => {
      near.write(bytes)
      if (isFirst && far.bytesRead > HELD_AFTER_BYTES) far.pause()
    })
  })
  await new Promise<void>((listens) => proxy.listen(0, '127.0.0.1', listens))
  const cut = (): void => {
    for (const socket of sockets) socket.destroy()
  }
  return {
    url: `ws://127.0.0.1:${(proxy.address() as AddressInfo).port}`,
    cut,
    async [Symbol.asyncDispose]() {
      cut()
      await new Promise((closes) => proxy.close(closes))
    },
  }
}
