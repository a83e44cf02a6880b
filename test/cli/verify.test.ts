import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer as createHttpServer } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import { type AddressInfo, createServer as createTcpServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { commandLine } from '../../server/cli/command-line.ts'
import { CLIENT_CHECKS } from '../../verify/client/judge.ts'
import type { Report } from '../../verify/report.ts'
import { SERVER_CHECKS } from '../../verify/server/judge.ts'
import { millrace, serving } from '../helpers/command.ts'
import { frameProxy } from '../helpers/frame-proxy.ts'
import { referenceServer } from '../helpers/reference-server.ts'
import { root } from '../helpers/root.ts'
import { screen } from '../helpers/screen.ts'
import { eventually, type TestServer } from '../helpers/server.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-verify-'))
let server: TestServer<never>

beforeAll(async () => {
  for (const name of ['MILLRACE_URL', 'MILLRACE_TOKEN']) vi.stubEnv(name, undefined)
  server = await referenceServer()
})
afterAll(async () => {
  vi.unstubAllEnvs()
  await server[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true })
})

/** Calls `millrace verify` in this process. */
async function verify(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const { output, stdout, stderr } = screen()
  const code = await commandLine(['verify', ...args], output)
  return { code, stdout: stdout.text, stderr: stderr.text }
}

async function listening(listener: Server): Promise<AsyncDisposable & { port: number }> {
  const sockets = new Set<Socket>()
  listener.on('connection', (socket: Socket) => sockets.add(socket))
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
  return {
    port: (listener.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => listener.close(resolve))
    },
  }
}

describe('millrace verify reports', () => {
  test('that a server keeps the rules, with exit code 0', async () => {
    const { code, stdout, stderr } = await verify(
      server.url,
      '--token',
      'alice',
      '--only',
      'items',
      '--only',
      'welcome',
    )
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^millrace verify: the server ws:\S+, level full\n\n {2}ok {7}welcome .*\n {2}ok {7}items /)
    expect(stdout).toMatch(/\n2 passed, 0 failed, 0 skipped in \d+\.\d s\n$/)
  })

  test('a broken rule with what was expected and seen, its section and a hint, with exit code 1', async () => {
    await using proxy = await frameProxy(server.url, {
      down: (frames) => frames.map((frame) => (frame.kind === 'pong' ? { ...frame, nonce: 9 } : frame)),
    })
    const { code, stdout } = await verify(proxy.url, '--token', 'alice', '--only', 'ping', '--patience', '1')
    expect(code).toBe(1)
    expect(stdout).toMatch(
      / {2}FAILED {3}ping .*\n +expected {2}PONG with the nonce \d+\n +seen {6}nothing more for 1000 ms; last came .*PONG \{"nonce":9\}.*\n +section {3}PING and PONG, PROTOCOL.md#ping-and-pong\n +hint {6}Answer .*\n\n0 passed, 1 failed/,
    )
  })

  test('what it cannot judge as skipped, with the reason', async () => {
    const { code, stdout } = await verify(server.url, '--token', 'alice', '--only', 'other-principal')
    expect(code).toBe(0)
    expect(stdout).toMatch(/ {2}skipped {2}other-principal .* Not judged: no --other-token was given/)
  })

  test('in one line why the command that tells a server to go away failed', async () => {
    const command = 'echo no such server >&2; echo at all >&2; exit 3'
    const { code, stdout } = await verify(server.url, '--token', 'alice', '--only', 'drain', '--drain', command)
    expect(code).toBe(0)
    expect(stdout).toMatch(
      /\n {2}skipped {2}drain .* could not be told to go away: .*exit 3 no such server at all\.\n\n0 /,
    )
  })

  test('everything behind an essential check that fails as skipped', async () => {
    await using proxy = await frameProxy(server.url, { subprotocol: () => false })
    const { code, stdout } = await verify(proxy.url, '--token', 'alice', '--level', 'minimal', '--patience', '1')
    expect(code).toBe(3)
    expect(stdout).toBe('')
    await using mute = await frameProxy(server.url, { down: () => [] })
    const silent = await verify(mute.url, '--token', 'alice', '--level', 'minimal', '--patience', '1')
    expect(silent.code).toBe(1)
    expect(silent.stdout).toMatch(
      /FAILED {3}welcome [^]*skipped .* Not judged: welcome failed\.[^]*1 passed, 1 failed, \d\d skipped/,
    )
  })

  test('all checks of a level and those before it', async () => {
    const { code, stdout } = await verify('--list')
    expect(code).toBe(0)
    expect(stdout.trim().split('\n')).toHaveLength(SERVER_CHECKS.length)
    expect(stdout).toMatch(/^minimal +handshake +The server takes .* \(PROTOCOL.md#websocket\)$/m)
  })
})

describe('the JSON report', () => {
  const args = ['--token', 'alice', '--only', 'ping', '--only', 'list-principal']

  test('is written to a file beside the text, without credentials', async () => {
    const file = join(folder, 'report.json')
    const url = server.url.replace('ws://', 'ws://me:secret@')
    const { code, stdout } = await verify(url, ...args, '--json', file)
    expect(code).toBe(0)
    expect(stdout).toContain('1 passed')
    expect(stdout).not.toMatch(/secret/)
    const text = readFileSync(file, 'utf8')
    expect(text).not.toMatch(/secret|alice/)
    const { checks, ...report } = JSON.parse(text) as Report
    expect(report).toMatchObject({
      format: 'millrace-verify',
      version: 1,
      subject: 'server',
      level: 'full',
      passed: 1,
      failed: 0,
      skipped: 1,
    })
    expect(checks).toEqual([
      {
        name: 'ping',
        level: 'minimal',
        section: { title: 'PING and PONG', at: 'PROTOCOL.md#ping-and-pong' },
        rule: expect.any(String),
        status: 'passed',
        ms: expect.any(Number),
      },
      expect.objectContaining({ name: 'list-principal', status: 'skipped', reason: expect.any(String) }),
    ])
  })

  test('goes alone to stdout on -', async () => {
    const { stdout } = await verify(server.url, ...args, '--json', '-')
    expect((JSON.parse(stdout) as Report).passed).toBe(1)
  })

  test('that cannot be written is an error', async () => {
    const { code, stderr } = await verify(server.url, ...args, '--json', join(folder, 'none', 'report.json'))
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr: expect.stringMatching(/^millrace: cannot write the report: ENOENT/),
    })
  })
})

describe('millrace verify says in one line what is wrong, when', () => {
  test.each<[string, string[], RegExp]>([
    ['there is no address', [], /^millrace: <url> or --client is missing; see millrace verify --help\n$/],
    ['the address is none', ['http://127.0.0.1'], /is not a server address: write it as ws:/],
    [
      'the level is unknown',
      ['ws://127.0.0.1', '--level', 'most'],
      /unknown level most; known levels: minimal, cancel,/,
    ],
    ['a check is unknown', ['ws://127.0.0.1', '--only', 'speed'], /unknown check speed; millrace verify --list names/],
    ['there is no command', ['--client', ''], /--client is empty/],
    ['the patience is no time', ['ws://127.0.0.1', '--patience', '0'], /--patience takes a whole number from 1/],
  ])('%s', async (_, args, says) => {
    const { code, stdout, stderr } = await verify(...args)
    expect({ code, stdout, stderr }).toEqual({ code: 2, stdout: '', stderr: expect.stringMatching(says) })
  })

  /** There is no connection, for a reason that the line says. */
  async function unreachable(url: string, says: RegExp, ...args: string[]): Promise<void> {
    const { code, stdout, stderr } = await verify(url, '--patience', '1', ...args)
    expect({ code, stdout, stderr }).toEqual({ code: 3, stdout: '', stderr: expect.stringMatching(says) })
    expect(stderr.trim().split('\n')).toHaveLength(1)
  }

  test('no server listens', async () => {
    const { port } = await listening(createTcpServer()).then(async (one) => {
      await one[Symbol.asyncDispose]()
      return one
    })
    await unreachable(`ws://127.0.0.1:${port}`, /no server listens there; start one with `.* serve`/)
  })

  test('another kind of server listens', async () => {
    await using http = await listening(createHttpServer((_, response) => response.writeHead(404).end()))
    await unreachable(`ws://127.0.0.1:${http.port}`, /is not a millrace server \(HTTP 404\): check the URL/)
  })

  test('a server never answers the handshake', async () => {
    await using tcp = await listening(createTcpServer())
    const url = `ws://127.0.0.1:${tcp.port}`
    await unreachable(url, /a server listens there and does not answer the WebSocket handshake/)
  })

  test('its certificate is not trusted', async () => {
    const [key, cert] = ['key', 'cert'].map((name) => readFileSync(`${root}test/helpers/tls/${name}.pem`))
    await using https = await listening(createHttpsServer({ key: key!, cert: cert! }))
    await unreachable(`wss://127.0.0.1:${https.port}`, /certificate is not trusted \(\w+\): name its authority/)
  })

  test('it speaks no TLS', async () => {
    await unreachable(server.url.replace('ws:', 'wss:'), /does not speak TLS as expected \(\w+\): check wss: and ws:/)
  })

  test('the token is wrong, or missing', async () => {
    await unreachable(server.url, /^millrace: the server refused this token: set it with --token/, '--token', 'wrong')
    await unreachable(server.url, /^millrace: the server needs a token: set it with --token/)
  })
})

describe('millrace verify --client', () => {
  const client = `node ${root}examples/verify-client.mjs`

  test('judges the client that a command starts', async () => {
    const { code, stdout, stderr } = await verify('--client', client, '--only', 'hello', '--only', 'pong')
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(
      /^millrace verify: the client node \S+, level full\n\n {2}ok {7}hello [^]*\n2 passed, 0 failed/,
    )
  })

  test('lists the checks of a client', async () => {
    const { code, stdout } = await verify('--list', '--client', '-')
    expect(code).toBe(0)
    expect(stdout.trim().split('\n')).toHaveLength(CLIENT_CHECKS.length)
  })

  test('and an address are two subjects', async () => {
    const { code, stderr } = await verify(server.url, '--client', client)
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr: 'millrace: millrace verify judges a server or a client: leave the address or --client out\n',
    })
  })

  test('warns of nothing when many clients run at a time', async () => {
    const names = ['close-codes', 'stop-codes', 'resume', 'gap', 'gen'].flatMap((name) => ['--only', name])
    await using command = millrace(['verify', '--client', 'exec sleep 600', '--patience', '1', ...names])
    const { code, stdout, stderr } = await command.ended
    expect({ code, stderr }).toEqual({ code: 1, stderr: '' })
    expect(stdout).toContain('0 passed, 5 failed, 0 skipped')
  })

  test('ends the client on Ctrl-C', async () => {
    const pidFile = join(folder, 'pid')
    await using command = millrace(['verify', '--client', `echo $$ > ${pidFile}; echo ready >&2; exec sleep 600`])
    await command.said('stdout', /level full/)
    await eventually(
      () => existsSync(pidFile) && readFileSync(pidFile, 'utf8').endsWith('\n'),
      'the client was started',
    )
    command.kill('SIGINT')
    expect((await command.ended).code).toBe(130)
    expect(() => process.kill(Number(readFileSync(pidFile, 'utf8')), 0)).toThrow('ESRCH')
  })
})

test('Ctrl-C ends a judgement without a verdict, with exit code 130', async () => {
  const args = [server.url, '--token', 'alice', '--only', 'ping', '--only', 'key-free']
  await using command = millrace(['verify', ...args])
  await command.said('stdout', /ok {7}ping/)
  command.kill('SIGINT')
  const { code, stdout, stderr } = await command.ended
  expect({ code, stderr }).toEqual({ code: 130, stderr: 'millrace: interrupted: no verdict\n' })
  expect(stdout).not.toContain('passed')
})

test('millrace serve --reference prints the command that judges it, and passes', async () => {
  await using served = await serving(['--reference'])
  const [, line = ''] = /\n {2}node \S+ (verify .*)\n/.exec(served.server.stdout) ?? []
  await using command = millrace([...line.split(' '), '--only', 'limits', '--only', 'other-principal'])
  const { code, stdout } = await command.ended
  expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringContaining('2 passed, 0 failed, 0 skipped') })
})
