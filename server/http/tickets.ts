import { hash } from 'node:crypto'
import { MillraceError } from '../../protocol/errors.ts'
import type { Limits } from '../../protocol/limits.ts'
import type { Runtime, Timer } from '../../protocol/runtime.ts'
import type { Identity } from '../sessions/auth.ts'

/** The longest time in which a ticket may be used, in milliseconds. Also the default. */
export const MAX_TICKET_MS = 60_000
/** The most tickets of one principal. More replace its oldest. */
const MAX_OF_PRINCIPAL = 64
const SECRET_BYTES = 24

/** What a ticket is for: to read one run, or to start one run of an actor. */
export type TicketTarget = { readonly run: string } | { readonly actor: string }

/** The client that asked for a ticket. */
export type TicketHolder = { readonly identity: Identity; readonly instance: string | undefined }

/** A ticket that was used. A stream that it opened may be opened again with `resume`, which only its reader knows. */
export type UsedTicket = TicketHolder & {
  readonly resume: string
  /** The run that was begun with it, once there is one. */
  run: string | undefined
  /** A stream is open with it. Call `closed` when it ends. */
  opened(): void
  closed(): void
}

type Ticket = {
  readonly name: string
  readonly holder: TicketHolder
  readonly target: TicketTarget
  used: UsedTicket | undefined
  streams: number
  timer: Timer | undefined
}

/**
 * Tickets stand in for credentials where a client can send none: in the query of an `EventSource`. Each is good for one
 * target, once, for a minute. Afterwards it only opens its own stream again, for a client that shows an id of that stream:
 * these ids have a secret, and no access log has them.
 */
export class Tickets {
  readonly #runtime: Runtime
  readonly #limits: Pick<Limits, 'resumeMs'>
  /** By the hash of the ticket, so that a look-up reveals nothing of it. */
  readonly #tickets = new Map<string, Ticket>()
  readonly #ofPrincipal = new Map<string, Set<Ticket>>()

  constructor(runtime: Runtime, limits: Pick<Limits, 'resumeMs'>) {
    this.#runtime = runtime
    this.#limits = limits
  }

  /** The number of tickets that are kept. */
  get size(): number {
    return this.#tickets.size
  }

  /** Makes a ticket. `expiresAt` is in epoch milliseconds. */
  issue(holder: TicketHolder, target: TicketTarget, ms: number): { ticket: string; expiresAt: number } {
    const secret = this.#secret()
    const ticket: Ticket = {
      name: hash('sha256', secret),
      holder,
      target,
      used: undefined,
      streams: 0,
      timer: undefined,
    }
    this.#tickets.set(ticket.name, ticket)
    const { id } = holder.identity
    const own = this.#ofPrincipal.get(id) ?? new Set()
    this.#ofPrincipal.set(id, own.add(ticket))
    const [oldest] = own
    if (oldest && own.size > MAX_OF_PRINCIPAL) this.#remove(oldest)
    this.#removeIn(ticket, ms)
    return { ticket: secret, expiresAt: Math.floor(this.#runtime.wallClock()) + ms }
  }

  /**
   * Uses a ticket.
   * @param resume the secret in the id of the last event that the client has seen, if it has seen one.
   * @throws MillraceError `unauthenticated`, with the same message for whatever is wrong with it.
   */
  use(secret: string, target: TicketTarget, resume: string | undefined): UsedTicket {
    const ticket = this.#tickets.get(hash('sha256', secret))
    if (!ticket || !isSame(ticket.target, target)) return refuse()
    if (ticket.used) return ticket.used.resume === resume ? ticket.used : refuse()
    ticket.used = {
      ...ticket.holder,
      resume: this.#secret(),
      run: undefined,
      opened: () => {
        ticket.streams++
        ticket.timer?.clear()
      },
      closed: () => {
        if (--ticket.streams === 0) this.#removeIn(ticket, this.#limits.resumeMs)
      },
    }
    return ticket.used
  }

  /** Forgets all. */
  close(): void {
    for (const ticket of [...this.#tickets.values()]) this.#remove(ticket)
  }

  #secret(): string {
    return Buffer.from(this.#runtime.randomBytes(SECRET_BYTES)).toString('base64url')
  }

  #removeIn(ticket: Ticket, ms: number): void {
    ticket.timer?.clear()
    ticket.timer = this.#runtime.setTimer(ms, () => this.#remove(ticket))
  }

  #remove(ticket: Ticket): void {
    ticket.timer?.clear()
    this.#tickets.delete(ticket.name)
    const { id } = ticket.holder.identity
    const own = this.#ofPrincipal.get(id)
    own?.delete(ticket)
    if (own?.size === 0) this.#ofPrincipal.delete(id)
  }
}

function isSame(one: TicketTarget, other: TicketTarget): boolean {
  return 'run' in one ? 'run' in other && one.run === other.run : 'actor' in other && one.actor === other.actor
}

function refuse(): never {
  throw new MillraceError(
    'unauthenticated',
    'this ticket is not valid here, or was used: fetch a new one with POST /tickets',
  )
}
