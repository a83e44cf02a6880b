import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'

/** A script: its text, and the hash by which Redis knows it. */
export type Script = { readonly text: string; readonly hash: string }

const read = (name: string): string => readFileSync(new URL(`./scripts/${name}.lua`, import.meta.url), 'utf8')

function script(text: string): Script {
  return { text, hash: createHash('sha1').update(text).digest('hex') }
}

/** A script about one run. */
function ofRun(name: string): Script {
  return script(`${read('common')}\n${read(name)}`)
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
  abandoned: script(read('abandoned')),
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
