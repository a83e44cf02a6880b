import { isIP, isIPv6 } from 'node:net'
import type { UpgradeRequest } from '../transports/transport.ts'

/**
 * The IP address of the client behind a request; empty where there is none, as on a socket in the file system.
 * @param trustProxy Whether the peer is a proxy that the operator trusts. The address is then the last one in
 * `X-Forwarded-For`, which that proxy added. All before it can be invented by the client.
 */
export function clientAddress({ remoteAddress, headers }: UpgradeRequest, trustProxy: boolean): string {
  const last = trustProxy ? headers.get('x-forwarded-for')?.split(',').at(-1)?.trim() : undefined
  return last !== undefined && isIP(last) > 0 ? last : remoteAddress
}

/**
 * The name under which an address is counted; undefined for none. One host may use a whole /64 network of IPv6, so those
 * count as one.
 */
export function countedAddress(address: string): string | undefined {
  if (address === '') return undefined
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1]
  if (mapped !== undefined) return mapped
  return isIPv6(address) ? network64(address) : address
}

/** Whether an address is on loopback, or is a name that always is: RFC 6761, section 6.3. */
export function isLoopback(name: string): boolean {
  const plain = name.replace(/^\[(.*)\]$/, '$1').replace(/\.$/, '')
  if (plain === 'localhost' || plain.endsWith('.localhost') || plain === '::1') return true
  return /^(::ffff:)?127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(plain)
}

function network64(address: string): string {
  const [plain = ''] = address.split('%', 1)
  const [head = '', tail] = plain.split('::')
  const groups = head === '' ? [] : head.split(':')
  const after = tail === undefined || tail === '' ? [] : tail.split(':')
  if (tail !== undefined) while (groups.length + after.length < 8) groups.push('0')
  const four = [...groups, ...after].slice(0, 4)
  return `${four.map((group) => Number.parseInt(group, 16).toString(16)).join(':')}::/64`
}
