import type { UpgradeRequest, UpgradeVerdict } from '../transports/transport.ts'

/**
 * Whether the page behind an upgrade request may connect. With a list: when its Origin is on it, compared by scheme, host
 * and port exactly. Without one: when it comes from the host that it asks. A request without Origin comes from no browser.
 *
 * A server that listens on loopback only, without a list, takes only loopback names as Host: a page of anywhere whose own
 * name was made to point at 127.0.0.1 (DNS rebinding) would be of the host that it asks.
 */
export function verifyOrigin(request: UpgradeRequest, allowed: readonly string[] | undefined): UpgradeVerdict {
  const { origin, headers, listensAt } = request
  if (allowed) return origin === undefined || allowed.includes(origin) ? { ok: true } : refused(NOT_LISTED)
  const host = (headers.get('host') ?? '').toLowerCase()
  if (listensAt !== undefined && isLoopback(listensAt) && !isLoopback(nameOf(host))) return refused(REBOUND)
  const isSame = origin === undefined || (URL.canParse(origin) && new URL(origin).host === host)
  return isSame ? { ok: true } : refused(NOT_LISTED)
}

const NOT_LISTED = 'this page may not connect: its Origin is not on the list of this server'
const REBOUND = 'this server listens on loopback and answers to loopback names only: give it `origins` to name others'

function refused(message: string): UpgradeVerdict {
  return { ok: false, status: 403, message }
}

/** The name or address in a Host header. */
function nameOf(host: string): string {
  return host.replace(/:\d*$/, '')
}

/** Whether an address is one of this machine alone, or a name that never means another: RFC 6761, section 6.3. */
function isLoopback(name: string): boolean {
  const plain = name.replace(/^\[(.*)\]$/, '$1').replace(/\.$/, '')
  if (plain === 'localhost' || plain.endsWith('.localhost') || plain === '::1') return true
  return /^(::ffff:)?127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(plain)
}
