import { conversation } from '../conversations/conversation.ts'
import type { ConversationStore } from '../conversations/conversation-store.ts'
import { memoryConversations } from '../conversations/memory-store.ts'
import { redisConversations } from '../conversations/redis-store.ts'
import { sqliteConversations } from '../conversations/sqlite-store.ts'
import { redisOf } from '../stores/redis/shared-redis.ts'
import type { RunStore } from '../stores/run-store.ts'
import { databaseOf } from '../stores/sqlite/shared-database.ts'
import { demoActors } from './demo-actors.ts'
import type { Options } from './server-process.ts'

/** Adds conversations with the demo agent to the demo actors. They are kept where runs are. */
export function addConversation(options: Options): void {
  if (options.actors !== demoActors) return
  const { chat, assistant, ...others } = demoActors
  const kept = conversation({ agent: assistant, store: conversationsIn(options.store) })
  options.actors = { chat, assistant, conversation: kept, ...others }
}

function conversationsIn(store: RunStore | undefined): ConversationStore {
  if (store && redisOf(store)) return redisConversations(store)
  if (store && databaseOf(store)) return sqliteConversations(store)
  return memoryConversations()
}
