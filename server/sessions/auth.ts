import { hash, type webcrypto } from 'node:crypto'
import type * as Jose from 'jose'
import { MillraceError } from '../../protocol/errors.ts'
import type { Principal } from '../actors/actor.ts'

/** The data by which a client is authenticated. */
export type Credentials = {
  /** HELLO's `auth`: any value that the client sent. */
  readonly auth: unknown
  /**
   * Headers of the upgrade request, names in lower case. Cookies are included only if the request named an allowed
   * Origin, so that a page of another site cannot use a visitor's cookies.
   */
  readonly headers: ReadonlyMap<string, string>
  /** The IP address of the peer. Behind a proxy, that is the proxy. */
  readonly remoteAddress: string
  /** The id of the client instance, in hex. The client chooses it, so it proves no identity. */
  readonly client: string
}

/** A principal, and when its credentials expire. */
export type Identity = Principal & {
  /** In epoch milliseconds. The server then closes with 4401, and the client returns with new credentials. */
  readonly expiresAt?: number
}

/**
 * Returns the identity of a client, or undefined to refuse the client. A refused client gets no reason. When this
 * throws, the server closes the connection with 1011, and the client tries again later.
 */
export type Authenticate = (credentials: Credentials) => Identity | undefined | PromiseLike<Identity | undefined>

/**
 * Checks the result of `authenticate`. Returns the identity, or undefined when the client is refused: `null` and
 * `false` refuse it too.
 * @throws TypeError for any other result. The message names the fault.
 */
export function identityOf(result: unknown): Identity | undefined {
  if (result === undefined || result === null || result === false) return undefined
  const rule = 'authenticate must return a principal { id, rights?, expiresAt? }, or undefined to refuse'
  if (typeof result !== 'object') throw new TypeError(`${rule}, not a ${typeof result}`)
  const { expiresAt } = result as { readonly expiresAt?: unknown }
  const fault = principalFault(result) ?? (expiresAt !== undefined && !Number.isFinite(expiresAt) && 'expiresAt')
  if (fault) throw new TypeError(`${rule}; ${FAULTS[fault]}`)
  return result as Identity
}

const FAULTS = {
  id: '`id` must be a non-empty string',
  rights: "`rights` must be an array of strings, such as ['observe']",
  expiresAt: '`expiresAt` must be a finite number of milliseconds since 1970',
}

/** Returns the property of a principal that is invalid, if one is. */
function principalFault(principal: object): 'id' | 'rights' | undefined {
  const { id, rights } = principal as { readonly id?: unknown; readonly rights?: unknown }
  if (typeof id !== 'string' || id === '') return 'id'
  const isList = Array.isArray(rights) && rights.every((right) => typeof right === 'string')
  return rights === undefined || isList ? undefined : 'rights'
}

/**
 * Returns `principal` after checking it. It is for principals that are named inside the process.
 * @throws MillraceError `bad_request` for an invalid principal. The message names the fault.
 */
export function checkedPrincipal(principal: Principal): Principal {
  const fault = typeof principal === 'object' && principal !== null ? principalFault(principal) : 'id'
  if (fault) throw new MillraceError('bad_request', `invalid principal: ${FAULTS[fault]}`)
  return principal
}

/** Returns the token from HELLO's `auth`, or else from `Authorization: Bearer`. A token in the URL is never used. */
function tokenOf({ auth, headers }: Credentials): string | undefined {
  if (typeof auth === 'string') return auth
  return /^Bearer +(.+)$/i.exec(headers.get('authorization') ?? '')?.[1]
}

/**
 * Authenticates clients by fixed tokens: `bearer({ [token]: 'alice' })`, or a whole principal in place of the id.
 * Tokens are looked up by their hash, so the time of a check reveals nothing of them.
 * @throws MillraceError `bad_request` for no token at all, an empty token, or an invalid principal.
 */
export function bearer(tokens: { readonly [token: string]: string | Principal }): Authenticate {
  // By hash: how far two hashes agree reveals nothing of the token, and a look-up costs the same for any number of them.
  const known = new Map<string, Principal>()
  for (const [token, identity] of Object.entries(tokens)) {
    if (token === '' || token === 'undefined')
      throw new MillraceError('bad_request', 'bearer() was given an empty token: is its environment variable set?')
    known.set(hash('sha256', token), checkedPrincipal(typeof identity === 'string' ? { id: identity } : identity))
  }
  if (known.size === 0)
    throw new MillraceError('bad_request', 'bearer() needs at least one token; use anonymous() to accept every client')
  return (credentials) => known.get(hash('sha256', tokenOf(credentials) ?? ''))
}

/**
 * Accepts every client. Each client instance is a principal of its own: it sees only its own runs, and only as long as
 * its page or process lasts. The id of the principal does not reveal the id of the client instance.
 */
export function anonymous(): Authenticate {
  return ({ client }) => ({ id: `anonymous:${hash('sha256', client).slice(0, 32)}` })
}

/** The options of `jwt()`. */
export type JwtOptions = {
  /** A shared secret (HS256 and similar), a public key, or a function that finds it (jose's `createRemoteJWKSet`). */
  key: SigningKey | JwtKeyFinder
  /** Accepted signature algorithms. There is no default: an explicit list prevents `none` and algorithm confusion. */
  algorithms: readonly string[]
  /** The required `iss` claim. Default: any. */
  issuer?: string
  /** The required `aud` claim. Default: any. */
  audience?: string
  /** Maps the claims to a principal; undefined refuses the client. Default: `sub` is the id. */
  principal?: (claims: JwtClaims) => Principal | undefined | PromiseLike<Principal | undefined>
}

/** The claims of a verified token. */
export type JwtClaims = {
  /** The subject: by default, the id of the principal. */
  readonly sub?: string
  /** When the token expires, in seconds since 1970. */
  readonly exp?: number
  readonly [claim: string]: unknown
}

type SigningKey = webcrypto.CryptoKey | Uint8Array

/** Finds the key for a token, as the key functions of `jose` do. */
export type JwtKeyFinder = (header: { alg: string; kid?: string }, token: never) => SigningKey | Promise<SigningKey>

/**
 * Authenticates clients by signed tokens, which the optional package `jose` verifies. When a token expires, the server
 * closes the connection with 4401. The client then returns with the new result of its `token` function.
 * @throws MillraceError `bad_request` when `algorithms` is empty or includes `none`. Without the package, the first
 *   client fails with `unavailable`.
 */
export function jwt(options: JwtOptions): Authenticate {
  if (options.algorithms.length === 0 || options.algorithms.includes('none')) {
    throw new MillraceError(
      'bad_request',
      "jwt() needs the signature algorithms it may accept, e.g. algorithms: ['HS256']; `none` is not allowed",
    )
  }
  const { issuer, audience } = options
  const checks = {
    algorithms: [...options.algorithms],
    ...(issuer === undefined ? {} : { issuer }),
    ...(audience === undefined ? {} : { audience }),
  }
  const principalOf =
    options.principal ?? (({ sub }: JwtClaims) => (sub === undefined || sub === '' ? undefined : { id: sub }))
  return async (credentials) => {
    const token = tokenOf(credentials)
    if (token === undefined) return undefined
    const { jwtVerify, errors } = await loadJose()
    try {
      const { payload } = await jwtVerify(token, options.key as Uint8Array, checks)
      const principal = await principalOf(payload)
      if (!principal) return undefined
      return payload.exp === undefined ? principal : { ...principal, expiresAt: payload.exp * 1000 }
    } catch (error) {
      if (error instanceof errors.JOSEError) return undefined
      throw error
    }
  }
}

async function loadJose(): Promise<typeof Jose> {
  try {
    return await import('jose')
  } catch (cause) {
    throw new MillraceError('unavailable', 'jwt() needs the package jose: npm install jose', { cause })
  }
}
