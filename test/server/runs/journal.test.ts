import { expect, test } from 'vitest'
import { DEFAULT_LIMITS } from '../../../protocol/limits.ts'
import { Log } from '../../../server/log/log.ts'
import { Journal } from '../../../server/runs/journal.ts'
import { JournalQueue } from '../../../server/runs/journal-queue.ts'
import type { Append, AppendRefusal, Lease } from '../../../server/stores/run-store.ts'
import { handClock } from '../../helpers/hand-clock.ts'

const FLUSH_MS = 40

const nothing = (): void => {}
const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** The journal of a run whose store answers when it is told to. */
function heldUp() {
  const clock = handClock()
  const log = new Log(DEFAULT_LIMITS)
  const sent: { last: number | undefined; at: number }[] = []
  const answers: ((refusal: AppendRefusal | undefined) => void)[] = []
  const lease: Partial<Lease> = {
    append({ batch }: Append) {
      sent.push({ last: batch?.last, at: clock.now() })
      return new Promise((resolve) => answers.push(resolve))
    },
  }
  const journal = new Journal(
    {
      runtime: clock,
      queue: new JournalQueue(clock, FLUSH_MS, 1),
      durability: 'eager',
      maxBatchBytes: 65_536,
      creditUnit: DEFAULT_LIMITS.creditUnit,
      usage: () => undefined,
      parks: () => true,
      stored: nothing,
      parked: nothing,
      held: nothing,
      lost: nothing,
      failed: nothing,
      succeeded: nothing,
    },
    log,
    lease as Lease,
    undefined,
  )
  const run = {
    clock,
    sent,
    say(text: string): void {
      log.appendText(0, text, clock.now())
      journal.dirty(false)
    },
    /** The first text of a run does not wait. */
    async begin(): Promise<void> {
      run.say('first')
      await nextTurn()
      expect(sent).toHaveLength(1)
    },
    async answer(): Promise<void> {
      answers.shift()!(undefined)
      await nextTurn()
    },
  }
  return run
}

test('text whose time comes while an append is under way is sent once that is answered, and waits no second time', async () => {
  const { clock, sent, begin, say, answer } = heldUp()
  await begin()
  say('second')
  clock.advance(FLUSH_MS)
  clock.advance(5)
  expect(sent).toHaveLength(1)
  const now = clock.now()
  await answer()
  expect(sent[1]).toEqual({ last: 2, at: now })
})

test('text that comes while an append is under way waits for its own time, where the answer comes before', async () => {
  const { clock, sent, begin, say, answer } = heldUp()
  await begin()
  say('second')
  clock.advance(5)
  await answer()
  expect(sent).toHaveLength(1)
  clock.advance(FLUSH_MS - 5)
  expect(sent[1]).toMatchObject({ last: 2 })
})
