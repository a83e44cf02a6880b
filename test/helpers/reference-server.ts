import { referenceActors } from '../../server/cli/reference-actors.ts'
import { bearer } from '../../server/index.ts'
import { REFERENCE_LIMITS } from '../../verify/reference.ts'
import { type TestServer, testServer } from './server.ts'
import type { TransportUnderTest } from './transports.ts'

/** The tokens of two principals. */
export const TOKENS = { token: 'alice', otherToken: 'bob' } as const

/** A server that the conformance kit can judge. */
export function referenceServer(by?: TransportUnderTest): Promise<TestServer<typeof referenceActors>> {
  const authenticate = bearer({ alice: 'alice', bob: 'bob' })
  return testServer(referenceActors, { authenticate, limits: REFERENCE_LIMITS }, by)
}
