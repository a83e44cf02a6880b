import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Key, type KeySource, onKeys } from '../../server/cli/keys.ts'
import { type Command, millrace, onTerminal, type Serving, serving } from '../helpers/command.ts'

const SHOW = '\u001b[?25h'
const ENDLESS = '{"to":100000,"delayMs":20}'

let serve: Serving

beforeAll(async () => {
  serve = await serving()
})
afterAll(async () => {
  await serve[Symbol.asyncDispose]()
})

function top(env: Record<string, string> = {}): Command {
  return onTerminal(['top'], { env: { ...serve.env, ...env } })
}

/** A run of `count`. */
async function running(): Promise<Command & { id: string }> {
  const run = millrace(['run', 'count', ENDLESS, '--stream'], { env: serve.env })
  const [, id = ''] = await run.said('stderr', /run (r_\S+)/)
  return Object.assign(run, { id })
}

describe('millrace top', () => {
  test('shows the chosen run and the end of its text, and cancels, pauses and resumes it by a key', async () => {
    await using run = await running()
    await using screen = top()
    await screen.said('stdout', new RegExp(`\u001b\\[7m${run.id} +count[^]*\\d+ \\d+ \\d+ [^]*q quit`))
    screen.child.stdin?.write('p')
    await screen.said('stdout', new RegExp(`${run.id} was paused`))
    screen.child.stdin?.write('r')
    await screen.said('stdout', new RegExp(`${run.id} was resumed`))
    screen.child.stdin?.write('c')
    await screen.said('stdout', new RegExp(`${run.id} was cancelled`))
    expect(await run.ended).toMatchObject({
      code: expect.any(Number) as number,
      stderr: expect.stringMatching(/cancelled/) as string,
    })
    screen.child.stdin?.write('q')
    const { code, stdout, stderr } = await screen.ended
    expect(code).toBe(0)
    expect(stdout.endsWith(SHOW)).toBe(true)
    expect(stderr).toMatch(/^raw true\n[^]*raw false\n$/)
  })

  test('moves the choice with the arrows, and leaves the terminal as it was on Ctrl-C', async () => {
    await using first = await running()
    await using second = await running()
    await using screen = top()
    await screen.said('stdout', new RegExp(`\u001b\\[7m${second.id}`))
    screen.child.stdin?.write('\u001b[B')
    await screen.said('stdout', new RegExp(`\u001b\\[7m${first.id}`))
    screen.child.stdin?.write('\u0003')
    const { code, stdout, stderr } = await screen.ended
    expect([code, stdout.endsWith(SHOW)]).toEqual([130, true])
    expect(stderr).toMatch(/raw false\n$/)
    for (const run of [first, second]) {
      run.kill('SIGINT')
      await run.ended
    }
  })

  test('draws nothing over the word that the connection is lost, whatever is pressed', async () => {
    await using other = await serving()
    await using screen = top(other.env)
    await screen.said('stdout', /0 runs of yours[^]*q quit/)
    other.server.kill('SIGKILL')
    await screen.said('stderr', /connection lost[^]*connecting/)
    const { stdout } = screen
    screen.child.stdin?.write('jkj')
    screen.child.stdin?.write('q')
    expect((await screen.ended).stdout).toBe(`${stdout}${SHOW}`)
  })

  test('prints plain lines, once, into a pipe', async () => {
    const { code, stdout, stderr } = await millrace(['top'], { env: serve.env }).ended
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^0 runs of yours · /)
    expect(stdout).not.toContain('\u001b')
  })

  test('says in one line that the server is not there, or has no such token', async () => {
    const { code, stderr } = await millrace(['top', '--url', 'ws://127.0.0.1:9'], { env: serve.env }).ended
    expect(code).not.toBe(0)
    expect(stderr).toMatch(/^millrace: cannot connect to ws:\/\/127\.0\.0\.1:9: .*\n$/)
  })
})

describe('keys', () => {
  test('come one by one, however fast they were pressed, and only from a terminal', () => {
    const heard: Key[] = []
    let listener = (_text: string): void => {}
    const modes: boolean[] = []
    const source: KeySource = {
      isTTY: true,
      setRawMode: (raw) => modes.push(raw),
      setEncoding: () => {},
      on: (_event, given) => (listener = given),
      off: () => (listener = () => {}),
      resume: () => {},
      pause: () => {},
    }
    const forget = onKeys((key) => heard.push(key), source)
    listener('cj\u001b[A\u001bOBé\u001b[Z')
    forget?.()
    listener('x')
    expect([heard, modes]).toEqual([
      ['c', 'j', 'up', 'down', 'é', '\u001b[Z'],
      [true, false],
    ])
    expect(onKeys(() => {}, { ...source, isTTY: false })).toBeUndefined()
  })
})
