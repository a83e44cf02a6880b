import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { CLIENT_CHECKS, judgeClient } from '../../verify/client/judge.ts'
import type { Report } from '../../verify/report.ts'
import { root } from '../helpers/root.ts'
import { repetitions } from '../helpers/tier.ts'

function judged(command: string, only: readonly string[] = [], patienceMs = 8_000): Promise<Report> {
  const { signal } = new AbortController()
  return judgeClient({ kit: 'test', command, level: 'full', only, patienceMs, signal })
}

/** What is wrong, by the names of the checks. */
function failures({ checks }: Report): Record<string, string> {
  const failed = checks.filter(({ status }) => status === 'failed')
  return Object.fromEntries(failed.map(({ name, expected, seen }) => [name, `expected ${expected}, saw ${seen}`]))
}

/** 1: the broken check alone, for each is a process or several. 2: and those that judge the same. 3: all of them. */
const extent = repetitions({ quick: 1, full: 2, long: 3 })
const isQuick = extent === 1

// Judging by one check is mostly waiting: many clients are judged at once. All of them would start too slowly.
vi.setConfig({ maxConcurrency: isQuick ? 8 : 3 })

/** The checks by which a client is judged that breaks one of them. */
function checksFor(name: string): string[] {
  const { section } = CLIENT_CHECKS.find((check) => check.name === name)!
  const chosen = CLIENT_CHECKS.filter((check) => {
    return extent === 3 || check.name === name || (extent === 2 && (check.section === section || check.isEssential))
  })
  return chosen.map((check) => check.name)
}

test.concurrent('the client of this package passes every check of every level', { timeout: 180_000 }, async () => {
  const report = await judged(`node ${root}examples/verify-client.mjs`)
  expect(failures(report)).toEqual({})
  expect(report).toMatchObject({ subject: 'client', passed: CLIENT_CHECKS.length, failed: 0, skipped: 0 })
})

test.concurrent.each([
  'hello',
  'credentials',
  'subprotocol',
  'pong',
  'merged-text',
  'unknown-events',
  'unknown-parts',
  'credit',
  'text-message',
  'elements',
  'atomic',
  'close',
  'cancel',
  'cancel-after-loss',
  'cancel-call-again',
  'resume',
  'start-again',
  'gen',
  'gap',
  'goaway',
  'retry-after',
  'rate-limited',
  'close-codes',
  'stop-codes',
  'input-again',
])('a client that breaks the rule of %s fails that check, and no other', async (name) => {
  const command = `MILLRACE_BREAK=${name} node ${root}test/helpers/broken-client.mjs`
  const report = await judged(command, checksFor(name), isQuick ? 4_000 : 8_000)
  const failed = failures(report)
  expect(Object.keys(failed), JSON.stringify(report.checks)).toEqual([name])
})

test.concurrent('a command that cannot be started fails the first check, with what it said', async () => {
  const report = await judged('millrace-no-such-program')
  const [first, ...others] = report.checks
  expect(first).toMatchObject({
    name: 'hello',
    status: 'failed',
    seen: expect.stringMatching(/the client ended \(127\)/),
  })
  expect(first?.seen).toMatch(/on stderr: .*not found/)
  expect(others.every(({ reason }) => reason === 'hello failed')).toBe(true)
})

test.concurrent('a client that hangs is ended with all that it has started', async () => {
  const mark = `sleep 98765`
  const report = await judged(`${mark} & ${mark}`, ['hello'], 1_000)
  expect(Object.keys(failures(report))).toEqual(['hello'])
  expect(execFileSync('ps', ['-eo', 'args'], { encoding: 'utf8' })).not.toContain(mark)
})

test.concurrent.each([
  ['lines', `yes '{"text":"x"}'`],
  ['anything', 'cat /dev/zero'],
])('a client that prints %s without end is ended for it', async (_, command) => {
  const report = await judged(`exec ${command}`, ['hello'])
  expect(report.checks).toEqual([
    expect.objectContaining({ status: 'failed', expected: 'at most 1048576 characters on stdout' }),
  ])
})

test.concurrent('what a client has put out of reach does not hold up the report', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-client-'))
  const file = join(folder, 'pid')
  const program = [
    `const child = require('node:child_process').spawn('sleep', ['600'], { detached: true, stdio: 'inherit' })`,
    `require('node:fs').writeFileSync('${file}', String(child.pid))`,
  ]
  const report = await judged(`node -e "${program.join('; ')}"`, ['hello'], 8_000)
  expect(Object.keys(failures(report))).toEqual(['hello'])
  process.kill(Number(readFileSync(file, 'utf8')), 'SIGKILL')
  rmSync(folder, { recursive: true })
})
