import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Command, millrace, type Serving, serving } from '../helpers/command.ts'
import { root } from '../helpers/root.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-config-'))
let serve: Serving

beforeAll(async () => {
  const config = join(folder, 'asking.mjs')
  writeFileSync(
    config,
    `import { actor, agent, demo } from ${JSON.stringify(pathToFileURL(`${root}dist/server/index.js`).href)}
    const chat = agent({ model: demo({ tokensPerSec: Infinity }) })
    const kind = actor({ ask: (input) => Promise.resolve({ is: typeof input, input }) })
    const asks = actor({
      async *stream(_, { request }) {
        const city = await request({ kind: 'text', prompt: 'which city?' })
        const sure = await request({ kind: 'approve', prompt: 'sure?' })
        yield JSON.stringify({ city, sure })
      },
    })
    const view = actor({
      interactive: true,
      async *stream(_, { inputs }) {
        for await (const { type, data } of inputs) {
          yield JSON.stringify({ type, data })
          return
        }
      },
    })
    export default { actors: { chat, kind, asks, view } }`,
  )
  serve = await serving(['--config', config])
})
afterAll(async () => {
  await serve[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true })
})

const idOf = async (command: Command): Promise<string> => (await command.said('stderr', /run (r_\S+)/))[1]!

describe('millrace run takes an input that is JSON as text where the actor takes no such JSON:', () => {
  test.each([
    ['a number', '42'],
    ['a word of JSON', 'null'],
    ['an object', '{"name":"millrace","version":1}'],
    ['a list', '[1,2]'],
    ['quotes', '"quoted"'],
  ])('%s', async (_, text) => {
    await using asking = millrace(['run', 'chat', text], serve)
    const { code, stdout } = await asking.ended
    expect(code).toBe(0)
    expect(stdout).toContain(text === '"quoted"' ? 'quoted' : text)
  })

  test('a file on stdin', async () => {
    const input = '{\n  "private": true\n}\n'
    await using asking = millrace(['run', 'chat', '-'], { ...serve, input })
    expect(await asking.ended).toMatchObject({ code: 0, stdout: expect.stringContaining('"private": true') })
  })

  test('and as JSON where it does, unless --text is given', async () => {
    await using json = millrace(['run', 'kind', '42'], serve)
    await using text = millrace(['run', 'kind', '42', '--text'], serve)
    expect(await json.ended).toMatchObject({ code: 0, stdout: '{"is":"number","input":42}\n' })
    expect(await text.ended).toMatchObject({ code: 0, stdout: '{"is":"string","input":"42"}\n' })
  })
})

describe('millrace answer', () => {
  test('answers requests as text and as JSON, and a run goes on with both', async () => {
    await using asking = millrace(['run', 'asks', '--stream'], serve)
    const id = await idOf(asking)
    await asking.said('stderr', /request q1\): which city\?/)
    await using wrong = millrace(['answer', id, 'q9', 'Oslo'], serve)
    expect(await wrong.ended).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^millrace: not accepted: .+\n$/),
    })
    await using city = millrace(['answer', id, 'q1', 'Oslo'], serve)
    expect(await city.ended).toMatchObject({ code: 0, stdout: 'accepted\n', stderr: '' })
    await asking.said('stderr', /request q2\): sure\?/)
    await using typo = millrace(['answer', id, 'q2', 'ture'], serve)
    expect((await typo.ended).code).toBe(2)
    await using sure = millrace(['answer', id, 'q2', 'true'], serve)
    expect(await sure.ended).toMatchObject({ code: 0, stdout: 'accepted\n' })
    expect(await asking.ended).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('{"city":"Oslo","sure":true}'),
    })
  })
})

describe('millrace send', () => {
  test.each([
    ['a message, as text even if it is JSON', ['42'], { type: 'message', data: '42' }],
    ['an input of another type, as JSON', ['{"zoom":3}', '--type', 'zoom'], { type: 'zoom', data: { zoom: 3 } }],
  ])('sends %s', async (_, args, taken) => {
    await using looking = millrace(['run', 'view', '--stream'], serve)
    const id = await idOf(looking)
    await using sending = millrace(['send', id, ...args], serve)
    expect(await sending.ended).toMatchObject({ code: 0, stdout: 'accepted\n', stderr: '' })
    expect(await looking.ended).toMatchObject({ code: 0, stdout: `${JSON.stringify(taken)}\n` })
  })

  test('says that the run has ended, as `answer` does', async () => {
    await using run = millrace(['run', 'view', '--stream'], serve)
    const id = await idOf(run)
    await using first = millrace(['send', id, 'the last'], serve)
    expect(await first.ended).toMatchObject({ code: 0 })
    await run.ended
    for (const args of [
      ['send', id, 'late'],
      ['answer', id, 'q1', 'late'],
    ]) {
      await using late = millrace(args, serve)
      expect(await late.ended, args[0]).toMatchObject({
        code: 1,
        stdout: '',
        stderr: 'millrace: not accepted: the run has ended\n',
      })
    }
  })

  test('sends what comes from stdin', async () => {
    await using looking = millrace(['run', 'view', '--stream'], serve)
    const id = await idOf(looking)
    await using sending = millrace(['send', id, '-'], { ...serve, input: 'two\nlines\n' })
    expect(await sending.ended).toMatchObject({ code: 0 })
    expect((await looking.ended).stdout).toContain('two\\nlines')
  })

  test('says in one line that a run takes no messages, or that there is no such run', async () => {
    await using asking = millrace(['run', 'asks'], serve)
    const id = await idOf(asking)
    await using deaf = millrace(['send', id, 'hello'], serve)
    await using nobody = millrace(['send', 'r_nobody', 'hello'], serve)
    expect(await deaf.ended).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/^millrace: .*takes no inputs.*\n$/),
    })
    expect(await nobody.ended).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/^millrace: .*no such run.*\n$/),
    })
  })
})
