import { readFile, writeFile } from 'node:fs/promises'
import { beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { createClient } from '../../client-sdk/node.ts'
import { commandLine } from '../../server/cli/command-line.ts'
import { dataFile } from '../../server/cli/data.ts'
import { actor, bearer, createServer, memory } from '../../server/index.ts'
import { sqlite } from '../../server/stores/sqlite/sqlite.ts'
import { screen } from '../helpers/screen.ts'
import { openSqlite, temporaryFolder } from '../helpers/sqlite-harness.ts'

const actors = {
  echo: actor({
    input: z.string(),
    async *stream(text) {
      for (const word of text.split(' ')) yield `${word} `
      yield { type: 'data' as const, name: 'bytes', value: Uint8Array.of(1, 2, 255) }
      return text.length
    },
  }),
}

/** Calls the command line in this process. */
async function data(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const { output, stdout, stderr } = screen()
  const code = await commandLine(['data', ...args], output)
  return { code, stdout: stdout.text, stderr: stderr.text }
}

/** The folder of a server that has served alice twice and bob once, and was shut down. */
async function servedFolder(): Promise<AsyncDisposable & { path: string }> {
  const folder = await temporaryFolder()
  const transport = memory()
  const authenticate = bearer({ 'the-token-of-alice': 'alice', 'the-token-of-bob': 'bob' })
  const store = sqlite({ path: dataFile(folder.path) })
  const server = createServer({ actors, authenticate, transport, store })
  await server.listen()
  for (const [who, text] of [
    ['alice', 'first words'],
    ['bob', 'a secret of bob'],
    ['alice', 'other words'],
  ] as const) {
    const token = `the-token-of-${who}`
    const client = createClient<typeof actors>(transport.url, { token, WebSocket: transport.WebSocket })
    await client.start('echo', text).result
    await client.close()
  }
  await server.close()
  return folder
}

type Line = { run: string; principal?: string; seq?: number; event?: { type: string; text?: string }; outcome?: string }

function linesOf(text: string): Line[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Line)
}

describe('millrace data', () => {
  let folder: Awaited<ReturnType<typeof servedFolder>>
  beforeAll(async () => {
    folder = await servedFolder()
    return () => folder[Symbol.asyncDispose]()
  })

  test('check says that sound data is sound, and what it has', async () => {
    const sound = { code: 0, stdout: 'sound: 3 runs, 0 of them without an end, 0 waiting\n', stderr: '' }
    expect(await data('check', '--data', folder.path)).toEqual(sound)
  })

  test('export prints each run, its events in order, and its end, as lines of JSON', async () => {
    const { code, stdout, stderr } = await data('export', '--data', folder.path)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const lines = linesOf(stdout)
    const heads = lines.filter(({ principal }) => principal !== undefined)
    expect(heads.map(({ principal }) => principal)).toEqual(['alice', 'bob', 'alice'])
    for (const { run } of heads) {
      const its = lines.filter((line) => line.run === run)
      const numbers = its.slice(1).map(({ seq }) => seq)
      expect(numbers).toEqual(numbers.map((_, index) => index + 1))
      expect(its.at(-1)).toMatchObject({ outcome: 'done' })
    }
    const { run } = heads[1]!
    const texts = lines
      .filter((line) => line.run === run && line.event?.type === 'token')
      .map(({ event }) => event?.text)
    expect(texts.join('')).toBe('a secret of bob ')
    expect(stdout).toContain('{"base64":"AQL/"}')
  })

  test('export prints the runs of one principal', async () => {
    const { stdout } = await data('export', '--data', folder.path, '--principal', 'bob')
    expect(linesOf(stdout).flatMap(({ principal }) => principal ?? [])).toEqual(['bob'])
    expect((await data('export', '--data', folder.path, '--principal', 'carol')).stdout).toBe('')
  })

  test('delete removes all of a principal, also from the disk, and nothing of others', async () => {
    await using served = await servedFolder()
    const path = dataFile(served.path)
    expect((await readFile(path)).includes('secret')).toBe(true)
    const deleted = { code: 0, stdout: 'deleted: 1 run of bob\n', stderr: '' }
    expect(await data('delete', '--data', served.path, '--principal', 'bob')).toEqual(deleted)
    expect((await readFile(path)).includes('secret')).toBe(false)
    expect((await data('check', '--data', served.path)).stdout).toContain('sound: 2 runs')
    const again = await data('delete', '--data', served.path, '--principal', 'bob')
    expect(again.stdout).toBe('deleted: 0 runs of bob\n')
  })

  test('compact gives room back', async () => {
    await using served = await temporaryFolder()
    const path = dataFile(served.path)
    {
      await using open = await openSqlite(path)
      const facts = { actor: 'a', principal: 'alice', startedAt: 1, packed: new Uint8Array(3_000_000) }
      await open.store.begin('r1', { facts })
      await open.database.write([{ sql: 'DELETE FROM runs' }])
    }
    expect(await data('compact', '--data', served.path)).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^compacted: [\d.]+ MiB before, 0\.[01] MiB now\n$/),
    })
  })

  test('check finds items that are missing, and pages that are damaged', async () => {
    await using served = await servedFolder()
    const path = dataFile(served.path)
    {
      await using open = await openSqlite(path)
      await open.database.write([{ sql: 'UPDATE states SET next = next + 5 WHERE run = 1' }])
    }
    const lost = await data('check', '--data', served.path)
    expect(lost.code).toBe(1)
    expect(lost.stderr).toMatch(
      /^run \S+: its log does not end before item \d+\nmillrace: the data is damaged: restore/,
    )
    const bytes = await readFile(path)
    await writeFile(path, bytes.fill(0xaa, 4_096))
    const damaged = await data('check', '--data', served.path)
    expect(damaged.code).toBe(1)
    expect(damaged.stderr).toContain('is damaged: restore a backup')
  })

  test('refuses while a server has the data', async () => {
    await using served = await servedFolder()
    await using _ = await openSqlite(dataFile(served.path))
    for (const task of [['check'], ['compact'], ['export'], ['delete', '--principal', 'bob']]) {
      const { code, stderr } = await data(...task, '--data', served.path)
      expect(code).toBe(3)
      expect(stderr).toMatch(
        /^millrace: \S+millrace\.db is in use by another process: only one server can have it; stop/,
      )
    }
  })

  test.each<[string[], RegExp]>([
    [[], /<task> is missing; see millrace data --help/],
    [['vacuum', '--data', 'x'], /unknown task vacuum; known tasks: check, compact, export, delete/],
    [['check'], /--data is missing: name the folder of the data/],
    [['check', '--data', 'nowhere'], /nowhere\/millrace\.db does not exist: nothing is stored there/],
    [['delete', '--data', 'nowhere'], /--principal is missing: name the principal whose runs are to be deleted/],
    [['check', '--data', 'nowhere', '--principal', 'bob'], /--principal is for export and delete, not for check/],
    [['export', 'all', '--data', 'nowhere'], /unexpected argument all/],
  ])('%j is refused in one line, with exit code 2', async (args, words) => {
    const { code, stderr, stdout } = await data(...args)
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(words)
    expect(stderr.trim().split('\n')).toHaveLength(1)
  })
})
