import { MillraceError } from '../../protocol/errors.ts'
import { checkOptions, type OptionKinds } from '../../protocol/options.ts'

/** The limits of conversations. A conversation or principal at its limit is refused as `overloaded`. */
export type ConversationLimits = {
  /** Most messages of one conversation, of all branches. Default 2,000. */
  maxMessages?: number | undefined
  /** Most bytes that the messages of one conversation may take, with images and files. Default 16,777,216 (16 MiB). */
  maxBytes?: number | undefined
  /** Most conversations of one principal. Default 10,000. */
  maxConversations?: number | undefined
  /** Most clients that watch one conversation at a time. Default 100. */
  maxWatchers?: number | undefined
}

const OPTIONS: OptionKinds<ConversationLimits> = {
  maxMessages: 'a number',
  maxBytes: 'a number',
  maxConversations: 'a number',
  maxWatchers: 'a number',
}

const DEFAULTS: { readonly [Name in keyof ConversationLimits]-?: number } = {
  maxMessages: 2_000,
  maxBytes: 16 * 1_048_576,
  maxConversations: 10_000,
  maxWatchers: 100,
}

/** Completes limits with the defaults. @throws MillraceError `bad_request` for an unknown or invalid one. */
export function conversationLimits(given: ConversationLimits = {}): typeof DEFAULTS {
  checkOptions('limits of conversation()', given, OPTIONS)
  const limits: { -readonly [Name in keyof typeof DEFAULTS]: number } = { ...DEFAULTS }
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined) continue
    if (!Number.isSafeInteger(value) || value < 1)
      throw new MillraceError('bad_request', `limits.${name} must be an integer of at least 1, not ${String(value)}`)
    limits[name as keyof typeof DEFAULTS] = value
  }
  return limits
}
