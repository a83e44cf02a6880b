import { conversation } from '../conversations/conversation.ts'
import type { ConversationStore } from '../conversations/conversation-store.ts'
import { memoryConversations } from '../conversations/memory-store.ts'
import { redisOf } from '../stores/redis/shared-redis.ts'
import type { RunStore } from '../stores/run-store.ts'
import { databaseOf } from '../stores/sqlite/shared-database.ts'
import { demoActors } from './demo-actors.ts'
import type { Options } from './server-process.ts'

/** Adds conversations with the demo agent to the demo actors. They are kept where runs are. */
export async function addConversation(options: Options): Promise<void> {
  if (options.actors !== demoActors) return
  const { chat, assistant, ...others } = demoActors
  const kept = conversation({ agent: assistant, store: await conversationsIn(options.store) })
  options.actors = { chat, assistant, conversation: kept, ...others }
}

async function conversationsIn(store: RunStore | undefined): Promise<ConversationStore> {
  if (store && redisOf(store)) return (await import('../conversations/redis-store.ts')).redisConversations(store)
  if (store && databaseOf(store)) return (await import('../conversations/sqlite-store.ts')).sqliteConversations(store)
  return memoryConversations()
}
