import { fileURLToPath } from 'node:url'
import { importGraph, reachable, readSources } from './import-graph.ts'

/** The files that start a server on the transport that MILLRACE_TEST_TRANSPORT names. */
export const CHOOSING: readonly string[] = ['test/helpers/served-process.ts', 'test/helpers/server.ts']

/** The test files that import none of them, however far. Another transport changes nothing in them. */
export function testsWithoutTransport(): string[] {
  const { files, imports } = importGraph(readSources(fileURLToPath(new URL('../..', import.meta.url)), ['test']))
  const importers = { files, imports: imports.map(({ from, to, kind }) => ({ from: to, to: from, kind })) }
  const choosing = CHOOSING.flatMap((file) => [...reachable(importers, file, ({ kind }) => kind !== 'type')])
  return files.filter((file) => file.endsWith('.test.ts') && !choosing.includes(file))
}
