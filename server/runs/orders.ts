import { z } from 'zod'
import { MillraceError } from '../../protocol/errors.ts'
import type { RunEvent } from '../../protocol/events.ts'
import { CANCEL_CODES, type CancelCause } from '../../protocol/receipt.ts'
import type { RunInput } from '../actors/actor.ts'
import { type GovernOrder, Governor, type GovernorCallbacks } from './governor.ts'
import type { InputAnswer } from './input-answer.ts'
import { byClient } from './stop-cause.ts'

/** Orders whose notices may wait for the readers of the run. */
const MAX_UNTOLD = 256

const limit = z.number().min(0).nullable().exactOptional()

/** The data of an input of type `govern`. */
const ORDER: z.ZodType<GovernOrder & { agent?: string }> = z.strictObject({
  agent: z.string().exactOptional(),
  paused: z.boolean().exactOptional(),
  perSec: z.number().gt(0).nullable().exactOptional(),
  budget: z.strictObject({ tokens: limit, ms: limit, cost: limit }).nullable().exactOptional(),
})

/**
 * The data of an input of type `stop`: of the turn in which a client saw item `ifSeq`, or, with `cascade` false, of the
 * run without its children.
 */
const STOP: z.ZodType<{ ifSeq?: number; cascade?: boolean; code?: number; note?: string }> = z.object({
  ifSeq: z.int().min(0).exactOptional(),
  cascade: z.boolean().exactOptional(),
  code: z.int().min(0).exactOptional(),
  note: z.string().max(256).exactOptional(),
})

/** What orders take from their run. */
export type OrdersCallbacks = GovernorCallbacks & {
  /** It is stopping, or has ended. */
  isOver(): boolean
  cancel(why: CancelCause): void
  /** Logs an event. Settles when that is done, or never will be. */
  emit(event: RunEvent): Promise<unknown>
  /** The orders of a run below it that goes on. */
  below(agent: string): Orders | undefined
  /** It was paused or resumed, and all below it. */
  pauseMoved(): void
}

/** What clients order of a run: to stop in the turn that they see, or to pause, slow down and spend less. */
export class Orders {
  readonly #run: OrdersCallbacks
  /** The orders of the run that began this one: they hold here, too. */
  #above: Orders | undefined
  /** Made for the first order. */
  #governor: Governor | undefined
  /** The item with which the present turn of the agent began. */
  #turnAt = 0
  /** The number of orders whose notices wait. */
  #untold = 0

  /** @param above absent for a run that is not a child. */
  constructor(run: OrdersCallbacks, above: Orders | undefined) {
    this.#run = run
    this.#above = above
  }

  /** The run, or one above it, is paused. */
  get isPaused(): boolean {
    return this.#governor?.isPaused === true || this.#above?.isPaused === true
  }

  /** The orders that hold, and where the present turn began. */
  get kept(): { readonly order: GovernOrder; readonly turnAt: number } {
    return { order: this.#governor?.orders ?? {}, turnAt: this.#turnAt }
  }

  /** Goes on with the orders of another process. */
  restore({ order, turnAt }: Orders['kept']): void {
    this.#turnAt = turnAt
    this.#governor ??= new Governor(this.#run)
    this.#governor.order(order)
  }

  /** Takes an input that is an order. Undefined: it is none. */
  take({ type, data }: RunInput): InputAnswer | undefined {
    if (type === 'stop') return this.#stop(data)
    if (type === 'govern') return this.govern(data)
    return undefined
  }

  /** A turn of the agent began with item `seq`. */
  turnBegan(seq: number): void {
    this.#turnAt = seq
  }

  /** Waits until a request may be sent. Undefined: now. */
  hold(signal: AbortSignal): Promise<void> | undefined {
    return this.#governor?.hold(signal) ?? this.#above?.hold(signal)
  }

  /** Waits until the next piece of an answer may come, by every rate that holds. Undefined: now. */
  pace(signal: AbortSignal): Promise<unknown> | undefined {
    const own = this.#governor?.pace(signal)
    const above = this.#above?.pace(signal)
    return own && above ? Promise.all([own, above]) : (own ?? above)
  }

  /** The run has cost something: stops it, or a run above it, if that is more than it may. */
  spentMore(): void {
    this.#governor?.spentMore()
    this.#above?.spentMore()
  }

  /** The run that began this one is over, and this one goes on: orders to that one hold no more. */
  letGo(): void {
    this.#above = undefined
  }

  /** Another process goes on with the run: no budget ends it here. */
  freeze(): void {
    this.#governor?.freeze()
  }

  /** The run is over. */
  clear(): void {
    this.#governor?.clear()
  }

  #stop(data: unknown): InputAnswer {
    const { data: stop } = STOP.safeParse(data)
    if (stop?.ifSeq === undefined && stop?.cascade === undefined)
      return {
        status: 'invalid',
        note: 'a stop has `ifSeq`, the number of an item, or `cascade`, and may have `code` and `note`',
      }
    if (stop.ifSeq !== undefined && stop.ifSeq < this.#turnAt)
      return { status: 'stale', note: 'a later turn has begun' }
    this.#run.cancel(byClient(stop.code ?? CANCEL_CODES.user, stop.note, stop.cascade))
    return { status: 'accepted' }
  }

  /**
   * Carries out an order of the server's own code.
   * @throws MillraceError `bad_request` for an invalid order; `not_found` where nothing goes on that it could be for.
   */
  command(order: object): void {
    if (this.#run.isOver()) throw new MillraceError('not_found', 'the run has ended')
    // An option that is undefined counts as left out.
    const given = Object.fromEntries(Object.entries(order).filter(([, value]) => value !== undefined))
    const { status, note } = this.govern(given)
    if (status !== 'accepted')
      throw new MillraceError(status === 'unwanted' ? 'not_found' : 'bad_request', note ?? 'the order was refused')
  }

  /** Carries out an order for the run, or for one below it. */
  govern(data: unknown): InputAnswer {
    const { data: order } = ORDER.safeParse(data)
    if (!order) return { status: 'invalid', note: 'an order has paused, perSec, budget and agent, and nothing else' }
    const { agent } = order
    const orders = agent === undefined ? this : this.#run.below(agent)
    if (!orders) return { status: 'unwanted', note: 'no sub-agent of this id goes on' }
    if (this.#untold >= MAX_UNTOLD)
      return { status: 'busy', note: `${MAX_UNTOLD} orders wait to be reported; read the run` }
    this.#untold++
    const told = (): void => {
      this.#untold--
    }
    orders.#carryOut(order).then(told, told)
    return { status: 'accepted' }
  }

  /** Carries out an order, for the run and all below it. */
  #carryOut(order: GovernOrder): Promise<unknown> {
    this.#governor ??= new Governor(this.#run)
    const wasPaused = this.#governor.isPaused
    this.#governor.order(order)
    const { isPaused } = this.#governor
    const code = isPaused === wasPaused ? 'governed' : isPaused ? 'paused' : 'resumed'
    const told = this.#run.emit({ type: 'notice', code })
    if (!this.#run.isOver()) this.#run.pauseMoved()
    return told
  }
}
