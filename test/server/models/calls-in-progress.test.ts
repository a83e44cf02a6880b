import { describe, expect, test } from 'vitest'
import { CallsInProgress } from '../../../server/models/calls-in-progress.ts'

const PIECES = 50_000
/** With a look at all arguments for each piece, it takes eight seconds and more; without, 30 ms. */
const GENEROUS_MS = 3_000

describe('arguments of 200 KB in small pieces', () => {
  test.each([
    ['of a server that names a call once', { index: 0 }, {}],
    ['of one that repeats the name in each piece', { index: 0 }, { name: 'write' }],
    ['of one that sends neither number nor id', {}, { name: 'write' }],
  ])('%s cost each piece the same', (_, piece, repeated) => {
    const calls = new CallsInProgress()
    let shown = ''
    const take = (text: string, named: object = repeated): void => {
      const part = { ...piece, function: { ...named, arguments: text } }
      for (const event of calls.take([part])) shown += event.text
    }
    const before = performance.now()
    take('{"text":"', { name: 'write' })
    for (let n = 0; n < PIECES; n++) take('abcd')
    take('"}')
    const complete = calls.complete()
    expect(performance.now() - before).toBeLessThan(GENEROUS_MS)
    const text = 'abcd'.repeat(PIECES)
    expect(complete.map(({ name }) => name)).toEqual(['write'])
    expect((complete[0]!.args as { text: string }).text === text).toBe(true)
    expect(shown === `{"text":"${text}"}`).toBe(true)
  })
})
