import { CLOSE, MillraceError } from '../../protocol/errors.ts'
import { isLoopback } from '../sessions/client-address.ts'
import { excerpt } from '../text.ts'
import type { UpgradeRequest, UpgradeVerdict } from '../transports/transport.ts'

/** How many different refusals are reported. A client chooses its Origin, so more may be a flood. */
const MAX_REPORTED = 100
/** The most characters of an Origin or a Host that a report quotes. */
const QUOTED_CHARACTERS = 256

export type OriginOptions = {
  /** The origins that may connect, in addition to the host of the request. */
  readonly origins: readonly string[] | undefined
  /** Whether `X-Forwarded-Host` names the host of the request. */
  readonly trustProxy: boolean | undefined
}

/** A page, or with DNS rebinding any client, that may not connect. */
export type RefusedOrigin = {
  /** The Origin; undefined for a request without one. */
  readonly origin: string | undefined
  /** The name under which the server was asked. */
  readonly host: string
  /** What the operator can do, with the name of the option. */
  readonly hint: string
}

/**
 * Decides whether the page behind an upgrade request may connect: its Origin is listed, or is the host that it connects
 * to. A request without Origin is not from a browser, and may connect.
 *
 * On a server that listens on loopback, the host counts only if it is a loopback name, or comes from a trusted proxy.
 * Otherwise any page could make its own name point at 127.0.0.1 (DNS rebinding) and would then come from the host that
 * it connects to. Without a list, such a server refuses foreign names altogether.
 */
export class OriginCheck {
  readonly #listed: ReadonlySet<string> | undefined
  readonly #trustProxy: boolean
  readonly #refused: (refusal: RefusedOrigin) => void
  readonly #reported = new Set<string>()

  /**
   * @param refused is called once for each Origin that is refused, and for at most 100 of them.
   * @throws MillraceError `bad_request` for an entry of `origins` that no browser sends.
   */
  constructor({ origins, trustProxy = false }: OriginOptions, refused: (refusal: RefusedOrigin) => void) {
    for (const origin of origins ?? []) checkOrigin(origin)
    this.#listed = origins && new Set(origins)
    this.#trustProxy = trustProxy
    this.#refused = refused
  }

  /** Decides about one request. A refusal is a close code, because a browser does not show a page the HTTP status. */
  verify({ origin, headers, listensAt }: UpgradeRequest): UpgradeVerdict {
    if (origin !== undefined && this.#listed?.has(origin)) return { ok: true }
    const forwarded = this.#trustProxy ? headers.get('x-forwarded-host')?.split(',', 1)[0]?.trim() : undefined
    const host = (forwarded || headers.get('host') || '').toLowerCase()
    const isForeign =
      !forwarded && listensAt !== undefined && isLoopback(listensAt) && !isLoopback(host.replace(/:\d*$/, ''))
    if (origin === undefined) {
      return isForeign && !this.#listed ? this.#refuse({ origin, host, hint: REBOUND_HINT }, REBOUND) : { ok: true }
    }
    if (!isOf(host, origin)) return this.#refuse({ origin, host, hint: HINT }, NOT_LISTED)
    return isForeign ? this.#refuse({ origin, host, hint: REBOUND_HINT }, REBOUND) : { ok: true }
  }

  #refuse(refusal: RefusedOrigin, reason: string): UpgradeVerdict {
    const { origin, host, hint } = refusal
    const which = origin ?? host
    if (this.#reported.size < MAX_REPORTED && !this.#reported.has(which)) {
      this.#reported.add(which)
      this.#refused({
        origin: origin && excerpt(origin, QUOTED_CHARACTERS),
        host: excerpt(host, QUOTED_CHARACTERS),
        hint,
      })
    }
    return { ok: false, closeCode: CLOSE.forbidden, reason }
  }
}

const HINT = 'to accept pages of this origin, add it to the option `origins` of createServer'
const REBOUND_HINT =
  'a server that listens on loopback accepts only loopback names as its host: add the origin of the pages to the option `origins` of createServer, or set `trustProxy` behind a proxy that sends X-Forwarded-Host'
// What the client receives. A reason has at most 120 bytes.
const NOT_LISTED = 'this server does not accept pages of this origin: see its option `origins`'
const REBOUND = 'this server listens on loopback and accepts only loopback names: see its option `origins`'

/** Whether an Origin is that of a host. The host may state the default port; an Origin never does. */
function isOf(host: string, origin: string): boolean {
  if (!URL.canParse(origin)) return false
  const { protocol, host: own } = new URL(origin)
  return own !== '' && own === host.replace(protocol === 'https:' ? /:443$/ : /:80$/, '')
}

/** @throws MillraceError `bad_request`. The message says what to write. */
function checkOrigin(origin: string): void {
  const isWeb = /^https?:/i.test(origin) && URL.canParse(origin)
  // Browsers write the origin of a sandboxed page as null. Apps have schemes of their own: capacitor://localhost.
  const isOrigin =
    origin === 'null' || (isWeb ? new URL(origin).origin === origin : /^[a-z][a-z\d+.-]*:\/\/[^\s/?#]+$/.test(origin))
  if (isOrigin) return
  const advice = isWeb ? new URL(origin).origin : 'https://app.example.com'
  throw new MillraceError('bad_request', `origins: ${JSON.stringify(origin)} is no origin; write it as ${advice}`)
}
