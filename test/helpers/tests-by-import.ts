import { type Import, importGraph, reachable, readSources } from './import-graph.ts'
import { root } from './root.ts'

/** The files that start a server on the transport that MILLRACE_TEST_TRANSPORT names. */
export const CHOOSING: readonly string[] = ['test/helpers/served-process.ts', 'test/helpers/server.ts']
/** The files that start the command line, a browser, a server of tools, a Redis, and a client that is judged. */
const STARTING: readonly string[] = [
  'test/helpers/browser.ts',
  'test/helpers/command.ts',
  'test/helpers/mcp-server.ts',
  'test/helpers/redis-server.ts',
  'verify/client/judge.ts',
]

/** The test files that import none of those that choose a transport, however far. Another transport changes nothing in them. */
export function testsWithoutTransport(): string[] {
  const choosing = importersOf(CHOOSING)
  return testFiles().filter((file) => !choosing.has(file))
}

/** The test files that import what starts programs, however far. */
export function testsWithPrograms(): string[] {
  const starting = importersOf(STARTING)
  return testFiles().filter((file) => starting.has(file))
}

const tests = importGraph(readSources(root, ['test']))

function testFiles(): string[] {
  return tests.files.filter((file) => file.endsWith('.test.ts') && !file.startsWith('test/soak/'))
}

function importersOf(helpers: readonly string[]): Set<string> {
  const turned = tests.imports.map(({ from, to, kind }): Import => ({ from: to, to: from, kind }))
  const graph = { files: tests.files, imports: turned }
  return new Set(helpers.flatMap((file) => [...reachable(graph, file, ({ kind }) => kind !== 'type')]))
}
