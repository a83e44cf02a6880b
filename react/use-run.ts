import * as React from 'react'
import type { ActorMap, AnswerOf, Client, DataOf, InputOf } from '../client-sdk/index.ts'
import { createRunStore } from './run-store.ts'
import type { ShownRun, UseRunOptions } from './shown-run.ts'
import { useKept } from './use-kept.ts'

/**
 * Shows one run of an actor at a time, and returns what is known of it with what can be done with it. The component is
 * rendered with the next frame of the page after something has come, once for all that has come.
 *
 * The page reads a run as fast as it draws: what was rendered is what the server gets credit for. A run that is faster
 * than the page waits for it, and so does the run of a hidden page (`whenHidden`).
 *
 * Unmounting the component detaches from the run, which goes on as its `onDetach` says; `stop` cancels it. A component
 * that comes back reads on where it was. A lost connection does nothing of all that.
 *
 * @param client One client for the page. Make it outside of components.
 * @param actor The name of an actor of the server.
 */
export function useRun<Actors extends ActorMap, Name extends keyof Actors & string>(
  client: Client<Actors>,
  actor: Name,
  options: UseRunOptions<DataOf<Actors[Name]>, InputOf<Actors[Name]>> = {},
): ShownRun<DataOf<Actors[Name]>, AnswerOf<Actors[Name]>, InputOf<Actors[Name]>> {
  const { id, follow } = options
  const given = options as UseRunOptions
  const make = () => createRunStore(client, actor, given)
  const store = useKept(make, [client, actor, id, JSON.stringify(follow)])
  // Before it is subscribed to: the effects of a component run in this order.
  React.useEffect(() => store.use(given))
  return React.useSyncExternalStore(store.subscribe, store.getSnapshot, () => store.initial) as unknown as ShownRun<
    DataOf<Actors[Name]>,
    AnswerOf<Actors[Name]>,
    InputOf<Actors[Name]>
  >
}
