import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { DEFAULT_LIMITS } from '../../../protocol/limits.ts'
import { Cursor } from '../../../server/log/cursor.ts'
import { Log } from '../../../server/log/log.ts'
import { type Reader, Readers } from '../../../server/log/readers.ts'

const log = new Log(DEFAULT_LIMITS)

function readerThat(wake: (urgent: boolean) => void): Reader {
  return {
    policy: 'log',
    own: true,
    cursor: new Cursor(log, { last: 0, gen: 1 }, 10, 10),
    paused: false,
    allowance: () => Number.POSITIVE_INFINITY,
    resting: false,
    wake,
    dismiss: () => {},
  }
}

describe('the readers of a log', () => {
  test('are woken once, however often they rest', () => {
    const readers = new Readers(log, DEFAULT_LIMITS, 'pause')
    const woken: boolean[] = []
    const reader = readerThat((urgent) => woken.push(urgent))
    readers.join(reader)
    // Each CREDIT of a client that has all there is makes it rest again.
    for (let n = 0; n < 1_000; n++) readers.rest(reader)
    readers.wakeResting()
    readers.wakeResting()
    expect(woken).toEqual([false])
    readers.rest(reader)
    readers.leave(reader)
    readers.wakeResting()
    expect(woken).toEqual([false])
  })

  test('have one that takes the next text at once only where it is alone, rests and is ready, and is woken where it cannot', () => {
    const readers = new Readers(log, DEFAULT_LIMITS, 'pause')
    const told: string[] = []
    let canTake = true
    const reader: Reader = {
      ...readerThat(() => told.push('woken')),
      get isReady() {
        return this.resting
      },
      takeText: () => {
        told.push('takes')
        return canTake
      },
    }
    const text = (): string[] => {
      told.length = 0
      const { ready } = readers
      readers.wakeResting(ready)
      return [...told]
    }
    readers.join(reader)
    expect(text()).toEqual([])
    readers.rest(reader)
    expect(text()).toEqual(['takes'])
    // It rests on, so the next text is its own as well.
    expect(text()).toEqual(['takes'])
    canTake = false
    expect(text()).toEqual(['takes', 'woken'])
    expect(text()).toEqual([])
    canTake = true
    readers.rest(reader)
    readers.join(readerThat(() => {}))
    expect(text()).toEqual(['woken'])
  })

  test('that rest are woken and no other, whichever come and leave, also while others are woken', () => {
    const move = fc.tuple(
      fc.constantFrom('join', 'leave', 'rest', 'rest', 'text', 'text', 'event', 'leaves when woken'),
      fc.nat(4),
    )
    fc.assert(
      fc.property(fc.array(move, { maxLength: 60, size: 'max' }), (moves) => {
        const readers = new Readers(log, DEFAULT_LIMITS, 'pause')
        const here = new Set<number>()
        const resting = new Set<number>()
        const restless = new Set<number>()
        let woken: string[] = []
        const leave = (n: number): void => {
          expect(readers.leave(all[n] as Reader)).toBe(here.delete(n))
          resting.delete(n)
          restless.delete(n)
        }
        const all = Array.from({ length: 5 }, (_, n) =>
          readerThat((urgent) => {
            woken.push(`${n}${urgent ? '!' : ''}`)
            resting.delete(n)
            if (restless.has(n)) leave(n)
          }),
        )
        for (const [what, n] of moves) {
          woken = []
          let expected: string[] = []
          if (what === 'join' && !here.has(n)) {
            here.add(n)
            readers.join(all[n] as Reader)
          } else if (what === 'leave') leave(n)
          else if (what === 'leaves when woken' && here.has(n)) restless.add(n)
          else if (what === 'rest' && here.has(n)) {
            resting.add(n)
            readers.rest(all[n] as Reader)
          } else if (what === 'text') {
            expected = [...here].filter((one) => resting.has(one)).map(String)
            readers.wakeResting()
          } else if (what === 'event') {
            expected = [...here].map((one) => `${one}!`)
            readers.wakeAll()
          }
          expect(woken).toEqual(expected)
          expect(readers.size).toBe(here.size)
          expect(readers.detached).toBe(here.size === 0)
        }
      }),
    )
  })
})
