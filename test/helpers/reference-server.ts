import { referenceActors } from '../../server/cli/reference-actors.ts'
import { bearer } from '../../server/index.ts'
import { REFERENCE_LIMITS } from '../../verify/reference.ts'
import { type TestServer, testServer } from './server.ts'
import type { TransportUnderTest } from './transports.ts'

/** The tokens of two principals. */
export const TOKENS = { token: 'alice', otherToken: 'bob' } as const

export const REFERENCE_OPTIONS = { authenticate: bearer({ alice: 'alice', bob: 'bob' }), limits: REFERENCE_LIMITS }

/** A server that the conformance kit can judge. */
export function referenceServer(by?: TransportUnderTest): Promise<TestServer<typeof referenceActors>> {
  return testServer(referenceActors, REFERENCE_OPTIONS, by)
}
