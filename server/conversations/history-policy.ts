import { MillraceError } from '../../protocol/errors.ts'
import { textOf } from '../models/message-parts.ts'
import type { Message, Model } from '../models/model.ts'
import type { HistoryEntry } from './message-tree.ts'

/** What a policy of a conversation is given besides its history. */
export type HistoryContext = {
  /** The id of the conversation, and that of the principal that it belongs to. */
  readonly conversation: { readonly id: string; readonly owner: string }
  /**
   * Asks a model, and resolves with its text. The request belongs to the run of the answer: its cost counts, and a stop
   * of the run ends it.
   * @param model Default: the model that answers.
   * @throws MillraceError what the model throws, and `not_found` for an unknown id.
   */
  readonly ask: (messages: readonly Message[], model?: Model | string) => Promise<string>
  /** Aborts when the run is stopped. */
  readonly signal: AbortSignal
}

/**
 * Chooses what the model gets of the messages of a branch. The conversation itself keeps all of them. What it returns is
 * made valid: it begins with a message of the user, and each tool call has its answer.
 */
export type WindowPolicy = (
  messages: readonly Message[],
  context: HistoryContext,
) => readonly Message[] | Promise<readonly Message[]>

/** A summary that takes the place of earlier messages. */
export type Summary = {
  /** The id of the last message that it stands for. It must not be the one that is to be answered. */
  readonly through: string
  /** The summary, for the model. */
  readonly text: string
}

/**
 * Decides before each answer whether a summary takes the place of the earlier messages of the branch. If so, the summary
 * becomes a message of the conversation, which all clients see. Undefined: everything stays as it is.
 */
export type SummaryPolicy = (
  history: readonly HistoryEntry[],
  context: HistoryContext,
) => Summary | undefined | Promise<Summary | undefined>

/**
 * A window with the last messages only.
 * @param most How many messages of the user the model gets, with all that followed them.
 * @throws MillraceError `bad_request` for anything but an integer of at least 1.
 */
export function lastTurns(most: number): WindowPolicy {
  if (!Number.isSafeInteger(most) || most < 1)
    throw new MillraceError('bad_request', `lastTurns takes an integer of at least 1, not ${String(most)}`)
  return (messages) => {
    const asked = messages.flatMap(({ role }, at) => (role === 'user' ? [at] : []))
    return messages.slice(asked.at(-most) ?? 0)
  }
}

/** The options of `summarize`. */
export type SummarizeOptions = {
  /** The model that writes the summary, or its id. Default: the one that answers. */
  model?: Model | string | undefined
  /** A summary is made when the text of the branch has more characters than this. Default 48,000. */
  above?: number | undefined
  /** How many of the last messages of the conversation stay as they are. Default 6. */
  keep?: number | undefined
  /** Tells the model how to write it. Default: in the language of the conversation, with all that matters later. */
  instructions?: string | undefined
}

const INSTRUCTIONS =
  'Summarize the conversation so far, in its own language, for a model that will continue it. Keep facts, decisions, ' +
  'names, numbers and open questions. Write nothing but the summary.'

/** Asks a model for a summary when a branch has become long. */
export function summarize({
  model,
  above = 48_000,
  keep = 6,
  instructions = INSTRUCTIONS,
}: SummarizeOptions = {}): SummaryPolicy {
  return async (history, context) => {
    const length = history.reduce((sum, { said }) => sum + said.reduce((all, one) => all + textOf(one).length, 0), 0)
    const old = history.slice(0, -Math.max(1, keep))
    const last = old.at(-1)
    if (length <= above || last === undefined || old.every(({ role }) => role === 'summary')) return undefined
    const transcript = old.flatMap(({ said }) => said.map((one) => `${one.role}: ${textOf(one)}`)).join('\n\n')
    const request: Message[] = [
      { role: 'system', content: instructions },
      { role: 'user', content: transcript },
    ]
    const text = await context.ask(request, model)
    return text.trim() === '' ? undefined : { through: last.id, text }
  }
}
