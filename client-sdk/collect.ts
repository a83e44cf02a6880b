import type { AnyData, Progress, StreamEvent } from '../protocol/events.ts'
import { checkOptions, type OptionKinds } from '../protocol/options.ts'
import type { Run } from './run.ts'

/** The options of `collect`. */
export type CollectOptions<Data extends AnyData = AnyData> = {
  /** Called with each event, in order. The run waits for a returned promise. Default: none. */
  onEvent?: ((event: StreamEvent<Data>) => void | Promise<void>) | undefined
  /**
   * Called for each `progress` event: of the run, of a step (`step` is its id), or of a child (`agent`). Default: none.
   */
  onProgress?: ((progress: Progress & { step?: string; agent?: string }) => void | Promise<void>) | undefined
}

/** What `collect` resolves with. */
export type Collected<Data extends AnyData, Result> = {
  /** All events, in order. */
  readonly events: readonly StreamEvent<Data>[]
  /** The text of the answer, without what sub-agents said. */
  readonly text: string
  /** What the actor returned, or else its text. */
  readonly result: Result
}

const OPTIONS: OptionKinds<CollectOptions> = { onEvent: 'a function', onProgress: 'a function' }

/**
 * Reads a run to its end, and gives all of it. It keeps all events, so it is for runs of a bounded size. A callback that
 * throws cancels the run, and `collect` rejects with its error.
 * @param run which nobody reads.
 * @throws MillraceError `bad_request` for an unknown option; `already_reading`; and as the loop over the run does.
 */
export async function collect<Data extends AnyData, Result>(
  run: Run<Data, Result>,
  options: CollectOptions<Data> = {},
): Promise<Collected<Data, Result>> {
  checkOptions('collect', options, OPTIONS)
  const { onEvent, onProgress } = options
  const events: StreamEvent<Data>[] = []
  // All of its text is kept then.
  const { result } = run
  result.catch(() => {})
  let text = ''
  for await (const event of run) {
    events.push(event)
    if (event.type === 'token' && event.agent === undefined) text += event.text
    await onEvent?.(event)
    if (event.type === 'progress') await onProgress?.(event)
  }
  return { events, text, result: await result }
}
