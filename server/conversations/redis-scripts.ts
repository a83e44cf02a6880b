import { readScripts, type Scripts } from '../stores/redis/script.ts'

const NAMES = ['count', 'list', 'load', 'members', 'remove', 'save'] as const

/** What is done with conversations in Redis at once. Each file of `redis-scripts/` says what it takes and gives. */
export type ConversationScripts = Scripts<(typeof NAMES)[number]>

/** Reads the scripts. Nobody who keeps no conversations in Redis pays for them. */
export function readConversationScripts(): ConversationScripts {
  return readScripts(new URL('./redis-scripts/', import.meta.url), NAMES, 'common')
}
