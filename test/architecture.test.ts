import { readFileSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { PACKAGE_TESTS } from '../vitest.package.config.ts'
import {
  findCycle,
  type Import,
  type ImportGraph,
  importGraph,
  packageOf,
  reachable,
  readSources,
} from './helpers/import-graph.ts'
import { PROGRAM_TESTS } from './helpers/program-tests.ts'
import { CHOOSING, testsWithoutTransport, testsWithPrograms } from './helpers/tests-by-import.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const manifest = JSON.parse(readFileSync(`${root}package.json`, 'utf8')) as {
  peerDependenciesMeta: Record<string, { optional: boolean }>
}
/** What a user may or may not have installed. */
const optionalPeers = [...Object.keys(manifest.peerDependenciesMeta), 'uWebSockets.js']

/** The file whose import line brings a package in; every package the sources name must have its place here. */
const homes: Record<string, readonly string[]> = {
  ws: ['server/transports/ws.ts', 'client-sdk/node.ts', 'verify/'],
  millrace: ['dashboard/'],
  msgpackr: ['server/'],
  zod: ['server/'],
  '@anthropic-ai/sdk': ['server/models/anthropic.ts'],
  '@google/genai': ['server/models/gemini.ts'],
  openai: ['server/models/openai.ts', 'server/models/openai/'],
  ollama: ['server/models/ollama.ts'],
  '@modelcontextprotocol/client': ['server/tools/mcp/'],
  '@modelcontextprotocol/server': ['server/mcp/'],
  jose: ['server/sessions/auth.ts'],
  '@opentelemetry/api': ['server/tracing/opentelemetry.ts'],
  'prom-client': ['server/metrics/prometheus.ts'],
  libsql: ['server/stores/sqlite/file.ts'],
  react: ['react/', 'dashboard/'],
  'react-dom': ['dashboard/'],
  '@tanstack/react-virtual': ['dashboard/'],
  uplot: ['dashboard/'],
  redis: ['server/stores/redis/client.ts'],
  tsx: ['server/cli/config-file.ts'],
  'uWebSockets.js': ['server/cli/transport-option.ts'],
  ai: ['adapters/ai-sdk.ts'],
  '@ag-ui/client': ['adapters/ag-ui.ts'],
  rxjs: ['adapters/ag-ui.ts'],
}

/**
 * The rooms of `server/`: each imports from its own and from those below it. A room is a folder, or a file that stands
 * alone. A file that belongs to none breaks the first rule.
 */
const rooms = [
  'cli/',
  'index.ts',
  'server.ts',
  'server-options.ts',
  'process/',
  'mcp/',
  'dashboard/',
  'http/',
  'connections/',
  'router.ts',
  'sessions/',
  'runs/',
  'inspector/',
  'notices/',
  'metrics/',
  'tracing/',
  'recordings/',
  'conversations/',
  'teams/',
  'workflows/',
  'agents/',
  'files/',
  'tools/',
  'actors/',
  'models/',
  'stores/',
  'log/',
  'logging/',
  'transports/',
  'streams/',
  'text.ts',
  'runtime.ts',
].map((room) => `server/${room}`)

/** Rooms that know only these of the rooms below them. */
const limitedTo: Record<string, readonly string[]> = {
  'server/process/': [
    'server/connections/',
    'server/sessions/',
    'server/models/',
    'server/logging/',
    'server/streams/',
    'server/transports/',
    'server/runtime.ts',
  ],
  'server/http/': [
    'server/connections/',
    'server/sessions/',
    'server/runs/',
    'server/actors/',
    'server/metrics/',
    'server/log/',
    'server/logging/',
    'server/transports/',
    'server/text.ts',
  ],
  'server/mcp/': ['server/http/', 'server/actors/', 'server/streams/', 'server/text.ts'],
  'server/dashboard/': [
    'server/http/',
    'server/sessions/',
    'server/conversations/',
    'server/workflows/',
    'server/actors/',
  ],
  'server/inspector/': ['server/actors/', 'server/streams/', 'server/runtime.ts', 'server/text.ts'],
  'server/notices/': ['server/stores/', 'server/log/', 'server/logging/', 'server/text.ts'],
  'server/tracing/': ['server/models/', 'server/text.ts'],
  'server/metrics/': ['server/actors/', 'server/logging/'],
  'server/recordings/': ['server/actors/', 'server/log/', 'server/streams/'],
  'server/conversations/': [
    'server/agents/',
    'server/stores/',
    'server/actors/',
    'server/models/',
    'server/streams/',
    'server/text.ts',
  ],
  'server/teams/': [
    'server/workflows/',
    'server/agents/',
    'server/actors/',
    'server/models/',
    'server/streams/',
    'server/text.ts',
  ],
  'server/workflows/': [
    'server/agents/',
    'server/actors/',
    'server/models/',
    'server/streams/',
    'server/text.ts',
    'server/runtime.ts',
  ],
  'server/agents/': ['server/files/', 'server/actors/', 'server/models/', 'server/streams/', 'server/text.ts'],
  'server/files/': ['server/actors/', 'server/models/'],
  'server/tools/': ['server/actors/', 'server/models/', 'server/streams/', 'server/text.ts'],
  'server/actors/': ['server/models/', 'server/streams/'],
  'server/models/': ['server/streams/', 'server/text.ts'],
  'server/stores/': ['server/log/log-batch.ts', 'server/streams/', 'server/text.ts', 'server/runtime.ts'],
  'server/log/': ['server/text.ts'],
  'server/logging/': ['server/streams/'],
  'server/transports/': [],
  'server/streams/': [],
  'server/text.ts': [],
  'server/runtime.ts': [],
}

/** A rule gives one line for each import that breaks it. */
type Rule = (graph: ImportGraph) => string[]

const within = (folder: string) => (path: string) => path.startsWith(`${folder}/`)
/** Whether a file stands in a room: below a folder, or the file itself. */
const standsIn = (room: string) => (path: string) => (room.endsWith('/') ? path.startsWith(room) : path === room)
const isOurs = (path: string) =>
  [
    'protocol/',
    'formats/',
    'client-sdk/',
    'adapters/',
    'compat/',
    'react/',
    'dashboard/',
    'server/',
    'verify/',
    'test/',
  ].some((folder) => path.startsWith(folder))
const line = ({ from, to }: Import) => `${from} imports ${to}`

/** The files of `folder` import only what `allowed` accepts. */
function importsOnly(folder: string, allowed: (to: string, from: string) => boolean): Rule {
  return ({ imports }) => imports.filter(({ from, to }) => within(folder)(from) && !allowed(to, from)).map(line)
}

/** The files of a room import what `allowed` accepts, of all that is in the server. */
function roomImportsOnly(room: string, allowed: (to: string) => boolean): Rule {
  return ({ imports }) =>
    imports
      .filter(({ from, to }) => standsIn(room)(from) && within('server')(to) && !standsIn(room)(to) && !allowed(to))
      .map(line)
}

const rules: Record<string, Rule> = {
  'protocol imports nothing but itself: no package, nothing of Node, neither side': importsOnly(
    'protocol',
    within('protocol'),
  ),

  'formats import the protocol and themselves: both ends use them, and so can a page': importsOnly(
    'formats',
    (to) => within('protocol')(to) || within('formats')(to),
  ),

  'adapters import the client by its public entry, formats, and the types of what they adapt to': importsOnly(
    'adapters',
    (to) => to === 'client-sdk/index.ts' || within('formats')(to) || within('adapters')(to) || !isOurs(to),
  ),

  'the compat layer imports the client by its public entry, its clock, and itself': importsOnly(
    'compat',
    (to) => /^client-sdk\/(index|runtime)\.ts$/.test(to) || within('compat')(to),
  ),

  'the client imports the protocol and itself; only its Node entry imports ws': importsOnly(
    'client-sdk',
    (to, from) => within('protocol')(to) || within('client-sdk')(to) || (from === 'client-sdk/node.ts' && to === 'ws'),
  ),

  'the hooks for React import the public entries of the client, React and themselves': importsOnly(
    'react',
    (to) => /^client-sdk\/(index|conversation)\.ts$|^react$/.test(to) || within('react')(to),
  ),

  'the dashboard imports the package by its name, as a user would, and itself': importsOnly(
    'dashboard',
    (to) =>
      /^millrace\/(client|react|conversation)$/.test(to) ||
      within('dashboard')(to) ||
      !(isOurs(to) || packageOf(to) === 'millrace'),
  ),

  'the server never imports the client or its adapters, except its command line, which is a client': importsOnly(
    'server',
    (to, from) => !within('adapters')(to) && (!within('client-sdk')(to) || within('server/cli')(from)),
  ),

  'the conformance kit judges both ends and knows neither: it imports the protocol, ws and itself': importsOnly(
    'verify',
    (to) => within('protocol')(to) || within('verify')(to) || to === 'ws' || isBuiltin(to),
  ),

  'only the command line loads the conformance kit': ({ imports }) =>
    imports
      .filter(({ from, to }) => within('verify')(to) && !within('verify')(from) && !within('server/cli')(from))
      .map(line),

  'every file of the server stands in a room': ({ files }) =>
    files.filter((file) => within('server')(file) && !rooms.some((room) => standsIn(room)(file))),

  ...Object.fromEntries(
    rooms.map((room, index): [string, Rule] => [
      `${room} imports nothing of the rooms above it`,
      roomImportsOnly(room, (to) => rooms.slice(index).some((lower) => standsIn(lower)(to))),
    ]),
  ),

  ...Object.fromEntries(
    Object.entries(limitedTo).map(([room, known]): [string, Rule] => [
      `${room} knows only ${known.length > 0 ? known.join(', ') : 'itself'}, and the protocol`,
      roomImportsOnly(room, (to) => known.some((other) => standsIn(other)(to))),
    ]),
  ),

  'outside runs/ only the registry, which makes runs, names their class; the rest takes a readable run': ({
    imports,
  }) =>
    imports
      .filter(({ from, to }) => to === 'server/runs/run.ts' && !within('server/runs')(from))
      .filter(({ from }) => from !== 'server/sessions/registry.ts')
      .map(line),

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

const graph = importGraph(
  readSources(root, [
    'protocol',
    'formats',
    'client-sdk',
    'adapters',
    'compat',
    'react',
    'dashboard',
    'server',
    'verify',
  ]),
)

describe('the import lines of the package', () => {
  test('are found in many files', () => {
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

test('the files that run on another transport are those that import where it is chosen', () => {
  const read = ["process.env['MILLRACE_", "TEST_TRANSPORT']"].join('')
  const sources = [...readSources(root, ['test'])].filter(([, text]) => text.includes(read))
  expect(sources.map(([path]) => path).sort()).toEqual(CHOOSING)
  const left = testsWithoutTransport()
  expect(left).toContain('test/protocol/frames.test.ts')
  expect(left).not.toContain('test/server/runs/cancel.test.ts')
  expect(left).not.toContain('test/e2e/cuts.test.ts')
})

test('every file that imports what starts a program is in the tier of programs', () => {
  const needing = testsWithPrograms()
  expect(needing).toContain('test/cli/run.test.ts')
  expect(needing).toContain('test/e2e/dashboard.test.ts')
  expect(needing).toContain('test/verify/client.test.ts')
  expect(needing).not.toContain('test/server/runs/cancel.test.ts')
  expect(needing).toContain('test/server/stores/redis-store.test.ts')
  // The first one measures memory, and has a process of its own.
  const elsewhere = ['test/server/router.test.ts', ...PACKAGE_TESTS]
  const listed = (file: string): boolean => file.startsWith('test/cli/') || PROGRAM_TESTS.includes(file)
  expect(needing.filter((file) => !listed(file) && !elsewhere.includes(file))).toEqual([])
})

describe('a rule about imports is broken by an import that contradicts it', () => {
  const violations: Record<string, Record<string, string>> = {
    'protocol imports nothing': { 'protocol/frames.ts': `import { pack } from 'msgpackr'` },
    'the client imports the protocol': { 'client-sdk/client.ts': `import { WebSocket } from 'ws'` },
    'formats import the protocol': { 'formats/a.ts': `import '../server/text.ts'` },
    'adapters import the client': { 'adapters/a.ts': `import '../client-sdk/run.ts'` },
    'the compat layer imports': { 'compat/a.ts': `import '../client-sdk/run.ts'` },
    'the dashboard imports the package': { 'dashboard/a.ts': `import '../react/use-run.ts'` },
    'the hooks for React import': { 'react/use-run.ts': `import { createRun } from '../client-sdk/run.ts'` },
    'the server never imports the client': {
      'server/runs/run.ts': `import type { Run } from '../../client-sdk/run.ts'`,
    },
    'the conformance kit judges': {
      'verify/client/stage.ts': `import { createClient } from '../../client-sdk/client.ts'`,
    },
    'only the command line loads': { 'server/server.ts': `import '../verify/report.ts'` },
    'outside runs/ only the registry': { 'server/sessions/session.ts': `import type { Run } from '../runs/run.ts'` },
    'every file of the server stands in a room': { 'server/helpers.ts': '' },
    'a package is imported only': { 'server/runs/run.ts': `const openai = await import('openai/streaming')` },
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
  const fileIn = (room: string): string => (room.endsWith('/') ? `${room}some.ts` : room)
  for (const [index, room] of rooms.entries()) {
    // Nothing stands above the first room, so no import of it can break the rule; a room that is no room can.
    const above = index === 0 ? 'server/attic.ts' : fileIn(rooms[index - 1] as string)
    violations[`${room} imports nothing`] = {
      [fileIn(room)]: `import '${above.replace('server/', room.endsWith('/') ? '../' : './')}'`,
    }
  }
  for (const room of Object.keys(limitedTo)) {
    violations[`${room} knows only`] = { [fileIn(room)]: `import '${room.endsWith('/') ? '../' : './'}cli/main.ts'` }
  }

  for (const [sentence, rule] of Object.entries(rules)) {
    test(sentence, () => {
      const sources = Object.entries(violations).find(([start]) => sentence.startsWith(start))?.[1] ?? {}
      expect(rule(importGraph(new Map(Object.entries(sources))))).toHaveLength(1)
    })
  }
})
