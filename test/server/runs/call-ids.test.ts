import { describe, expect, test } from 'vitest'
import { CallIds } from '../../../server/runs/call-ids.ts'

describe('the id of a tool call', () => {
  test('is the one that the model gave, or the next free one where that is taken', () => {
    const ids = new CallIds()
    const given = ['c', 'c_2', 'c', 'c', 'c_2', 'c_2_2', '', '\ud800', '__proto__', '__proto__']
    expect(given.map((id) => ids.claimCall(id))).toEqual([
      ...['c', 'c_2', 'c_3', 'c_4', 'c_2_2', 'c_2_2_2', 'call', 'call_2'],
      ...['__proto__', '__proto___2'],
    ])
  })

  // Where each is looked for from the beginning, this takes minutes.
  test('is new however often a model counts from one again', () => {
    const ids = new CallIds()
    const claimed = Array.from({ length: 100_000 }, () => ids.claimCall('call_1'))
    expect(new Set(claimed).size).toBe(100_000)
  })
})
