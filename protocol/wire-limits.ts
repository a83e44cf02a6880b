/** The limits that a client acts on, with the values it assumes until WELCOME. `Limits` describes each of them. */
export const WIRE_LIMITS = {
  maxStreams: 64,
  maxMessage: 262_144,
  maxDown: 131_072,
  maxDepth: 16,
  maxValues: 16_384,
  initialCredit: 256,
  beforeWelcomeBytes: 65_536,
  heartbeatMs: 10_000,
  pongMs: 10_000,
  resumeMs: 300_000,
  endedMs: 600_000,
  cancelGraceMs: 1_000,
} as const

export type WireLimits = { [name in keyof typeof WIRE_LIMITS]: number }
