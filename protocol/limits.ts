import { MillraceError } from './errors.ts'
import { WIRE_LIMITS } from './wire-limits.ts'

/** Every limit of the wire and of the server behind it. Times in milliseconds, sizes in bytes. */
export type Limits = {
  /** Streams open at once on one connection. Default 64. */
  maxStreams: number
  /** Largest message a client may send. Default 262,144. */
  maxMessage: number
  /** Largest message a server may send. Default 131,072. */
  maxDown: number
  /** Largest encoded event, END or OPENED data. Default 65,536. */
  maxEvent: number
  /** Deepest nesting of arrays and maps in one frame, the frame itself counted. Default 16. */
  maxDepth: number
  /** Most values in one frame, containers, keys and elements each counted. Default 16,384. */
  maxValues: number
  /** Bytes of text that cost one credit; also the largest text item. Default 1,024. */
  creditUnit: number
  /** A subscription's balance when the client names none. Default 256. */
  initialCredit: number
  /** The highest balance a subscription can hold. Default 1,900. */
  maxCredit: number
  /** Items an actor may produce beyond what its slowest pacing subscription may be sent. Default 32. */
  readAhead: number
  /** Time for HELLO to arrive. Default 5,000. */
  helloMs: number
  /** Largest HELLO frame. Default 16,384. */
  helloBytes: number
  /** Most bytes accepted before WELCOME, HELLO included. Default 65,536. */
  beforeWelcomeBytes: number
  /** Silence after which a peer is pinged. Default 10,000. */
  heartbeatMs: number
  /** Time for the answer to a PING. Default 10,000. */
  pongMs: number
  /** How long a session without a connection is remembered, and the default of `detachMs`. Default 300,000. */
  resumeMs: number
  /** How long an ended run's log, end and key are kept. Default 600,000. */
  endedMs: number
  /** Items kept of one run. Default 10,000. */
  retainEvents: number
  /** Bytes kept of one run. Default 4 MiB. */
  retainBytes: number
  /** Bytes of ended runs kept on a node. Default 256 MiB. */
  retainTotal: number
  /** Bytes of ended runs kept for one principal. Default 32 MiB. */
  retainPrincipal: number
  /** How long a cancelled run may take to settle before its end is announced all the same. Default 1,000. */
  cancelGraceMs: number
  /** Bytes written beyond the last answered PING before only control frames are sent. Default 524,288. */
  inflight: number
  /** Bytes waiting in the socket before only control frames are sent. Default 262,144. */
  highWater: number
  /** How long a connection may stay at either of those two before it is closed 4430 (resumable). Default 30,000. */
  slowMs: number
  /** Deadline of a run; it does not run while the run waits for input or for credit. Default 600,000. */
  timeoutMs: number
  /** START and ATTACH a second, per principal. Default 50. */
  startsPerSec: number
  /** START and ATTACH at once, per principal. Default 100. */
  startBurst: number
  /** Inputs not yet taken by the actor. Default 16. */
  maxInputs: number
  /** Bytes of inputs not yet taken by the actor. Default 65,536. */
  maxInputBytes: number
  /** Least time between two messages to one connection while only text waits. Default 6. */
  flushMs: number
  /** Live runs of one principal. Default 256. */
  maxRuns: number
  /** Connections of one principal. Default 20. */
  maxConnections: number
  /** Sessions without a connection remembered for one principal. Default 20. */
  maxSessions: number
  /** Messages a second on one connection before it is closed 4429; each 16 frames of one count as one. Default 1,000. */
  messagesPerSec: number
}

/** The limits in force when nothing else is said. */
export const DEFAULT_LIMITS: Readonly<Limits> = {
  ...WIRE_LIMITS,
  readAhead: 32,
  helloMs: 5_000,
  helloBytes: 16_384,
  retainEvents: 10_000,
  retainBytes: 4 * 1_048_576,
  retainTotal: 256 * 1_048_576,
  retainPrincipal: 32 * 1_048_576,
  inflight: 524_288,
  highWater: 262_144,
  slowMs: 30_000,
  timeoutMs: 600_000,
  startsPerSec: 50,
  startBurst: 100,
  maxInputs: 16,
  maxInputBytes: 65_536,
  flushMs: 6,
  maxRuns: 256,
  maxConnections: 20,
  maxSessions: 20,
  messagesPerSec: 1_000,
}

/** Limits that may be zero: switching the thing off is a meaning there. */
const MAY_BE_ZERO: ReadonlySet<string> = new Set([
  'readAhead',
  'flushMs',
  'cancelGraceMs',
  'initialCredit',
  'resumeMs',
  'endedMs',
  'maxSessions',
])

/**
 * Completes `given` with the defaults and checks that the limits fit together.
 * @throws MillraceError `bad_request` naming the limit and the rule it breaks.
 */
export function resolveLimits(given: Partial<Limits> = {}): Limits {
  const limits: Limits = { ...DEFAULT_LIMITS }
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined) continue
    if (!Object.hasOwn(DEFAULT_LIMITS, name))
      throw new MillraceError(
        'bad_request',
        `limits.${name} does not exist; known: ${Object.keys(DEFAULT_LIMITS).join(', ')}`,
      )
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
  const { maxDepth, maxValues, helloBytes, beforeWelcomeBytes, maxMessage, highWater } = limits
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
  check(maxDepth >= 6, 'maxDepth must be at least 6, or no event of the protocol fits')
  check(maxValues >= 64, 'maxValues must be at least 64, or no frame with options fits')
  check(helloBytes <= beforeWelcomeBytes, 'helloBytes must be at most beforeWelcomeBytes')
  check(beforeWelcomeBytes <= maxMessage, 'beforeWelcomeBytes must be at most maxMessage')
  return limits
}

function check(holds: boolean, rule: string): void {
  if (!holds) throw new MillraceError('bad_request', `limits: ${rule}`)
}
