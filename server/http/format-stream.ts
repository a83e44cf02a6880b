import type { Format } from '../../formats/format.ts'
import { jsonOf } from '../../formats/plain-text.ts'
import type { MillraceError } from '../../protocol/errors.ts'
import type { RunEnd, StreamEvent } from '../../protocol/events.ts'
import { EVENT_STREAM, SSE_HEARTBEAT, sseEvent } from './sse.ts'
import type { StreamFormat, StreamOpening } from './stream-format.ts'

/** What a foreign protocol adds to the pieces of its format. */
export type FormatStreamSettings<Piece> = {
  readonly headers?: { readonly [name: string]: string }
  /** Written behind the last piece. */
  readonly last?: string
  /** The name of the event that a piece becomes. Default: none. */
  readonly name?: (piece: Piece) => string
  /** Whether the reader gets a piece, such as behind those that it has. Default: every one. */
  readonly isWanted?: (piece: Piece) => boolean
  /** What says that the stream ends before the run does. */
  failed(error: MillraceError): Piece
}

/** The pieces of a format as server-sent events: one event each, with the position in the run as its id. */
export class FormatStream<Piece> implements StreamFormat {
  readonly type: string = `${EVENT_STREAM}; charset=utf-8`
  readonly headers: { readonly [name: string]: string }
  readonly heartbeat: string = SSE_HEARTBEAT
  readonly #format: Format<Piece>
  readonly #settings: FormatStreamSettings<Piece>

  constructor(format: Format<Piece>, settings: FormatStreamSettings<Piece>) {
    this.headers = settings.headers ?? {}
    this.#format = format
    this.#settings = settings
  }

  get isOver(): boolean {
    return this.#format.isOver
  }

  begin(_opening: StreamOpening, id: string): string {
    return this.#written(this.#format.begin(), id)
  }

  event(event: StreamEvent, id: string): string {
    const text = this.#written(this.#format.take(event), id)
    return this.#format.isOver ? text + this.#last : text
  }

  end(end: RunEnd, id: string): string {
    return this.#written(this.#format.end(end), id) + this.#last
  }

  fail(error: MillraceError): string {
    return this.#event(this.#settings.failed(error)) + this.#last
  }

  get #last(): string {
    return this.#settings.last ?? ''
  }

  #written(pieces: readonly Piece[], id: string): string {
    const { isWanted } = this.#settings
    const wanted = isWanted ? pieces.filter((piece) => isWanted(piece)) : pieces
    return wanted.map((piece) => this.#event(piece, { id })).join('')
  }

  #event(piece: Piece, fields: { id?: string } = {}): string {
    const event = this.#settings.name?.(piece)
    return sseEvent({ ...fields, ...(event === undefined ? {} : { event }), data: jsonOf(piece) })
  }
}
