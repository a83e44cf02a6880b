import { EVENT } from '../../protocol/events.ts'
import type { WireMap } from '../../protocol/frames.ts'
import type { Limits } from '../../protocol/limits.ts'
import type { Runtime, Timer } from '../../protocol/runtime.ts'
import type { Log } from '../log/log.ts'
import { countValues, packPayload, unpackPayload } from '../log/payload.ts'
import type { PendingRequest, PendingRequests } from './ask.ts'
import { type Room, roomFor } from './requests.ts'

/** How long the holder may take to say what the run waits for, in milliseconds. */
const ANSWER_MS = 1_000
/** How often the holder is asked again while the run goes on, at most: once in so many milliseconds. */
const REFRESH_MS = 1_000

/** A request, and the room that it takes in an OPENED. */
type Known = PendingRequest & { readonly room: Room }

/** What the requests of a remote run take from it. */
export type RemoteRequestsCallbacks = {
  readonly runtime: Pick<Runtime, 'setTimer'>
  readonly limits: Limits
  readonly log: Log
  /** Aborts when nobody reads the run here any more. */
  readonly closed: AbortSignal
  /** Asks the holder. Rejects, or gives undefined, when it does not answer. */
  ask(signal: AbortSignal): Promise<PendingRequests | undefined>
}

/**
 * The requests of a run in another process that wait for their answers. Its holder is asked when a reader begins, and
 * again while the run goes on. What is logged in between is added here. One that was answered may thus be named a little
 * too long, and one that waits is never missing.
 */
export class RemoteRequests {
  readonly #run: RemoteRequestsCallbacks
  /** In the order of their items. */
  #known: Known[] = []
  /** The item from which on the holder has not said what waits. */
  #saidThrough = 0
  #gen: number
  #asking: Promise<void> | undefined
  #later: Timer | undefined
  #isClosed = false

  constructor(run: RemoteRequestsCallbacks) {
    this.#run = run
    this.#gen = run.log.gen
  }

  /** Data of those that were logged before item `seq`: as many as there is room for. */
  at(seq: number): WireMap[] {
    this.#enterLife()
    let { bytes, values } = roomFor(this.#run.limits)
    const waiting: WireMap[] = []
    for (const known of this.#known) {
      if (known.seq >= seq) break
      bytes -= known.room.bytes
      values -= known.room.values
      if (bytes < 0 || values < 0) break
      waiting.push(known.data)
    }
    return waiting
  }

  /** Asks the holder. One that does not say it is not waited for long. */
  refresh(): Promise<void> {
    this.#asking ??= this.#ask().finally(() => (this.#asking = undefined))
    return this.#asking
  }

  /** Items have arrived: what waited may have been answered. */
  moved(): void {
    if (this.#known.length === 0 || this.#later) return
    this.#later = this.#run.runtime.setTimer(REFRESH_MS, () => {
      this.#later = undefined
      void this.refresh()
    })
  }

  /** Nobody reads the run here any more, or it has ended. */
  close(): void {
    this.#isClosed = true
    this.#later?.clear()
    this.#known = []
  }

  /** An event has arrived, as the log has it. */
  logged(seq: number, body: Uint8Array): void {
    this.#enterLife()
    const [type] = body
    const packed = body.subarray(1)
    if (type === EVENT.inputRequest && seq >= this.#saidThrough) this.#known.push(this.#one(seq, packed))
    // A call that goes on has its answer.
    if ((type !== EVENT.toolProgress && type !== EVENT.toolResult) || this.#known.length === 0) return
    const { call } = unpackPayload(packed) as WireMap
    this.#known = this.#known.filter(({ data }) => data['call'] === undefined || data['call'] !== call)
  }

  async #ask(): Promise<void> {
    const { runtime, closed } = this.#run
    if (this.#isClosed) return
    const late = new AbortController()
    const timer = runtime.setTimer(ANSWER_MS, () => late.abort())
    try {
      const said = await this.#run.ask(AbortSignal.any([late.signal, closed]))
      if (said && !this.#isClosed) this.#take(said)
    } catch {
      // What was logged here is known without it.
    } finally {
      timer.clear()
    }
  }

  #take({ next, requests }: PendingRequests): void {
    this.#enterLife()
    // Those that were logged after it had said this.
    const later = this.#known.filter(({ seq }) => seq >= next)
    const said = requests.map(({ seq, data }) => this.#one(seq, packPayload(data, this.#run.limits)))
    this.#known = [...said, ...later].sort((a, b) => a.seq - b.seq)
    this.#saidThrough = next
  }

  #one(seq: number, packed: Uint8Array): Known {
    const room = { bytes: packed.length, values: countValues(packed, this.#run.limits) }
    return { seq, data: unpackPayload(packed) as WireMap, room }
  }

  /** What was said of items that are void in a new life of the log says nothing of those in their place. */
  #enterLife(): void {
    const { log } = this.#run
    if (log.gen === this.#gen) return
    const first = log.lifeAfter(this.#gen)?.first ?? 0
    this.#gen = log.gen
    this.#known = this.#known.filter(({ seq }) => seq < first)
    this.#saidThrough = Math.min(this.#saidThrough, first)
  }
}
