import { describe, expect, test } from 'vitest'
import { type Member, OpenIds } from '../../../server/runs/open-ids.ts'

/** A run with two children, of which the first has a child. */
function family() {
  const make = (parent?: Member): Member & { isOver: boolean } => ({ parent, isOver: false, isHidden: false })
  const whole = make()
  const first = make(whole)
  const second = make(whole)
  return { whole, first, second, below: make(first) }
}

const target = (run: Member) => ({ run, stop: () => true })

describe('an open id', () => {
  test('is found in its run and in those above it, and nowhere else', () => {
    const { whole, first, second, below } = family()
    const ids = new OpenIds()
    const call = target(first)
    ids.add('call', 'a', call)
    expect([whole, first, second, below].map((run) => ids.of('call', 'a', run))).toEqual([[call], [call], [], []])
    expect(ids.of('call', 'b', whole)).toEqual([])
    expect(ids.of('agent', 'a', whole)).toEqual([])
  })

  test('is found until it is closed, and not when its run is over', () => {
    const { whole, first } = family()
    const ids = new OpenIds()
    const close = ids.add('agent', 'a', target(first))
    first.isOver = true
    expect(ids.of('agent', 'a', whole)).toEqual([])
    first.isOver = false
    expect(ids.of('agent', 'a', whole)).toHaveLength(1)
    close()
    expect(ids.of('agent', 'a', whole)).toEqual([])
  })

  test('that is open in several runs is found in each, in its own first', () => {
    const { whole, second, below } = family()
    const ids = new OpenIds()
    const [low, own, other] = [target(below), target(whole), target(second)]
    const close = ids.add('call', 'a', low)
    ids.add('call', 'a', own)
    ids.add('call', 'a', other)
    expect(ids.of('call', 'a', whole)).toEqual([own, low, other])
    close()
    close()
    expect(ids.of('call', 'a', whole)).toEqual([own, other])
  })
})
