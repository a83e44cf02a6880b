import { MillraceError } from '../../protocol/errors.ts'
import type { RunEvent } from '../../protocol/events.ts'
import type { Actor, ActorContext } from '../actors/actor.ts'
import { isThenable } from '../streams/thenable.ts'

type ActorIterator = AsyncIterator<string | RunEvent, unknown>

/**
 * Starts an actor, and returns the iterator of what it produces.
 * @param asks whether to call its `ask`, if it has one, and to give the answer as the result alone.
 */
export function actorStream(
  { name, actor }: { name: string; actor: Actor },
  asks: boolean,
  input: unknown,
  context: () => ActorContext,
): ActorIterator {
  try {
    const stream = execute(name, actor, asks, input, context())
    // An async function in place of a generator: its promise must not become an unhandled rejection.
    if (isThenable(stream)) Promise.resolve(stream).catch(() => {})
    return iteratorOf(stream)
  } catch (error) {
    // It fails as an iterator would: behind the events of `emit` that wait.
    return { next: () => Promise.reject(error) }
  }
}

function execute(
  name: string,
  { ask, stream }: Actor,
  asks: boolean,
  input: unknown,
  context: ActorContext,
): AsyncIterable<string | RunEvent, unknown> {
  if (stream && !(ask && asks)) return stream(input as never, context)
  if (!ask) throw new MillraceError('internal', `actor ${name} has neither ask nor stream`)
  return answerOnce(() => ask(input as never, context), asks)
}

/** @throws TypeError for a stream that gives no iterator. It would never end. */
function iteratorOf(stream: AsyncIterable<string | RunEvent, unknown>): ActorIterator {
  const iterator: unknown = stream[Symbol.asyncIterator]()
  if (typeof (iterator as { next?: unknown } | null | undefined)?.next !== 'function')
    throw new TypeError('the [Symbol.asyncIterator]() of what the actor returned gave no iterator: it has no `next`')
  return iterator as ActorIterator
}

/** Runs `ask` as a stream of one answer. A text becomes the text of the run, anything else its result. */
async function* answerOnce(ask: () => unknown, resultOnly: boolean): AsyncGenerator<string | RunEvent, unknown> {
  const answer = await ask()
  if (typeof answer === 'string') {
    yield answer
    return undefined
  }
  if (!resultOnly && answer !== undefined) yield { type: 'data', name: 'result', value: answer }
  return answer
}
