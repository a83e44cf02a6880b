/** Names a conversation: its owner, and its id among those of the owner. */
export type ConversationKey = {
  /** The id of the principal that it belongs to. */
  readonly owner: string
  /** Its id, as its owner named it. */
  readonly id: string
}

/** A conversation as it is stored, without its messages. */
export type StoredConversation = ConversationKey & {
  /** Its title. */
  readonly title: string
  /** When it was begun, in epoch milliseconds. */
  readonly createdAt: number
  /** When its last message was begun, in epoch milliseconds. Lists are in this order. */
  readonly updatedAt: number
  /** Grows with every change. A save that does not know the present one changes nothing. */
  readonly version: number
  /** Everything else. A store keeps the bytes and never looks into them. */
  readonly data: Uint8Array
}

/** A message as it is stored. */
export type StoredMessage = {
  /** Its id, unique in its conversation. */
  readonly id: string
  /** Its number in its conversation, from 1, in the order in which messages were begun. */
  readonly n: number
  /** When it was begun, in epoch milliseconds. */
  readonly at: number
  /** Its text, for search. */
  readonly text: string
  /** Everything else. A store keeps the bytes and never looks into them. */
  readonly data: Uint8Array
}

/** A message that a search has found. */
export type FoundStoredMessage = Pick<StoredMessage, 'id' | 'at' | 'text'> & {
  /** Its conversation. */
  readonly conversation: Pick<StoredConversation, 'id' | 'title'>
}

/** Where a page of a list begins: behind the conversation with this time and id. */
export type ListPosition = Pick<StoredConversation, 'updatedAt' | 'id'>

/**
 * Where conversations are kept. Two tables are enough: conversations by owner and id, and messages by owner, conversation
 * and id.
 *
 * Every method throws MillraceError `unavailable` when the store cannot be reached or cannot write.
 */
export interface ConversationStore {
  /** A conversation with all its messages, in the order of `n`. Undefined: there is none. */
  load(
    key: ConversationKey,
  ): Promise<{ conversation: StoredConversation; messages: readonly StoredMessage[] } | undefined>
  /**
   * Stores a conversation and those of its messages that are new or have changed: all of it, or nothing. It resolves when
   * that would survive what the store survives.
   * @param expected The version that is stored, 0 for none. With any other nothing is stored.
   * @returns whether it was stored. After an error it may have been stored or not: `load` tells.
   */
  save(conversation: StoredConversation, messages: readonly StoredMessage[], expected: number): Promise<boolean>
  /** Removes a conversation with all its messages. Returns whether there was one. */
  remove(key: ConversationKey): Promise<boolean>
  /** Removes all conversations of an owner. Returns how many. */
  removeAll(owner: string): Promise<number>
  /** The number of conversations of an owner. */
  count(owner: string): Promise<number>
  /**
   * The conversations of an owner: the latest `updatedAt` first, and of equal ones the greater id, compared by its code
   * units.
   * @param before Only those behind this place. Undefined: from the beginning.
   */
  list(owner: string, before: ListPosition | undefined, most: number): Promise<readonly StoredConversation[]>
  /**
   * The messages of an owner whose text has all of these words, the latest first.
   * @param words What `wordsOf` makes of a text: at least one. A word also matches the beginning of a longer one.
   */
  search(owner: string, words: readonly string[], most: number): Promise<readonly FoundStoredMessage[]>
  /** Finishes what was begun, and lets go of everything. A server that uses the store calls it when it has closed. */
  close?(): Promise<void>
}

/** The words of a text, as searches compare them: letters and digits, in lower case, without accents. */
export function wordsOf(text: string): string[] {
  return (
    text
      .normalize('NFKD')
      .replaceAll(/\p{M}/gu, '')
      .toLowerCase()
      .match(/[\p{L}\p{N}]+/gu) ?? []
  )
}
