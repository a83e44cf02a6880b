import type { StreamEvent } from '../../protocol/events.ts'
import { excerpt } from '../text.ts'

const MAX_MESSAGE_CHARACTERS = 256

/** Progress as the protocol has it: a number that grows, perhaps its end, and words. */
export type McpProgress = { progress: number; total?: number; message?: string }

/** Makes progress of the events of a run. A run that counts is followed; the events of others are counted. */
export class RunProgress {
  #last = 0
  #isCounted = false

  /** The progress to report for an event, if there is any. */
  take(event: StreamEvent): McpProgress | undefined {
    if (event.type === 'progress') {
      const { current, total, message } = event
      if (!(current > this.#last)) return undefined
      this.#isCounted = true
      this.#last = current
      return {
        progress: current,
        ...(total !== undefined && { total }),
        ...(message !== undefined && { message: excerpt(message, MAX_MESSAGE_CHARACTERS) }),
      }
    }
    const message = this.#isCounted ? undefined : wordsOf(event)
    return message === undefined
      ? undefined
      : { progress: ++this.#last, message: excerpt(message, MAX_MESSAGE_CHARACTERS) }
  }
}

function wordsOf(event: StreamEvent): string | undefined {
  switch (event.type) {
    case 'tool.call':
      return `calls ${event.name}`
    case 'tool.progress':
      return event.note ?? event.progress?.message
    case 'tool.result':
      return `a call ended: ${event.outcome}`
    case 'step':
      return event.name
    default:
      return undefined
  }
}
