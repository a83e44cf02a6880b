import { MillraceError } from '../../protocol/errors.ts'
import type { ActorContext } from '../actors/actor.ts'
import type { FinishContext } from './agent-definition.ts'

/**
 * What `onFinish` of an agent receives: the context of the run, with how it ends.
 * @param runContext what `context` of the agent made.
 * @param failure what the loop threw, if it did.
 */
export function finishContext(
  context: ActorContext,
  runContext: unknown,
  failure: { error: unknown } | undefined,
): FinishContext<never> {
  const { signal } = context
  const thrown = signal.aborted ? { error: signal.reason as unknown } : failure
  const isCancelled = signal.aborted && MillraceError.is(signal.reason, 'cancelled')
  const outcome = isCancelled ? 'cancelled' : thrown ? 'error' : 'done'
  const error = outcome === 'error' ? MillraceError.from(thrown?.error, 'actor_failed', 'the agent failed') : undefined
  const end = { outcome, error, context: runContext as never } as const
  // Its members are accessors: they are read when they are asked for.
  return Object.defineProperties(end, Object.getOwnPropertyDescriptors(context)) as typeof end & ActorContext
}
