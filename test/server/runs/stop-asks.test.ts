import { expect, test } from 'vitest'
import { MillraceError } from '../../../protocol/errors.ts'
import { CANCEL_CODES, type CancelCause } from '../../../protocol/receipt.ts'
import { packAnswer, type RunAsk, unpackAsk } from '../../../server/runs/ask.ts'
import { StopAsks } from '../../../server/runs/stop-asks.ts'
import type { AskRefusal, SharedRuns } from '../../../server/stores/run-store.ts'
import { handClock } from '../../helpers/hand-clock.ts'

const WHY: CancelCause = { by: 'client', code: CANCEL_CODES.user }
const DOWN = new MillraceError('store_unavailable', 'Redis does not answer')

/** A store that gives these answers, one for each ask, and the last of them from then on. */
function asking(...answers: (boolean | AskRefusal | Error)[]) {
  const clock = handClock()
  const asked: RunAsk[] = []
  const failures: unknown[] = []
  const shared: Pick<SharedRuns, 'ask'> = {
    async ask(_run, packed, signal, isStop) {
      expect(isStop).toBe(true)
      asked.push(unpackAsk(packed))
      const answer = answers.length > 1 ? answers.shift()! : answers[0]!
      if (signal.aborted) throw DOWN
      if (answer instanceof Error) throw answer
      return typeof answer === 'boolean' ? packAnswer(answer) : answer
    },
  }
  const failed = (error: unknown): void => void failures.push(error)
  const stops = new StopAsks({ shared: shared as SharedRuns, runtime: clock, failed, withdraw: async () => false })
  /** What becomes of a stop, while time passes. */
  async function outcome(stop: Promise<boolean>): Promise<unknown> {
    let is: unknown
    const settled = stop.then(
      (isGoingOn) => (is = isGoingOn),
      (error: unknown) => (is = error),
    )
    while (is === undefined) {
      await new Promise((resolve) => setImmediate(resolve))
      clock.advance(500)
    }
    await settled
    return is
  }
  return { stops, asked, failures, outcome, clock }
}

test('a cancel is asked again until the holder answers, whatever the store says meanwhile', async () => {
  const { stops, asked, failures, outcome } = asking(DOWN, 'busy', DOWN, true)
  expect(await outcome(stops.ask('r_1', { type: 'cancel', why: WHY }))).toBe(true)
  expect(asked).toHaveLength(4)
  expect(failures).toEqual([DOWN, DOWN])
})

test.each(['ended', 'missing'] as const)('a cancel is asked no more of a run that is %s', async (over) => {
  const { stops, asked, outcome } = asking('busy', over)
  expect(await outcome(stops.ask('r_1', { type: 'cancel', why: WHY }))).toBe(false)
  expect(asked).toHaveLength(2)
})

test('a call is asked again as well, and whether it went on is the answer', async () => {
  const { stops, asked, outcome } = asking(DOWN, false)
  expect(await outcome(stops.ask('r_1', { type: 'call', id: 'c1', why: WHY }))).toBe(false)
  expect(asked).toEqual([
    { type: 'call', id: 'c1', why: WHY },
    { type: 'call', id: 'c1', why: WHY },
  ])
})

test('the same stop is under way once; that of another call, or of another run, is its own', async () => {
  const { stops, asked, outcome } = asking('busy')
  const first = stops.ask('r_1', { type: 'cancel', why: WHY })
  expect(stops.ask('r_1', { type: 'cancel', why: WHY })).toBe(first)
  const others = [
    stops.ask('r_2', { type: 'cancel', why: WHY }),
    stops.ask('r_1', { type: 'call', id: 'c1', why: WHY }),
    stops.ask('r_1', { type: 'agent', id: 'c1', why: WHY }),
  ]
  expect(asked).toHaveLength(4)
  void stops.close()
  expect(await Promise.all([first, ...others].map(outcome))).toEqual([DOWN, DOWN, DOWN, DOWN])
})

test('while many calls wait to be asked again, a further one is asked once, and a run all the same', async () => {
  const { stops, outcome, clock } = asking(DOWN)
  const waiting = Array.from({ length: 1_024 }, (_, n) => stops.ask('r_1', { type: 'call', id: `c${n}`, why: WHY }))
  await expect(stops.ask('r_1', { type: 'call', id: 'more', why: WHY })).rejects.toBe(DOWN)
  const cancel = stops.ask('r_1', { type: 'cancel', why: WHY })
  void stops.close()
  clock.advance(500)
  expect(await Promise.allSettled(waiting)).toHaveLength(1_024)
  expect(await outcome(cancel)).toBe(DOWN)
})

test('after the close of its server nothing is asked again', async () => {
  const { stops, asked, outcome, clock } = asking(DOWN)
  const cancel = stops.ask('r_1', { type: 'cancel', why: WHY })
  await new Promise((resolve) => setImmediate(resolve))
  void stops.close()
  expect(await outcome(cancel)).toBe(DOWN)
  const times = asked.length
  clock.advance(10_000)
  expect(asked).toHaveLength(times)
  expect(clock.timers).toBe(0)
})
