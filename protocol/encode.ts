import { type DownFrame, GAP_REASONS, INPUT_STATUSES, OUTCOMES, type UpFrame } from './frames.ts'
import { pack } from './pack.ts'
import * as TAG from './tag.ts'
import { Writer } from './writer.ts'

export { Writer } from './writer.ts'

/**
 * One message of what a client says.
 * @param maxDepth how many containers may nest in a frame, itself counted. Default 16.
 * @throws MillraceError `bad_request` for data that is not plain.
 */
export function encodeUp(frames: readonly UpFrame[], maxDepth?: number): Uint8Array<ArrayBuffer> {
  return joinFrames(frames.map((frame) => packUp(frame, maxDepth)))
}

/** One message of frames that are packed already. */
export function joinFrames(frames: readonly number[][]): Uint8Array<ArrayBuffer> {
  // Several times as fast as `flat`.
  return new Uint8Array(([] as number[]).concat(...frames))
}

/** The bytes of one frame of a client. Of each number the low 8 bits count. */
export function packUp(frame: UpFrame, maxDepth = 16): number[] {
  const bytes: number[] = []
  pack(bytes, trimmed(UP[frame.kind](frame as never)), maxDepth)
  return bytes
}

/** One message of what a server says. */
export function encodeDown(frames: readonly DownFrame[]): Uint8Array<ArrayBuffer> {
  const writer = new Writer()
  for (const frame of frames) writeDown(writer, frame)
  return writer.take()
}

/**
 * Appends one frame of a server.
 * @throws MillraceError `bad_request` for data that is not plain. What was written of the frame by then stays: reset.
 */
export function writeDown(writer: Writer, frame: DownFrame): void {
  // No limit of its own: what a frame quotes of the log was checked when it was logged, against the server's limits.
  writer.value(trimmed(DOWN[frame.kind](frame as never)), Infinity)
}

/** What a frame consists of: its tag, and what stands behind it in the order of the wire. */
type Elements = unknown[]

/** How a client's frames stand on the wire. Data of any type has its place there also when it is undefined. */
const UP: { readonly [Kind in UpFrame['kind']]: (frame: Extract<UpFrame, { kind: Kind }>) => Elements } = {
  hello: ({ kind: _, ...info }) => [TAG.hello, present(info)],
  start: (frame) => [TAG.start, frame.sid, frame.actor, frame.input ?? null, present(frame.options)],
  attach: (frame) => [TAG.attach, frame.sid, frame.run, frame.after, present(frame.options)],
  credit: (frame) => [TAG.credit, frame.sid, frame.n],
  cancel: (frame) => [
    TAG.cancel,
    frame.sid,
    frame.code,
    frame.note,
    frame.target && [frame.target.type, frame.target.id],
  ],
  input: (frame) => [TAG.input, frame.sid, frame.mid, frame.type, frame.data ?? null],
  detach: (frame) => [TAG.detach, frame.sid],
  rate: (frame) => [TAG.rate, frame.sid, frame.perSec],
  ping: (frame) => [TAG.ping, frame.nonce],
  pong: (frame) => [TAG.pong, frame.nonce],
}

/** How a server's frames stand on the wire. */
const DOWN: { readonly [Kind in DownFrame['kind']]: (frame: Extract<DownFrame, { kind: Kind }>) => Elements } = {
  welcome: ({ kind: _, ...info }) => [TAG.welcome, present(info)],
  opened: ({ kind: _, sid, next, ...info }) => [TAG.opened, sid, next, present(info)],
  input_ack: ({ sid, mid, status, note }) => [TAG.inputAck, sid, mid, INPUT_STATUSES.indexOf(status), note],
  notice: ({ code, message, ref }) => [TAG.notice, code, message, ref && trimmed([ref.tag, ref.sid, ref.detail])],
  goaway: ({ reason, graceMs, retryAfterMs }) => [TAG.goaway, reason, graceMs, retryAfterMs],
  delta: ({ sid, seq, lane, body, count, ts }) => [TAG.delta, sid, seq, lane, body, count, ts],
  event: ({ sid, seq, type, data, cost, ts }) => [TAG.event, sid, seq, type, data, cost === 1 ? undefined : cost, ts],
  gap: ({ kind: _, sid, from, next, reason, ...info }) => [
    TAG.gap,
    sid,
    from,
    next,
    GAP_REASONS.indexOf(reason),
    present(info),
  ],
  end: ({ sid, seq, outcome, data }) => [TAG.end, sid, seq, OUTCOMES.indexOf(outcome), data],
  ping: ({ nonce }) => [TAG.ping, nonce],
  pong: ({ nonce }) => [TAG.pong, nonce],
}

/** Absent elements at the end are left off; nil stands for one in the middle. */
function trimmed(elements: Elements): Elements {
  while (elements.at(-1) === undefined) elements.pop()
  return elements
}

/** A map of options, unless none is there. */
function present(options: object): object | undefined {
  return Object.values(options).some((value) => value !== undefined) ? options : undefined
}
