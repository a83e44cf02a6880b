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

/** A message as it is loaded. What a search looks into is in `data` as well: a store need not read it. */
export type LoadedMessage = Omit<StoredMessage, 'text'>

/** A message that a search has found. */
export type FoundStoredMessage = Pick<StoredMessage, 'id' | 'at' | 'text'> & {
  /** Its conversation. */
  readonly conversation: Pick<StoredConversation, 'id' | 'title'>
}

/** Where a page of a list begins: behind the conversation with this time and id. */
export type ListPosition = Pick<StoredConversation, 'updatedAt' | 'id'>

/** What a store of conversations has that several processes share at the same time. */
export interface SharedConversations {
  /** The store of runs that each server has which uses it: there they find which answers go on. */
  readonly runs: object
  /**
   * A conversation, and those of its messages that were stored with a later version than this one, in any order.
   * Undefined: there is none.
   */
  loadSince(
    key: ConversationKey,
    version: number,
  ): Promise<{ conversation: StoredConversation; messages: readonly LoadedMessage[] } | undefined>
  /** Removes a conversation, if this version is stored. Returns false when another one is. */
  removeAt(key: ConversationKey, version: number): Promise<boolean>
  /**
   * Calls `changed` whenever a conversation may have changed: with the version that is stored, 0 for none, or without.
   * Calls may be late, repeated or in any order, but one comes after every change that was not made quietly.
   * @returns a function that ends it.
   */
  follow(key: ConversationKey, changed: (version?: number) => void): Promise<() => void>
}

/**
 * Where conversations are kept. Two tables are enough: conversations by owner and id, and messages by owner, conversation
 * and id.
 *
 * Every method throws MillraceError `unavailable` when the store cannot be reached or cannot write.
 */
export interface ConversationStore {
  /** Present in a store that other processes use at the same time. */
  readonly shared?: SharedConversations | undefined
  /** A conversation with all its messages, in the order of `n`. Undefined: there is none. */
  load(
    key: ConversationKey,
  ): Promise<{ conversation: StoredConversation; messages: readonly LoadedMessage[] } | undefined>
  /**
   * Stores a conversation and those of its messages that are new or have changed: all of it, or nothing. It resolves when
   * that would survive what the store survives.
   * @param expected The version that is stored, 0 for none. With any other nothing is stored.
   * @param quietly Nobody else needs to hear of it: it is the text of an answer under way. Default false.
   * @returns whether it was stored. After an error it may have been stored or not: `load` tells.
   */
  save(
    conversation: StoredConversation,
    messages: readonly StoredMessage[],
    expected: number,
    quietly?: boolean,
  ): Promise<boolean>
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
   * @throws MillraceError `unsupported` where the store cannot search.
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

/** The order of a list: the latest first, and of one millisecond the greater id. For `sort`. */
export function latestFirst(one: ListPosition, other: ListPosition): number {
  return other.updatedAt - one.updatedAt || (one.id < other.id ? 1 : one.id > other.id ? -1 : 0)
}
