import { randomBytes } from 'node:crypto'
import { REFERENCE_LIMITS } from '../../verify/reference.ts'
import { bearer } from '../sessions/auth.ts'
import type { Config } from './config-file.ts'
import { EXIT, Failure } from './exit.ts'
import { referenceActors } from './reference-actors.ts'
import type { Options } from './server-process.ts'

/**
 * Makes the server one that `millrace verify` can judge: with the reference actors and limits, and another principal.
 * Returns the token of that one.
 */
export function addReference(options: Options, { replay }: { readonly replay?: string }, config: Config): string {
  if (replay !== undefined)
    throw new Failure(EXIT.usage, '--reference and --replay name two sets of actors: leave one out')
  for (const own of ['actors', 'limits'] as const) {
    if (config[own]) throw new Failure(EXIT.usage, `the config file has its own ${own}: leave --reference out`)
  }
  const { authenticate } = options
  const token = randomBytes(16).toString('hex')
  options.actors = referenceActors
  options.limits = REFERENCE_LIMITS
  const other = bearer({ [token]: 'other' })
  options.authenticate = async (credentials) => (await other(credentials)) ?? authenticate(credentials)
  return token
}
