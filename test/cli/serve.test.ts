import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Command, MILLRACE, millrace, type Serving, serving } from '../helpers/command.ts'
import { freePort } from '../helpers/free-port.ts'
import { CANARY, NoticeReceiver, SECRET } from '../helpers/notice-receiver.ts'
import { HAS_PYTHON } from '../helpers/python.ts'
import { root } from '../helpers/root.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-config-'))
afterAll(() => rmSync(folder, { recursive: true }))

const SERVER = JSON.stringify(pathToFileURL(`${root}dist/server/index.js`).href)
const ZOD = JSON.stringify(import.meta.resolve('zod'))

function configFile(name: string, text: string): string {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}

describe('millrace serve', () => {
  let serve: Serving
  beforeAll(async () => {
    serve = await serving(['--metrics'])
  })
  afterAll(() => serve[Symbol.asyncDispose]())

  test('prints a line that types tokens in another terminal, and Ctrl-C there gives a receipt', async () => {
    const [, line = ''] = await serve.server.said('stdout', /^ {2}(.* run chat .*)$/m)
    await using pasted = new Command('sh', ['-c', `exec ${line}`])
    await pasted.said('stdout', /millrace.* .* /)
    pasted.kill('SIGINT')
    const { code, stderr } = await pasted.ended
    expect(code).toBe(130)
    expect(stderr).toMatch(/^run r_\S+\ncancelled in .* ms: all work has ended.*\n\d+ items are kept; .*\n$/)
  })

  test('prints its address, its actors, its model and its token', () => {
    expect(serve.server.stdout).toMatch(/listens on ws:\/\/127\.0\.0\.1:\d+\n/)
    expect(serve.server.stdout).toContain(
      'actors  chat, assistant, conversation, team, count, flood, echo, sleep, stubborn, inspector\n',
    )
    expect(serve.server.stdout).toMatch(/model {3}demo \(offline/)
    expect(serve.server.stdout).toMatch(/token {3}[0-9a-f]{32} /)
    expect(serve.server.stdout).toMatch(/http {4}http:\/\/127\.0\.0\.1:\d+\/runs /)
    expect(serve.server.stderr).toBe('')
  })

  test('prints where its metrics are, and answers there', async () => {
    const [, url = ''] = await serve.server.said('stdout', /metrics (http:\S+\/metrics)\n/)
    expect(await (await fetch(url)).text()).toContain('millrace_runs_started_total')
  })

  test('gives its metrics to its own token from anywhere, and to no other', async () => {
    await using serve = await serving(['--metrics', '--token', 'mine'])
    const [, url = ''] = await serve.server.said('stdout', /metrics (http:\S+\/metrics)\n/)
    // As a scrape of another machine, which a proxy passes on.
    const scrape = (headers: Record<string, string>): Promise<Response> =>
      fetch(url, { headers: { 'x-forwarded-for': '203.0.113.7', ...headers } })
    expect((await scrape({})).status).toBe(401)
    expect((await scrape({ authorization: 'Bearer another' })).status).toBe(401)
    const answer = await scrape({ authorization: 'Bearer mine' })
    expect(answer.status).toBe(200)
    expect(await answer.text()).toContain('millrace_runs_started_total')
  })

  test('tells the URL of --notify, signed, and shows neither its path nor the secret', async () => {
    await using receiver = await NoticeReceiver.start()
    const env = { MILLRACE_NOTIFY_SECRET: SECRET }
    await using serve = await serving(['--notify', receiver.url, '--notify-allow', '127.0.0.1', '--verbose'], { env })
    expect(serve.server.stdout).toContain(`notify  notices go to 127.0.0.1:${receiver.port}\n`)
    await millrace(['run', 'count', '{"to":2}'], { env: serve.env }).ended
    const [told] = await receiver.count(1)
    expect(told!.notice).toMatchObject({ type: 'run.ended', data: { actor: 'count', principal: 'cli' } })
    serve.server.kill('SIGTERM')
    await serve.server.ended
    for (const secret of ['canary', CANARY]) expect(serve.server.stdout + serve.server.stderr).not.toContain(secret)
  })

  test('serves its actors as MCP tools with --mcp, and says where', async () => {
    await using serve = await serving(['--mcp', '--token', 'mine'])
    const [, url = ''] = /mcp {5}(http:\/\/127\.0\.0\.1:\d+\/mcp)\n/.exec(serve.server.stdout) ?? []
    const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' }
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' })
    const ask = (token: string): Promise<Response> =>
      fetch(url, { method: 'POST', body, headers: { ...headers, authorization: `Bearer ${token}` } })
    expect((await ask('another')).status).toBe(401)
    expect(await (await ask('mine')).text()).toContain('"name":"assistant"')
  })

  test('takes model and token from the environment, and does not print a token that was given', async () => {
    const env = { MILLRACE_MODEL: 'ollama:llama3.2', MILLRACE_TOKEN: 'my-own-token' }
    await using serve = await serving([], { env })
    expect(serve.server.stdout).toContain('model   ollama:llama3.2\n')
    expect(serve.server.stdout).not.toContain('my-own-token')
    const run = millrace(['run', 'count', '{"to":2}'], { env: { ...serve.env, ...env } })
    expect((await run.ended).stdout).toBe('1 2 \n')
  })

  test('takes a compatible server in place of OpenAI, without a key', async () => {
    const env = { OPENAI_BASE_URL: 'http://127.0.0.1:9/v1' }
    await using serve = await serving(['--model', 'openai:local'], { env })
    expect(serve.server.stdout).toContain('model   openai:local\n')
  })

  test.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)('lets runs end on %s, says so, and exits 0', async (signal) => {
    await using serve = await serving()
    await using run = millrace(['run', 'sleep', '{"ms":600000}'], { env: serve.env })
    await run.said('stderr', /run r_/)
    serve.server.kill(signal)
    await serve.server.said('stderr', /^draining: waiting up to 10 s for 1 run to end; press Ctrl-C again.*\n$/)
    run.kill('SIGINT')
    expect(await run.ended).toMatchObject({ code: 130, stderr: expect.stringMatching(/cancelled in/) })
    expect(await serve.server.ended).toMatchObject({ code: 0, stderr: expect.stringMatching(/\ndrained\n$/) })
  })

  test('on every address of the machine says so, and that the dashboard is off', async () => {
    await using serve = await serving(['--host', '0.0.0.0'])
    expect(serve.server.stdout).toMatch(/listens on \S+ and on every other address of this machine\n/)
    expect(serve.server.stdout).toMatch(
      /\n {2}page {4}off, as others may reach this server; --dashboard shows the dashboard\n/,
    )
  })

  test('loses no token of a run when it is stopped', async () => {
    await using serve = await serving()
    await using run = millrace(['run', 'count', '{"to":40,"delayMs":10}', '--stream'], { env: serve.env })
    await run.said('stdout', /3 /)
    serve.server.kill('SIGTERM')
    const [drained, ran] = await Promise.all([serve.server.ended, run.ended])
    expect(drained.code).toBe(0)
    expect(ran).toMatchObject({ code: 0, stdout: `${Array.from({ length: 40 }, (_, n) => n + 1).join(' ')} \n` })
  })

  test('interrupts a run that does not end in time, and its client reports it in one line', async () => {
    await using serve = await serving(['--drain', '0'])
    await using run = millrace(['run', 'sleep', '{"ms":600000}'], { env: serve.env })
    await run.said('stderr', /run r_/)
    serve.server.kill('SIGTERM')
    expect((await serve.server.ended).code).toBe(0)
    const { code, stderr } = await run.ended
    expect(code).toBe(1)
    expect(stderr).toMatch(/millrace: the run failed: the server went away .* start it again \(interrupted\)\n$/)
  })

  test('drains once when its terminal is closed, however often it is told so', async () => {
    await using serve = await serving()
    await using run = millrace(['run', 'sleep', '{"ms":600000}'], { env: serve.env })
    await run.said('stderr', /run r_/)
    serve.server.kill('SIGHUP')
    await serve.server.said('stderr', /^draining: /)
    serve.server.kill('SIGHUP')
    run.kill('SIGHUP')
    expect(await run.ended).toMatchObject({ code: 130, stderr: expect.stringMatching(/cancelled in/) })
    expect(await serve.server.ended).toMatchObject({ code: 0, stderr: expect.stringMatching(/\ndrained\n$/) })
  })

  test.skipIf(!HAS_PYTHON)(
    'lets runs end when the terminal is gone that it wrote to, and is ended by the signal',
    async () => {
      const port = await freePort()
      const command = [process.execPath, MILLRACE, 'serve', '--port', `${port}`, '--token', 'a-token']
      await using terminal = new Command('python3', [`${root}test/helpers/terminal.py`, ...command], { types: true })
      await terminal.said('stdout', /drains this server/)
      const env = { MILLRACE_URL: `ws://127.0.0.1:${port}`, MILLRACE_TOKEN: 'a-token' }
      await using run = millrace(['run', 'count', '{"to":40,"delayMs":10}', '--stream'], { env })
      await run.said('stdout', /3 /)
      terminal.child.stdin?.end()
      expect(await run.ended).toMatchObject({ code: 0, stdout: expect.stringMatching(/ 40 \n$/) })
      // Node aborts where it cannot set the terminal back.
      expect(await terminal.ended).toMatchObject({ code: 0, stdout: expect.stringMatching(/\nended: -1\n$/) })
    },
  )

  test('leaves at once on a second Ctrl-C', async () => {
    await using serve = await serving(['--drain', '600'])
    await using run = millrace(['run', 'sleep', '{"ms":600000}'], { env: serve.env })
    await run.said('stderr', /run r_/)
    serve.server.kill('SIGINT')
    await serve.server.said('stderr', /press Ctrl-C again to quit at once/)
    serve.server.kill('SIGINT')
    expect(await serve.server.ended).toMatchObject({ code: 130, stderr: expect.stringMatching(/quit at once\n$/) })
  })

  test('reports a port in use in one line, with exit code 3', async () => {
    const again = await millrace(['serve', '--port', new URL(serve.url).port]).ended
    expect(again.code).toBe(3)
    expect(again.stderr).toMatch(
      /^millrace: port \d+ is in use: stop the process that listens there, or choose another port.*\n$/,
    )
  })
})

describe('a config file', () => {
  const own = `
    import { actor, anonymous } from ${SERVER}
    export default {
      authenticate: anonymous(),
      actors: {
        twice: actor({ ask: (input) => ({ twice: [input, input] }) }),
        broken: actor({ async *stream() { throw new Error('no such luck\\nat all') } }),
      },
    }`

  test.each(['mjs', 'ts', 'mts'])('brings its own actors and its own authenticate (.%s)', async (extension) => {
    await using serve = await serving(['--config', configFile(`own.${extension}`, own)])
    expect(serve.server.stdout).toContain('actors  twice, broken, inspector\n')
    const run = millrace(['run', 'twice', '[1]'], { env: { MILLRACE_URL: serve.url } })
    expect(await run.ended).toMatchObject({ code: 0, stdout: '{"twice":[[1],[1]]}\n' })
  })

  test('with an authenticate of its own gives a line that needs only a token, and says where the dashboard gets one', async () => {
    const config = `
      import { agent, bearer } from ${SERVER}
      export default { authenticate: bearer({ mine: 'alice' }), actors: { helper: agent({}) } }`
    await using serve = await serving(['--config', configFile('helper.mjs', config)])
    const [, line = ''] =
      /with MILLRACE_TOKEN set to a token that the config file accepts:\n\n {2}(.* run helper .*)\n/.exec(
        serve.server.stdout,
      ) ?? []
    await using pasted = new Command('sh', ['-c', `exec ${line}`], { env: { MILLRACE_TOKEN: 'mine' } })
    expect(await pasted.ended).toMatchObject({ code: 0, stdout: expect.stringContaining('Tell me about millrace') })
    expect(serve.server.stdout).toMatch(/^ {2}(http:\S+\/) \(it asks for your token, or takes it as \1#token=TOKEN\)$/m)
  })

  test.each([
    ['actor({ ask: () => 1 })', 'run one --stream'],
    ['actor({ input: z.object({ to: z.int() }), ask: () => 1 })', 'run one INPUT --stream'],
  ])('shows in its line whether %s takes an input', async (actor, says) => {
    const config = `
      import { actor, anonymous } from ${SERVER}
      import { z } from ${ZOD}
      export default { authenticate: anonymous(), actors: { one: ${actor} } }`
    await using serve = await serving(['--config', configFile('one.mjs', config)])
    expect(serve.server.stdout).toContain(says)
  })

  test('keeps the demo actors where it names none, and its limits hold', async () => {
    const config = configFile('limits.mjs', 'export default { limits: { maxRuns: 1 } }')
    await using serve = await serving(['--config', config])
    await using first = millrace(['run', 'sleep', '{"ms":600000}'], { env: serve.env })
    await first.said('stderr', /run r_/)
    const second = await millrace(['run', 'count', '{"to":1}'], { env: serve.env }).ended
    expect(second).toMatchObject({ code: 1, stderr: expect.stringMatching(/^millrace: you have 1 live runs?.*\n$/) })
  })

  test('makes what an actor throws one line at the server, and hides it from the client', async () => {
    await using serve = await serving(['--config', configFile('broken.mjs', own)])
    const run = await millrace(['run', 'broken', '--stream'], { env: { MILLRACE_URL: serve.url } }).ended
    expect(run.code).toBe(1)
    expect(run.stderr).toMatch(
      /millrace: the run failed: actor broken failed; the server's log says why \(actor_failed\)\n$/,
    )
    await serve.server.said('stderr', /\n/)
    expect(serve.server.stderr).toMatch(
      /^millrace: actor broken failed in run r_\S+: no such luck at all \(broken\.mjs:7\)\n$/,
    )
  })

  test.each([
    ['syntax.mjs', 'export default {\n  actors: }', /cannot be loaded: Unexpected token '}'.*/],
    ['throws.mjs', 'const x = undefined\nexport default x.y', /cannot be loaded: .*undefined.*\(throws\.mjs:2\)/],
    ['missing.mjs', `import 'no-such-package'`, /cannot be loaded: Cannot find package 'no-such-package'.*/],
  ])('%s that cannot be loaded is reported in one line, with exit code 2', async (name, text, says) => {
    const { code, stdout, stderr } = await millrace(['serve', '--config', configFile(name, text)]).ended
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(new RegExp(`^millrace: \\S*${name}:? ${says.source}.*\n$`))
  })
})
