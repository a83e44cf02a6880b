import type { UpgradeRequest, UpgradeVerdict } from '../transports/transport.ts'

/**
 * Decides whether the page behind an upgrade request may connect. With a list, its Origin must be on it: the same
 * scheme, host and port. Without one, it must come from the host that it connects to. A request without Origin is not
 * from a browser, and may connect.
 *
 * Without a list, a server that listens on loopback accepts only loopback names as Host. Otherwise any page could make
 * its own name point at 127.0.0.1 (DNS rebinding) and would then come from the host that it connects to.
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
const REBOUND = 'this server listens on loopback and accepts only loopback names: list others in `origins`'

function refused(message: string): UpgradeVerdict {
  return { ok: false, status: 403, message }
}

/** The name or address in a Host header. */
function nameOf(host: string): string {
  return host.replace(/:\d*$/, '')
}

/** Whether an address is on loopback, or is a name that always is: RFC 6761, section 6.3. */
function isLoopback(name: string): boolean {
  const plain = name.replace(/^\[(.*)\]$/, '$1').replace(/\.$/, '')
  if (plain === 'localhost' || plain.endsWith('.localhost') || plain === '::1') return true
  return /^(::ffff:)?127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(plain)
}
