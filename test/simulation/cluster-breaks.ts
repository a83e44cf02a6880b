import { createHash } from 'node:crypto'
import { Child } from '../../server/runs/child.ts'
import { ComingReaders } from '../../server/runs/coming-readers.ts'
import { Holding } from '../../server/runs/holding.ts'
import { Journal } from '../../server/runs/journal.ts'
import { RunStorage } from '../../server/sessions/run-storage.ts'
import { HeldRun } from '../../server/stores/redis/held-run.ts'
import type { Script } from '../../server/stores/redis/script.ts'
import { SCRIPTS } from '../../server/stores/redis/scripts.ts'
import { Shard } from '../../server/stores/redis/shard.ts'
import { type Break, both, getter, method } from './breaks.ts'
import { RedisHost } from './redis-host.ts'

type Name = keyof typeof SCRIPTS

/** Alters scripts until they are put back. Each change is a text of a script, and what stands there instead. */
function scripts(changes: { readonly [Of in Name]?: readonly [was: string, is: string] }): () => () => void {
  return () => {
    const before = { ...SCRIPTS }
    const broken = Object.entries(changes).map(([name, [was, is]]): [string, Script] => {
      const { text } = SCRIPTS[name as Name]
      if (!text.includes(was)) throw new Error(`${name}.lua has no ${was}`)
      const altered = text.replace(was, is)
      return [name, { text: altered, hash: createHash('sha1').update(altered).digest('hex') }]
    })
    Object.assign(SCRIPTS, Object.fromEntries(broken))
    return () => void Object.assign(SCRIPTS, before)
  }
}

/** Finds that Redis lacks what it had. */
const RENEW_GAP = "if tonumber(have[5]) + 1 < tonumber(ARGV[5]) then return { 'gap', have[3], have[4] } end"

/** Rules of servers that share a Redis. */
export const CLUSTER_BREAKS: { readonly [sentence: string]: Break } = {
  'what a former holder appends is refused': {
    from: 1_150,
    patch: scripts({ append: ["if not have[1] or have[1] ~= fence then return { 'fenced' } end", ''] }),
  },
  'nobody takes a run over before its lease is over': {
    patch: scripts({
      'take-over': ['if have[3] and tonumber(have[4]) > at then', 'if false then'],
      abandoned: ['elseif have[3] and tonumber(have[4]) > at then', 'elseif false then'],
    }),
  },
  'the clock of Redis says when a lease is over': {
    patch: method(
      RedisHost.prototype,
      'now',
      (original) =>
        function (this: RedisHost) {
          return this.caller ? this.caller.wallClock() : original.call(this)
        },
    ),
  },
  'each take-over has a life and a fence of its own': {
    patch: scripts({
      begin: ['ARGV[1], ARGV[2], ARGV[3]', "ARGV[1], '1', ARGV[3]"],
      'take-over': ['local gen = int(math.max(tonumber(have[1]) + 1, at))', 'local gen = have[1]'],
    }),
  },
  'what another server asks is found without a hint': {
    from: 880,
    patch: scripts({
      append: ['return { what, have[5], have[6] }', "return { what, '0', '0' }"],
      renew: ["return { 'ok', have[3], have[4] }", "return { 'ok', '0', '0' }"],
    }),
  },
  'a reader looks for what it was not told': {
    patch: method(
      Shard.prototype,
      'listen',
      (original) =>
        function (this: Shard, channel, heard) {
          return original.call(this, channel, (message) => message && heard(message))
        },
    ),
  },
  'an append that is sent again is stored once': {
    patch: scripts({
      append: [
        [
          "if number <= tonumber(have[4]) then return done('ok') end",
          "local last, isSameEnd = tonumber(have[2]), seq ~= '' and seq == have[3]",
          "if batch ~= '' then",
          "  if tonumber(ARGV[9]) <= last and (seq == '' or isSameEnd) then return done('ok') end",
          'elseif isSameEnd then',
          "  return done('ok')",
          'end',
        ].join('\n'),
        'local last = tonumber(have[2])',
      ],
    }),
  },
  'a beginning that is sent again is the same beginning': {
    patch: scripts({ begin: ['have[1] == nonce and 1 or 0', '0'] }),
  },
  'a key names one run on all servers': {
    patch: scripts({ begin: ['if have[1] then', 'if false then'] }),
  },
  'who has lost a run stops': { patch: method(Journal.prototype, 'lose', () => () => {}) },
  'who has lost a run asks Redis when a client knows more': {
    finds: 'lost-what-was-seen',
    from: 738_012_869,
    patch: method(RunStorage.prototype, 'findLater', () => () => Promise.resolve(undefined)),
  },
  'a lease that is silent is confirmed': { patch: method(HeldRun.prototype, 'renew', () => () => Promise.resolve()) },
  'all servers look for a run in the same Redis': { patch: getter(Shard.prototype, 'place', 'anywhere') },
  'no key of a run lives for ever': {
    patch: scripts({ begin: ["redis.call('PEXPIRE', META, liveMs)", ''] }),
  },
  'a page begins with the item that is wanted': {
    patch: scripts({ read: ["ARGV[1] .. '-0'", "'(' .. ARGV[1] .. '-0'"] }),
  },
  'who cannot go on with a run gives it back, or confirms it no more': {
    patch: both(
      method(HeldRun.prototype, 'release', () => () => Promise.resolve()),
      scripts({ renew: [RENEW_GAP, ''] }),
    ),
  },
  'a run that waits is given up when Redis has lost items of it': {
    from: 743_265_255,
    patch: scripts({ renew: [RENEW_GAP, ''] }),
  },
  'an end is kept': { patch: scripts({ append: ["change('es', seq)", ''] }) },
  'an end goes behind no hole': {
    finds: 'unexpected-error',
    from: 6_900,
    patch: scripts({
      append: ['if tonumber(ARGV[8]) ~= last + 1 then', "if batch ~= '' and tonumber(ARGV[8]) ~= last + 1 then"],
    }),
  },
  'an actor goes no further than its readers on other servers': {
    finds: 'not-paced',
    patch: method(Holding.prototype, 'attended', () => () => {}),
  },
  'a worker goes no further than a first credit before it hears of a reader': {
    finds: 'not-paced',
    from: 2_549,
    patch: method(ComingReaders.prototype, 'room', () => () => Number.POSITIVE_INFINITY),
  },
  'a pool that is full takes no run': {
    finds: 'pool-too-full',
    patch: scripts({ begin: ["redis.call('ZCARD', waiting) >= tonumber(ARGV[17])", 'false'] }),
  },
  'children end with their run': {
    finds: 'orphan',
    patch: method(Child.prototype, 'stop', () => () => {}),
  },
  'an append says which item was the last': { patch: scripts({ append: ["change('s', ARGV[9])", ''] }) },
}
