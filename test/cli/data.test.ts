import { readFile, writeFile } from 'node:fs/promises'
import { beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { conversation as open } from '../../client-sdk/conversation.ts'
import { createClient, upload } from '../../client-sdk/node.ts'
import { commandLine } from '../../server/cli/command-line.ts'
import { dataFile } from '../../server/cli/data-folder.ts'
import {
  actor,
  agent,
  bearer,
  conversation,
  createServer,
  memory,
  sqliteConversations,
  uploads,
} from '../../server/index.ts'
import { sqlite } from '../../server/stores/sqlite/sqlite.ts'
import { isReady, until } from '../helpers/chats.ts'
import { screen } from '../helpers/screen.ts'
import { says, scriptedModel } from '../helpers/scripted-model.ts'
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

/**
 * The folder of a server that has served alice twice and bob once, has answered bob twice in a conversation, and was
 * shut down: five runs.
 *
 * @param isRemoved Whether bob removes the conversation again.
 */
async function servedFolder({ isRemoved = false } = {}): Promise<AsyncDisposable & { path: string }> {
  const folder = await temporaryFolder()
  const transport = memory()
  const authenticate = bearer({ 'the-token-of-alice': 'alice', 'the-token-of-bob': 'bob' })
  const store = sqlite({ path: dataFile(folder.path) })
  const files = uploads()
  const chat = conversation({
    agent: agent({ model: scriptedModel(says('a hippopotamus'), says('a walrus')), files: { uploads: files } }),
    store: sqliteConversations(store),
  })
  const all = { ...actors, chat, uploads: files }
  const server = createServer({ actors: all, authenticate, transport, store })
  await server.listen()
  for (const [who, text] of [
    ['alice', 'first words'],
    ['bob', 'a secret of bob'],
    ['alice', 'other words'],
  ] as const) {
    const token = `the-token-of-${who}`
    const client = createClient<typeof all>(transport.url, { token, WebSocket: transport.WebSocket })
    await client.start('echo', text).result
    if (who === 'bob') {
      const { upload: id } = await upload(client, new TextEncoder().encode('gnu'), {
        type: 'text/csv',
        name: 'zebra.csv',
      })
      const talk = open(client, 'animals')
      talk.subscribe(() => {})
      const asked = await talk.send([
        { type: 'text', text: 'which xylophonist?' },
        { type: 'file', upload: id },
      ])
      await until(talk, isReady)
      await talk.edit(asked, 'which quagga?')
      await until(talk, isReady)
      if (isRemoved) await talk.remove()
      talk.close()
    }
    await client.close()
  }
  await server.close()
  return folder
}

type Line = {
  conversation?: string
  title?: string
  number?: number
  message?: { role: string; status: string; parent: string | null; said: unknown }
  run: string
  principal?: string
  seq?: number
  event?: { type: string; text?: string }
  outcome?: string
}

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
    const sound = {
      code: 0,
      stdout: 'sound: 5 runs, 0 of them without an end, 0 waiting; 1 conversation\n',
      stderr: '',
    }
    expect(await data('check', '--data', folder.path)).toEqual(sound)
  })

  test('export prints each run, its events in order, and its end, as lines of JSON', async () => {
    const { code, stdout, stderr } = await data('export', '--data', folder.path)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const lines = linesOf(stdout)
    const heads = lines.filter(({ run, principal }) => run !== undefined && principal !== undefined)
    expect(heads.map(({ principal }) => principal)).toEqual(['alice', 'bob', 'bob', 'bob', 'alice'])
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

  test('export prints each conversation, and the messages of all its branches', async () => {
    const { stdout } = await data('export', '--data', folder.path, '--principal', 'bob')
    const [head, ...messages] = linesOf(stdout).filter((line) => line.conversation === 'animals')
    expect(head).toMatchObject({ principal: 'bob', title: 'which xylophonist?', messages: 4, approved: [] })
    expect(messages.map(({ number, message }) => [number, message?.role, message?.status])).toEqual([
      [1, 'user', 'sent'],
      [2, 'assistant', 'sent'],
      [3, 'user', 'sent'],
      [4, 'assistant', 'sent'],
    ])
    const said = messages.map(({ message }) => JSON.stringify(message?.said))
    expect(said[0]).toContain('{"base64":"Z251"},"name":"zebra.csv"')
    expect(said[1]).toContain('a hippopotamus')
    expect(said[3]).toContain('a walrus')
    expect(messages.map(({ message }) => message?.parent === null)).toEqual([true, false, true, false])
  })

  test('export prints the runs of one principal', async () => {
    const { stdout } = await data('export', '--data', folder.path, '--principal', 'bob')
    expect(linesOf(stdout).flatMap(({ principal }) => principal ?? [])).toEqual(['bob', 'bob', 'bob', 'bob'])
    expect((await data('export', '--data', folder.path, '--principal', 'carol')).stdout).toBe('')
  })

  test('delete removes all of a principal, also from the disk, and nothing of others', async () => {
    await using served = await servedFolder()
    const path = dataFile(served.path)
    const traces = ['secret', 'hippopotamus', 'xylophonist', 'quagga', 'zebra']
    const found = async (): Promise<string[]> => {
      const bytes = await readFile(path)
      return traces.filter((trace) => bytes.includes(trace))
    }
    expect(await found()).toEqual(traces)
    const deleted = { code: 0, stdout: 'deleted: 3 runs and 1 conversation of bob\n', stderr: '' }
    expect(await data('delete', '--data', served.path, '--principal', 'bob')).toEqual(deleted)
    expect(await found()).toEqual([])
    expect((await data('check', '--data', served.path)).stdout).toContain('sound: 2 runs')
    const again = await data('delete', '--data', served.path, '--principal', 'bob')
    expect(again.stdout).toBe('deleted: 0 runs and 0 conversations of bob\n')
  })

  test('compact removes what is left of a conversation that its user removed', async () => {
    await using served = await servedFolder({ isRemoved: true })
    const path = dataFile(served.path)
    expect((await readFile(path)).includes('quagga')).toBe(true)
    expect(await data('compact', '--data', served.path)).toMatchObject({ code: 0 })
    expect((await readFile(path)).includes('quagga')).toBe(false)
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

  test('check finds items that are missing, messages without their conversation, and pages that are damaged', async () => {
    await using served = await servedFolder()
    const path = dataFile(served.path)
    {
      await using open = await openSqlite(path)
      await open.database.write([{ sql: "UPDATE messages SET conversation = 'x'" }])
    }
    const astray = await data('check', '--data', served.path)
    expect(astray.code).toBe(1)
    expect(astray.stderr).toContain('conversation x of bob: it has messages and is not there itself\n')
    {
      await using open = await openSqlite(path)
      await open.database.write([{ sql: 'UPDATE states SET next = next + 5 WHERE run = 1' }])
    }
    const lost = await data('check', '--data', served.path)
    expect(lost.code).toBe(1)
    expect(lost.stderr).toMatch(
      /^run \S+: its log does not end before item \d+\nconversation x[^\n]*\nmillrace: the data is damaged: restore/,
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
    [['delete', '--data', 'nowhere'], /--principal is missing: name the principal whose data is to be deleted/],
    [['check', '--data', 'nowhere', '--principal', 'bob'], /--principal is for export and delete, not for check/],
    [['export', 'all', '--data', 'nowhere'], /unexpected argument all/],
  ])('%j is refused in one line, with exit code 2', async (args, words) => {
    const { code, stderr, stdout } = await data(...args)
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(words)
    expect(stderr.trim().split('\n')).toHaveLength(1)
  })
})
