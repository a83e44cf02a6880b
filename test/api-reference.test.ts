import { readFileSync } from 'node:fs'
import { Application, Logger, LogLevel, TSConfigReader, TypeDocReader } from 'typedoc'
import { beforeAll, expect, test } from 'vitest'
import { root } from './helpers/root.ts'

/** The names that the reference shows without a docstring, as typedoc reports them. */
const bare: string[] = []

class Reports extends Logger {
  override log(message: string, level: LogLevel): void {
    const name = /^(\S+) \(\w+\), defined in (\S+), does not have any documentation/.exec(message)
    if (name) bare.push(`${name[1]} in ${name[2]}`)
    else if (level >= LogLevel.Warn) throw new Error(message)
  }
}

/**
 * What explains itself, or is explained where it belongs:
 * members of a frame, and the numbers of the wire: PROTOCOL.md has a table of each;
 * members of a shape within a type, such as one event of `RunEvent`: the type says what they mean;
 * constructors, and the name of an error class.
 */
const NEED_NONE = [
  /^protocol\.[A-Z]\w*\.\S+ in \S*protocol\/frames\.ts$/,
  /^protocol\.(CLOSE|TAG|EVENT)\.\w+ in /,
  /\.__type\./,
  /\.(constructor|name) in \S*(protocol\/(errors|credit)|model-failure)\.ts$/,
]

beforeAll(async () => {
  const app = await Application.bootstrap({ validation: { notDocumented: true } }, [
    new TypeDocReader(),
    new TSConfigReader(),
  ])
  app.options.setValue('requiredToBeDocumented', [
    ...['Class', 'Interface', 'TypeAlias', 'Function', 'Variable', 'Enum'],
    ...['Constructor', 'Method', 'Property', 'Accessor'],
  ] as never)
  app.logger = new Reports()
  const project = await app.convert()
  if (!project) throw new Error('typedoc cannot read the sources')
  app.validate(project)
}, 180_000)

test('every name that the package exports has a docstring, and so has every member', () => {
  expect(bare.filter((name) => !NEED_NONE.some((pattern) => pattern.test(name)))).toEqual([])
})

test('every name listed as needing no docstring exists', () => {
  for (const pattern of NEED_NONE) expect(bare.some((name) => pattern.test(name))).toBe(true)
})

test('the reference has every entry of the package that exports something', () => {
  const { exports, sideEffects } = JSON.parse(readFileSync(`${root}package.json`, 'utf8')) as {
    exports: Record<string, string | { types: string; default: string }>
    sideEffects: string[]
  }
  const { entryPoints } = JSON.parse(readFileSync(`${root}typedoc.json`, 'utf8')) as { entryPoints: string[] }
  const sources = Object.values(exports)
    .filter((entry) => typeof entry !== 'string')
    // A script exports nothing.
    .filter((entry) => !sideEffects.includes(entry.default))
    .map(({ types }) => types.replace('./dist/', '').replace('.d.ts', '.ts'))
  expect(entryPoints).toEqual(sources)
})
