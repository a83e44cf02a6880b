import { readFileSync } from 'node:fs'
import { type Script, scriptOf } from './script.ts'

const read = (name: string): string => readFileSync(new URL(`./scripts/${name}.lua`, import.meta.url), 'utf8')

/** A script about one run. */
function ofRun(name: string): Script {
  return scriptOf(`${read('common')}\n${read(name)}`)
}

type Name =
  | 'abandoned'
  | 'answer'
  | 'answered'
  | 'append'
  | 'ask'
  | 'attend'
  | 'begin'
  | 'find'
  | 'look'
  | 'put-back'
  | 'read'
  | 'release'
  | 'remove'
  | 'renew'
  | 'take-over'

/** What is done in Redis at once. Each file of `scripts/` says what it takes and gives. */
export const SCRIPTS: { readonly [Of in Name]: Script } = {
  abandoned: scriptOf(read('abandoned')),
  answer: ofRun('answer'),
  answered: ofRun('answered'),
  append: ofRun('append'),
  ask: ofRun('ask'),
  attend: ofRun('attend'),
  begin: ofRun('begin'),
  find: ofRun('find'),
  look: ofRun('look'),
  'put-back': ofRun('put-back'),
  read: ofRun('read'),
  release: ofRun('release'),
  remove: ofRun('remove'),
  renew: ofRun('renew'),
  'take-over': ofRun('take-over'),
}
