import { cancel } from './cancel.ts'
import { conversations } from './conversations.ts'
import { fanOut } from './fan-out.ts'
import { frozenClient } from './frozen-client.ts'
import { frozenRedis } from './frozen-redis.ts'
import { fullSpeed } from './full-speed.ts'
import { growth } from './growth.ts'
import { inspector } from './inspector.ts'
import { nodes } from './nodes.ts'
import { paced } from './paced.ts'
import type { BenchQuestion } from './question.ts'
import { resume } from './resume.ts'
import { start } from './start.ts'
import { stores } from './stores.ts'
import { unreadIterator } from './unread-iterator.ts'
import { workflows } from './workflows.ts'

/** In the order in which they run. */
export const QUESTIONS: readonly BenchQuestion[] = [
  fullSpeed,
  paced,
  frozenClient,
  unreadIterator,
  cancel,
  start,
  fanOut,
  resume,
  inspector,
  growth,
  conversations,
  stores,
  nodes,
  frozenRedis,
  workflows,
]

/** Those whose goals are compared with the last time, in about a minute. */
export const REGRESS: readonly BenchQuestion[] = [fullSpeed, paced, cancel, start, fanOut]
