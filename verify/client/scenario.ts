import type { Attach, DownFrame, Start } from '../../protocol/frames.ts'
import { same } from '../mismatch.ts'
import type { Seat } from './seat.ts'
import type { ClientBench, Stage } from './stage.ts'

/** A client that has started its run, and reads. */
export type Reading = AsyncDisposable & { stage: Stage; seat: Seat; start: Start; sid: number }

/**
 * Starts the client, and opens the run that it starts.
 * @param credit The credit that OPENED accepts at most. Default: what the client asks for.
 */
export async function reading(bench: ClientBench, credit?: number): Promise<Reading> {
  const stage = await bench.start()
  try {
    const seat = await stage.seat()
    await seat.greet()
    const start = await seat.open(credit)
    return { stage, seat, start, sid: start.sid, [Symbol.asyncDispose]: () => stage[Symbol.asyncDispose]() }
  } catch (error) {
    await stage[Symbol.asyncDispose]()
    throw error
  }
}

/**
 * The client connects again, and its run is opened behind the position for which it asks.
 * @param gen That of OPENED. Default 1.
 */
export async function comesBack(stage: Stage, gen?: number): Promise<{ back: Seat; attach: Attach }> {
  const back = await stage.seat()
  await back.greet()
  return { back, attach: await back.reopen(gen) }
}

/** Text items of lane 0, from `seq` on. */
export function texts(sid: number, seq: number, ...body: string[]): DownFrame {
  return { kind: 'delta', sid, seq, lane: 0, body }
}

/** END of a run that is done, with the number behind its last item. */
export function done(sid: number, seq: number): DownFrame {
  return { kind: 'end', sid, seq, outcome: 'done', data: { ms: 1 } }
}

/** END of a run that was cancelled. */
export function cancelled(sid: number, seq: number): DownFrame {
  const receipt = {
    code: 1,
    by: 'client',
    settled: true,
    unsettled: [],
    provider: 'none',
    tools: [],
    kept: seq - 1,
    ms: 1,
  }
  return { kind: 'end', sid, seq, outcome: 'cancelled', data: receipt }
}

/** The client reads the rest: the run ends as done, and it has printed this text. */
export async function completes(stage: Stage, text: string): Promise<void> {
  const { end } = await stage.end()
  same([stage.text, end], [text, 'done'], 'the text and the end that the client printed')
}
