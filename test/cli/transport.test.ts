import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { Command, millrace, serving } from '../helpers/command.ts'
import { installedAlone } from '../helpers/installed-alone.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-installed-'))
afterAll(() => rmSync(folder, { recursive: true }))

test('serve --transport uws serves as it does without', async () => {
  await using serve = await serving(['--transport', 'uws'])
  expect(serve.server.stdout).toContain('http    off: this transport takes WebSockets only; set --http-port\n')
  const run = await millrace(['run', 'count', '{"to":3}'], { env: serve.env }).ended
  expect(run).toMatchObject({ code: 0, stdout: '1 2 3 \n' })
  await using sleeping = millrace(['run', 'sleep', '{"ms":600000}'], { env: serve.env })
  await sleeping.said('stderr', /run r_/)
  const second = await millrace(['serve', '--transport', 'uws', '--port', new URL(serve.url).port]).ended
  expect(second).toMatchObject({
    code: 3,
    stdout: '',
    stderr: expect.stringMatching(/^millrace: port \d+ is in use.*\n$/),
  })
  sleeping.kill('SIGINT')
  expect(await sleeping.ended).toMatchObject({ code: 130 })
  serve.server.kill('SIGTERM')
  expect(await serve.server.ended).toMatchObject({ code: 0, stderr: 'drained\n' })
})

test('serve --transport uws --http-port serves plain HTTP on a port of its own', async () => {
  await using serve = await serving(['--transport', 'uws', '--http-port', '0'])
  const [, httpUrl = ''] = /http {4}(\S+)\/runs /.exec(serve.server.stdout) ?? []
  expect(new URL(httpUrl).port).not.toBe(new URL(serve.url).port)
  const authorization = `Bearer ${serve.env['MILLRACE_TOKEN'] ?? ''}`
  const listed = await fetch(`${httpUrl}/runs`, { headers: { authorization } })
  expect(await listed.json()).toEqual({ runs: [], more: false })
})

test('serve --transport uws says in one line that its package is not installed', async () => {
  const serve = new Command(process.execPath, [installedAlone(folder), 'serve', '--port', '0', '--transport', 'uws'], {
    cwd: folder,
  })
  expect(await serve.ended).toMatchObject({
    code: 2,
    stdout: '',
    stderr: 'millrace: --transport uws needs the package uWebSockets.js: npm install uNetworking/uWebSockets.js\n',
  })
})
