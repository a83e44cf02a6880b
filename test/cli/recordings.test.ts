import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Client, createClient } from '../../client-sdk/node.ts'
import { commandLine } from '../../server/cli/command-line.ts'
import { dataFile } from '../../server/cli/data-folder.ts'
import { actor, openRecording } from '../../server/index.ts'
import { RecordingWriter } from '../../server/recordings/recording-writer.ts'
import { sqlite } from '../../server/stores/sqlite/sqlite.ts'
import { millrace, serving } from '../helpers/command.ts'
import { screen } from '../helpers/screen.ts'
import { eventually, type TestServer, testServer } from '../helpers/server.ts'
import { temporaryFolder } from '../helpers/sqlite-harness.ts'
import { TcpProxy } from '../helpers/tcp-proxy.ts'
import { counted, latch } from '../helpers/test-actors.ts'

/** Calls the command line in this process. */
async function cli(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const { output, stdout, stderr } = screen()
  const code = await commandLine(args, output)
  return { code, stdout: stdout.text, stderr: stderr.text }
}

let gate = latch()
const actors = {
  /** Counts to its input, and waits for the gate in the middle. */
  count: actor({
    async *stream(to: unknown) {
      for (let n = 1; n <= Number(to); n++) {
        if (n === Number(to) / 2) await gate.opened
        yield `${n} `
      }
      return { to }
    },
  }),
}

let folder: Awaited<ReturnType<typeof temporaryFolder>>
let served: TestServer<typeof actors>
let client: Client<typeof actors>
let files = 0
const newFile = (): string => join(folder.path, `${++files}.millrace`)

beforeAll(async () => {
  folder = await temporaryFolder()
  served = await testServer(actors)
  client = createClient(served.url, { token: 'alice' })
})
afterAll(async () => {
  await client.close()
  await served[Symbol.asyncDispose]()
  await folder[Symbol.asyncDispose]()
})

/** A recording of a run that counts to ten. */
async function recorded(): Promise<string> {
  gate.open()
  const run = client.start('count', 10)
  await run.result
  const file = newFile()
  await cli('record', run.id!, '--url', served.url, '--token', 'alice', '-o', file)
  return file
}

describe('millrace record', () => {
  test('records a run from its first item to its end, with its actor and meta', async () => {
    gate = latch()
    const run = client.start('count', 10, { meta: { page: 'one' } })
    const { id } = await run.opened
    const file = newFile()
    const recording = cli('record', id, '--url', served.url, '--token', 'alice', '-o', file)
    await eventually(() => existsSync(file), 'the file')
    gate.open()
    await run.result
    expect(await recording).toEqual({ code: 0, stdout: `${file}: 10 items; done\n`, stderr: '' })
    const facts = { actor: 'count', meta: { page: 'one' } }
    expect(await openRecording(file)).toMatchObject({ run: id, items: 10, outcome: 'done', facts })
  })

  test('goes on after a lost connection, and has every item once', async () => {
    gate = latch()
    await using proxy = await TcpProxy.to(Number(new URL(served.url).port))
    const run = client.start('count', 1_000)
    const { id } = await run.opened
    const file = newFile()
    const recording = cli('record', id, '--url', proxy.url, '--token', 'alice', '-o', file)
    await eventually(() => existsSync(file), 'the file')
    proxy.connections[0]!.cut()
    gate.open()
    await run.result
    const { code, stdout, stderr } = await recording
    expect({ code, stdout }).toEqual({ code: 0, stdout: `${file}: 1000 items; done\n` })
    expect(stderr).toMatch(/^connection lost: reconnecting for up to 30 s\nreconnected\n$/)
    expect((await cli('replay', file, '--speed', 'max')).stdout).toBe(`${counted(1, 1_000)}\n`)
  })

  test('records a run that was cancelled, and its replay says so', async () => {
    gate = latch()
    const run = client.start('count', 10)
    const { id } = await run.opened
    void run.cancel()
    await run.end
    const file = newFile()
    const made = await cli('record', id, '--url', served.url, '--token', 'alice', '-o', file)
    expect(made.stdout).toMatch(/\d items?; cancelled\n$/)
    const again = await cli('replay', file, '--speed', 'max')
    expect(again.code).toBe(1)
    expect(again.stderr).toMatch(/another client ended the run: cancelled/)
  })

  test('ends the recording with Ctrl-C, and the run goes on', async () => {
    gate = latch()
    const run = client.start('count', 10)
    const { id } = await run.opened
    const file = newFile()
    await using command = millrace(['record', id, '--url', served.url, '--token', 'alice', '-o', file])
    await eventually(() => existsSync(file), 'the file')
    command.kill('SIGINT')
    const { code, stdout } = await command.ended
    expect(code).toBe(130)
    expect(stdout).toMatch(/\d items?; the run goes on\n$/)
    expect((await openRecording(file)).outcome).toBeUndefined()
  })

  test('records from the data of a server that does not run, with the input, or without it', async () => {
    const data = join(folder.path, 'data')
    await using storing = await testServer(actors, { store: sqlite({ path: dataFile(data) }) })
    const by = createClient<typeof actors>(storing.url, { token: 'alice' })
    gate.open()
    const run = by.start('count', 10, { meta: { page: 'one' } })
    await run.result
    await by.close()
    const [file, redacted] = [newFile(), newFile()]
    expect((await cli('record', run.id!, '--data', data, '-o', file)).code).toBe(3)
    await storing.server.close()

    const made = await cli('record', run.id!, '--data', data, '-o', file)
    expect(made).toEqual({ code: 0, stdout: `${file}: 10 items; done\n`, stderr: '' })
    await cli('record', run.id!, '--data', data, '-o', redacted, '--redact-input')
    expect((await openRecording(file)).facts).toMatchObject({ actor: 'count', input: 10, meta: { page: 'one' } })
    const { facts } = await openRecording(redacted)
    expect(facts).toMatchObject({ actor: 'count', redacted: true })
    expect(Object.keys(facts)).not.toEqual(expect.arrayContaining(['input']))
    expect((await cli('replay', redacted, '--speed', 'max')).stdout).toBe(`${counted(1, 10)}\n`)
    expect(await cli('record', 'r_unknown', '--data', data)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('no run r_unknown is stored there') as string,
    })
  })
})

describe('millrace replay', () => {
  test('shows a recorded run, and from which item on one asks for', async () => {
    const file = await recorded()
    const shown = await cli('replay', file)
    expect(shown).toMatchObject({ code: 0, stdout: `${counted(1, 10)}\n` })
    expect(shown.stderr).toMatch(
      /^run r_\S+ of count, recorded \d{4}-\d\d-\d\d \d\d:\d\d UTC: 10 items, done\nrun r_\S+\nresult: \{"to":10\}\n10 tokens in/,
    )
    expect((await cli('replay', file, '--from', '8')).stdout).toBe('8 9 10 \n')
  })
})

describe('millrace serve --replay', () => {
  /** The recording of a run that has said ten words, one each 100 ms. */
  async function typed(): Promise<string> {
    const file = newFile()
    const writer = await RecordingWriter.create(file, { actor: 'count', recordedAt: 1 })
    writer.take({ kind: 'opened', sid: 1, run: 'r_typed', next: 1, gen: 1, credit: 0 })
    for (let n = 1; n <= 10; n++)
      writer.take({ kind: 'delta', sid: 1, seq: n, lane: 0, body: `${n} `, ts: 1_000 + 100 * n })
    writer.take({ kind: 'end', sid: 1, seq: 11, outcome: 'done', data: { ms: 1_000, result: { to: 10 } } })
    await writer.close()
    return file
  }

  test('serves the recording to any client, which gets a receipt when it cancels', async () => {
    await using serve = await serving(['--replay', await typed(), '--speed', '2'])
    expect(serve.server.stdout).toMatch(/actors {2}count, inspector\n[^]*replay {2}run r_typed of count, recorded/)
    const token = serve.env['MILLRACE_TOKEN']
    const mine: Client = createClient(serve.url, token === undefined ? {} : { token })
    const whole = mine.start('count', 'whatever')
    const run = mine.start('count', null)
    const events = run[Symbol.asyncIterator]()
    await events.next()
    const receipt = await run.cancel()
    expect(receipt).toMatchObject({ outcome: 'cancelled', settled: true, by: 'client', provider: 'none' })
    expect(await whole.result).toEqual({ to: 10 })
    await mine.close()
    await using stopped = millrace(['run', 'count', '1', '--stream'], { env: serve.env })
    await stopped.said('stdout', /^1 2 /)
    stopped.kill('SIGINT')
    expect(await stopped.ended).toMatchObject({ code: 130, stderr: expect.stringMatching(/cancelled/) as string })
  })
})

test.each<[string, RegExp]>([
  ['record', /<run> is missing; see millrace record --help/],
  ['replay', /<file> is missing; see millrace replay --help/],
  ['replay nowhere', /nowhere does not exist: check the path of the recording/],
  ['replay package.json', /package\.json is not a recording of millrace/],
  ['replay x --speed 0', /--speed takes a number from 0\.01 to 1000, or max, not 0/],
  ['replay x --speed fast', /--speed takes a number from 0\.01 to 1000, or max, not fast/],
  ['replay x --from 0', /--from takes a whole number from 1 to \d+, not 0/],
  ['serve --replay nowhere', /nowhere does not exist: check the path of the recording/],
  ['serve --speed 2', /--speed needs --replay: name the recording/],
  ['record r_1 --data nowhere', /millrace\.db does not exist/],
])('millrace %s is refused in one line, with exit code 2', async (line, words) => {
  const { code, stderr, stdout } = await cli(...line.split(' '))
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
  expect(stderr).toMatch(words)
  expect(stderr.trim().split('\n')).toHaveLength(1)
})

test('a config file with actors of its own is not served with a recording', async () => {
  const config = join(folder.path, 'own.mjs')
  await writeFile(config, 'export default { actors: { own: { ask: () => 1 } } }')
  const { code, stderr } = await cli('serve', '--config', config, '--replay', await recorded())
  expect(code).toBe(2)
  expect(stderr).toContain('the config file has its own actors: leave --replay out')
})

test('a run that is not there, and a file that is, are refused before anything is recorded', async () => {
  const file = newFile()
  const unknown = await cli('record', 'r_unknown', '--url', served.url, '--token', 'alice', '-o', file)
  expect(unknown.code).toBe(2)
  expect(existsSync(file)).toBe(false)
  const taken = await recorded()
  gate.open()
  const run = client.start('count', 10)
  await run.result
  const refused = await cli('record', run.id!, '--url', served.url, '--token', 'alice', '-o', taken)
  expect(refused).toMatchObject({ code: 2, stdout: '' })
  expect(refused.stderr).toContain('exists already: choose another file with -o')
})
