import type { RunEvent, StreamEvent } from '../../client-sdk/index.ts'
import { actor } from '../../server/index.ts'

/** One turn of the event loop: what was said goes out in a message of its own. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/** What a run of `mixed` says: every sort of thing that travels, text that is cut and half characters among it. */
export function* mixedEvents(rounds: number): Generator<RunEvent> {
  for (let n = 1; n <= rounds; n++) {
    yield { type: 'iteration', n, max: rounds }
    yield { type: 'thinking', text: `let me think, ${n}` }
    yield { type: 'thinking', text: ' … 🤔' }
    for (const text of ['The ', 'quick ', 'brün ', '狐狸 ', '🦊', '\n']) yield { type: 'token', text }
    const call = `call_${n}`
    for (const text of ['{"ci', 'ty":', '"Oslo"}']) yield { type: 'tool.args', call, name: 'weather', text }
    yield { type: 'tool.call', call, name: 'weather', args: { city: 'Oslo' } }
    yield { type: 'tool.progress', call, progress: { current: 1, total: 2 } }
    yield { type: 'tool.result', call, outcome: 'ok', output: { celsius: -n, note: 'x'.repeat(1_500) }, ms: n }
    yield { type: 'token', text: 'It is cold. ' }
    yield { type: 'data', name: 'figures', value: { n, list: [1, 2, n] } }
    yield { type: 'usage', input: n, output: 2 * n }
  }
}

/** How often an actor made by `mixedActor` was run. */
export type Executions = { count: number }

/** Says `mixedEvents`, each in a turn of its own, and returns how many they were. `burst`: so many a turn. */
export function mixedActor(executions: Executions = { count: 0 }) {
  return actor({
    async *stream(input: unknown) {
      executions.count++
      const { rounds, burst = 1 } = input as { rounds: number; burst?: number }
      let said = 0
      for (const event of mixedEvents(rounds)) {
        if (said++ % burst === 0) await turn()
        yield event.type === 'token' ? event.text : event
      }
      return { said }
    },
  })
}

/** The list of a consumer without what differs from run to run: when things were said. */
export function withoutTimes(events: readonly StreamEvent[]): object[] {
  return events.map(({ at: _, ...event }) => event)
}
