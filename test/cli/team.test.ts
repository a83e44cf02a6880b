import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { AgentLines } from '../../server/cli/agent-lines.ts'
import { millrace, type Serving, serving } from '../helpers/command.ts'

let serve: Serving
beforeAll(async () => {
  serve = await serving()
})
afterAll(() => serve[Symbol.asyncDispose]())

describe('millrace run team', () => {
  test('shows in each line which of the agents that run at once said it, and answers with the last', async () => {
    await using asking = millrace(['run', 'team', 'mills', '--stream'], serve)
    const { code, stdout, stderr } = await asking.ended
    expect(code).toBe(0)
    for (const name of ['advocate', 'critic', 'editor']) {
      expect(stderr).toMatch(new RegExp(`^${name} starts as r_\\S{22}$`, 'm'))
      expect(stderr).toMatch(new RegExp(`^${name} is done$`, 'm'))
      expect(stdout).toMatch(new RegExp(`^${name}: `, 'm'))
    }
    for (const line of stdout.trimEnd().split('\n')) expect(line).toMatch(/^(advocate|critic|editor): .{1,72}$/u)
  })

  test('goes on without an agent that is stopped by the id of its run', async () => {
    await using asking = millrace(['run', 'team', 'rivers', '--stream'], serve)
    const [, id = ''] = await asking.said('stderr', /^critic starts as (r_\S{22})$/m)
    await asking.said('stdout', /^critic: /m)
    await using stopping = millrace(['cancel', id], serve)
    expect((await stopping.ended).code).toBe(0)
    const { code, stderr, stdout } = await asking.ended
    expect(code).toBe(0)
    expect(stderr).toMatch(/^critic was cancelled by a client$/m)
    expect(stdout).toMatch(/^editor: /m)
  })
})

describe('the lines of several agents', () => {
  test('are cut at their line ends and at spaces, and lose nothing else', () => {
    const agents = new AgentLines()
    agents.begin('a', 'Ann')
    const long = 'word '.repeat(30)
    const said = [
      agents.add('a', 'one\ntwo'),
      agents.add('b', 'between'),
      agents.add('a', ` and ${long}`),
      agents.end('a'),
      agents.endAll(),
    ].join('')
    expect(said.split('\n').filter((line) => line.startsWith('b: '))).toEqual(['b: between'])
    const lines = said.split('\n').filter((line) => line.startsWith('Ann: '))
    expect(lines[0]).toBe('Ann: one')
    expect(lines.every((line) => line.length <= 'Ann: '.length + 72)).toBe(true)
    expect(lines.map((line) => line.slice('Ann: '.length).trim()).join(' ')).toBe(`one two and ${long.trim()}`)
  })

  test('are cut anywhere when there is no space', () => {
    const agents = new AgentLines()
    expect(agents.add('a', 'x'.repeat(100))).toBe(`a: ${'x'.repeat(72)}\n`)
    expect(agents.end('a')).toBe(`a: ${'x'.repeat(28)}\n`)
  })
})
