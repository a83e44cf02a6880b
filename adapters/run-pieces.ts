import type { RunEnd, StreamEvent } from '../client-sdk/index.ts'
import type { Format } from '../formats/format.ts'

/** The members of a run that are read here: those of `Run` of `millrace/client`. */
export interface PieceSource extends AsyncIterable<StreamEvent, undefined> {
  readonly end: Promise<RunEnd>
  detach(): void
}

/** Reads one run in the words of another protocol, as slowly as it is asked to. */
export interface RunPieces<Piece> {
  /**
   * Returns what comes next, at least one piece; undefined once the answer is over. Wait for one answer before you ask
   * for the next. Rejects when this client does not learn how the run ended.
   */
  next(): Promise<Piece[] | undefined>
}

/**
 * Reads `run` through `format`. The next event is taken only when `next` is called, so a reader that stops asking stops
 * the run. Where the format's answer is over before the run is, the run is left, and goes on.
 * @param ended Is called with the end of the run, if it comes while the run is read.
 */
export function readPieces<Piece>(
  run: PieceSource,
  format: Format<Piece>,
  ended?: (end: RunEnd) => void,
): RunPieces<Piece> {
  const events = run[Symbol.asyncIterator]()
  let first: Piece[] | undefined = format.begin()
  let hasEnded = false

  async function step(): Promise<Piece[] | undefined> {
    if (first) {
      const pieces = first
      first = undefined
      return pieces
    }
    if (hasEnded) return undefined
    if (format.isOver) {
      hasEnded = true
      run.detach()
      return undefined
    }
    // What the loop throws, the end says as well, or rejects with.
    const said = await events.next().catch(() => undefined)
    if (said && !said.done) return format.take(said.value)
    hasEnded = true
    const end = await run.end
    ended?.(end)
    return format.end(end)
  }

  return {
    async next() {
      for (;;) {
        const pieces = await step()
        if (!pieces || pieces.length > 0) return pieces
      }
    },
  }
}
