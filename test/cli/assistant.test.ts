import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { millrace, type Serving, serving } from '../helpers/command.ts'

let serve: Serving
beforeAll(async () => {
  serve = await serving()
})
afterAll(() => serve[Symbol.asyncDispose]())

describe('millrace run assistant', () => {
  test('shows the tools that it calls side by side, and an answer made of their outputs', async () => {
    await using asking = millrace(['run', 'assistant', 'Weather in Oslo, Rome and Lima?', '--stream'], serve)
    const { code, stdout, stderr } = await asking.ended
    expect(code).toBe(0)
    expect(stderr).toContain('This is about weather')
    for (const [n, city] of ['Oslo', 'Rome', 'Lima'].entries()) {
      expect(stderr).toContain(`calls weather {"city":"${city}"} as call_${n + 1}\n`)
      expect(stderr).toMatch(new RegExp(`call_${n + 1} after \\d+ ms: \\{"city":"${city}",`))
      expect(stdout).toContain(`weather says: {"city":"${city}",`)
    }
  })

  test('refuses a tool that needs approval where nobody can be asked, and allows it with --yes', async () => {
    await using refusing = millrace(['run', 'assistant', 'Please mail Anna'], serve)
    await using allowing = millrace(['run', 'assistant', 'Please mail Anna', '--yes'], serve)
    const refused = await refusing.ended
    expect(refused.stdout).toContain('mail did not work: refused by the user')
    expect(refused.stderr).toContain(
      'Allow mail {"to":"Anna"}?\nrefused: no terminal to ask on; --yes approves all calls\n',
    )
    const allowed = await allowing.ended
    expect(allowed.stdout).toContain('mail says: nothing was sent to Anna')
    expect([refused.code, allowed.code]).toEqual([0, 0])
  })
})

describe('millrace cancel --call', () => {
  test('stops one tool call, and the run goes on to its answer', async () => {
    await using asking = millrace(['run', 'assistant', 'Do some research on Mills and Rivers', '--stream'], serve)
    await asking.said('stderr', /call_2: 0\/5/)
    const [, id = ''] = await asking.said('stderr', /run (r_\S+)/)
    await using stopping = millrace(['cancel', id, '--call', 'call_1', '--note', 'enough'], serve)
    await using missing = millrace(['cancel', id, '--call', 'call_9'], serve)
    const stopped = await stopping.ended
    expect(stopped).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^cancelled call_1 in \d+.* ms: it has ended; note: enough\n$/),
    })
    expect(await missing.ended).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('this run has no open tool call call_9'),
    })
    const { code, stdout, stderr } = await asking.ended
    expect(code).toBe(0)
    expect(stderr).toMatch(/call_1 was cancelled by a client after \d+ ms: enough\n/)
    expect(stdout).toContain('research did not work: cancelled by the user: enough. research says: Rivers')
  })
})
