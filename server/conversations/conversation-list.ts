import type { ConversationPage, FoundPage } from '../../protocol/conversation.ts'
import { MillraceError } from '../../protocol/errors.ts'
import type { Principal } from '../actors/principal.ts'
import { excerpt, wellFormed } from '../text.ts'
import type { ConversationInput } from './conversation-input.ts'
import { type ListPosition, wordsOf } from './conversation-store.ts'
import type { Conversations } from './conversations.ts'
import { unpackConversation } from './message-record.ts'
import { factsOf } from './message-view.ts'

const EXCERPT_CHARACTERS = 160
/** What an excerpt has before the first word that was found. */
const BEFORE_CHARACTERS = 40

/** A page of the conversations of a principal. */
export async function listConversations(
  { before, most = 50 }: Extract<ConversationInput, { type: 'list' }>,
  { id: owner }: Principal,
  conversations: Conversations,
): Promise<ConversationPage> {
  const stored = await conversations.store.list(owner, before === undefined ? undefined : positionOf(before), most + 1)
  const page = stored.slice(0, most)
  const last = page.at(-1)
  return {
    conversations: page.map((one) =>
      factsOf(unpackConversation(one), conversations.runOf({ owner: one.owner, id: one.id })),
    ),
    ...(stored.length > most && last && { next: `${last.updatedAt} ${last.id}` }),
  }
}

/** The messages of a principal that have all words of a text. */
export async function searchConversations(
  { text, most = 20 }: Extract<ConversationInput, { type: 'search' }>,
  { id: owner }: Principal,
  conversations: Conversations,
): Promise<FoundPage> {
  const words = wordsOf(text)
  if (words.length === 0) throw new MillraceError('invalid_input', 'text: search for letters or digits')
  const found = await conversations.store.search(owner, words, most)
  return {
    found: found.map(({ id: message, at, text: said, conversation: { id, title } }) => ({
      conversation: id,
      title,
      message,
      at,
      excerpt: excerptAround(said, words),
    })),
  }
}

function positionOf(before: string): ListPosition {
  const [, time = '', id = ''] = /^(\d{1,16}) (.+)$/s.exec(before) ?? []
  if (id === '') throw new MillraceError('invalid_input', 'before: expected the `next` of a page')
  return { updatedAt: Number(time), id }
}

/** Some text around the first of the words that is found as it is written. */
function excerptAround(text: string, words: readonly string[]): string {
  const lower = text.toLowerCase()
  const at = Math.max(0, Math.min(...words.map((word) => lower.indexOf(word)).filter((index) => index >= 0)))
  const from = Number.isFinite(at) ? Math.max(0, at - BEFORE_CHARACTERS) : 0
  const start = from > 0 ? `…${text.slice(from)}` : text
  return wellFormed(excerpt(start.replaceAll(/\s+/g, ' '), EXCERPT_CHARACTERS))
}
