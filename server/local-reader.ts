import { MillraceError } from '../protocol/errors.ts'
import { EVENT, fromWire, type RunEvent, type StreamEvent, textEvent } from '../protocol/events.ts'
import type { WireMap } from '../protocol/frames.ts'
import type { Limits } from '../protocol/limits.ts'
import { CANCEL_CODES } from '../protocol/receipt.ts'
import type { Reader } from './audience.ts'
import { Cursor } from './cursor.ts'
import type { LoggedEnd, Run } from './run.ts'
import { unpackAll } from './wire.ts'

/** Most bytes taken from the log at once. */
const CHUNK_BYTES = 16_384

/**
 * Reads a run from inside this process, as a client would: the actor waits for it. Yields the run's events and returns
 * its end; leaving early cancels the run and does not wait.
 * @throws MillraceError what the run failed of; `cancelled` when somebody cancelled it; `overloaded` when the ended run was
 * given up before it was read.
 */
export async function* readRun(run: Run, limits: Limits): AsyncGenerator<StreamEvent, LoggedEnd> {
  let wake = (): void => {}
  let dismissed: MillraceError | undefined
  const cursor = new Cursor(run.log, { last: 0, gen: 1 }, limits.initialCredit, limits.maxCredit)
  const dismiss = (code: string, message: string): void => {
    dismissed = MillraceError.fromShape({ code, message, retryable: true })
    wake()
  }
  const reader: Reader = { policy: 'pace', own: true, cursor, paused: false, wake: () => wake(), dismiss }
  const parts = new Map<unknown, WireMap>()
  run.join(reader)
  try {
    for (;;) {
      if (dismissed) throw dismissed
      const chunk = run.log.chunk(cursor.last + 1, run.log.last, CHUNK_BYTES)
      if (chunk) {
        const values = unpackAll(chunk.bodies)
        for (const [i, said] of eventsOf(chunk.lane, values, parts).entries()) {
          const cost = chunk.lane === undefined ? chunk.cost : 1
          if (said) yield { ...said, seq: chunk.seq + i, at: chunk.at }
          cursor.sent(chunk.seq + i, cost)
          cursor.grant(cost)
          run.reconsider()
        }
      } else if (run.end) {
        if (run.end.outcome === 'done') return run.end
        throw errorOf(run.end)
      } else {
        await new Promise<void>((resolve) => {
          wake = resolve
          run.rest(reader)
        })
      }
    }
  } finally {
    run.cancel({ by: 'client', code: CANCEL_CODES.user })
    run.leave(reader)
  }
}

/** The events of a chunk; undefined for a part's start or end, which readers do not see. */
function eventsOf(lane: number | undefined, values: unknown[], parts: Map<unknown, WireMap>): (RunEvent | undefined)[] {
  if (lane !== undefined) return values.map((text) => textEvent(parts.get(lane), String(text)))
  const [type, data] = values as [number | string, WireMap]
  if (type === EVENT.partStart) parts.set(data['lane'], data)
  if (type === EVENT.partEnd) parts.delete(data['lane'])
  return [fromWire(type, data)]
}

function errorOf({ outcome, data }: LoggedEnd): MillraceError {
  if (outcome === 'error') return MillraceError.fromShape(data as ReturnType<MillraceError['toJSON']>)
  return new MillraceError('cancelled', 'the run was cancelled', {
    receipt: data as NonNullable<MillraceError['receipt']>,
  })
}
