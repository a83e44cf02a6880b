import type { RunEvent } from '../../protocol/events.ts'
import type { ActorContext } from '../actors/actor.ts'

/** Whether the code of a step is one that streams. */
export function isGenerator(given: unknown): given is AsyncGenerator<string | RunEvent> {
  return typeof given === 'object' && given !== null && 'next' in given && Symbol.asyncIterator in given
}

/** Passes on what a generator yields. One that returns nothing has said its text. */
export async function streamed(
  items: AsyncGenerator<string | RunEvent>,
  { context, signal }: { context: ActorContext; signal: AbortSignal | undefined },
): Promise<unknown> {
  let text = ''
  try {
    for (;;) {
      signal?.throwIfAborted()
      const step: IteratorResult<string | RunEvent, unknown> = await items.next()
      // Code that ignores its signal must not speak for the attempt behind it.
      signal?.throwIfAborted()
      if (step.done) return step.value === undefined ? text : step.value
      if (typeof step.value === 'string') text += step.value
      await context.emit(step.value)
    }
  } finally {
    await items.return(undefined)
  }
}
