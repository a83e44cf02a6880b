import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { importGraph, reachable, readSources } from './helpers/import-graph.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
/** Asks for another count in another tier. */
const ASKS = /\brepetitions\(\{/

/** The files that ask for a larger count than that of `npm test`, and that no file of the soak imports, however far. */
function withoutSoak(sources: ReadonlyMap<string, string>): string[] {
  const graph = importGraph(sources)
  const soaks = graph.files.filter((file) => file.startsWith('test/soak/'))
  const soaked = new Set(soaks.flatMap((file) => [...reachable(graph, file, ({ kind }) => kind === 'static')]))
  const asking = graph.files.filter((file) => ASKS.test(sources.get(file)!) && !file.startsWith('test/soak/'))
  expect(asking.length).toBeGreaterThan(0)
  return asking.filter((file) => !soaked.has(file))
}

test('every experiment that has a larger count is in the soak', () => {
  expect(withoutSoak(readSources(root, ['test']))).toEqual([])
})

test('an experiment with a larger count that no file of the soak imports is found', () => {
  // In two parts: it would be found here as well.
  const count = ['const COUNT = repetitions', '({ quick: 1, full: 2 })'].join('')
  const sources = {
    'test/soak/one.soak.test.ts': "import '../one.test.ts'",
    'test/one.test.ts': `import { suite } from './suite.ts'\n${count}`,
    'test/suite.ts': count,
    'test/two.test.ts': count,
  }
  expect(withoutSoak(new Map(Object.entries(sources)))).toEqual(['test/two.test.ts'])
})
