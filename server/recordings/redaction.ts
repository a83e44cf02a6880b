import { EVENT } from '../../protocol/events.ts'
import type { DownFrame } from '../../protocol/frames.ts'

/** What stands in place of what was left out. */
const REDACTED = '[redacted]'

/**
 * Leaves out what clients have sent to a run and that its log has: the results of their own tools, and the arguments that
 * they have changed in an approval.
 */
export class Redaction {
  /** The calls of the server's own tools, until they have their results. Any other may be one that a client performed. */
  readonly #calls = new Set<unknown>()

  apply(frame: DownFrame): DownFrame {
    if (frame.kind !== 'event') return frame
    const { type, data } = frame
    if (type === EVENT.toolCall && data['client'] !== true) this.#calls.add(data['call'])
    if (type !== EVENT.toolResult) return frame
    const { args, output, ...rest } = data
    const isOfClient = !this.#calls.delete(data['call'])
    return {
      ...frame,
      data: {
        ...rest,
        ...(args !== undefined && { args: REDACTED }),
        ...(output !== undefined && { output: isOfClient ? REDACTED : output }),
        ...(isOfClient && data['error'] !== undefined && { error: REDACTED }),
      },
    }
  }
}
