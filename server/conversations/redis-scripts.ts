import { readFileSync } from 'node:fs'
import { type Script, scriptOf } from '../stores/redis/script.ts'

const NAMES = ['count', 'list', 'load', 'members', 'remove', 'save'] as const

/** What is done with conversations in Redis at once. Each file of `redis-scripts/` says what it takes and gives. */
export type ConversationScripts = { readonly [Name in (typeof NAMES)[number]]: Script }

/** Reads the scripts. Nobody who keeps no conversations in Redis pays for them. */
export function readScripts(): ConversationScripts {
  const read = (name: string): string => readFileSync(new URL(`./redis-scripts/${name}.lua`, import.meta.url), 'utf8')
  const common = read('common')
  const scripts = NAMES.map((name) => [name, scriptOf(`${common}\n${read(name)}`)] as const)
  return Object.fromEntries(scripts) as ConversationScripts
}
