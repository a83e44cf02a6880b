import type { Limits } from '../../protocol/limits.ts'
import { countedAddress } from '../sessions/client-address.ts'
import type { UpgradeVerdict } from '../transports/transport.ts'

/** An answer to an upgrade. A refusal is a status, which costs less than a socket that is closed at once. */
type SocketVerdict = Extract<UpgradeVerdict, { ok: true } | { status: number }>

/** Counts the open sockets of a node, and those of each client's address. */
export class SocketCount {
  readonly #limits: Pick<Limits, 'maxConnectionsTotal' | 'maxConnectionsPerAddress'>
  readonly #ofAddress = new Map<string, number>()
  #all = 0

  constructor(limits: Pick<Limits, 'maxConnectionsTotal' | 'maxConnectionsPerAddress'>) {
    this.#limits = limits
  }

  /** Decides whether a client at `address` may open another socket. Clients without an address are not told apart. */
  verify(address: string): SocketVerdict {
    const { maxConnectionsTotal, maxConnectionsPerAddress } = this.#limits
    if (this.#all >= maxConnectionsTotal)
      return refused(`the server has ${maxConnectionsTotal} connections, as many as maxConnectionsTotal allows`)
    const counted = countedAddress(address)
    if (counted !== undefined && (this.#ofAddress.get(counted) ?? 0) >= maxConnectionsPerAddress)
      return refused(
        `this address has ${maxConnectionsPerAddress} connections, as many as maxConnectionsPerAddress allows`,
      )
    return { ok: true }
  }

  /** A socket has opened. */
  opened(address: string): void {
    this.#count(address, 1)
  }

  /** A socket has closed: its memory is free. */
  closed(address: string): void {
    this.#count(address, -1)
  }

  #count(address: string, by: 1 | -1): void {
    this.#all += by
    const counted = countedAddress(address)
    if (counted === undefined) return
    const sockets = (this.#ofAddress.get(counted) ?? 0) + by
    if (sockets > 0) this.#ofAddress.set(counted, sockets)
    else this.#ofAddress.delete(counted)
  }
}

function refused(message: string): SocketVerdict {
  return { ok: false, status: 503, message: `${message}; try again later` }
}
