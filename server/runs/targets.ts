import type { RunEvent } from '../../protocol/events.ts'
import type { CancelCause } from '../../protocol/receipt.ts'
import { isShownIn, type Member, type OpenIds } from './open-ids.ts'

/** The parts of a run that a client can stop by their id: a tool call, or a sub-agent. */
type TargetType = 'call' | 'agent'

/** Lets clients stop a call or an agent of `run`, until the function that this returns is called. */
export function openTarget(
  open: OpenIds,
  run: Member,
  type: TargetType,
  id: string,
  stop: (why: CancelCause) => void,
): () => void {
  return open.add(type, id, {
    run,
    stop: (why) => {
      stop(why)
      return true
    },
  })
}

/** Stops the targets of this id in `run` and below it. Returns false when none of them has its end to come. */
export function cancelTarget(open: OpenIds, run: Member, type: TargetType, id: string, why: CancelCause): boolean {
  let isFound = false
  for (const target of open.of(type, id, run)) {
    // The end of one that this log does not show would never come here. It can be stopped in the log that shows it.
    if (isShownIn(target.run, run) && target.stop(why)) isFound = true
  }
  return isFound
}

/**
 * If an event is the end of a target, a cancel finds that target while the event `isComing`. Call the function that this
 * returns once it is not.
 */
export function expectEnd(
  open: OpenIds,
  run: Member,
  event: string | RunEvent,
  isComing: () => boolean,
): (() => void) | undefined {
  const ended = endedBy(event)
  return ended && open.add(ended.type, ended.id, { run, stop: isComing })
}

/** The call or agent whose end an event is. An actor may produce anything, also an object whose getters throw. */
function endedBy(event: string | RunEvent): { type: TargetType; id: string } | undefined {
  try {
    if (typeof event === 'string') return undefined
    if (event.type === 'tool.result') return { type: 'call', id: event.call }
    if (event.type === 'agent.end' && event.agent !== undefined) return { type: 'agent', id: event.agent }
  } catch {
    // An event that cannot be read cannot be logged either: that fails later, with an error of its own.
  }
  return undefined
}
