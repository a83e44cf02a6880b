import { MillraceError } from './errors.ts'
import { checkNames } from './options.ts'
import { WIRE_LIMITS, type WireLimits } from './wire-limits.ts'

/** Every limit of the protocol and of a server. Times are in milliseconds, sizes in bytes. */
export type Limits = {
  /** Most streams open at once on one connection. Default 64. */
  maxStreams: number
  /** Largest message that a client may send. Default 262,144. */
  maxMessage: number
  /** Largest message that a server may send. Default 131,072. */
  maxDown: number
  /** Largest encoded data of an event, an END or an OPENED. Default 65,536. */
  maxEvent: number
  /** Deepest nesting of arrays and maps in one frame, including the frame itself. Default 16. */
  maxDepth: number
  /** Most values in one frame. Each container, key and element counts. Default 16,384. */
  maxValues: number
  /** Bytes that cost one credit. Also the largest text item. Default 1,024. */
  creditUnit: number
  /** A subscription's initial balance if the client sends no `credit`. Default 256. */
  initialCredit: number
  /** Highest balance of a subscription. Default 1,900. */
  maxCredit: number
  /** Items that an actor may produce beyond the credit of its slowest pacing subscription. Default 32. */
  readAhead: number
  /** Time in which HELLO must be accepted. Default 5,000. */
  helloMs: number
  /** Largest HELLO frame. Default 16,384. */
  helloBytes: number
  /** Most bytes accepted before WELCOME, including HELLO. Default 65,536. */
  beforeWelcomeBytes: number
  /**
   * Most bytes that all sockets of a node may hold before WELCOME. Above it, the oldest of these sockets are ended. A
   * socket of a transport that does not report the bytes of an unfinished message counts `maxMessage` until its HELLO;
   * with `uws` it may hold 4 times that. Default 64 MiB.
   */
  beforeWelcomeTotal: number
  /** Time between PINGs of the server, and the silence after which a client sends one. Default 10,000. */
  heartbeatMs: number
  /** Time to answer a PING: a peer silent for `heartbeatMs + pongMs` is gone. Default 10,000. */
  pongMs: number
  /** How long a session without a connection is kept. Also the default and maximum of `detachMs`. Default 300,000. */
  resumeMs: number
  /** How long the log, end and key of an ended run are kept. Default 600,000. */
  endedMs: number
  /** Most items kept of one run. Default 10,000. */
  retainEvents: number
  /** Most bytes kept of one run. Default 4 MiB. */
  retainBytes: number
  /** Most bytes of ended runs kept on a node. Default 256 MiB. */
  retainTotal: number
  /** Most bytes of ended runs kept for one principal, or for one pool of them. Default 32 MiB. */
  retainPrincipal: number
  /**
   * Most bytes of the logs of live and ended runs on a node. Above it, ended runs are dropped, the oldest first. When the
   * logs of live runs alone exceed it, no new run begins; live runs go on. Default 1 GiB.
   */
  maxLogsTotal: number
  /** How long the end of a cancelled run waits for the run to settle. Default 1,000. */
  cancelGraceMs: number
  /** Bytes written since the last answered PING, beyond which only control frames are sent. Default 524,288. */
  inflight: number
  /** Bytes buffered in the socket, beyond which only control frames are sent. Default 262,144. */
  highWater: number
  /** How long a connection may exceed `inflight` or `highWater` before it is closed with 4430. Default 30,000. */
  slowMs: number
  /** Deadline of a run. It stops while the run waits for input or for credit. Default 600,000. */
  timeoutMs: number
  /** How long a run may wait for people (an answer, a client's tool, the end of a pause), in milliseconds. */
  maxWaitMs: number
  /**
   * Most bytes that a store keeps for the waiting runs of one principal, so that they go on after a restart. A run beyond
   * them waits as well, and a restart ends it as `interrupted`. Default 67,108,864.
   */
  maxParkedBytes: number
  /**
   * How long a run may wait for readers that give no sign (no credit, no rate) before it ends as `stalled`. A client
   * grants credit when it has read half its window: allow for that time. 0: a run waits for ever. Default 0.
   */
  stallMs: number
  /** STARTs and ATTACHes of one principal per second. Default 50. */
  startsPerSec: number
  /** STARTs and ATTACHes of one principal at once. Default 100. */
  startBurst: number
  /** Most inputs that wait for an actor. Default 16. */
  maxInputs: number
  /** Most bytes of inputs that wait for an actor. Default 65,536. */
  maxInputBytes: number
  /** Text is batched for this time: the least time between two messages of only text on a connection. Default 6. */
  flushMs: number
  /** Most live runs of one principal. Default 256. */
  maxRuns: number
  /** Most live runs on a node. Default 10,000. */
  maxRunsTotal: number
  /** Most connections of one principal. Default 20. */
  maxConnections: number
  /** Most connections on a node. Further upgrades are refused with 503. Default 20,000. */
  maxConnectionsTotal: number
  /**
   * Most connections of one IP address, or of one /64 network of IPv6. Further upgrades are refused with 503. Behind a
   * proxy all clients have the address of the proxy, unless the server has `trustProxy`. Sockets without an address, as
   * in the file system, are not counted. Default 10,000.
   */
  maxConnectionsPerAddress: number
  /**
   * Principals of one `pool` together may have `maxRuns`, `maxConnections`, `startsPerSec` and `startBurst` of this many
   * principals. `anonymous()` makes a pool of the clients of each IP address. Default 64.
   */
  principalsPerPool: number
  /** Most sessions without a connection that are kept for one principal. Default 20. */
  maxSessions: number
  /**
   * Messages per second of one connection, beyond which it is closed with 4429. A message counts one for each 16 frames
   * begun. Default 1,000.
   */
  messagesPerSec: number
}

/** The defaults of the limits that WELCOME states. A client acts on most of them, and the others are for its authors. */
export const STATED_LIMITS: Readonly<Pick<Limits, keyof WireLimits | 'maxEvent' | 'creditUnit' | 'maxCredit'>> = {
  ...WIRE_LIMITS,
  maxEvent: 65_536,
  creditUnit: 1_024,
  maxCredit: 1_900,
}

/** The limits in force by default. */
export const DEFAULT_LIMITS: Readonly<Limits> = {
  ...STATED_LIMITS,
  readAhead: 32,
  helloMs: 5_000,
  helloBytes: 16_384,
  beforeWelcomeTotal: 64 * 1_048_576,
  retainEvents: 10_000,
  retainBytes: 4 * 1_048_576,
  retainTotal: 256 * 1_048_576,
  retainPrincipal: 32 * 1_048_576,
  maxLogsTotal: 1_024 * 1_048_576,
  inflight: 524_288,
  highWater: 262_144,
  slowMs: 30_000,
  timeoutMs: 600_000,
  maxWaitMs: 604_800_000,
  maxParkedBytes: 64 * 1_048_576,
  stallMs: 0,
  startsPerSec: 50,
  startBurst: 100,
  maxInputs: 16,
  maxInputBytes: 65_536,
  flushMs: 6,
  maxRuns: 256,
  maxRunsTotal: 10_000,
  maxConnections: 20,
  maxConnectionsTotal: 20_000,
  maxConnectionsPerAddress: 10_000,
  principalsPerPool: 64,
  maxSessions: 20,
  messagesPerSec: 1_000,
}

/** The limits that may be 0. There, 0 switches the feature off. */
const MAY_BE_ZERO: ReadonlySet<string> = new Set([
  'readAhead',
  'flushMs',
  'cancelGraceMs',
  'initialCredit',
  'resumeMs',
  'endedMs',
  'stallMs',
  'maxSessions',
])

/**
 * Completes `given` with the defaults, and checks that the limits fit together.
 * @throws MillraceError `bad_request`. The message names the limit and the rule that it breaks.
 */
export function resolveLimits(given: { readonly [Name in keyof Limits]?: Limits[Name] | undefined } = {}): Limits {
  const limits: Limits = { ...DEFAULT_LIMITS }
  checkNames('limit', '', given, Object.keys(DEFAULT_LIMITS))
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined) continue
    const least = MAY_BE_ZERO.has(name) ? 0 : 1
    if (!Number.isSafeInteger(value) || value < least) {
      throw new MillraceError(
        'bad_request',
        `limits.${name} must be an integer of at least ${least}, not ${String(value)}`,
      )
    }
    limits[name as keyof Limits] = value
  }
  const { retainEvents, retainBytes, maxCredit, readAhead, creditUnit, maxEvent, maxDown, initialCredit } = limits
  const { maxDepth, maxValues, helloBytes, beforeWelcomeBytes, beforeWelcomeTotal, maxMessage, highWater } = limits
  check(
    retainEvents >= maxCredit + readAhead,
    'retainEvents must be at least maxCredit + readAhead, or a pacing client could miss items',
  )
  check(
    retainBytes / 2 >= (maxCredit + 64) * creditUnit + maxEvent,
    'retainBytes must be at least 2 * ((maxCredit + 64) * creditUnit + maxEvent)',
  )
  check(initialCredit <= maxCredit, 'initialCredit must be at most maxCredit')
  check(
    maxDown >= maxEvent + creditUnit + 1_024,
    'maxDown must hold the largest event: at least maxEvent + creditUnit + 1024',
  )
  check(
    highWater * 3 >= maxDown,
    'highWater must be at least a third of maxDown, or a client could be closed as too slow for one message',
  )
  check(maxEvent >= 1_024, 'maxEvent must be at least 1024, or the end of a run does not fit')
  check(maxDepth >= 6, 'maxDepth must be at least 6, or no event of the protocol fits')
  check(maxValues >= 64, 'maxValues must be at least 64, or no frame with options fits')
  check(helloBytes <= beforeWelcomeBytes, 'helloBytes must be at most beforeWelcomeBytes')
  check(beforeWelcomeBytes <= maxMessage, 'beforeWelcomeBytes must be at most maxMessage')
  check(maxMessage <= beforeWelcomeTotal, 'maxMessage must be at most beforeWelcomeTotal')
  return limits
}

function check(holds: boolean, rule: string): void {
  if (!holds) throw new MillraceError('bad_request', `limits: ${rule}`)
}
