import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const vitest = fileURLToPath(new URL('../node_modules/vitest/vitest.mjs', import.meta.url))
const reporter = fileURLToPath(new URL('./helpers/summary-reporter.ts', import.meta.url))

test('a run ends with one plain line that counts its tests', async () => {
  const run = await runTests({
    'one.test.js': `test('a', () => {}); test('b', () => { throw new Error('no') }); test.todo('c')`,
  })
  expect(run).toEqual({ code: 1, lastLine: '1 passed, 1 failed, 1 skipped' })
})

test('a file that does not load counts as failed', async () => {
  const run = await runTests({ 'one.test.js': `test('a', () => {})`, 'two.test.js': `throw new Error('no')` })
  expect(run).toEqual({ code: 1, lastLine: '1 passed, 1 failed, 0 skipped' })
})

test('a skipped test is accepted at a desk and fails the run where skips are forbidden', async () => {
  const files = { 'one.test.js': `test('a', () => {}); test.skip('b', () => {})` }
  const lastLine = '1 passed, 0 failed, 1 skipped'
  expect(await runTests(files)).toEqual({ code: 0, lastLine })
  expect(await runTests(files, { CI: 'true' })).toEqual({ code: 1, lastLine })
  expect(await runTests(files, { MILLRACE_FORBID_SKIPS: '1' })).toEqual({ code: 1, lastLine })
})

async function runTests(
  files: Record<string, string>,
  env: Record<string, string> = {},
): Promise<{ code: unknown; lastLine: string | undefined }> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-reporter-'))
  try {
    const config = `import { SummaryReporter } from ${JSON.stringify(reporter)}
      export default { test: { globals: true, reporters: ['default', new SummaryReporter()] } }`
    for (const [name, source] of Object.entries({ ...files, 'vitest.config.js': config })) {
      await writeFile(join(folder, name), source)
    }
    const { PATH = '' } = process.env
    const child = spawn(process.execPath, [vitest, 'run', '--root', folder, '--no-color'], {
      env: { PATH, ...env },
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    const closed = once(child, 'close')
    const output = await text(child.stdout)
    const [code]: unknown[] = await closed
    return { code, lastLine: output.trimEnd().split('\n').at(-1) }
  } finally {
    await rm(folder, { recursive: true })
  }
}
