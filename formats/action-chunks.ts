import type { RunEnd, StreamEvent } from '../protocol/events.ts'
import type { Format } from './format.ts'

/**
 * A chunk of a workflow, as earlier systems had them. `action`: the id of the step. `error` says where it failed, if it
 * was in a step.
 */
export type ActionChunk =
  | { type: 'start' }
  | { type: 'action-start'; action: string; name: string }
  | { type: 'action-complete'; action: string; name: string; result?: unknown; ms?: number }
  | { type: 'progress'; current: number; total?: number; message?: string; action?: string }
  | { type: 'data'; data: unknown; name?: string; action?: string }
  | { type: 'complete'; result?: unknown }
  | { type: 'error'; error: { code: string; message: string }; action?: string }

/** The run of a workflow, or of any other actor, as chunks. */
class ActionChunks implements Format<ActionChunk> {
  readonly isOver = false
  /** The step for which each child works. */
  readonly #actions = new Map<string, string>()

  begin(): ActionChunk[] {
    return [{ type: 'start' }]
  }

  take(event: StreamEvent): ActionChunk[] {
    const of = 'agent' in event && event.agent !== undefined ? this.#actions.get(event.agent) : undefined
    const action = of === undefined ? {} : { action: of }
    switch (event.type) {
      case 'agent.start':
        // A child of a child belongs to the step of that.
        if (event.agent !== undefined)
          this.#actions.set(event.agent, this.#actions.get(event.parent ?? '') ?? event.name)
        return []
      case 'agent.end':
        this.#actions.delete(event.agent ?? '')
        return []
      case 'step':
        return this.#step(event)
      case 'token':
        return [{ type: 'data', data: event.text, ...action }]
      case 'data':
        return [{ type: 'data', data: event.value, name: event.name, ...action }]
      case 'progress': {
        const { current, total, message, step } = event
        return [
          {
            ...{ type: 'progress', current },
            ...(total !== undefined && { total }),
            ...(message !== undefined && { message }),
            ...(step === undefined ? action : { action: step }),
          },
        ]
      }
      default:
        return []
    }
  }

  end({ outcome, error, result }: RunEnd): ActionChunk[] {
    if (outcome === 'done') return [{ type: 'complete', ...(result !== undefined && { result }) }]
    const { code, message, details } = error ?? { code: 'cancelled', message: 'the run was cancelled' }
    const { step } = Object(details) as { step?: unknown }
    return [{ type: 'error', error: { code, message }, ...(typeof step === 'string' && { action: step }) }]
  }

  #step(event: Extract<StreamEvent, { type: 'step' }>): ActionChunk[] {
    const { id: action, name, status, output, ms } = event
    if (status === 'start') return event.attempt === undefined ? [{ type: 'action-start', action, name }] : []
    if (status !== 'done') return []
    return [
      {
        ...{ type: 'action-complete', action, name },
        ...(output !== undefined && { result: output }),
        ...(ms !== undefined && { ms }),
      },
    ]
  }
}

/**
 * Reads a run as chunks: `start`, then `action-start`, `data`, `progress` and `action-complete` of its steps, then
 * `complete` or `error`. It never throws: a failure is the last chunk.
 * @param run a run of a client, which knows its end, or the events of `router.stream`.
 */
export async function* actionChunks(
  run: AsyncIterable<StreamEvent> & { readonly end?: Promise<RunEnd> },
): AsyncGenerator<ActionChunk, void> {
  const chunks = new ActionChunks()
  yield* chunks.begin()
  let end: Pick<RunEnd, 'outcome' | 'error' | 'result'> = { outcome: 'done' }
  try {
    for await (const event of run) {
      // Of a source without an end, the last step at the top has the result.
      if (event.type === 'step' && event.status === 'done' && event.agent === undefined && !event.id.includes('/'))
        end = { outcome: 'done', result: event.output }
      yield* chunks.take(event)
    }
    if (run.end) end = await run.end
  } catch (thrown) {
    end = { outcome: 'error', error: errorOf(thrown) }
  }
  yield* chunks.end(end as RunEnd)
}

function errorOf(thrown: unknown): NonNullable<RunEnd['error']> {
  const { code, details } = Object(thrown) as { code?: unknown; details?: unknown }
  const message = thrown instanceof Error ? thrown.message : String(thrown)
  return { code: typeof code === 'string' ? code : 'internal', message, retryable: false, details }
}
