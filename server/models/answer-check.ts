import { MillraceError } from '../../protocol/errors.ts'
import type { ModelEvent } from './model.ts'

/** Events that readers see as a part of the answer. */
const SAID: ReadonlySet<ModelEvent['type']> = new Set(['text', 'thinking', 'tool.args', 'tool.call'])

/** Holds the events of one answer to the contract of `Model.stream`, whoever wrote the model. */
export class AnswerCheck {
  #hasSaid = false
  #hasFinished = false

  /** Whether readers have seen a part of the answer. */
  get hasSaid(): boolean {
    return this.#hasSaid
  }

  /**
   * Returns whether the event counts: nothing does after `finish`.
   * @throws MillraceError `truncated` for a retry after a part of the answer. Readers have seen that part, and it cannot
   * be taken back. With a second beginning behind it, the text would say the same twice.
   */
  accepts({ type }: ModelEvent): boolean {
    if (this.#hasFinished) return false
    if (type === 'retry' && this.#hasSaid) throw brokenOff()
    this.#hasSaid ||= SAID.has(type)
    this.#hasFinished = type === 'finish'
    return true
  }

  /** The model gives no more events. @throws MillraceError `truncated` when it has not given `finish`. */
  end(): void {
    if (!this.#hasFinished) throw brokenOff()
  }
}

/**
 * What a run gets for an error of its model. `unauthenticated` and `forbidden` are about the client's own credentials,
 * so a client must not receive them for those of the server.
 */
export function modelError(error: MillraceError): MillraceError {
  if (error.code !== 'unauthenticated' && error.code !== 'forbidden') return error
  const message = "the provider refused the server's key"
  return new MillraceError('provider_error', message, { cause: error, retryable: false })
}

function brokenOff(): MillraceError {
  return new MillraceError('truncated', "the model's answer broke off: start the run again")
}
