import { CLOSE } from '../../protocol/errors.ts'
import type { Hello, UpFrame } from '../../protocol/frames.ts'
import type { GuardedRuntime } from '../runtime.ts'

/** The most bytes of frames that wait for their streams on one connection. */
const MAX_HELD_BYTES = 1_048_576
/** What a frame takes besides its bytes, approximately. */
const FRAME_BYTES = 200

/** A frame that a connection applies once it is welcomed. */
export type StreamFrame = Exclude<UpFrame, Hello | { kind: 'ping' }>

/** What streams that open take from their connection. */
export type OpeningCallbacks = {
  readonly runtime: GuardedRuntime
  isClosed(): boolean
  apply(frame: StreamFrame, bytes: Uint8Array): void
  refuse(sid: number, error: unknown): void
  fault(code: number, reason: string): void
}

/** The streams of one connection for which a store has not answered yet, and their frames, which wait in order. */
export class OpeningStreams {
  readonly #connection: OpeningCallbacks
  /** Made for the first stream that has to wait. */
  #waiting: Map<number, { frame: StreamFrame; bytes: Uint8Array }[]> | undefined
  #heldBytes = 0

  constructor(connection: OpeningCallbacks) {
    this.#connection = connection
  }

  get size(): number {
    return this.#waiting?.size ?? 0
  }

  /** Holds the frames of stream `sid` until `found` settles. Then it is opened, or refused. */
  wait<Found>(sid: number, found: Promise<Found>, open: (found: Found) => void): void {
    this.#waiting ??= new Map()
    this.#waiting.set(sid, [])
    found.then(
      (given) => this.#settle(sid, () => open(given)),
      (error: unknown) => this.#settle(sid, () => this.#connection.refuse(sid, error)),
    )
  }

  /** Holds a frame whose stream is opening. Returns false when it is not. */
  hold(frame: StreamFrame, bytes: Uint8Array): boolean {
    const held = 'sid' in frame ? this.#waiting?.get(frame.sid) : undefined
    if (!held) return false
    held.push({ frame, bytes })
    this.#heldBytes += bytes.length + FRAME_BYTES
    if (this.#heldBytes > MAX_HELD_BYTES)
      this.#connection.fault(CLOSE.tooMany, 'too many frames for streams that are not open yet: wait for OPENED')
    return true
  }

  #settle(sid: number, then: () => void): void {
    const held = this.#waiting?.get(sid) ?? []
    this.#waiting?.delete(sid)
    for (const { bytes } of held) this.#heldBytes -= bytes.length + FRAME_BYTES
    const { runtime } = this.#connection
    runtime.enter(() => {
      if (this.#connection.isClosed()) return
      then()
      for (const { frame, bytes } of held) if (!this.#connection.isClosed()) this.#connection.apply(frame, bytes)
    })
  }
}
