import { describe, expect, test } from 'vitest'
import { DEFAULT_LIMITS } from '../../protocol/limits.ts'
import { Audience, type Reader } from '../../server/audience.ts'
import { Cursor } from '../../server/cursor.ts'
import { Log } from '../../server/log.ts'

describe('an audience', () => {
  test('wakes a reader once, however often it said that it rests', () => {
    const log = new Log(DEFAULT_LIMITS)
    const audience = new Audience(log, DEFAULT_LIMITS, 'pause')
    const woken: boolean[] = []
    const reader: Reader = {
      policy: 'log',
      own: true,
      cursor: new Cursor(log, { last: 0, gen: 1 }, 10, 10),
      paused: false,
      resting: false,
      wake: (urgent) => woken.push(urgent),
      dismiss: () => {},
    }
    audience.join(reader)
    // Each CREDIT of a client that has all there is makes it rest again.
    for (let n = 0; n < 1_000; n++) audience.rest(reader)
    audience.wakeResting()
    audience.wakeResting()
    expect(woken).toEqual([false])
    audience.rest(reader)
    audience.leave(reader)
    audience.wakeResting()
    expect(woken).toEqual([false])
  })
})
