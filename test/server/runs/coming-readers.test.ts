import { describe, expect, test } from 'vitest'
import { EVENT } from '../../../protocol/events.ts'
import { DEFAULT_LIMITS } from '../../../protocol/limits.ts'
import { Log } from '../../../server/log/log.ts'
import { packPayload } from '../../../server/log/payload.ts'
import { Readers } from '../../../server/log/readers.ts'
import { ComingReaders } from '../../../server/runs/coming-readers.ts'
import { handClock } from '../../helpers/hand-clock.ts'

const LIMITS = { ...DEFAULT_LIMITS, initialCredit: 10, readAhead: 2 }

/** A run that a worker has just begun, and in which nobody is known to read. */
function begunRun() {
  const clock = handClock()
  const log = new Log(LIMITS)
  const readers = new Readers(log, LIMITS, 'pause')
  const run = {
    clock,
    moved: 0,
    coming: new ComingReaders(log, LIMITS, clock, () => run.moved++),
    get room(): number {
      return readers.room()
    },
    event(bytes: number): void {
      const data = { name: 'n', value: 'x'.repeat(bytes) }
      log.appendEvent(EVENT.data, packPayload(data, LIMITS), data, 1)
    },
    says(count: number): void {
      for (let n = 0; n < count; n++) log.appendText(0, 'x', 1)
    },
  }
  readers.pacedBy(run.coming)
  return run
}

describe('a run that a worker has begun', () => {
  test('goes no further than the first credit and the read-ahead until a reader is heard of', () => {
    const run = begunRun()
    let said = 0
    for (let room = run.room; room > 0; room = run.room) {
      run.says(1)
      said++
    }
    expect(said).toBe(12)
    run.coming.came()
    expect([run.room, run.moved, run.clock.timers]).toEqual([Number.POSITIVE_INFINITY, 1, 0])
    run.coming.came()
    expect(run.moved).toBe(1)
  })

  test('that is over waits for nobody, and lets nothing go on', () => {
    const run = begunRun()
    run.says(12)
    run.coming.close()
    run.coming.came()
    expect([run.moved, run.clock.timers]).toEqual([0, 0])
  })

  test('counts what items cost, as a reader does', () => {
    const run = begunRun()
    run.event(9 * DEFAULT_LIMITS.creditUnit)
    expect(run.room).toBeLessThan(4)
    run.event(9 * DEFAULT_LIMITS.creditUnit)
    expect(run.room).toBeLessThanOrEqual(2)
  })

  test('waits for nobody for longer than a second', () => {
    const run = begunRun()
    run.says(12)
    run.clock.advance(999)
    expect(run.room).toBe(0)
    run.clock.advance(1)
    expect([run.room, run.moved, run.clock.timers]).toEqual([Number.POSITIVE_INFINITY, 1, 0])
  })
})
