import { readdirSync, readFileSync } from 'node:fs'
import { expect, test, vi } from 'vitest'
import { Command } from './helpers/command.ts'
import { compiledScript } from './helpers/compiled-scripts.ts'
import { FakeMcpServer } from './helpers/mcp-server.ts'
import { root } from './helpers/root.ts'

// Each example is a process, and all of them start at once.
vi.setConfig({ testTimeout: 60_000 })

async function outputOf(name: string): Promise<string> {
  await using example = new Command(process.execPath, [compiledScript(`examples/${name}`)])
  const { code, stdout, stderr } = await example.ended
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  return stdout
}

test.concurrent('each recipe prints what docs/recipes.md says, and is shown there as it is', async () => {
  const page = readFileSync(`${root}docs/recipes.md`, 'utf8')
  const shown = [...page.matchAll(/^```ts\n\/\/ (\S+)\n([^]*?)^```\n[^`]*^```text\n([^]*?)^```$/gm)]
  const names = readdirSync(`${root}examples/recipes`).map((name) => `examples/recipes/${name}`)
  expect(shown.map(([, file]) => file).sort()).toEqual(names.sort())
  expect(page.match(/^```\w/gm)).toHaveLength(2 * names.length)
  for (const [, file = '', code] of shown) expect(readFileSync(`${root}${file}`, 'utf8'), file).toBe(code)
  // One process, which loads the package once, runs one after the other.
  const files = shown.map(([, file = '']) => file)
  const runner = `for (const file of ${JSON.stringify(files)}) { console.log('== ' + file); await import('./' + file) }`
  await using recipes = new Command(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', runner])
  const { code, stdout, stderr } = await recipes.ended
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  const expected = shown.map(([, file = '', , output]) => `== ${file}\n${output}`)
  expect(stdout).toBe(expected.join(''))
})

test.concurrent('the example of cancelling stops a run and one tool call of two, and reports what does not stop', async () => {
  const [run = '', call = '', stubborn = ''] = (await outputOf('cancelling.ts')).split(
    /\na (?:tool call|stubborn one): /,
  )
  for (const part of ["outcome: 'cancelled'", "provider: 'closed'", 'settled: true', "note: 'heard enough'"])
    expect(run).toContain(part)
  expect(call).toContain("outcome: 'cancelled'")
  expect(call).toContain('research says: all about Oslo. research did not work: cancelled by the user.')
  for (const part of ['settled: false', "unsettled: [ 'actor' ]"]) expect(stubborn).toContain(part)
})

test.concurrent('the example of throttling produces the read items, the credit and the read-ahead, and no more', async () => {
  const lines = (await outputOf('throttling.ts')).trim().split('\n')
  const [first, then, watcher] = lines
  expect(first).toBe(`read 50, produced ${50 + 100 + 32}`)
  expect(then).toBe(`read 1000, produced ${1_000 + 100 + 32}`)
  expect(watcher).toMatch(/^a watcher read 1 2 3 /)
})

test.concurrent('the example of actors asks, streams, and is asked back', async () => {
  const said = await outputOf('actors.ts')
  expect(said).toContain('{ sum: 5 }\n')
  expect(said).toContain('Page 2. \n200 words\n2 of 2\n{ pages: 2 }\n')
  expect(said).toContain('A large coffee. \n')
})

test.concurrent('the example of tools runs them side by side, asks for approval, and keeps the conversation', async () => {
  const said = await outputOf('tools.ts')
  expect(said.match(/^> (weather|payment)/gm)).toHaveLength(4)
  expect(said.match(/^< ok/gm)).toHaveLength(4)
  expect(said).toContain('asking the bank')
  expect(said).toContain('kept: user, assistant, tool, tool, tool, tool, assistant\n')
})

test.concurrent('the example of authentication shows who may do what, outlives a token, and admits one site by cookie', async () => {
  const said = await outputOf('authentication.ts')
  expect(said).toContain("the operator cancels: { confirmed: false, code: 'forbidden' }\n")
  expect(said).toMatch(/alice cancels: \{[^]*outcome: 'cancelled'/)
  expect(said).toContain('a stranger: MillraceError: the credentials were refused\n')
  expect(said).toContain('tokens: more than one\nthe answer is whole: true\n')
  expect(said).toMatch(/a page of the app reads: \S+/)
  expect(said).toMatch(/a page of another site: MillraceError: the server closed with 4403: .*`origins`/)
  expect(said).toMatch(/the operator reads: a page was refused \{[^}]*https:\/\/other\.example[^}]*`origins`/)
})

test.concurrent('the example of chat history keeps a cancelled answer, and goes on with it after a restart', async () => {
  const said = await outputOf('chat-history.ts')
  const lengths = (line: string): string[] => new RegExp(`^${line}: (.*)$`, 'm').exec(said)?.[1]?.split(', ') ?? []
  const [first, cancelled, restarted] = ['after one answer', 'after a cancel', 'after a restart'].map(lengths)
  const roles = (messages: string[] | undefined): string[] | undefined => messages?.map((one) => one.split(' ')[0]!)
  expect(roles(first)).toEqual(['user', 'assistant'])
  expect(roles(cancelled)).toEqual(['user', 'assistant', 'user', 'assistant'])
  expect(roles(restarted)).toEqual(['user', 'assistant', 'user', 'assistant', 'user', 'assistant'])
  expect(cancelled?.slice(0, 2)).toEqual(first)
  expect(restarted?.slice(0, 4)).toEqual(cancelled)
  expect(said).toMatch(/^the answer: You asked: “Go on”/m)
})

test.concurrent('the example of conversations stops an answer from another device, and keeps both versions of a message', async () => {
  const said = await outputOf('conversation.ts')
  expect(said).toMatch(
    /on the other device:\n {2}user \(sent\): 22 characters\n {2}assistant \(sent\): \d+ characters\n/,
  )
  expect(said).toMatch(/ {2}receipt: cancelled\n[^]*assistant \(cancelled\): [1-9]\d* characters\n/)
  expect(said).toContain('conversations: Millrace (6 messages)\n')
})

test.concurrent('the example of MCP says what to set, and uses the tools of the server that is set', async () => {
  expect(await outputOf('mcp.ts')).toMatch(/^Set MCP_URL .* or MCP_COMMAND /)
  await using fake = await FakeMcpServer.start('stateless')
  const env = { MCP_URL: (fake.options as { url: string }).url }
  const args = [compiledScript('examples/mcp.ts'), 'How is the weather?']
  await using example = new Command(process.execPath, args, { env })
  const { code, stdout } = await example.ended
  expect(code).toBe(0)
  expect(stdout).toMatch(/^tools: mcp_echo, /)
  expect(stdout).toContain('> mcp_weather {}\n< ok { celsius: 21 }\n')
})

test.concurrent('the example of steering cuts an answer short, changes an approved call, pauses a run and ends one by its budget', async () => {
  const said = await outputOf('steering.ts')
  expect(said).toContain('turn 1 ended: interrupted\nturn 2 ended: stop\nthe message was taken in { n: 2 }\n')
  expect(said).toContain('the run is paused\ntool: paid Bob\nthe run is resumed\nanswer: payment says: ')
  expect(said).toContain('budget: budget_exceeded, with its usage\n')
})

test.concurrent('the example of notices is told that a run waits and that it has ended, and refuses a forged request', async () => {
  const said = await outputOf('notices.ts')
  expect(said.trim().split('\n').sort()).toEqual([
    'a request without a signature: 401',
    'report has ended: done',
    'report waits for: confirm',
  ])
})

test.concurrent('the example of files uploads one, asks about it, and refuses what is not allowed', async () => {
  const said = await outputOf('files.ts')
  expect(said).toContain('uploaded 800000 bytes of text/csv in more than ten steps: true\n')
  expect(said).toContain('You sent me report.csv, text/csv of 800,000 bytes. ')
  expect(said).toContain('What is the average?')
  expect(said).toContain('bob: MillraceError: unknown upload: it has expired, or another principal made it\n')
  expect(said).toContain('refused: MillraceError: the bytes are not of the type image/png\n')
})
