import { z } from 'zod'
import { MillraceError } from '../../protocol/errors.ts'
import type { Limits } from '../../protocol/limits.ts'
import type { Runtime } from '../../protocol/runtime.ts'
import type { UploadProgress } from '../../protocol/upload.ts'
import type { ActorContext, RunInput } from '../actors/actor.ts'
import { contradiction } from './file-types.ts'

/** Pieces that may be under way: the next ones arrive while one is answered. */
const PIECES = 4
/** The most bytes that an input has besides those of its piece. */
const PIECE_OVERHEAD = 256

/** The event that says how far an upload is: after the start, and after each piece. */
export type UploadEvent = { type: 'data'; name: 'upload'; value: UploadProgress }

/** What the receiver needs of the server. */
type Receiving = {
  readonly runtime: Pick<Runtime, 'setTimer'>
  readonly limits: Pick<Limits, 'maxInputs' | 'maxInputBytes' | 'maxMessage'>
  readonly idleMs: number
}

const pieceInput = z.strictObject({ at: z.int().min(0), bytes: z.instanceof(Uint8Array) })

/**
 * Receives one upload, piece by piece and in order. It grants the client no more than the queue of inputs holds, so a
 * client that obeys is never refused.
 * @returns all bytes.
 * @throws MillraceError `invalid_input` for a piece that does not follow, is empty, too large or beyond the size, and for
 *   bytes that are not of the type; `timeout` when no piece comes for `idleMs`.
 */
export async function* receive(
  { size, mediaType }: { readonly size: number; readonly mediaType: string },
  { inputs, takeInputs, refuseInputs, signal }: Pick<ActorContext, 'inputs' | 'takeInputs' | 'refuseInputs' | 'signal'>,
  { runtime, limits, idleMs }: Receiving,
): AsyncGenerator<UploadEvent, Uint8Array> {
  const pieces = Math.min(PIECES, limits.maxInputs)
  const most = Math.floor(Math.min(limits.maxInputBytes / pieces, limits.maxMessage)) - PIECE_OVERHEAD
  if (most < 1) throw new MillraceError('bad_request', 'limits.maxInputBytes is too small for uploads')
  const data = new Uint8Array(size)
  let received = 0
  const progress = (): UploadEvent => {
    const value = { received, piece: most, window: pieces * most }
    return { type: 'data', name: 'upload', value }
  }
  const waiting = inputs[Symbol.asyncIterator]()
  yield progress()
  while (received < size) {
    const first = await inTime(waiting.next(), runtime, idleMs)
    if (first.done) throw signal.reason
    for (const input of [first.value, ...takeInputs()]) {
      const bytes = pieceOf(input, received, Math.min(most, size - received))
      data.set(bytes, received)
      received += bytes.length
    }
    yield progress()
  }
  refuseInputs()
  const problem = contradiction(mediaType, data)
  if (problem !== undefined) throw new MillraceError('invalid_input', problem)
  return data
}

/** The bytes of the piece that must begin at `at`. */
function pieceOf({ type, data }: RunInput, at: number, most: number): Uint8Array {
  const { data: piece } = pieceInput.safeParse(data)
  if (type !== 'piece' || !piece)
    throw new MillraceError('invalid_input', 'an upload takes inputs of type piece: { at, bytes }')
  if (piece.at !== at) throw new MillraceError('invalid_input', `the next piece begins at ${at}, not at ${piece.at}`)
  const { length } = piece.bytes
  if (length < 1 || length > most)
    throw new MillraceError('invalid_input', `the piece at ${at} has 1 to ${most} bytes, not ${length}`)
  return piece.bytes
}

async function inTime<T>(step: Promise<T>, runtime: Pick<Runtime, 'setTimer'>, ms: number): Promise<T> {
  let stop: (() => void) | undefined
  const late = new Promise<never>((_, fail) => {
    const timer = runtime.setTimer(ms, () => fail(new MillraceError('timeout', `no piece came for ${ms} ms`)))
    stop = () => timer.clear()
  })
  try {
    return await Promise.race([step, late])
  } finally {
    stop?.()
  }
}
