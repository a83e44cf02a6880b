import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { describe, expect, test } from 'vitest'

const here = fileURLToPath(new URL('.', import.meta.url))
const typeTests = readdirSync(here, { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.test-d.ts'))
  .map((path) => `${here}${path}`)

/**
 * Type tests are never run, only checked: `@ts-expect-error` above a line that must be refused, `expectTypeOf` around
 * one that must have a type. This file in memory is the proof that the checking can fail.
 */
const brokenPath = `${here}types/broken.test-d.ts`
const brokenText = `
  const count: number = 'one'
  // @ts-expect-error nothing is wrong with this line
  const name: string = 'two'
  export { count, name }
`

describe('the types', () => {
  const program = checkedProgram([...typeTests, brokenPath], new Map([[brokenPath, brokenText]]))

  test.each(typeTests.map((path) => [path.slice(here.length), path]))('satisfy %s', (_name, path) => {
    expect(errorsIn(program, path)).toEqual([])
  })

  test('a wrong assignment and a failed expectation are both reported', () => {
    expect(errorsIn(program, brokenPath)).toEqual([
      "2: Type 'string' is not assignable to type 'number'.",
      "3: Unused '@ts-expect-error' directive.",
    ])
  })
})

function checkedProgram(paths: string[], inMemory: ReadonlyMap<string, string>): ts.Program {
  const configPath = `${here}tsconfig.json`
  const config = ts.getParsedCommandLineOfConfigFile(configPath, undefined, {
    ...ts.sys,
    onUnRecoverableConfigFileDiagnostic: (diagnostic) => {
      throw new Error(ts.flattenDiagnosticMessageText(diagnostic.messageText, '\n'))
    },
  })
  if (!config) throw new Error(`cannot read ${configPath}`)

  const host = ts.createCompilerHost(config.options)
  const fromDisk = host.getSourceFile.bind(host)
  host.getSourceFile = (path, options, ...rest) => {
    const text = inMemory.get(path)
    if (text === undefined) return fromDisk(path, options, ...rest)
    return ts.createSourceFile(path, text, options)
  }
  return ts.createProgram(paths, config.options, host)
}

function errorsIn(program: ts.Program, path: string): string[] {
  const file = program.getSourceFile(path)
  if (!file) throw new Error(`not part of the program: ${path}`)
  return [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)].map(
    ({ start, messageText }) => {
      const line = file.getLineAndCharacterOfPosition(start ?? 0).line + 1
      return `${line}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`
    },
  )
}
