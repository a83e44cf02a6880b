import { readFileSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import {
  findCycle,
  type Import,
  type ImportGraph,
  importGraph,
  packageOf,
  reachable,
  readSources,
} from './helpers/import-graph.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const manifest = JSON.parse(readFileSync(`${root}package.json`, 'utf8')) as {
  peerDependenciesMeta: Record<string, { optional: boolean }>
}
/** What a user may or may not have installed. */
const optionalPeers = [...Object.keys(manifest.peerDependenciesMeta), 'uWebSockets.js']

/** The file whose import line brings a package in; every package the sources name must have its place here. */
const homes: Record<string, readonly string[]> = {
  ws: ['server/transports/ws.ts', 'client-sdk/node.ts'],
  msgpackr: ['server/'],
  zod: ['server/'],
  openai: ['server/models/openai.ts'],
  ollama: ['server/models/ollama.ts'],
  jose: ['server/auth.ts'],
  tsx: ['server/cli/config-file.ts'],
  'uWebSockets.js': ['server/cli/transport-option.ts'],
}

/** Who gives what to whom inside `server/`, lowest first. A file not named here is held by the ones that reach it. */
const chain = ['log', 'run', 'subscription', 'session', 'registry', 'connection', 'server', 'index'].map(
  (name) => `server/${name}.ts`,
)
const contracts = [
  'actors/actor',
  'actors/lookout',
  'actors/child-run',
  'actors/principal',
  'actors/standard-schema',
  'models/model',
  'tools/tool',
].map((name) => `server/${name}.ts`)
const adapterFolders = ['actors', 'agents', 'workflows', 'models', 'transports', 'stores']

/** A rule gives one line for each import that breaks it. */
type Rule = (graph: ImportGraph) => string[]

const within = (folder: string) => (path: string) => path.startsWith(`${folder}/`)
const isOurs = (path: string) =>
  ['protocol/', 'client-sdk/', 'server/', 'test/'].some((folder) => path.startsWith(folder))
const line = ({ from, to }: Import) => `${from} imports ${to}`

/** The files of `folder` import only what `allowed` accepts. */
function importsOnly(folder: string, allowed: (to: string, from: string) => boolean): Rule {
  return ({ imports }) => imports.filter(({ from, to }) => within(folder)(from) && !allowed(to, from)).map(line)
}

/** None of the files reaches, over any number of imports, one that stands above it. */
function reachesNothingOf(lower: (file: string) => boolean, upper: (file: string) => boolean): Rule {
  return (graph) =>
    graph.files
      .filter(lower)
      .flatMap((file) =>
        [...reachable(graph, file, () => true)]
          .filter((target) => target !== file && upper(target) && !lower(target))
          .map((target) => `${file} reaches ${target}`),
      )
}

const rules: Record<string, Rule> = {
  'protocol imports nothing but itself: no package, nothing of Node, neither side': importsOnly(
    'protocol',
    within('protocol'),
  ),

  'the client imports the protocol and itself; only its Node entry imports ws': importsOnly(
    'client-sdk',
    (to, from) => within('protocol')(to) || within('client-sdk')(to) || (from === 'client-sdk/node.ts' && to === 'ws'),
  ),

  'the server never imports the client, except its command line, which is one': importsOnly(
    'server',
    (to, from) => !within('client-sdk')(to) || within('server/cli')(from),
  ),

  'the streams know nothing of agents: they import each other and the protocol': importsOnly(
    'server/streams',
    (to) => within('server/streams')(to) || within('protocol')(to) || !isOurs(to),
  ),

  'the contracts import only each other, the streams and the protocol': ({ imports }) =>
    imports.filter(({ from, to }) => contracts.includes(from) && isOurs(to) && !isBelowTheLog(to)).map(line),

  ...Object.fromEntries(
    chain.map((file, index): [string, Rule] => {
      const above = chain.slice(index + 1)
      return [
        `${file} reaches nothing that stands above it: ${[...above, 'server/cli/'].join(', ')}`,
        reachesNothingOf(
          (path) => path === file,
          (path) => above.includes(path) || within('server/cli')(path),
        ),
      ]
    }),
  ),

  ...Object.fromEntries(
    adapterFolders.map((folder): [string, Rule] => [
      `server/${folder}/ imports contracts, streams, the protocol and its own files; the rest is handed to it`,
      importsOnly(`server/${folder}`, (to) => isBelowTheLog(to) || within(`server/${folder}`)(to) || !isOurs(to)),
    ]),
  ),

  'a package is imported only where it has its home': ({ imports }) =>
    imports
      .filter(({ to }) => !isOurs(to) && !isBuiltin(to))
      .filter(
        ({ from, to }) =>
          !homes[packageOf(to)]?.some((home) => from === home || (home.endsWith('/') && from.startsWith(home))),
      )
      .map(line),

  'importing millrace/server or the command line loads no optional peer until it is asked for': (graph) =>
    ['server/index.ts', 'server/cli/main.ts'].flatMap((entry) =>
      [...reachable(graph, entry, ({ kind }) => kind === 'static')]
        .filter((target) => optionalPeers.includes(packageOf(target)))
        .map((target) => `${entry} loads ${target}`),
    ),

  'no import line goes in a circle': (graph) => {
    const cycle = findCycle(graph)
    return cycle ? [cycle.join(' -> ')] : []
  },
}

function isBelowTheLog(path: string): boolean {
  return contracts.includes(path) || within('server/streams')(path) || within('protocol')(path)
}

const graph = importGraph(readSources(root, ['protocol', 'client-sdk', 'server']))

describe('the import lines of the package', () => {
  test('are there to be read', () => {
    expect(graph.files.length).toBeGreaterThan(0)
    expect(graph.imports.length).toBeGreaterThan(0)
  })

  for (const [sentence, rule] of Object.entries(rules)) {
    test(sentence, () => {
      expect(rule(graph)).toEqual([])
    })
  }
})

describe('an example', () => {
  test('imports the package by its name, as a user would', () => {
    const { imports } = importGraph(readSources(root, ['examples']))
    expect(imports.filter(({ to }) => isOurs(to)).map(line)).toEqual([])
  })
})

describe('each sentence is broken by an import that contradicts it', () => {
  const violations: Record<string, Record<string, string>> = {
    'protocol imports nothing': { 'protocol/frames.ts': `import { pack } from 'msgpackr'` },
    'the client imports the protocol': { 'client-sdk/client.ts': `import { WebSocket } from 'ws'` },
    'the server never imports the client': { 'server/run.ts': `import type { Run } from '../client-sdk/run.ts'` },
    'the streams know nothing': { 'server/streams/merge.ts': `export * from '../run.ts'` },
    'the contracts import only': { 'server/tools/tool.ts': `import { Run } from '../run.ts'` },
    'a package is imported only': { 'server/run.ts': `const openai = await import('openai/streaming')` },
    'importing millrace/server or': {
      'server/index.ts': `export { openai } from './models/openai.ts'`,
      'server/models/openai.ts': `import OpenAI from 'openai'`,
    },
    'no import line goes': {
      'protocol/a.ts': `import './b.ts'`,
      'protocol/b.ts': `import './c.ts'`,
      'protocol/c.ts': `import './a.ts'`,
    },
  }
  for (const file of chain) {
    violations[`${file} reaches`] = {
      [file]: `import './between.ts'`,
      'server/between.ts': `import { main } from './cli/main.ts'`,
      'server/cli/main.ts': '',
    }
  }
  for (const folder of adapterFolders) {
    violations[`server/${folder}/ imports`] = {
      [`server/${folder}/some.ts`]: `import { Registry } from '../registry.ts'`,
    }
  }

  for (const [sentence, rule] of Object.entries(rules)) {
    test(sentence, () => {
      const sources = Object.entries(violations).find(([start]) => sentence.startsWith(start))?.[1] ?? {}
      expect(rule(importGraph(new Map(Object.entries(sources))))).toHaveLength(1)
    })
  }
})
