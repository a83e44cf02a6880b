import { MillraceError, type RunEnd, type RunEvent, type StreamEvent } from '../client-sdk/index.ts'
import { systemRuntime } from '../client-sdk/runtime.ts'

/** An error as a chunk or an event has it. */
export type FailureFacts = NonNullable<RunEnd['error']>

/** What a stream of chunks has, in this order: one `start`, any `progress` and `data`, and one `complete` or `error`. */
export type Chunk = {
  /** In epoch milliseconds: when it was logged, if the source says so, else when it was read. */
  timestamp: number
} & (
  | { type: 'start' }
  | { type: 'progress'; current: number; total?: number | undefined; message?: string | undefined }
  | {
      type: 'data'
      /** A text of the answer, the value of a `data` event, or any other event as it is. */
      data: unknown
      /** The name of a `data` event, or the type of any other. Absent for a text. */
      name?: string | undefined
      /** The agent that said it. Absent for the run itself. */
      agent?: string | undefined
    }
  /** `result`: what the source returned, or undefined. */
  | { type: 'complete'; result: unknown }
  | { type: 'error'; error: FailureFacts }
)

/** What `toChunks` reads: texts, events, or both. A run also says how it ended. */
export type ChunkSource = AsyncIterable<string | RunEvent | StreamEvent, unknown> & {
  /** The end of a run of `millrace/client`. */
  readonly end?: Promise<RunEnd> | undefined
}

/**
 * Reads a source as chunks: a run of `millrace/client`, `router.stream(...)`, or any texts. A failure is its last chunk,
 * and the loop throws nothing. The source is read as slowly as the chunks are, and left when the loop is left.
 * @param source It may be read once.
 */
export async function* toChunks(source: ChunkSource): AsyncGenerator<Chunk, void> {
  yield { type: 'start', timestamp: systemRuntime.wallClock() }
  try {
    const items = source[Symbol.asyncIterator]()
    let isLeft = true
    try {
      for (;;) {
        const step = await items.next()
        if (step.done) {
          isLeft = false
          yield ending(await source.end, step.value)
          return
        }
        yield chunkOf(step.value)
      }
    } catch (thrown) {
      isLeft = false
      throw thrown
    } finally {
      if (isLeft) await items.return?.()
    }
  } catch (thrown) {
    yield { type: 'error', error: failureOf(thrown), timestamp: systemRuntime.wallClock() }
  }
}

function chunkOf(item: string | RunEvent | StreamEvent): Chunk {
  const timestamp = typeof item !== 'string' && 'at' in item ? item.at : systemRuntime.wallClock()
  if (typeof item === 'string') return { type: 'data', data: item, timestamp }
  const agent = 'agent' in item && item.agent !== undefined ? { agent: item.agent } : {}
  switch (item.type) {
    case 'token':
      return { type: 'data', data: item.text, ...agent, timestamp }
    case 'progress': {
      const { current, total, message } = item
      return {
        type: 'progress',
        current,
        ...(total !== undefined && { total }),
        ...(message !== undefined && { message }),
        timestamp,
      }
    }
    case 'data':
      return { type: 'data', data: item.value, name: item.name, ...agent, timestamp }
    default:
      return { type: 'data', data: item, name: item.type, ...agent, timestamp }
  }
}

/** @param end of a run: it may have been cancelled from here, which its loop does not throw. */
function ending(end: RunEnd | undefined, returned: unknown): Chunk {
  const timestamp = systemRuntime.wallClock()
  if (end && end.outcome !== 'done') return { type: 'error', error: end.error ?? CANCELLED.toJSON(), timestamp }
  return { type: 'complete', result: end ? end.result : returned, timestamp }
}

/** The error of a run that was cancelled from here. */
export const CANCELLED: MillraceError = new MillraceError('cancelled', 'the run was cancelled')

/** What was thrown, as a chunk or an event has it. */
export function failureOf(thrown: unknown): FailureFacts {
  return MillraceError.from(thrown, 'internal', thrown instanceof Error ? thrown.message : String(thrown)).toJSON()
}
