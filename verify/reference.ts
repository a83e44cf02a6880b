import type { Limits, STATED_LIMITS } from '../protocol/limits.ts'

/** The limits that the checks know: those that WELCOME states, and some of the others. */
export type ReferenceLimits = Readonly<
  Pick<
    Limits,
    | keyof typeof STATED_LIMITS
    | 'readAhead'
    | 'retainEvents'
    | 'maxInputs'
    | 'helloMs'
    | 'helloBytes'
    | 'inflight'
    | 'slowMs'
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
  inflight: 32_768,
  slowMs: 1_000,
}
