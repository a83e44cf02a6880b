import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { InspectedRun } from '../../protocol/inspector.ts'
import { Command, MILLRACE, millrace, type Serving, serving } from '../helpers/command.ts'
import { root } from '../helpers/root.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-ls-'))
const HIDE = '\u001b[?25l'
const SHOW = '\u001b[?25h'

let serve: Serving

beforeAll(async () => {
  serve = await serving()
})
afterAll(async () => {
  await serve[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true })
})

/** A config file with these options. */
function config(name: string, options: string): string {
  const file = join(folder, `${name}.mjs`)
  const millraceServer = JSON.stringify(pathToFileURL(`${root}dist/server/index.js`).href)
  writeFileSync(file, `import { actor, inspector } from ${millraceServer}\nexport default ${options}`)
  return file
}

function ls(args: readonly string[] = [], env: Record<string, string> = {}): Command {
  return millrace(['ls', ...args], { env: { ...serve.env, ...env } })
}

/** `millrace ls` that takes its stdout, and its stderr, for a terminal of 100 columns. */
function lsOnTerminal(env: Record<string, string> = {}, args: readonly string[] = []): Command {
  const isTerminal =
    'for (const s of [process.stdout, process.stderr]) Object.assign(s, {isTTY:true,columns:100,rows:30})'
  return new Command(
    process.execPath,
    ['--import', `data:text/javascript,${encodeURIComponent(isTerminal)}`, MILLRACE, 'ls', ...args],
    { env: { ...serve.env, TERM: 'xterm', ...env } },
  )
}

/** A run of `count` by a client that stops it when it is disposed of. */
async function running(input: string): Promise<Command & { id: string }> {
  const run = millrace(['run', 'count', input, '--stream'], { env: serve.env })
  const [, id = ''] = await run.said('stderr', /run (r_\S+)/)
  await run.said('stdout', /1 /)
  return Object.assign(run, {
    id,
    async [Symbol.asyncDispose]() {
      run.kill('SIGCONT')
      run.kill('SIGINT')
      await run.ended
    },
  })
}

const ENDLESS = '{"to":100000,"delayMs":20}'

describe('millrace ls into a pipe', () => {
  test('prints the list once, as plain lines with whole ids', async () => {
    await using run = await running(ENDLESS)
    await using listing = ls()
    const { code, stdout, stderr } = await listing.ended
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const [totals, names, ...runs] = stdout.split('\n')
    expect(totals).toMatch(/^1 run of yours · \d+ sessions · [\d.]+ items\/s · [\d.]+ k?B\/s$/)
    expect(names).toMatch(/^RUN +ACTOR +STATE +RATE +LAG +CREDIT +READERS +AGE +OWNER$/)
    expect(runs).toEqual([expect.stringMatching(new RegExp(`^${run.id} +count +running .* cli$`)), ''])
    expect(stdout).not.toMatch(/[^\P{Cc}\n]/u)
  })

  test('says that a run is gated while its reader stands still, and detached when it is gone', async () => {
    await using run = await running('{"to":100000}')
    run.kill('SIGSTOP')
    const lineOf = async (): Promise<string> => {
      await using listing = ls()
      const { stdout } = await listing.ended
      return stdout.split('\n').find((line) => line.startsWith(run.id)) ?? 'it is not there'
    }
    const until = async (pattern: RegExp): Promise<void> => {
      for (let tries = 0; tries < 10; tries++) if (pattern.test(await lineOf())) return
      throw new Error(`never ${pattern}: ${await lineOf()}`)
    }
    await until(/ gated /)
    run.kill('SIGKILL')
    await until(/ gated, detached /)
    await millrace(['cancel', run.id], { env: serve.env }).ended
    expect(await lineOf()).toBe('it is not there')
  })

  test('prints with --json a line for each run that comes, changes and goes', async () => {
    await using listing = ls(['--json'])
    await listing.said('stdout', /"type":"session"/)
    await using run = await running(ENDLESS)
    await listing.said('stdout', new RegExp(`("type":"run","id":"${run.id}"[^]*){2}`))
    run.kill('SIGINT')
    await listing.said('stdout', new RegExp(`"type":"run.gone","id":"${run.id}"`))
    listing.kill('SIGINT')
    const { code, stdout } = await listing.ended
    expect(code).toBe(130)
    const lines = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as InspectedRun & { type: string; at: number })
    const updates = lines.filter(({ id }) => id === run.id)
    expect(updates[0]).toMatchObject({ type: 'run', actor: 'count', state: 'running', readers: [{ policy: 'pace' }] })
    expect(updates.at(-1)).toMatchObject({ type: 'run.gone', state: 'ended', outcome: 'cancelled', readers: [] })
    expect(updates.at(-1)!.items).toBeGreaterThan(updates[0]!.items)
    expect(lines.some(({ actor }) => actor === 'inspector')).toBe(false)
  })

  test('prints with --json --once the present runs, and with --actor only those of that actor', async () => {
    await using run = await running(ENDLESS)
    await using all = ls(['--json', '--once'])
    await using one = ls(['--json', '--once', '--actor', 'count'])
    await using none = ls(['--once', '--actor', 'chat'])
    const types = (text: string) => text.match(/"type":"[^"]+"/g)
    expect(types((await all.ended).stdout)).toContain('"type":"session"')
    const ended = await one.ended
    expect(types(ended.stdout)).toEqual(['"type":"run"'])
    expect(ended.stdout).toContain(run.id)
    expect((await none.ended).stdout).toMatch(/^0 runs of yours/)
  })

  test('ends quietly when its reader has gone', async () => {
    await using listing = ls(['--json'])
    await listing.said('stdout', /"type":"session"/)
    listing.child.stdout?.destroy()
    await using run = await running(ENDLESS)
    expect(await listing.ended).toMatchObject({ code: 0, stderr: '' })
    expect(run.id).toMatch(/^r_/)
  })
})

describe('millrace ls on a terminal', () => {
  test('redraws the list in place, and leaves it there with the cursor restored on Ctrl-C', async () => {
    await using run = await running(ENDLESS)
    await using listing = lsOnTerminal()
    await listing.said('stdout', new RegExp(`${run.id}[^]*\u001b\\[3A[^]*${run.id}`))
    run.kill('SIGINT')
    await listing.said('stdout', new RegExp(`${run.id} +count +cancelled`))
    listing.kill('SIGINT')
    const { code, stdout } = await listing.ended
    expect(code).toBe(130)
    expect(stdout.startsWith(HIDE)).toBe(true)
    expect(stdout.split(HIDE)).toHaveLength(2)
    expect(stdout.endsWith(SHOW)).toBe(true)
    expect(stdout).toContain('\u001b[2mRUN')
  })

  test('restores the cursor on SIGTERM too, and uses no colours with NO_COLOR', async () => {
    await using listing = lsOnTerminal({ NO_COLOR: '1' })
    await listing.said('stdout', /0 runs of yours/)
    listing.kill('SIGTERM')
    const { code, stdout } = await listing.ended
    expect(code).toBe(130)
    expect(stdout.endsWith(SHOW)).toBe(true)
    expect(stdout).not.toMatch(/\u001b\[\d*m/)
  })

  test('reports a server that goes away in one line, with the cursor restored', async () => {
    await using other = await serving()
    await using listing = lsOnTerminal(other.env)
    await listing.said('stdout', /0 runs of yours/)
    other.server.kill('SIGTERM')
    const { code, stdout, stderr } = await listing.ended
    expect(code).toBe(3)
    expect(stdout.endsWith(SHOW)).toBe(true)
    expect(stderr).toMatch(/millrace:[^\n]* the server has shut down\n$/)
    expect(await other.server.ended).toMatchObject({ code: 0 })
  })

  test('waits for a server that dies, and gives it up in one line', async () => {
    await using other = await serving()
    await using listing = lsOnTerminal(other.env, ['--reconnect', '1'])
    await listing.said('stdout', /0 runs of yours/)
    other.server.kill('SIGKILL')
    const { code, stdout, stderr } = await listing.ended
    expect(code).toBe(3)
    expect(stdout.endsWith(SHOW)).toBe(true)
    expect(stderr).toMatch(
      /connection lost: reconnecting for up to 1 s[^]*millrace:[^\n]* the server did not come back\n$/,
    )
  })

  test('goes on with the list of a server that died and has begun anew', async () => {
    await using before = await serving(['--token', 'same'])
    const { port } = new URL(before.url)
    const env = { ...before.env, MILLRACE_TOKEN: 'same' }
    await using listing = lsOnTerminal(env)
    await listing.said('stdout', /0 runs of yours/)
    before.server.kill('SIGKILL')
    await listing.said('stderr', /connection lost/)
    await before.server.ended
    const { length } = listing.stdout
    await using after = millrace(['serve', '--port', port, '--token', 'same'])
    await after.said('stdout', /listens on/)
    await listing.said('stdout', new RegExp(`^[^]{${length}}[^]*0 runs of yours`))
    listing.kill('SIGINT')
    const { code, stderr } = await listing.ended
    expect(code).toBe(130)
    expect(stderr).not.toContain('millrace:')
  })

  test('prints the list once with --once, and ends', async () => {
    await using listing = lsOnTerminal({}, ['--once'])
    const { code, stdout } = await listing.ended
    expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringMatching(/^0 runs of yours · .*\n$/) })
  })

  test('goes on when the time of its own run is over', async () => {
    const file = config('short', `{ actors: { inspector: inspector() }, limits: { timeoutMs: 700 } }`)
    await using other = await serving(['--config', file])
    await using listing = lsOnTerminal(other.env)
    // At half a second, and once more after the deadline: the second inspector is the only run, and not shown.
    await listing.said('stdout', /(0 runs of yours[^]*){4}/)
    expect(listing.child.exitCode).toBeNull()
  })
})

describe('millrace ls is refused in one line', () => {
  test('by a server without an inspector, and by one whose inspector is something else', async () => {
    // Where there is no plain HTTP, there is no dashboard, which brings an inspector.
    const without = config('without', '{ http: false, actors: { a: actor({ ask: () => 1 }) } }')
    const other = config('other', '{ actors: { inspector: actor({ async *stream() { yield "hello" } }) } }')
    for (const file of [without, other]) {
      await using served = await serving(['--config', file])
      await using listing = ls([], served.env)
      expect(await listing.ended).toEqual({
        code: 2,
        signal: null,
        stdout: '',
        stderr:
          'millrace: this server has no inspector: register one with createServer({ actors: { inspector: inspector() } }), from millrace/server\n',
      })
    }
  })

  test('by a server that does not know the token', async () => {
    await using listing = ls([], { MILLRACE_TOKEN: 'wrong' })
    expect(await listing.ended).toMatchObject({
      code: 3,
      stdout: '',
      stderr: expect.stringMatching(/^millrace: the server refused this token: .*\n$/),
    })
  })

  test('when there is no server', async () => {
    await using gone = await serving()
    gone.server.kill('SIGKILL')
    await gone.server.ended
    await using listing = ls([], gone.env)
    expect(await listing.ended).toMatchObject({
      code: 3,
      stdout: '',
      stderr: expect.stringMatching(/^millrace: cannot connect to .*: no server listens there; .*\n$/),
    })
  })

  test('for an argument or option that it does not have', async () => {
    for (const args of [['chat'], ['--some'], ['--url', 'here']])
      expect(await ls(args).ended).toMatchObject({ code: 2, stderr: expect.stringMatching(/^millrace: .+\n$/) })
  })
})
