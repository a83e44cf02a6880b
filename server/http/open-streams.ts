import { MillraceError } from '../../protocol/errors.ts'
import type { Limits } from '../../protocol/limits.ts'
import type { Runtime, Timer } from '../../protocol/runtime.ts'
import type { ReadableRun } from '../runs/readable-run.ts'
import type { Quota } from '../sessions/admission.ts'
import type { Caller } from './caller.ts'
import { EventStream, type EventStreamSettings } from './event-stream.ts'

type StreamLimits = Pick<Limits, 'maxCredit' | 'flushMs' | 'heartbeatMs'>
const ID_BYTES = 12

/** The event streams that are open. Each is one connection of its principal. */
export class OpenStreams implements Iterable<EventStream> {
  readonly #runtime: Runtime
  readonly #limits: StreamLimits
  readonly #open = new Set<EventStream>()
  readonly #onClose: () => void
  #heartbeat: Timer | undefined

  /** @param closed one of them is over. */
  constructor(runtime: Runtime, limits: StreamLimits, closed: () => void) {
    this.#runtime = runtime
    this.#limits = limits
    this.#onClose = closed
  }

  [Symbol.iterator](): Iterator<EventStream> {
    return this.#open.values()
  }

  get size(): number {
    return this.#open.size
  }

  /**
   * Opens a stream of a run for a client.
   * @throws MillraceError `too_many_streams` when the principal has as many connections as it may.
   */
  open(run: ReadableRun, caller: Caller, settings: Omit<EventStreamSettings, 'id' | 'identity'>): EventStream {
    const { quota, ticket, identity } = caller
    const disconnected = takeConnection(quota)
    ticket?.opened()
    const release = (): void => {
      disconnected()
      ticket?.closed()
    }
    const id = Buffer.from(this.#runtime.randomBytes(ID_BYTES)).toString('base64url')
    const callbacks = {
      runtime: this.#runtime,
      limits: this.#limits,
      closed: (gone: EventStream): void => {
        this.#open.delete(gone)
        release()
        if (this.#open.size === 0) this.#stopBeating()
        this.#onClose()
      },
    }
    let stream: EventStream
    try {
      stream = new EventStream(run, { ...settings, id, identity }, callbacks)
    } catch (error) {
      release()
      throw error
    }
    this.#open.add(stream)
    this.#heartbeat ??= this.#beatLater()
    return stream
  }

  /**
   * Sets the rate of the streams in which a principal reads a run, or of one of them.
   * @returns how many there are.
   */
  setRate(caller: Caller, run: string, id: string | undefined, perSec: number | null): number {
    let count = 0
    for (const stream of this.#open) {
      const isMeant = stream.run.id === run && stream.identity.id === caller.principal.id
      if (!isMeant || (id !== undefined && stream.id !== id)) continue
      stream.setRate(perSec)
      count++
    }
    return count
  }

  /** One timer for all: a timer each would cost more than the streams. */
  #beatLater(): Timer {
    return this.#runtime.setTimer(this.#limits.heartbeatMs, () => {
      for (const stream of this.#open) stream.beat()
      this.#heartbeat = this.#open.size > 0 ? this.#beatLater() : undefined
    })
  }

  #stopBeating(): void {
    this.#heartbeat?.clear()
    this.#heartbeat = undefined
  }
}

/**
 * Counts one more connection of a principal.
 * @returns a function that gives it back, once however often it is called.
 * @throws MillraceError `too_many_streams` when it has as many as it may.
 */
export function takeConnection(quota: Quota): () => void {
  quota.connected()
  const fault = quota.connectionFault
  let isTaken = true
  const giveBack = (): void => {
    if (isTaken) quota.disconnected()
    isTaken = false
  }
  if (fault === undefined) return giveBack
  giveBack()
  throw new MillraceError('too_many_streams', `${fault}; an event stream counts as one: close one first`)
}
