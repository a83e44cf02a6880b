import {
  type ConversationKey,
  type ConversationStore,
  type FoundStoredMessage,
  latestFirst,
  type StoredConversation,
  type StoredMessage,
  wordsOf,
} from './conversation-store.ts'

type Kept = { conversation: StoredConversation; readonly messages: Map<string, StoredMessage> }

/**
 * Keeps conversations in the memory of the process. They are lost with it. Several servers of one process may share it.
 */
export function memoryConversations(): ConversationStore {
  return new MemoryConversations()
}

class MemoryConversations implements ConversationStore {
  /** By owner, then by id. */
  readonly #owners = new Map<string, Map<string, Kept>>()

  async load(key: ConversationKey): ReturnType<ConversationStore['load']> {
    const kept = this.#find(key)
    return kept && { conversation: kept.conversation, messages: [...kept.messages.values()].sort(byNumber) }
  }

  async save(conversation: StoredConversation, messages: readonly StoredMessage[], expected: number): Promise<boolean> {
    const { owner, id } = conversation
    const kept = this.#find({ owner, id })
    if ((kept?.conversation.version ?? 0) !== expected) return false
    const own = this.#owners.get(owner) ?? new Map<string, Kept>()
    this.#owners.set(owner, own)
    const next: Kept = kept ?? { conversation, messages: new Map() }
    next.conversation = conversation
    for (const message of messages) next.messages.set(message.id, message)
    own.set(id, next)
    return true
  }

  async remove({ owner, id }: ConversationKey): Promise<boolean> {
    const own = this.#owners.get(owner)
    const isRemoved = own?.delete(id) === true
    if (own?.size === 0) this.#owners.delete(owner)
    return isRemoved
  }

  async removeAll(owner: string): Promise<number> {
    const { size } = this.#of(owner)
    this.#owners.delete(owner)
    return size
  }

  async count(owner: string): Promise<number> {
    return this.#of(owner).size
  }

  async list(
    owner: string,
    before: { updatedAt: number; id: string } | undefined,
    most: number,
  ): Promise<readonly StoredConversation[]> {
    return Array.from(this.#of(owner).values(), ({ conversation }) => conversation)
      .filter((one) => before === undefined || latestFirst(before, one) < 0)
      .sort(latestFirst)
      .slice(0, most)
  }

  async search(owner: string, words: readonly string[], most: number): Promise<readonly FoundStoredMessage[]> {
    const found: (FoundStoredMessage & { n: number })[] = []
    for (const { conversation, messages } of this.#of(owner).values())
      for (const { id, n, at, text } of messages.values()) {
        const own = wordsOf(text)
        if (words.every((word) => own.some((one) => one.startsWith(word))))
          found.push({ conversation, id, n, at, text })
      }
    return found.sort((one, other) => other.at - one.at || other.n - one.n).slice(0, most)
  }

  #of(owner: string): ReadonlyMap<string, Kept> {
    return this.#owners.get(owner) ?? new Map()
  }

  #find({ owner, id }: ConversationKey): Kept | undefined {
    return this.#of(owner).get(id)
  }
}

function byNumber(one: StoredMessage, other: StoredMessage): number {
  return one.n - other.n
}
