import { ofMany, readScripts, type Scripts } from './script.ts'

const FOLDER = new URL('./scripts/', import.meta.url)

const OF_ALL_RUNS = ['abandoned', 'list', 'live'] as const
const OF_NOTICES = ['notice-add', 'notice-put-off', 'notice-remove', 'notice-take', 'notice-trim'] as const
const OF_ONE_RUN = [
  'answer',
  'answered',
  'append',
  'ask',
  'attend',
  'begin',
  'find',
  'look',
  'put-back',
  'read',
  'release',
  'remove',
  'renew',
  'summary',
  'take-over',
] as const

type Name = (typeof OF_ALL_RUNS | typeof OF_NOTICES | typeof OF_ONE_RUN)[number]

const ofOneRun = readScripts(FOLDER, OF_ONE_RUN, 'common')

/** What is done in Redis at once. Each file of `scripts/` says what it takes and gives. `append` is done for many runs. */
export const SCRIPTS: Scripts<Name> = {
  ...readScripts(FOLDER, OF_ALL_RUNS),
  ...readScripts(FOLDER, OF_NOTICES),
  ...ofOneRun,
  append: ofMany(ofOneRun.append),
}
