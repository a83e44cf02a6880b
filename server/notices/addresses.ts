import { lookup as dnsLookup, type LookupAddress } from 'node:dns'
import { BlockList, isIP, type LookupFunction } from 'node:net'
import { MillraceError } from '../../protocol/errors.ts'

/** IPv4 that is not on the public internet, of the registry of special-purpose addresses of IANA. */
const SPECIAL_V4: readonly (readonly [net: string, bits: number])[] = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 3],
]
/** The first six groups, in decimal, of an IPv6 address that stands for one of IPv4: mapped, and behind NAT64 (64:ff9b::). */
const MAPPED = '0:0:0:0:0:65535'
const NAT64 = '100:65435:0:0:0:0'
/** Of IPv6, only 2000::/3 is public, without these: protocols, documentation, and 6to4, which hides an IPv4 address. */
const PUBLIC_V6: readonly [net: string, bits: number] = ['2000::', 3]
const SPECIAL_V6: readonly (readonly [net: string, bits: number])[] = [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
]

const special = new BlockList()
for (const [net, bits] of SPECIAL_V4) special.addSubnet(net, bits, 'ipv4')
for (const [net, bits] of SPECIAL_V6) special.addSubnet(net, bits, 'ipv6')
const publicV6 = new BlockList()
publicV6.addSubnet(...PUBLIC_V6, 'ipv6')

/** How a name becomes addresses: `lookup` of `node:dns`. */
export type Resolve = (
  hostname: string,
  options: { all: true },
  callback: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void

/** A request was not sent, because its address is not one that it may go to. */
class AddressRefusal extends Error {
  readonly code = 'ADDRESS_REFUSED'
}

/** The addresses that requests may go to: those of the public internet, and those that somebody has named. */
export class Addresses {
  readonly #named = new BlockList()

  /**
   * @param named Addresses, `10.1.2.3`, and networks, `10.1.0.0/16`.
   * @throws MillraceError `bad_request`
   */
  constructor(named: readonly unknown[]) {
    for (const name of named) this.#add(name)
  }

  #add(name: unknown): void {
    const [address = '', bits, ...rest] = typeof name === 'string' ? name.split('/') : []
    const plain = withoutMapping(address)
    const family = familyOf(plain)
    const most = family === 'ipv4' ? 32 : 128
    const prefix = bits === undefined ? most : /^\d{1,3}$/.test(bits) ? Number(bits) : -1
    if (isIP(address) === 0 || plain !== address || rest.length > 0 || prefix < 0 || prefix > most)
      throw new MillraceError(
        'bad_request',
        `allowAddresses has addresses such as 10.1.2.3 and networks such as 10.1.0.0/16, not ${JSON.stringify(name)}`,
      )
    this.#named.addSubnet(address, prefix, family)
  }

  /** Whether a request may go to an address. @param isPlain Without TLS, which needs an address that was named. */
  allows(address: string, isPlain: boolean): boolean {
    const plain = withoutMapping(address)
    if (isIP(plain) === 0) return false
    if (this.#named.check(plain, familyOf(plain))) return true
    return !isPlain && isPublic(plain)
  }

  /**
   * What a socket looks its address up with: it is checked where it is used, so that a name cannot lead elsewhere after a
   * check. A name of which one address is not allowed is refused as a whole.
   */
  lookup(isPlain: boolean, resolve: Resolve = dnsLookup): LookupFunction {
    return (hostname, options, callback) => {
      resolve(hostname, { all: true }, (error, found) => {
        if (error) return callback(error, [])
        const refused = found.find(({ address }) => !this.allows(address, isPlain))
        if (refused || found.length === 0)
          return callback(new AddressRefusal(refusalWords(hostname, refused?.address, isPlain)), [])
        const ofFamily = options.family ? found.filter(({ family }) => family === options.family) : found
        const usable = ofFamily.length > 0 ? ofFamily : found
        if (options.all) callback(null, usable)
        else callback(null, usable[0]!.address, usable[0]!.family)
      })
    }
  }
}

/** Why an address is refused, and what to do. */
export function refusalWords(host: string, address: string | undefined, isPlain: boolean): string {
  if (address === undefined) return `the name ${host} has no address`
  const whose = address === host ? host : `${host}, ${address},`
  return isPlain
    ? `the address ${whose} was not named in allowAddresses: plain http goes nowhere else`
    : `the address ${whose} is not public: name it in allowAddresses`
}

/** @param address in the form of `withoutMapping`. */
function isPublic(address: string): boolean {
  if (familyOf(address) === 'ipv4') return !special.check(address, 'ipv4')
  return publicV6.check(address, 'ipv6') && !special.check(address, 'ipv6')
}

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return address.includes(':') ? 'ipv6' : 'ipv4'
}

/** The IPv4 address that one of IPv6 stands for, mapped or behind NAT64; else the address itself, without its zone. */
function withoutMapping(address: string): string {
  const [bare = ''] = address.split('%')
  if (!bare.includes(':') || isIP(bare) === 0) return bare
  const groups = groupsOf(bare)
  const [high = 0, low = 0] = groups.slice(6)
  const before = groups.slice(0, 6).join(':')
  const isMapped = before === MAPPED || before === NAT64
  return isMapped ? [high >> 8, high & 255, low >> 8, low & 255].join('.') : bare
}

/** The eight groups of an address of IPv6. */
function groupsOf(address: string): number[] {
  // The URL parser writes every form in one way, without dots.
  const canonical = new URL(`http://[${address}]`).hostname.slice(1, -1)
  const [before = '', behind] = canonical.split('::')
  const read = (text: string | undefined): number[] =>
    text ? text.split(':').map((group) => Number.parseInt(group, 16)) : []
  const [first, last] = [read(before), read(behind)]
  return behind === undefined ? first : [...first, ...Array<number>(8 - first.length - last.length).fill(0), ...last]
}
