import type { StreamEvent } from '../../protocol/events.ts'
import type { KeptResults } from './kept-results.ts'

/**
 * Takes from the log of an earlier run what its steps have given, and how far its batches were. Steps of actors that it
 * called are not its own: only its branches are followed.
 */
export async function learnFrom(events: AsyncIterable<StreamEvent>, kept: KeptResults): Promise<void> {
  /** What the ids of the steps of each branch begin with. */
  const branches = new Map<string, string>()
  const isOwn = (agent: string | undefined, id: string): boolean =>
    agent === undefined || id.startsWith(branches.get(agent) ?? '\0')

  for await (const event of events) {
    if (event.type === 'agent.start' && event.agent !== undefined) {
      // The branch of a branch is named after it. A run of its own that an actor began is not.
      if (isOwn(event.parent, event.name)) branches.set(event.agent, `${event.name}/`)
    } else if (event.type === 'progress' && event.step !== undefined) {
      if (isOwn(event.agent, event.step)) kept.moveTo(event.step, event.current)
    } else if (event.type === 'step' && isOwn(event.agent, event.id) && event.truncated !== true) {
      const { id, status, output } = event
      if (status === 'done' || (status === 'skipped' && 'output' in event)) kept.learn(id, output)
    }
  }
}
