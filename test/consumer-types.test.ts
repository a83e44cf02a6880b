import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test, vi } from 'vitest'
import { Command } from './helpers/command.ts'
import { root } from './helpers/root.ts'

// Each project is compiled by a process of its own, with all libraries checked.
vi.setConfig({ testTimeout: 120_000 })

const folder = mkdtempSync(join(tmpdir(), 'millrace-types-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** As strict as projects are: the types of packages are checked as well, and nothing of Node is known. */
const STRICT = {
  target: 'es2022',
  module: 'preserve',
  moduleResolution: 'bundler',
  lib: ['es2022', 'dom', 'dom.iterable'],
  types: [] as string[],
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  skipLibCheck: false,
  allowImportingTsExtensions: true,
  noEmit: true,
}
const NODE = {
  ...STRICT,
  module: 'nodenext',
  moduleResolution: 'nodenext',
  lib: ['es2023'],
  types: ['node'],
  typeRoots: [`${root}node_modules/@types`],
}

/** What the compiler prints of a project in which the package is installed; empty if it is content. */
async function compile(name: string, compilerOptions: object, files: { [name: string]: string }): Promise<string> {
  const project = join(folder, name)
  mkdirSync(join(project, 'node_modules'), { recursive: true })
  symlinkSync(root, join(project, 'node_modules/millrace'))
  const config = { compilerOptions, files: Object.keys(files) }
  for (const [file, text] of Object.entries({
    ...files,
    'package.json': '{ "type": "module" }',
    'tsconfig.json': JSON.stringify(config),
  }))
    writeFileSync(join(project, file), text)
  await using tsc = new Command(process.execPath, [`${root}node_modules/typescript/bin/tsc`, '-p', project])
  return (await tsc.ended).stdout
}

const ACTORS = `
import { actor, agent, inspector, tool } from 'millrace/server'
export const actors = {
  chat: agent({ tools: { add: tool({ description: 'adds', run: () => 1 }) } }),
  market: actor({
    async *stream() {
      yield 'open'
      yield { type: 'data', name: 'price', value: 4.5 }
      return { closed: true }
    },
  }),
  inspector: inspector(),
}
export type Actors = typeof actors
`
const PAGE = `
import { createClient, only, smooth } from 'millrace/client'
import type { Actors } from './actors.ts'
const client = createClient<Actors>(new URL('wss://localhost'), { token: async () => 'token' })
const run = client.start('market', null)
for await (const event of only(run, 'data')) if (event.name === 'price') event.value.toFixed(2)
for await (const text of smooth(client.start('chat', 'hello').text())) text.trim()
export const closed: boolean = (await run.result).closed
`

test.concurrent('a page compiles with the types of the client and of its actors, without those of Node, and a mistake is found', async () => {
  const mistake = PAGE.replace("event.name === 'price'", "event.name === 'prize'")
  const said = await compile('page', STRICT, { 'actors.ts': ACTORS, 'page.ts': PAGE, 'mistake.ts': mistake })
  expect(said.trim().split(/\n(?! )/)).toEqual([expect.stringMatching(/^\S*\/mistake\.ts.* error TS2367/)])
})

test.concurrent('a page with the hooks for React compiles with the types of its actors', async () => {
  const page = `
import { createClient } from 'millrace/client'
import { useConnection, useRun, useRuns } from 'millrace/react'
import type { Actors } from './actors.ts'
const client = createClient<Actors>('wss://localhost')
const run = useRun(client, 'market', { input: null, follow: { page: 'market' } })
run.data.price?.toFixed(2)
export const closed: boolean | undefined = run.result?.closed
export const shown = [useRuns(client).runs[0]?.id, useConnection(client).status]
`
  const react = { typeRoots: [`${root}node_modules/@types`], paths: { react: [`${root}node_modules/@types/react`] } }
  expect(await compile('react', { ...STRICT, ...react }, { 'actors.ts': ACTORS, 'page.ts': page })).toBe('')
})

test.concurrent('a page that knows nothing of the server compiles without the disposal of ES2026 in its library', async () => {
  const page = `import { createClient } from 'millrace/client'\nexport const client = createClient('ws://localhost')\n`
  expect(await compile('client', STRICT, { 'page.ts': page })).toBe('')
})

test.concurrent('a server compiles with the types of Node, every entry of the package included', async () => {
  const server = `
import { createServer as createHttp } from 'node:http'
import { agent, bearer, createServer, jwt } from 'millrace/server'
import { uws } from 'millrace/server/uws'
import { openai } from 'millrace/models/openai'
import { anthropic } from 'millrace/models/anthropic'
import { fromAISDK } from 'millrace/models/ai-sdk'
import { gemini } from 'millrace/models/gemini'
import { ollama } from 'millrace/models/ollama'
import { mcp } from 'millrace/server/mcp'
import { mcpTools } from 'millrace/tools/mcp'
import { FEATURES } from 'millrace/protocol'
import { actors } from './actors.ts'
const authenticate = FEATURES.length > 0 ? jwt({ key: new Uint8Array(32), algorithms: ['HS256'] }) : bearer({ a: 'b' })
const models = [openai('a'), ollama('b'), anthropic('c'), gemini('d')]
await using server = createServer({ actors, authenticate, models, http: { mcp: mcp({ name: 'a' }) } })
server.attach(createHttp(), { path: '/agents' })
await using tools = await mcpTools({ files: { command: 'files' } })
agent({ tools: { ...tools } })
export { fromAISDK, uws }
`
  expect(await compile('server', NODE, { 'actors.ts': ACTORS, 'server.ts': server })).toBe('')
})
