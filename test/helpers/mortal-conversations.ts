import { type ConversationStore, MillraceError } from '../../server/index.ts'

export type MortalConversations = ConversationStore & {
  /** From now on, nothing more is kept. */
  die(): void
}

/** A store that stops keeping anything, as if its process were dead. */
export function mortalConversations(store: ConversationStore): MortalConversations {
  let isDead = false
  return {
    load: (key) => store.load(key),
    remove: (key) => store.remove(key),
    removeAll: (owner) => store.removeAll(owner),
    count: (owner) => store.count(owner),
    list: (...which) => store.list(...which),
    search: (...which) => store.search(...which),
    async save(...what) {
      // A save takes time, also where the store has it at once.
      await new Promise((resolve) => void setImmediate(resolve))
      if (isDead) throw new MillraceError('store_unavailable', 'the process is dead')
      return store.save(...what)
    },
    die() {
      isDead = true
    },
  }
}
