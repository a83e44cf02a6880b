import { timingSafeEqual, type webcrypto } from 'node:crypto'
import type * as Jose from 'jose'
import { MillraceError } from '../../protocol/errors.ts'
import type { Principal } from '../actors/actor.ts'

/** What a client shows of itself. */
export type Credentials = {
  /** HELLO's `auth`, whatever the client sent. */
  readonly auth: unknown
  /**
   * Headers of the upgrade request, names in lower case. Cookies are among them only if the request named an allowed
   * Origin: a page of another site cannot act with a visitor's cookies.
   */
  readonly headers: ReadonlyMap<string, string>
  readonly remoteAddress: string
  /** The client instance, in hex. Chosen by the client: it identifies nobody. */
  readonly client: string
}

/** A principal, and until when its credentials hold. */
export type Identity = Principal & {
  /** Epoch milliseconds; the connection is closed 4401 then, and its client comes back with new credentials. */
  readonly expiresAt?: number
}

/**
 * Says who a client is, or undefined to refuse it. A refused client learns nothing but that. Throwing closes the
 * connection 1011: the client comes back later.
 */
export type Authenticate = (credentials: Credentials) => Identity | undefined | PromiseLike<Identity | undefined>

/**
 * Who a client is, as `authenticate` answered; undefined when it was refused. What is neither must not come in.
 * @throws TypeError naming what is wrong with the answer.
 */
export function identityOf(answer: unknown): Identity | undefined {
  if (answer === undefined || answer === null || answer === false) return undefined
  const what = 'authenticate must answer with a principal { id, rights?, expiresAt? }, or with undefined to refuse'
  if (typeof answer !== 'object') throw new TypeError(`${what}, not with ${typeof answer}`)
  const { expiresAt } = answer as { readonly expiresAt?: unknown }
  const fault = principalFault(answer) ?? (expiresAt !== undefined && !Number.isFinite(expiresAt) && 'expiresAt')
  if (fault) throw new TypeError(`${what}; ${FAULTS[fault]}`)
  return answer as Identity
}

const FAULTS = {
  id: '`id` must be a string that is not empty',
  rights: "`rights` must be an array of strings, such as ['observe']",
  expiresAt: '`expiresAt` must be a finite number of milliseconds since 1970',
}

/** What is wrong with a principal, if anything is. */
function principalFault(principal: object): 'id' | 'rights' | undefined {
  const { id, rights } = principal as { readonly id?: unknown; readonly rights?: unknown }
  if (typeof id !== 'string' || id === '') return 'id'
  const isList = Array.isArray(rights) && rights.every((right) => typeof right === 'string')
  return rights === undefined || isList ? undefined : 'rights'
}

/**
 * A principal that is named inside the process.
 * @throws MillraceError `bad_request` naming what is wrong with it.
 */
export function checkedPrincipal(principal: Principal): Principal {
  const fault = typeof principal === 'object' && principal !== null ? principalFault(principal) : 'id'
  if (fault) throw new MillraceError('bad_request', `this is no principal: ${FAULTS[fault]}`)
  return principal
}

/** The token a client sent in HELLO, or as `Authorization: Bearer`. Never from the URL. */
function tokenOf({ auth, headers }: Credentials): string | undefined {
  if (typeof auth === 'string') return auth
  return /^Bearer +(.+)$/i.exec(headers.get('authorization') ?? '')?.[1]
}

/**
 * Knows clients by fixed tokens: `bearer({ [token]: 'alice' })`, or a whole principal in place of the id. Compares in
 * constant time.
 * @throws MillraceError `bad_request` for no token at all, or an empty one.
 */
export function bearer(tokens: { readonly [token: string]: string | Principal }): Authenticate {
  const known = Object.entries(tokens).map(([token, who]) => ({
    token: Buffer.from(token),
    principal: checkedPrincipal(typeof who === 'string' ? { id: who } : who),
  }))
  if (known.length === 0)
    throw new MillraceError('bad_request', 'bearer() needs at least one token; write anonymous() to let everybody in')
  for (const { token } of known) {
    if (token.length === 0 || token.toString() === 'undefined')
      throw new MillraceError('bad_request', 'bearer() was given an empty token: is its environment variable set?')
  }
  return (credentials) => {
    const given = Buffer.from(tokenOf(credentials) ?? '')
    let found: Principal | undefined
    for (const { token, principal } of known) if (sameBytes(given, token)) found = principal
    return found
  }
}

/** Compares without telling by time how much was right; the length of a token is no secret. */
function sameBytes(a: Buffer, b: Buffer): boolean {
  if (a.length !== b.length) {
    timingSafeEqual(b, b)
    return false
  }
  return timingSafeEqual(a, b)
}

/** Lets everybody in, each client instance as a principal of its own: it sees its own runs only, and only while its page lives. */
export function anonymous(): Authenticate {
  return ({ client }) => ({ id: `anonymous:${client}` })
}

export type JwtOptions = {
  /** The shared secret (HS256 and kin) or a public key, or a function that finds one (`createRemoteJWKSet` of `jose`). */
  key: SigningKey | JwtKeyFinder
  /** Signature algorithms accepted. No default: saying which is what keeps `none` and confusion out. */
  algorithms: readonly string[]
  issuer?: string
  audience?: string
  /** Turns the claims into a principal. Default: `sub` is the id. Undefined refuses. */
  principal?: (claims: JwtClaims) => Principal | undefined | PromiseLike<Principal | undefined>
}

export type JwtClaims = { readonly sub?: string; readonly exp?: number; readonly [claim: string]: unknown }

type SigningKey = webcrypto.CryptoKey | Uint8Array

/** Finds the key of a token, as the functions of `jose` do. */
export type JwtKeyFinder = (header: { alg: string; kid?: string }, token: never) => SigningKey | Promise<SigningKey>

/**
 * Knows clients by signed tokens, checked with the optional package `jose`. When a token expires the connection is
 * closed 4401 and its client comes back with what its `token` function returns then.
 * @throws MillraceError `bad_request` when no algorithm is named; at the first client when `jose` is not installed.
 */
export function jwt(options: JwtOptions): Authenticate {
  if (options.algorithms.length === 0 || options.algorithms.includes('none')) {
    throw new MillraceError(
      'bad_request',
      "jwt() needs the signature algorithms it may accept, e.g. algorithms: ['HS256']; `none` is never one",
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
