import { randomUUID } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer as createHttpServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { createClient } from '../../client-sdk/node.ts'
import { COMMANDS, commandLine } from '../../server/cli/command-line.ts'
import { demoActors } from '../../server/cli/demo-actors.ts'
import { EXIT_CODES } from '../../server/cli/exit.ts'
import { actor, bearer, createServer, demo, type MillraceServer } from '../../server/index.ts'
import { millrace } from '../helpers/command.ts'
import { SECRET } from '../helpers/notice-receiver.ts'
import { root } from '../helpers/root.ts'
import { screen } from '../helpers/screen.ts'
import { quiet } from '../helpers/server.ts'

/** Calls the command line in this process. */
async function called(args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const { output, stdout, stderr } = screen()
  const code = await commandLine(args, output)
  return { code, stdout: stdout.text, stderr: stderr.text }
}

beforeAll(() => {
  for (const name of [
    'MILLRACE_URL',
    'MILLRACE_TOKEN',
    'MILLRACE_MODEL',
    'MILLRACE_NOTIFY_SECRET',
    'OPENAI_API_KEY',
    'OPENAI_BASE_URL',
  ])
    vi.stubEnv(name, undefined)
})
afterAll(() => vi.unstubAllEnvs())

describe('a command that cannot work is refused in one line, with exit code 2:', () => {
  test.each<[string, RegExp]>([
    ['', /^Usage: millrace <command>/],
    [
      'wat',
      /unknown command wat; known commands: serve, worker, run, attach, send, answer, cancel, ls, top, record, replay, data, graph, mcp, verify, completion; see millrace --help/,
    ],
    ['serve --port http', /--port takes a whole number from 0 to 65535, not http/],
    ['serve --port 65536', /--port takes a whole number/],
    ['serve --port', /option '--port <value>' argument missing; see millrace serve --help/],
    ['serve --drain -1', /--drain takes a whole number from 0 to 86400, not -1/],
    [
      'serve --drain --verbose',
      /option '--drain' has no value \(after a dash: --drain=-VALUE\); see millrace serve --help/,
    ],
    ['serve --port -1', /--port takes a whole number from 0 to 65535, not -1/],
    ['serve --workers -1', /--workers takes a whole number from 1 to 1000, not -1/],
    ['worker --pool gpu --slots -1', /--slots takes a whole number from 1 to 100000, not -1/],
    ['run chat hi --reconnect -1', /--reconnect takes a whole number from 0 to 86400, not -1/],
    ['attach r_x --after -1', /--after takes a whole number from 0 to \d+, not -1/],
    ['replay x --from -1', /--from takes a whole number from 1 to \d+, not -1/],
    ['replay x --speed -1', /--speed takes a number from 0.01 to 1000, or max, not -1/],
    ['verify ws://127.0.0.1:1 --patience -1', /--patience takes a whole number from 1 to 600, not -1/],
    ['serve --drain soon', /--drain takes a whole number from 0 to 86400, not soon/],
    ['serve --reference --workers 2', /--reference is for one process, which the kit judges: leave --workers out/],
    ['serve --wat', /unknown option '--wat'; see millrace serve --help/],
    ['serve chat', /unexpected argument chat/],
    ['serve --transport tcp', /unknown transport tcp; known transports: ws, uws/],
    [
      'serve --model gpt-5',
      /unknown model gpt-5: write one of demo, anthropic:NAME, gemini:NAME, ollama:NAME, openai:NAME/,
    ],
    ['serve --model openai:gpt-5', /openai:gpt-5 needs a key: set OPENAI_API_KEY/],
    ['serve --token=', /--token is empty: give it a value, or leave it out/],
    ['serve --config nowhere.mjs', /config file nowhere\.mjs not found/],
    ['run', /<actor> is missing; see millrace run --help/],
    ['run chat two words', /unexpected argument words \(are quotes missing\?\); see millrace run --help/],
    ['run chat hi --url 127.0.0.1:7400', /127\.0\.0\.1:7400 is not a server address: write it as ws:/],
    ['run chat hi --url http://127.0.0.1', /is not a server address/],
    ['run chat hi --reconnect x', /--reconnect takes a whole number/],
    ['attach', /<run> is missing/],
    ['attach r_x --after x', /--after takes a whole number/],
    ['attach r_x --after 3 --live', /use either --after or --live, not both/],
    ['attach r_x --policy fast', /unknown policy fast; known policies: pace, log, merge, latest/],
    ['cancel', /<run> is missing/],
    ['send', /<run> is missing/],
    ['send r_x', /<text> is missing; see millrace send --help/],
    ['answer r_x q1', /<answer> is missing; see millrace answer --help/],
  ])('millrace %s', async (args, says) => {
    const { code, stdout, stderr } = await called(args.split(' ').filter(Boolean))
    expect(code).toBe(2)
    expect(stdout + stderr).toMatch(says)
    if (stdout === '') expect(stderr).toMatch(/^millrace: .+\n$/)
  })
})

test('an option that takes a text is not empty, unless nothing depends on it: one line that names it, and exit code 2', async () => {
  const commands = await Promise.all(Object.values(COMMANDS).map((load) => load()))
  let options = 0
  for (const { usage } of commands)
    for (const [option, how] of Object.entries(usage.options)) {
      if (how.type === 'boolean' || how.mayBeEmpty) continue
      options++
      const positionals = usage.args.filter((arg) => arg.startsWith('<')).map(() => 'x')
      const { code, stdout, stderr } = await called([usage.name, ...positionals, `--${option}`, ''])
      expect({ code, stdout, stderr }).toEqual({
        code: 2,
        stdout: '',
        stderr: `millrace: --${option} is empty: give it a value, or leave it out (is a variable not set?)\n`,
      })
    }
  expect(options).toBeGreaterThan(30)
  // It must not keep a stop from happening.
  const { code } = await called(['cancel', 'r_x', '--note', '', '--url', 'ws://127.0.0.1:1'])
  expect(code).toBe(3)
})

describe('a wrong config file is reported in one line, with exit code 2:', () => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-config-'))
  afterAll(() => rmSync(folder, { recursive: true }))

  test.each<[string, RegExp]>([
    ['export const actors = {}', /it needs a default export: an object with any of the options of createServer.*/],
    ['export default { actor: {} }', /unknown option actor of the config; did you mean actors\?/],
    ['export default { cors: true }', /unknown option cors of the config; known options: actors, authenticate, .*/],
    ['export default { authenticate: "yes" }', /authenticate must be a function/],
    ['export default { actors: null }', /actors must be an object/],
    ['export default { actors: [] }', /actors must be an object/],
    [
      'export default { origins: "https://app.example" }',
      /origins must be a list of strings, such as \["https:\/\/app\.example"\]/,
    ],
    ['export default { trustProxy: "yes" }', /trustProxy must be true or false/],
    ['export default { origins: {} }', /origins must be a list of strings, .*/],
    ['export default { origins: [1] }', /origins must be a list of strings, .*/],
    ['export default { models: {} }', /models must be a list/],
    [
      'export default { actors: { a: async () => {} } }',
      /actors\.a is not an actor: make it with actor\(\) or agent\(\).*/,
    ],
    ['export default { actors: {} }', /createServer needs at least one actor/],
    ['export default { limits: { maxStreams: 0 } }', /limits\.maxStreams must be an integer of at least 1, not 0/],
  ])('%s', async (text, says) => {
    const file = join(folder, `${randomUUID()}.mjs`)
    writeFileSync(file, text)
    const { code, stdout, stderr } = await called(['serve', '--config', file])
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(new RegExp(`^millrace: ${file}: ${says.source}\n$`))
  })

  test.each(['mjs', 'cjs'])('one that is no JavaScript, with its line (.%s)', async (ending) => {
    const file = join(folder, `syntax.${ending}`)
    writeFileSync(file, '// A comment.\nconst a = 1\nconst = 2\n')
    const { code, stderr } = await millrace(['serve', '--config', file]).ended
    expect(code).toBe(2)
    expect(stderr).toMatch(new RegExp(`^millrace: .* cannot be loaded: .* \\(syntax\\.${ending}:3\\)\\n$`))
  })

  test('one with an authenticate of its own allows no --token', async () => {
    const file = join(folder, 'auth.mjs')
    writeFileSync(file, 'export default { authenticate: () => undefined }')
    const refused = await called(['serve', '--config', file, '--token', 'x'])
    expect(refused).toMatchObject({ code: 2, stderr: expect.stringMatching(/authenticate: leave --token out\n$/) })
  })
})

describe('millrace serve refuses to send notices', () => {
  afterEach(() => vi.stubEnv('MILLRACE_NOTIFY_SECRET', undefined))

  test.each<[string, string[], string | undefined, RegExp]>([
    [
      'without the secret',
      ['--notify', 'https://a.example/'],
      undefined,
      /needs MILLRACE_NOTIFY_SECRET; make one with: echo/,
    ],
    ['with a bad secret', ['--notify', 'https://a.example/'], 'x', /MILLRACE_NOTIFY_SECRET must/],
    ['for a private address', ['--notify', 'https://10.0.0.1/'], SECRET, /with --notify-allow$/m],
    [
      'with an address that is none',
      ['--notify', 'https://a.example/', '--notify-allow', 'x'],
      SECRET,
      /--notify-allow takes/,
    ],
    ['of nobody', ['--notify-allow', '10.0.0.1'], undefined, /--notify-allow needs --notify/],
  ])('%s, in one line', async (_what, args, secret, words) => {
    vi.stubEnv('MILLRACE_NOTIFY_SECRET', secret)
    const { code, stderr } = await called(['serve', '--port', '0', ...args])
    expect([code, stderr.trim().split('\n').length]).toEqual([2, 1])
    expect(stderr).toMatch(words)
  })
})

describe('millrace', () => {
  test.each(['--help', 'help', '-h'])('lists commands and exit codes on %s', async (option) => {
    const { code, stdout } = await called([option])
    expect(code).toBe(0)
    for (const name of ['serve', 'worker', 'run', 'attach', 'send', 'answer', 'cancel', 'ls', 'top'])
      expect(stdout).toMatch(new RegExp(`^ {2}${name} `, 'm'))
    for (const [exit, means] of EXIT_CODES) expect(stdout).toMatch(new RegExp(`^ {2}${exit} +${means}$`, 'm'))
  })

  test.each([
    ['serve', ['port', 'host', 'token', 'model', 'config', 'transport']],
    ['run', ['stream', 'url', 'token']],
    ['attach', ['after', 'live', 'policy', 'url', 'token']],
    ['cancel', ['url', 'token']],
    ['ls', ['once', 'json', 'actor', 'url', 'token']],
    ['top', ['actor', 'url', 'token']],
    ['serve', ['notify', 'notify-allow']],
    ['worker', ['notify', 'notify-allow']],
  ])('explains each option of %s on --help', async (name, options) => {
    const { code, stdout } = await called([name, 'some', '--help', '--wat'])
    expect(code).toBe(0)
    for (const option of options) expect(stdout).toMatch(new RegExp(`^ {2}--${option}[ A-Z]* {2}\\S`, 'm'))
  })

  test('prints its version and nothing else on --version', async () => {
    expect(await called(['--version'])).toEqual({
      code: 0,
      stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
      stderr: '',
    })
  })
})

describe('a refusal of the server is reported in one line, of', () => {
  let server: MillraceServer<typeof demoActors>
  let access: string[]

  beforeAll(async () => {
    const modelless = actor({
      async *stream(_, { model }) {
        yield model('openai:gpt-5').id
      },
    })
    server = createServer({
      actors: { ...demoActors, modelless },
      authenticate: bearer({ right: 'me' }),
      defaultModel: demo(),
    })
    const { url } = await server.listen(0)
    access = ['--url', url, '--token', 'right']
  })
  afterAll(() => server.close({ drainMs: 0 }))

  test.each<[string, number, RegExp]>([
    ['run chatt', 2, /unknown actor "chatt"; the server's log lists its actors/],
    ['run count {"to":"ten"}', 2, /the input does not fit: .*number.* at to/],
    [
      'run count ten',
      2,
      /the input does not fit: expected an object such as {"to":10} \(it was read as text; write an object as '{"name":"value"}'\)/,
    ],
    [
      'run count 5',
      2,
      /the input does not fit: expected an object such as {"to":10} \(it was read as JSON; write an object as '{"name":5}'\)/,
    ],
    [
      'run count {"to":',
      2,
      /the input does not fit: expected an object such as {"to":10} \(it was read as text, because it is not JSON: Unexpected end of JSON input\)/,
    ],
    [
      'run count {to:5}',
      2,
      /the input does not fit: expected an object such as {"to":10} \(it was read as text, because it is not JSON: Expected property name .*\)/,
    ],
    ['run count', 2, /the input does not fit: expected an object such as {"to":10} \(no input was given\)/],
    ['run team', 2, /the input does not fit: expected a question: a string or { prompt } \(no input was given\)/],
    ['run modelless', 1, /the run failed: unknown model openai:gpt-5 \(not_found\)/],
    ['attach r_nothing', 2, /there is no such run; it may have ended long ago, or the server was restarted/],
    ['cancel r_nothing', 2, /there is no such run; it may have ended long ago, or the server was restarted/],
  ])('millrace %s', async (args, code, says) => {
    const refused = await called([...args.split(' '), ...access])
    expect(refused).toMatchObject({ code, stdout: '' })
    expect(refused.stderr).toMatch(new RegExp(`^(run r_\\S+\n)?millrace: ${says.source}\n$`))
  })

  test('a wrong token', async () => {
    const refused = await called(['run', 'count', '{"to":1}', '--url', access[1]!, '--token', 'wrong'])
    expect(refused.code).toBe(3)
    expect(refused.stderr).toMatch(
      /^millrace: the server refused this token: use the one that it printed, or one that its config file accepts, with --token or MILLRACE_TOKEN\n$/,
    )
  })

  test('one connection too many', async () => {
    await using full = createServer({
      actors: demoActors,
      authenticate: bearer({ right: 'me' }),
      defaultModel: demo(),
      limits: { maxConnections: 1 },
      logger: quiet,
    })
    const { url } = await full.listen(0)
    const other = createClient(url, { token: 'right' })
    await other.start('sleep', { ms: 60_000 }).opened
    const refused = await called(['run', 'count', '{"to":1}', '--url', url, '--token', 'right'])
    await other.close()
    expect(refused.code).toBe(3)
    expect(refused.stderr).toMatch(/^millrace: cannot connect to ws:\S+: .*4429: this principal has more than 1 .*\n$/)
  })

  test('a missing token', async () => {
    const refused = await called(['run', 'count', '{"to":1}', '--url', access[1]!])
    expect(refused.code).toBe(3)
    expect(refused.stderr).toMatch(/^millrace: the server needs a token: .* --token or MILLRACE_TOKEN\n$/)
  })
})

describe('a missing server is reported in one line, with exit code 3,', () => {
  test('when no server listens on the port', async () => {
    const closed = createHttpServer().listen(0, '127.0.0.1')
    await new Promise((listens) => closed.once('listening', listens))
    const { port } = closed.address() as AddressInfo
    await new Promise((closes) => closed.close(closes))
    const refused = await called(['run', 'count', '{"to":1}', '--url', `ws://127.0.0.1:${port}`])
    expect(refused.code).toBe(3)
    expect(refused.stderr).toMatch(
      /^millrace: cannot connect to ws:\/\/127\.0\.0\.1:\d+: no server listens there; start one .*\n$/,
    )
  })

  test('when another kind of server listens there', async () => {
    const other = createHttpServer((_, response) => response.writeHead(404).end()).listen(0, '127.0.0.1')
    await new Promise((listens) => other.once('listening', listens))
    const { port } = other.address() as AddressInfo
    const refused = await called(['run', 'count', '{"to":1}', '--url', `ws://127.0.0.1:${port}`])
    other.closeAllConnections()
    other.close()
    expect(refused.code).toBe(3)
    expect(refused.stderr).toMatch(/: the server there is not a millrace server \(HTTP 404\): check --url\n$/)
  })
})

test('the README explains the same exit codes', () => {
  const readme = readFileSync(`${root}README.md`, 'utf8')
  for (const [code, means] of EXIT_CODES) expect(readme).toContain(`\n| ${code} | ${means} |\n`)
})

test('the README lists every command', () => {
  const readme = readFileSync(`${root}README.md`, 'utf8')
  const listed = [...readme.matchAll(/^\| `millrace (\w+)[^`]*` \|/gm)].map(([, name]) => name)
  expect(new Set(listed)).toEqual(new Set(Object.keys(COMMANDS)))
})
