import { hash } from 'node:crypto'
import type * as Jose from 'jose'
import { MillraceError } from '../../protocol/errors.ts'
import { checkOptions, type OptionKinds } from '../../protocol/options.ts'
import type { Principal } from '../actors/principal.ts'
import { countedAddress } from './client-address.ts'

/** The data by which a client is authenticated. */
export type Credentials = {
  /** HELLO's `auth`: any value that the client sent. */
  readonly auth: unknown
  /**
   * Headers of the upgrade request, names in lower case. Cookies are included only if the request named an allowed
   * Origin, so that a page of another site cannot use a visitor's cookies.
   */
  readonly headers: ReadonlyMap<string, string>
  /** The IP address of the peer. Behind a proxy that is the proxy, unless the server has `trustProxy`. */
  readonly remoteAddress: string
  /** The id of the client instance, in hex. The client chooses it, so it proves no identity. */
  readonly client: string
}

/** A principal, and when its credentials expire. */
export type Identity = Principal & {
  /** In epoch milliseconds. The server then closes with 4401, and the client returns with new credentials. */
  readonly expiresAt?: number | undefined
}

/**
 * Returns the identity of a client, or undefined to refuse the client. A refused client gets no reason. When this
 * throws, the server closes the connection with 1011, and the client tries again later.
 */
export type Authenticate = (credentials: Credentials) => Identity | undefined | PromiseLike<Identity | undefined>

/**
 * Checks the result of `authenticate`. Returns a copy of the identity, or undefined when the client is refused: `null` and
 * `false` refuse it too.
 * @throws TypeError for any other result. The message names the fault.
 */
export function identityOf(result: unknown): Identity | undefined {
  if (result === undefined || result === null || result === false) return undefined
  const rule = 'authenticate must return a principal { id, rights?, expiresAt? }, or undefined to refuse'
  if (typeof result !== 'object') throw new TypeError(`${rule}, not a ${typeof result}`)
  const principal = principalOf(result)
  if (typeof principal === 'string') throw new TypeError(`${rule}; ${FAULTS[principal]}`)
  const { expiresAt } = result as { readonly expiresAt?: unknown }
  if (expiresAt === undefined) return principal
  if (!Number.isFinite(expiresAt)) throw new TypeError(`${rule}; ${FAULTS.expiresAt}`)
  return Object.freeze({ ...principal, expiresAt: expiresAt as number })
}

const FAULTS = {
  id: '`id` must be a non-empty string',
  rights: "`rights` must be an array of strings, such as ['observe']",
  pool: '`pool` must be a non-empty string',
  expiresAt: '`expiresAt` must be a finite number of milliseconds since 1970',
}

/**
 * Returns a copy of a principal, or the name of its property that is invalid. The application's own object may have
 * getters, and may be changed later: neither changes who a client is.
 */
function principalOf(given: object): Principal | 'id' | 'rights' | 'pool' {
  const { id, rights, pool } = given as { readonly [name in 'id' | 'rights' | 'pool']?: unknown }
  if (typeof id !== 'string' || id === '') return 'id'
  if (pool !== undefined && (typeof pool !== 'string' || pool === '')) return 'pool'
  const principal = { id, ...(pool === undefined ? {} : { pool }) }
  if (rights === undefined) return Object.freeze(principal)
  if (!Array.isArray(rights)) return 'rights'
  const copy: unknown[] = [...(rights as unknown[])]
  if (!copy.every((right) => typeof right === 'string')) return 'rights'
  return Object.freeze({ ...principal, rights: Object.freeze(copy) })
}

/**
 * Returns a copy of `principal` after checking it. It is for principals that are named inside the process.
 * @throws MillraceError `bad_request` for an invalid principal. The message names the fault.
 */
export function checkedPrincipal(principal: Principal): Principal {
  const copy = typeof principal === 'object' && principal !== null ? principalOf(principal) : 'id'
  if (typeof copy === 'string') throw new MillraceError('bad_request', `invalid principal: ${FAULTS[copy]}`)
  return copy
}

/** Returns the token from HELLO's `auth`, or else from `Authorization: Bearer`. A token in the URL is never used. */
function tokenOf({ auth, headers }: Credentials): string | undefined {
  if (typeof auth === 'string') return auth
  return /^Bearer +(.+)$/i.exec(headers.get('authorization') ?? '')?.[1]
}

/**
 * Authenticates clients by fixed tokens: `bearer({ [token]: 'alice' })`, or a whole principal in place of the id.
 * Tokens are looked up by their hash, so the time of a check reveals nothing of them.
 * @throws MillraceError `bad_request` for anything but an object, no token at all, an empty token, or an invalid principal.
 */
export function bearer(tokens: { readonly [token: string]: string | Principal }): Authenticate {
  if (typeof tokens !== 'object' || tokens === null || Array.isArray(tokens))
    throw new MillraceError('bad_request', "bearer() needs an object of tokens, such as { 'a-long-secret': 'alice' }")
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
 * its page or process lasts. The id of the principal does not reveal the id of the client instance. The instances of one
 * IP address are one pool: together they have the limits of `limits.principalsPerPool` principals. Behind a proxy, that is
 * one pool for all unless the server has `trustProxy`.
 */
export function anonymous(): Authenticate {
  return ({ client, remoteAddress }) => {
    const address = countedAddress(remoteAddress)
    const id = `anonymous:${hash('sha256', client).slice(0, 32)}`
    return { id, ...(address === undefined ? {} : { pool: `anonymous:${address}` }) }
  }
}

/** The options of `jwt()`. */
export type JwtOptions = {
  /** A shared secret (HS256 and similar), a public key, or a function that finds it (jose's `createRemoteJWKSet`). */
  key: SigningKey | JwtKeyFinder
  /** Accepted signature algorithms. There is no default: an explicit list prevents `none` and algorithm confusion. */
  algorithms: readonly string[]
  /** The required `iss` claim. Default: any. */
  issuer?: string | undefined
  /** The required `aud` claim. Default: any. */
  audience?: string | undefined
  /** Maps the claims to a principal; undefined refuses the client. Default: `sub` is the id. */
  principal?: ((claims: JwtClaims) => Principal | undefined | PromiseLike<Principal | undefined>) | undefined
}

/** The claims of a verified token. */
export type JwtClaims = {
  /** The subject: by default, the id of the principal. */
  readonly sub?: string
  /** When the token expires, in seconds since 1970. */
  readonly exp?: number
  readonly [claim: string]: unknown
}

const JWT_OPTIONS: OptionKinds<JwtOptions> = {
  key: 'anything',
  algorithms: 'a list of strings, such as ["HS256"]',
  issuer: 'a string',
  audience: 'a string',
  principal: 'a function',
}

/** A `CryptoKey`, in words that need the types of no runtime: a page may import the types of a server. */
type WebCryptoKey = {
  readonly type: 'private' | 'public' | 'secret'
  readonly extractable: boolean
  readonly algorithm: { readonly name: string }
  readonly usages: string[]
}
type SigningKey = WebCryptoKey | Uint8Array

/**
 * Finds the key for a token, as the key functions of `jose` do. If it fails for a reason other than the token, such as a
 * key server that is down, the client is not refused: it tries again later.
 */
export type JwtKeyFinder = (header: { alg: string; kid?: string }, token: never) => SigningKey | Promise<SigningKey>

/** The codes of `jose` that are about the token. All its other errors are about the keys or the server of the keys. */
const TOKEN_FAULTS: ReadonlySet<unknown> = new Set([
  'ERR_JWT_CLAIM_VALIDATION_FAILED',
  'ERR_JWT_EXPIRED',
  'ERR_JWT_INVALID',
  'ERR_JWS_INVALID',
  'ERR_JWS_SIGNATURE_VERIFICATION_FAILED',
  'ERR_JOSE_ALG_NOT_ALLOWED',
  'ERR_JOSE_NOT_SUPPORTED',
  'ERR_JWKS_NO_MATCHING_KEY',
])

/**
 * Authenticates clients by signed tokens, which the optional package `jose` verifies. When a token expires, the server
 * closes the connection with 4401. The client then returns with the new result of its `token` function.
 *
 * Only a token that is invalid is refused. While a key server is down, the keys that it sent last stay valid; without
 * them, the server closes with 1011, and the client tries again later.
 * @throws MillraceError `bad_request` for an unknown option, for no `algorithms` or `none` among them, and for a key that is missing, is
 *   a text, or is a secret of fewer bytes than the algorithm's hash. Without the package, the first
 *   client fails with `unavailable`.
 */
export function jwt(options: JwtOptions): Authenticate {
  checkOptions('jwt()', options, JWT_OPTIONS)
  // Without types, or from JSON, they may be missing.
  const algorithms = (options.algorithms as JwtOptions['algorithms'] | undefined) ?? []
  if (algorithms.length === 0 || algorithms.includes('none')) {
    throw new MillraceError(
      'bad_request',
      "jwt() needs the signature algorithms it may accept, e.g. algorithms: ['HS256']; `none` is not allowed",
    )
  }
  checkKey(options.key, algorithms)
  const { issuer, audience } = options
  const checks = {
    algorithms: [...algorithms],
    ...(issuer === undefined ? {} : { issuer }),
    ...(audience === undefined ? {} : { audience }),
  }
  const principalOf =
    options.principal ?? (({ sub }: JwtClaims) => (sub === undefined || sub === '' ? undefined : { id: sub }))
  return async (credentials) => {
    const token = tokenOf(credentials)
    if (token === undefined) return undefined
    const claims = await claimsOf(token, options.key, checks)
    const principal = claims && (await principalOf(claims))
    if (!principal) return undefined
    return claims.exp === undefined ? principal : { ...principal, expiresAt: claims.exp * 1000 }
  }
}

/** @throws MillraceError `bad_request` for a key with which no token could be verified, or a secret that is too short. */
function checkKey(key: unknown, algorithms: readonly string[]): void {
  if (key === undefined || key === null || key === '')
    throw new MillraceError('bad_request', 'jwt() needs a `key`: is its environment variable set?')
  if (typeof key === 'string')
    throw new MillraceError('bad_request', 'jwt() takes a secret as bytes: key: new TextEncoder().encode(secret)')
  if (typeof key !== 'function' && typeof key !== 'object')
    throw new MillraceError('bad_request', 'the `key` of jwt() must be bytes, a key, or a function that finds the key')
  if (!(key instanceof Uint8Array)) return
  for (const algorithm of algorithms) {
    const least = Number(/^HS(\d+)$/.exec(algorithm)?.[1] ?? 0) / 8
    if (key.length < least)
      throw new MillraceError('bad_request', `the secret of jwt() must have at least ${least} bytes for ${algorithm}`)
  }
}

/**
 * The claims of a valid token; undefined for an invalid one.
 * @throws what the search for the key threw, if that is not about the token.
 */
async function claimsOf(
  token: string,
  key: SigningKey | JwtKeyFinder,
  checks: Jose.JWTVerifyOptions,
): Promise<JwtClaims | undefined> {
  const jose = await loadJose()
  const { jwtVerify } = jose
  try {
    if (typeof key !== 'function') return (await jwtVerify(token, key, checks)).payload
    return (await jwtVerify(token, orLastKnown(key, jose) as Jose.JWTVerifyGetKey, checks)).payload
  } catch (error) {
    if (isTokenFault(error)) return undefined
    if (!isAmbiguous(error)) throw error
    // The token names no key, and several fit: any of them may have signed it.
    for await (const candidate of error as Jose.errors.JWKSMultipleMatchingKeys) {
      const claims = await claimsOf(token, candidate, checks)
      if (claims) return claims
    }
    return undefined
  }
}

/** `find`, and while it fails, the keys that it had last if it is a remote key set of `jose`. */
function orLastKnown(
  find: JwtKeyFinder & { jwks?(): Jose.JSONWebKeySet | undefined },
  jose: typeof Jose,
): JwtKeyFinder {
  return async (header, token) => {
    try {
      return await find(header, token)
    } catch (error) {
      const known = isTokenFault(error) || isAmbiguous(error) ? undefined : find.jwks?.()
      // A key that is not among the last known ones may be a new one: then the failure is the answer.
      if (!known) throw error
      return await jose
        .createLocalJWKSet(known)(header, token)
        .catch((second: unknown) => {
          throw isAmbiguous(second) ? second : error
        })
    }
  }
}

function isTokenFault(error: unknown): boolean {
  return TOKEN_FAULTS.has(codeOf(error))
}

/** Several keys fit. */
function isAmbiguous(error: unknown): boolean {
  return codeOf(error) === 'ERR_JWKS_MULTIPLE_MATCHING_KEYS'
}

/** By its code: the application may have another copy of `jose`. */
function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined
}

async function loadJose(): Promise<typeof Jose> {
  try {
    return await import('jose')
  } catch (cause) {
    throw new MillraceError('unavailable', 'jwt() needs the package jose: npm install jose', { cause })
  }
}
