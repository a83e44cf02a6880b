import type { Database } from '../stores/sqlite/database.ts'
import { databaseOf } from '../stores/sqlite/shared-database.ts'
import type { ConversationKey, ConversationStore } from './conversation-store.ts'
import { type ConversationRecord, unpackConversation, unpackMessage } from './message-record.ts'
import type { TreeMessage } from './message-tree.ts'
import { FORGET_WORDS, sqliteConversations } from './sqlite-store.ts'

/** Conversations that are looked up at once. */
const PER_PAGE = 100
/** The most problems that a check lists. */
const MOST_PROBLEMS = 20

/** A conversation as it is stored, with all its branches. */
export type WholeConversation = {
  readonly conversation: ConversationRecord
  readonly messages: readonly TreeMessage[]
}

/** The conversations in a file that no server uses: what an operator does with them. */
export class ConversationData {
  readonly #store: ConversationStore
  readonly #database: Database

  /** @param file A `DataFile` that is not open yet. */
  constructor(file: object) {
    this.#store = sqliteConversations(file)
    this.#database = databaseOf(file)!
  }

  /** The conversations of an owner, or all of them, one after the other. */
  async *all(owner: string | undefined): AsyncGenerator<WholeConversation, void> {
    for (let last: ConversationKey = { owner: owner ?? '', id: '' }; ; ) {
      const keys = await this.#database.read<ConversationKey>(owner === undefined ? NEXT_OF_ALL : NEXT_OF_OWNER, [
        last.owner,
        last.id,
        PER_PAGE,
      ])
      for (const key of keys) {
        const stored = await this.#store.load(key)
        if (stored)
          yield { conversation: unpackConversation(stored.conversation), messages: stored.messages.map(unpackMessage) }
        last = key
      }
      if (keys.length < PER_PAGE) return
    }
  }

  /** How many there are. */
  async count(): Promise<number> {
    const [row] = await this.#database.read<{ count: number }>('SELECT count(*) AS count FROM conversations')
    return row!.count
  }

  /** Looks for damage. Gives what it found, in words; nothing: they are sound. */
  async check(): Promise<string[]> {
    const lost = await this.#database.maintain<ConversationKey>(FIND_LOST)
    return lost.map(({ owner, id }) => `conversation ${id} of ${owner}: it has messages and is not there itself`)
  }

  /**
   * Removes all conversations of an owner, with their messages and all that a search finds of them. Gives how many there
   * were. What they were is in the file until `tidy`, and the compacting of the file.
   */
  removeAll(owner: string): Promise<number> {
    return this.#store.removeAll(owner)
  }

  /** Takes the words of removed messages out of the index of the search. */
  async tidy(): Promise<void> {
    await this.#database.maintain(FORGET_WORDS)
  }
}

const NEXT_OF_ALL = 'SELECT owner, id FROM conversations WHERE (owner, id) > (?1, ?2) ORDER BY owner, id LIMIT ?3'
const NEXT_OF_OWNER = 'SELECT owner, id FROM conversations WHERE owner = ?1 AND id > ?2 ORDER BY id LIMIT ?3'
const FIND_LOST = `SELECT DISTINCT owner, conversation AS id FROM messages
  WHERE NOT EXISTS (SELECT 1 FROM conversations c WHERE c.owner = messages.owner AND c.id = conversation)
  LIMIT ${MOST_PROBLEMS}`
