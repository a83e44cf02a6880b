import { MillraceError } from '../../protocol/errors.ts'
import { BEGINNING, type StartPosition } from '../log/cursor.ts'

const FORM = /^(?:(\d{1,15})-)?(\d{1,15})(?:\.([\w-]{1,64}))?$/

/**
 * A position in the events of a run, as the `id:` of a server-sent event has it: `1-37` is item 37 of the first life of
 * the log. `tail` is what the stream adds for itself: the run that it began, or the secret with which it goes on.
 */
export type StreamPosition = { readonly gen: number | undefined; readonly seq: number; readonly tail?: string }

/** Writes a position. */
export function positionText(gen: number, seq: number, tail: string | undefined): string {
  return tail === undefined ? `${gen}-${seq}` : `${gen}-${seq}.${tail}`
}

/** Reads a position. Undefined for anything else. */
export function positionOf(text: string): StreamPosition | undefined {
  const [, gen, seq, tail] = FORM.exec(text) ?? []
  if (seq === undefined) return undefined
  return { gen: gen === undefined ? undefined : Number(gen), seq: Number(seq), ...(tail === undefined ? {} : { tail }) }
}

/**
 * Reads where a reader asks to begin: `start`, `live`, `37` or `1-37`.
 * @throws MillraceError `bad_request` for anything else.
 */
export function startPositionOf(after: string): StartPosition {
  if (after === 'start') return BEGINNING
  if (after === 'live') return { after: null, gen: undefined }
  const position = positionOf(after)
  if (!position)
    throw new MillraceError(
      'bad_request',
      'a position is `start`, `live`, or the id of an event, such as 1-37: send one of these in `after` or Last-Event-ID',
    )
  return { after: position.seq, gen: position.gen }
}
