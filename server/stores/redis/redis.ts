import { MillraceError } from '../../../protocol/errors.ts'
import { nodeRuntime } from '../../runtime.ts'
import type { RunStore } from '../run-store.ts'
import { RedisStore } from './redis-store.ts'

export type {
  Append,
  AppendRefusal,
  Ask,
  AskRefusal,
  Batch,
  Holder,
  Lease,
  ListPosition,
  LiveRun,
  NewRun,
  Page,
  PoolPlace,
  PoolRuns,
  RunFacts,
  RunStore,
  SharedLease,
  SharedRuns,
  StoreCaps,
  StoredEnd,
  StoredInput,
  StoredKey,
  StoredLife,
  StoredPool,
  StoredRun,
  StoredRunSummary,
  Taker,
} from '../run-store.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
const MIB = 1_048_576
const DEADLINE_MS = 1_000
/** A lease must outlive a command that is late, several times. */
const MIN_LEASE_MS = 1_000
/** A prefix is a part of every key. */
const PREFIX = /^[\w.:-]{1,64}$/

/** The options of `redis()`. */
export type RedisOptions = {
  /**
   * The address: `redis://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE]`, or `rediss://` for TLS. Of a list, each Redis has a
   * share of the runs. All servers must name the same, in any order.
   */
  url: string | readonly string[]
  /** Stands before every key, so that several deployments can share a Redis. Default `millrace`. */
  prefix?: string | undefined
  /**
   * From which the ids of runs with a key are made, so that nobody guesses them. All servers must have the same. Default:
   * a random one, which the first server writes to Redis.
   */
  secret?: string | undefined
  /**
   * How long a server that is silent keeps its runs, in milliseconds. Then another server ends them as interrupted, or
   * goes on with those that wait. At least 1,000. Default 15,000.
   */
  leaseMs?: number | undefined
  /** How long a run is kept after its end, in milliseconds, a tenth more or less. Default 3,600,000: 1 hour. */
  keepMs?: number | undefined
  /**
   * How long a run without an end is kept while no server runs, in milliseconds. It should exceed the limit `maxWaitMs`.
   * Default 691,200,000: 8 days.
   */
  keepUnendedMs?: number | undefined
  /** The most bytes of the log of one run. Beyond them, its oldest items are dropped. Default 8,388,608: 8 MiB. */
  maxRunBytes?: number | undefined
}

/**
 * Returns a store of runs in Redis 6.2 or later, or Valkey. It needs the package `redis`. Several servers share it: each
 * of them can read, stop and answer the runs of the others. Nothing is opened before `open`, which a server calls.
 * @throws MillraceError `bad_request` for a wrong option.
 */
export function redis(options: RedisOptions): RunStore {
  const { url, prefix = 'millrace', secret, leaseMs = 15_000 } = options
  const { keepMs = HOUR_MS, keepUnendedMs = 8 * DAY_MS, maxRunBytes = 8 * MIB } = options
  const urls = (typeof url === 'string' ? [url] : [...(url ?? [])]).map(checkUrl)
  if (urls.length === 0) throw wrong('needs the option url: the address of a Redis, such as redis://127.0.0.1:6379')
  if (new Set(urls).size < urls.length) throw wrong('the option url names the same Redis twice')
  if (!PREFIX.test(prefix)) throw wrong('prefix must be 1 to 64 letters, digits and - _ . :')
  if (secret !== undefined && (typeof secret !== 'string' || secret.length < 16))
    throw wrong('secret must be a text of at least 16 characters')
  for (const [name, value] of Object.entries({ keepMs, keepUnendedMs, maxRunBytes }))
    if (!Number.isSafeInteger(value) || value < 1)
      throw wrong(`${name} must be a whole number of at least 1, not ${value}`)
  if (!Number.isSafeInteger(leaseMs) || leaseMs < MIN_LEASE_MS)
    throw wrong(`leaseMs must be a whole number of at least ${MIN_LEASE_MS}, not ${leaseMs}`)
  return new RedisStore(
    {
      urls,
      prefix,
      secret,
      leaseMs,
      liveMs: keepUnendedMs,
      keepMs,
      maxRunBytes,
      deadlineMs: DEADLINE_MS,
      lookMs: leaseMs,
      isDeaf: false,
    },
    nodeRuntime,
  )
}

function checkUrl(url: unknown): string {
  if (typeof url !== 'string' || !URL.canParse(url) || !/^rediss?:$/.test(new URL(url).protocol)) {
    // What was given may have a password.
    throw wrong('url must be an address such as redis://127.0.0.1:6379, or rediss://HOST for TLS')
  }
  return url
}

function wrong(what: string): MillraceError {
  return new MillraceError('bad_request', `redis(): ${what}`)
}
