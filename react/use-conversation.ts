import * as React from 'react'
import type { ConversationNames, MessageContent } from '../client-sdk/conversation.ts'
import type { ActorMap, Client } from '../client-sdk/index.ts'
import { createConversationStore, type ShownConversation, type UseConversationOptions } from './conversation-store.ts'
import { useKept } from './use-kept.ts'

/**
 * Shows a conversation that the server keeps: its messages, and the answer under way as it is written, at the frame rate
 * of the page. All pages that show it see the same. An answer is read as a run is by `useRun`: a hidden page slows it
 * down, and leaves it to another page of the browser that shows the conversation.
 *
 * Unmounting the component detaches: an answer goes on, and `stop` cancels it.
 *
 * @param client One client for the page.
 * @param id Names the conversation. One that the server does not know begins with its first message.
 */
export function useConversation<Actors extends ActorMap>(
  client: Client<Actors>,
  id: string,
  options: UseConversationOptions<ConversationNames<Actors>> = {},
): ShownConversation<MessageContent<Actors>> {
  const given = options as UseConversationOptions
  const make = () => createConversationStore(client, id, given)
  const store = useKept(make, [client, id, options.actor, options.owner])
  React.useEffect(() => store.use(given))
  return React.useSyncExternalStore(store.subscribe, store.getSnapshot, () => store.initial)
}
