import { MillraceError } from '../../protocol/errors.ts'
import type { Limits } from '../../protocol/limits.ts'
import type { Runtime } from '../../protocol/runtime.ts'
import type { Principal } from '../actors/principal.ts'
import type { Quota } from '../sessions/admission.ts'
import { type Authenticate, type Identity, identityOf } from '../sessions/auth.ts'
import type { Registry } from '../sessions/registry.ts'
import type { UpgradeRequest } from '../transports/transport.ts'
import type { UsedTicket } from './tickets.ts'

/** The header with which a client names its instance: 32 hexadecimal digits, as random as a secret. */
export const INSTANCE_HEADER = 'millrace-client'
const BEARER = /^Bearer +(.+)$/i
const INSTANCE_BYTES = 16

/** The client behind a request. */
export type Caller = {
  readonly identity: Identity
  readonly principal: Principal
  readonly quota: Quota
  /** The client instance, if the request names one. */
  readonly instance: string | undefined
  /** The instance that the server chose for a request that names none. `anonymous()` makes a principal of it. */
  readonly given: string | undefined
  /** The ticket in place of credentials. */
  readonly ticket: UsedTicket | undefined
}

type CallersOptions = {
  readonly runtime: Runtime
  readonly limits: Pick<Limits, 'helloMs'>
  readonly registry: Pick<Registry, 'quota'>
  readonly authenticate: Authenticate
  addressOf(request: UpgradeRequest): string
  report(error: unknown): void
}

/** Finds out who sends a request, with the `authenticate` of the server. */
export class Callers {
  readonly #options: CallersOptions

  constructor(options: CallersOptions) {
    this.#options = options
  }

  /**
   * The client behind a request with credentials.
   * @param header names the instance as well, for clients of a foreign protocol.
   * @throws MillraceError `unauthenticated`; `bad_request` for a malformed name of the instance; `unavailable` when the
   *   check failed.
   */
  async identify(request: UpgradeRequest, header?: string): Promise<Caller> {
    const instance = instanceOf(request, INSTANCE_HEADER) ?? (header && instanceOf(request, header))
    const given = instance === undefined ? this.#newInstance() : undefined
    const identity = await this.#authenticate(request, instance ?? given!)
    if (!identity) throw new MillraceError('unauthenticated', refusalOf(request))
    return this.#caller(identity, { instance, given, ticket: undefined })
  }

  /** The client behind a ticket. @throws MillraceError `unauthenticated` when its credentials have expired. */
  ofTicket(ticket: UsedTicket): Caller {
    return this.#caller(ticket.identity, { instance: ticket.instance, given: undefined, ticket })
  }

  #caller(identity: Identity, rest: Pick<Caller, 'instance' | 'given' | 'ticket'>): Caller {
    const { runtime, registry } = this.#options
    if (identity.expiresAt !== undefined && identity.expiresAt <= runtime.wallClock())
      throw new MillraceError('unauthenticated', 'the credentials have expired')
    return { identity, principal: identity, quota: registry.quota(identity), ...rest }
  }

  async #authenticate(request: UpgradeRequest, client: string): Promise<Identity | undefined> {
    const { runtime, limits, authenticate } = this.#options
    const headers = new Map(request.headers)
    if (!isOfPage(request)) headers.delete('cookie')
    const auth = BEARER.exec(headers.get('authorization') ?? '')?.[1]
    const failed = (cause: unknown): never => {
      this.#options.report(cause)
      throw new MillraceError('unavailable', 'the credentials could not be checked; try again later', { cause })
    }
    try {
      const remoteAddress = this.#options.addressOf(request)
      const answer = Promise.resolve(authenticate({ auth, headers, remoteAddress, client }))
      return identityOf(await within(runtime, limits.helloMs, answer))
    } catch (error) {
      return failed(error)
    }
  }

  #newInstance(): string {
    return Buffer.from(this.#options.runtime.randomBytes(INSTANCE_BYTES)).toString('hex')
  }
}

/**
 * Whether a request comes from a page that may send it: one with an Origin, which was checked, or one of the same origin,
 * as the browser says. A browser sends no Origin with a GET to the origin of the page, and no page can set this header.
 */
export function isOfPage({ origin, headers }: Pick<UpgradeRequest, 'origin' | 'headers'>): boolean {
  return origin !== undefined || headers.get('sec-fetch-site') === 'same-origin'
}

/** Tells a client whose token is wrong from one that sends none. */
function refusalOf({ headers }: UpgradeRequest): string {
  const authorization = headers.get('authorization')
  if (authorization === undefined) return 'this needs credentials: send Authorization: Bearer TOKEN'
  return BEARER.test(authorization)
    ? 'the token in Authorization was refused'
    : 'the credentials were refused: send Authorization: Bearer TOKEN'
}

/** Settles as `answer` does. @throws Error when that takes longer than `ms`. */
async function within<T>(runtime: Runtime, ms: number, answer: Promise<T>): Promise<T> {
  return await new Promise((resolve, reject) => {
    const timer = runtime.setTimer(ms, () => reject(new Error(`authenticate took longer than ${ms} ms`)))
    answer.then(resolve, reject).finally(() => timer.clear())
  })
}

function instanceOf({ headers }: UpgradeRequest, header: string): string | undefined {
  const name = headers.get(header)
  if (name === undefined) return undefined
  if (!/^[\da-f]{32}$/i.test(name))
    throw new MillraceError('bad_request', `the header ${header} must have 32 hexadecimal digits, chosen at random`)
  return name.toLowerCase()
}
