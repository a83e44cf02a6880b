import type { Limits } from '../protocol/limits.ts'

/** The limits that the checks know. */
export type ReferenceLimits = Readonly<
  Pick<
    Limits,
    | 'maxStreams'
    | 'maxMessage'
    | 'maxDown'
    | 'maxEvent'
    | 'maxDepth'
    | 'maxValues'
    | 'creditUnit'
    | 'initialCredit'
    | 'maxCredit'
    | 'readAhead'
    | 'retainEvents'
    | 'maxInputs'
    | 'heartbeatMs'
    | 'pongMs'
    | 'helloMs'
    | 'helloBytes'
    | 'beforeWelcomeBytes'
    | 'resumeMs'
    | 'endedMs'
    | 'cancelGraceMs'
  >
>

/**
 * The limits of a server that is judged: small, so that each is reached soon. docs/conformance.md has them for
 * implementers.
 */
export const REFERENCE_LIMITS: ReferenceLimits = {
  maxStreams: 8,
  maxMessage: 32_768,
  maxDown: 16_384,
  maxEvent: 4_096,
  maxDepth: 8,
  maxValues: 512,
  creditUnit: 64,
  initialCredit: 16,
  maxCredit: 64,
  readAhead: 8,
  retainEvents: 100,
  maxInputs: 4,
  heartbeatMs: 1_000,
  pongMs: 1_000,
  helloMs: 1_000,
  helloBytes: 2_048,
  beforeWelcomeBytes: 16_384,
  resumeMs: 4_000,
  endedMs: 4_000,
  cancelGraceMs: 500,
}

/** Those of them that WELCOME states. */
export const STATED_REFERENCE_LIMITS: readonly (keyof ReferenceLimits)[] = [
  'maxStreams',
  'maxMessage',
  'maxDown',
  'maxEvent',
  'maxDepth',
  'maxValues',
  'creditUnit',
  'initialCredit',
  'maxCredit',
  'heartbeatMs',
  'pongMs',
  'resumeMs',
  'endedMs',
  'beforeWelcomeBytes',
  'cancelGraceMs',
]
