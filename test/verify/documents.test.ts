import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { referenceActors } from '../../server/cli/reference-actors.ts'
import { CLIENT_CHECKS, judgeClient } from '../../verify/client/judge.ts'
import { REFERENCE_LIMITS } from '../../verify/reference.ts'
import { SERVER_CHECKS } from '../../verify/server/judge.ts'
import { Command } from '../helpers/command.ts'
import { HAS_PYTHON } from '../helpers/python.ts'
import { referenceServer, TOKENS } from '../helpers/reference-server.ts'
import { root } from '../helpers/root.ts'

const read = (file: string): string => readFileSync(`${root}${file}`, 'utf8')
const conformance = read('docs/conformance.md')

test.each([
  ['server', SERVER_CHECKS],
  ['client', CLIENT_CHECKS],
])('every check of a %s has a name of its own, and a section that PROTOCOL.md has', (_, checks) => {
  const headings = [...read('PROTOCOL.md').matchAll(/^#+ (.+)$/gm)].map(([, heading]) => heading)
  expect(checks.filter(({ section }) => !headings.includes(section)).map(({ name }) => name)).toEqual([])
  expect(new Set(checks.map(({ name }) => name)).size).toBe(checks.length)
  for (const { rule, hint } of checks) for (const text of [rule, hint]) expect(text).toMatch(/^[A-Z0-9`].*\.$/)
})

test('docs/conformance.md has the reference actors and limits of the kit', () => {
  const [, actors = '', limits = ''] =
    /### Reference actors([^]*)### Reference limits([^]*?)\n## /.exec(conformance) ?? []
  const names = [...actors.matchAll(/^\| `(\w+)` \|/gm)].map(([, name]) => name)
  expect(names).toEqual(Object.keys(referenceActors))
  const values = [...limits.matchAll(/\| (\w+) \| ([\d,]+) (?=\|)/g)].map(([, name = '', value = '']) => [
    name,
    Number(value.replaceAll(',', '')),
  ])
  expect(Object.fromEntries(values)).toEqual(REFERENCE_LIMITS)
})

describe.skipIf(!HAS_PYTHON)('the Python client of docs/implementing.md', () => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-python-'))
  afterAll(() => rmSync(folder, { recursive: true }))
  const blocks = [...read('docs/implementing.md').matchAll(/^```python\n([^]*?)^```$/gm)].map(([, code = '']) => code)
  const [judged = '', first = '', ...parts] = blocks.reverse()

  function program(name: string, main: string): string {
    const file = join(folder, name)
    writeFileSync(file, [...parts].reverse().concat(main).join('\n\n'))
    return file
  }

  test('reads the tokens of a run', async () => {
    await using server = await referenceServer()
    const env = { MILLRACE_URL: server.url, MILLRACE_TOKEN: TOKENS.token }
    await using client = new Command('python3', [program('first.py', first)], { env })
    const { code, stdout, stderr } = await client.ended
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^1 2 3 4 5 \n\(0, \{'ms': .*'counted': 5\}\}\)$/)
  })

  test('passes every check of the level minimal', async () => {
    const { signal } = new AbortController()
    const command = `python3 ${program('judged.py', judged)}`
    const report = await judgeClient({ kit: 'test', command, level: 'minimal', patienceMs: 8_000, signal })
    const failed = report.checks.filter(({ status }) => status !== 'passed')
    expect(failed.map(({ name, expected, seen }) => [name, expected, seen])).toEqual([])
  })
})
