import '../../helpers/work-counter.ts'
import { expect, test } from 'vitest'
import { MemoryOutbox } from '../../../server/stores/memory-outbox.ts'
import { handClock } from '../../helpers/hand-clock.ts'
import { Work } from '../../helpers/work-counter.ts'

/** The work of sending 100 notices, one after the other, while so many more wait. */
async function workBeside(waiting: number): Promise<Work> {
  const clock = handClock()
  const outbox = new MemoryOutbox(clock)
  // The last of them come first in time: nothing is in order by chance.
  for (let n = 0; n < waiting + 100; n++) {
    await outbox.add([{ id: `n${n}`, body: new Uint8Array(1) }])
    await outbox.putOff(`n${n}`, (n * 7_919) % (waiting + 100))
  }
  clock.advance(waiting + 100)
  Work.take()
  for (let n = 0; n < 100; n++) {
    const [notice] = await outbox.take(1, 60_000)
    await outbox.putOff(notice!.id, 30_000)
    await outbox.take(0, 1)
    await outbox.remove(notice!.id)
    await outbox.trim(waiting + 100)
  }
  return Work.take()
}

test('a notice in memory costs the same to send, however many wait behind it', async () => {
  const few = await workBeside(10)
  const many = await workBeside(10_000)
  // The way through a sorted list gets longer by a step with each doubling.
  expect(many.total, many.beyond(few)).toBeLessThan(3 * few.total)
}, 30_000)
