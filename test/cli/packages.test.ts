import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { Command, MILLRACE } from '../helpers/command.ts'
import { installedAlone } from '../helpers/installed-alone.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-packages-'))
afterAll(() => rmSync(folder, { recursive: true }))
const data = join(folder, 'data')

test('a package that is missing is named in one line with what installs it, and exit code 2', async () => {
  const alone = installedAlone(folder)
  const port = ['--port', '0']
  const cases: [string, string[]][] = [
    ['redis', ['serve', '--redis', 'redis://127.0.0.1:1', ...port]],
    ['redis', ['worker', '--pool', 'gpu', '--redis', 'redis://127.0.0.1:1']],
    ['libsql', ['serve', '--data', data, ...port]],
    ['prom-client', ['serve', '--metrics', ...port]],
    ['@modelcontextprotocol/server', ['serve', '--mcp', ...port]],
    ['@modelcontextprotocol/server', ['mcp']],
    ['openai', ['serve', '--model', 'openai:any', ...port]],
  ]
  for (const [name, args] of cases) {
    const env = { OPENAI_API_KEY: 'sk-1' }
    await using command = new Command(process.execPath, [alone, ...args], { cwd: folder, env })
    expect({ args, ...(await command.ended) }).toMatchObject({
      args,
      code: 2,
      stdout: '',
      stderr: expect.stringMatching(new RegExp(`^millrace: [^\\n]+: npm install ${name}\\n$`)),
    })
  }
})

test('serve --data with the path of a file is a wrong option: one line, and exit code 2', async () => {
  const file = join(folder, 'file')
  writeFileSync(file, '')
  for (const path of [file, '/dev/null']) {
    await using command = new Command(process.execPath, [MILLRACE, 'serve', '--port', '0', '--data', path])
    expect(await command.ended).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringMatching(/^millrace: \S+ cannot be a file: .*; choose another path\n$/),
    })
  }
})
