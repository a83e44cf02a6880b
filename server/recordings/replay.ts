import { MillraceError } from '../../protocol/errors.ts'
import { checkOptions, type OptionKinds } from '../../protocol/options.ts'
import type { Actor, ActorContext } from '../actors/actor.ts'
import type { RecordedEnd, RecordedItem } from '../log/recorded.ts'
import { wait } from '../streams/wait.ts'
import { Recording } from './recording.ts'

/** The options of `replay`. */
export type ReplayOptions = {
  /** How many times as fast as it was recorded. `Infinity` waits for readers only. Default 1. */
  speed?: number | undefined
  /** Items before this one come without waiting. Default 1. */
  from?: number | undefined
}

const OPTIONS: OptionKinds<ReplayOptions> = { speed: 'a number', from: 'a number' }
const DESCRIPTION = 'Replays a recorded run.'
/** What late timers may add up to before the replay is late as a whole: a reader that stops stops it, too. */
const CATCH_UP_MS = 50
/** The longest timer of Node. */
const MAX_MS = 2 ** 31 - 1

/**
 * Makes an actor that replays a recorded run, whatever its input. Each of its runs is a run like any other: it can be
 * attached to, slowed down, resumed and cancelled. It says the same items under the same numbers, and ends as the recorded
 * run did. Inputs are accepted and change nothing. Where the recording lacks items, those behind them follow at once.
 * @param recording What `openRecording` returned.
 * @throws MillraceError `bad_request` for an unknown or invalid option, and for what is no recording.
 */
export function replay(recording: Recording, options: ReplayOptions = {}): Actor {
  checkOptions('replay()', options, OPTIONS)
  const { speed = 1, from = 1 } = options
  if (!(recording instanceof Recording))
    throw new MillraceError('bad_request', 'replay() takes what openRecording() returns: await it')
  if (!(speed > 0)) throw new MillraceError('bad_request', `speed must be a number above 0, not ${speed}`)
  if (!(Number.isSafeInteger(from) && from >= 1))
    throw new MillraceError('bad_request', `from must be the number of an item, at least 1, not ${from}`)
  // The items are those of another log, which only the server itself can put into this one.
  const stream = (_: never, context: ActorContext) => replayed(recording, context, { speed, from }) as never
  return { description: DESCRIPTION, interactive: true, stored: false, input: undefined, ask: undefined, stream }
}

async function* replayed(
  recording: Recording,
  { signal, takeInputs, onInput }: ActorContext,
  { speed, from }: { readonly speed: number; readonly from: number },
): AsyncGenerator<RecordedItem, RecordedEnd> {
  onInput(() => queueMicrotask(takeInputs))
  /** When the last item was recorded, and when it was due again. */
  let before: { readonly at: number; readonly dueAt: number } | undefined
  for await (const entry of recording.entries()) {
    if ('end' in entry) {
      takeInputs()
      return entry.end
    }
    const { item, seq, at } = entry
    const now = performance.now()
    const dueAt = before && seq >= from ? Math.max(before.dueAt + (at - before.at) / speed, now - CATCH_UP_MS) : now
    for (let left = dueAt - performance.now(); left > 0; left = dueAt - performance.now())
      await wait(Math.min(left, MAX_MS), signal)
    before = { at, dueAt }
    yield item
  }
  throw new MillraceError('bad_request', 'the recording has no end')
}
