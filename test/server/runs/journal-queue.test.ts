import { expect, test } from 'vitest'
import { JournalQueue } from '../../../server/runs/journal-queue.ts'
import { handClock } from '../../helpers/hand-clock.ts'

/** When the texts of runs are sent, which come every 2 ms. */
function sentAt(momentMs?: number): number[] {
  const clock = handClock()
  const queue = new JournalQueue(clock, 40, 1, momentMs)
  const sent: number[] = []
  for (let n = 0; n < 10; n++) {
    queue.later({
      flush: () => {
        sent.push(clock.now())
        return undefined
      },
    })
    clock.advance(2)
  }
  clock.advance(100)
  return sent
}

test('what comes while the first text waits is sent with it, where a store writes all of it at once', () => {
  expect(new Set(sentAt()).size).toBe(1)
})

test('a text waits for those of its own moment only, where a store writes one after the other', () => {
  const sent = sentAt(5)
  const moments = [...new Set(sent)]
  expect(moments.map((at) => sent.filter((each) => each === at).length)).toEqual([3, 3, 3, 1])
  expect(moments.map((at) => at - moments[0]!)).toEqual([0, 6, 12, 18])
})
