import {
  type Cancel,
  type DownFrame,
  type End,
  GAP_REASONS,
  INPUT_STATUSES,
  OUTCOMES,
  type UpFrame,
  type WireMap,
} from './frames.ts'
import { pack } from './pack.ts'
import { keysOf } from './plain-data.ts'
import { UP } from './read-up.ts'
import * as TAG from './tag.ts'
import { Writer } from './writer.ts'

export { Writer } from './writer.ts'

/**
 * Encodes one message of a client.
 * @param maxDepth how deep containers may nest in a frame, including the frame itself. Default 16.
 * @throws MillraceError `bad_request` for data that is not plain.
 */
export function encodeUp(frames: readonly UpFrame[], maxDepth?: number): Uint8Array<ArrayBuffer> {
  return joinFrames(frames.map((frame) => packUp(frame, maxDepth)))
}

/** Joins packed frames into one message. */
export function joinFrames(frames: readonly number[][]): Uint8Array<ArrayBuffer> {
  // Several times as fast as `flat`.
  return new Uint8Array(([] as number[]).concat(...frames))
}

/** Packs one frame of a client. The low 8 bits of each number are a byte. */
export function packUp(frame: UpFrame, maxDepth = 16): number[] {
  const [tag, [, fields, info]] = rows.get(frame.kind)!
  const elements = Object.keys(fields).map((name) => elementOf(name, (frame as WireMap)[name]))
  const bytes: number[] = []
  pack(bytes, trimmed([+tag, ...elements, info && { ...frame, kind: undefined }]), maxDepth)
  return bytes
}

/** The rows of a client's frames by their kind, each with its tag. */
const rows = new Map(Object.entries(UP).map((entry) => [entry[1][0], entry]))

/** Encodes one message of a server. */
export function encodeDown(frames: readonly DownFrame[]): Uint8Array<ArrayBuffer> {
  const writer = new Writer()
  for (const frame of frames) writeDown(writer, frame)
  return writer.take()
}

/**
 * Appends one frame of a server.
 * @throws MillraceError `bad_request` for data that is not plain. The beginning of the frame then stays in `out`.
 */
export function writeDown(out: Writer, frame: DownFrame): void {
  switch (frame.kind) {
    case 'delta':
      beginDelta(out, frame.sid, frame.seq, frame.lane, frame.count, frame.ts)
      writeAny(out, frame.body)
      return endDelta(out, frame.count, frame.ts)
    case 'event':
      beginEvent(out, frame.sid, frame.seq, frame.cost, frame.ts)
      writeAny(out, frame.type)
      writeAny(out, frame.data)
      return endEvent(out, frame.cost, frame.ts)
    case 'end':
      beginEnd(out, frame.sid, frame.seq, frame.outcome)
      return writeAny(out, frame.data)
    default:
      writeAny(out, trimmed(CONTROL[frame.kind](frame as never)))
  }
}

/** Appends a DELTA up to its body. The body follows, a text or an array of texts, then `endDelta` with equal values. */
export function beginDelta(
  out: Writer,
  sid: number,
  seq: number,
  lane: number,
  count: number | undefined,
  ts: number | undefined,
): void {
  out.array(5 + optionals(count, ts))
  out.uint(TAG.delta)
  out.number(sid)
  out.number(seq)
  out.number(lane)
}

/** @param count how many texts were merged into one; undefined when they were not merged. */
export function endDelta(out: Writer, count: number | undefined, ts: number | undefined): void {
  writeOptionals(out, count, ts)
}

/** Appends an EVENT up to its type. Type and data follow, then `endEvent` with equal values. */
export function beginEvent(
  out: Writer,
  sid: number,
  seq: number,
  cost: number | undefined,
  ts: number | undefined,
): void {
  out.array(5 + optionals(stated(cost), ts))
  out.uint(TAG.event)
  out.number(sid)
  out.number(seq)
}

export function endEvent(out: Writer, cost: number | undefined, ts: number | undefined): void {
  writeOptionals(out, stated(cost), ts)
}

/** Appends an END up to its data, which follows. */
export function beginEnd(out: Writer, sid: number, seq: number, outcome: End['outcome']): void {
  out.array(5)
  out.uint(TAG.end)
  out.number(sid)
  out.number(seq)
  out.number(OUTCOMES.indexOf(outcome))
}

/** A cost of 1 is left out. */
function stated(cost: number | undefined): number | undefined {
  return cost === 1 ? undefined : cost
}

/** How many elements `writeOptionals` appends. */
function optionals(units: number | undefined, ts: number | undefined): number {
  return ts !== undefined ? 2 : units !== undefined ? 1 : 0
}

/** The last elements of an item, as `trimmed` leaves them. */
function writeOptionals(out: Writer, units: number | undefined, ts: number | undefined): void {
  if (units !== undefined) out.number(units)
  else if (ts !== undefined) out.nil()
  if (ts !== undefined) out.number(ts)
}

function writeAny(out: Writer, value: unknown): void {
  // Without a limit: data from the log was checked against the server's limits when it was logged.
  out.value(value, Infinity)
}

/** A frame as a list: its tag, and its elements in the order of the wire. */
type Elements = unknown[]

/** A property of a client's frame as its element is sent. Data of any type keeps its place even when it is undefined. */
function elementOf(name: string, value: unknown): unknown {
  if (name === 'options') return present(value as object)
  if (name === 'target') return value && targetOf(value as NonNullable<Cancel['target']>)
  return name === 'input' || name === 'data' ? (value ?? null) : value
}

function targetOf({ type, id }: NonNullable<Cancel['target']>): Elements {
  return [type, id]
}

type ControlFrame = Exclude<DownFrame, { kind: 'delta' | 'event' | 'end' }>

/** The layouts of a server's other frames. */
const CONTROL: { readonly [Kind in ControlFrame['kind']]: (frame: Extract<ControlFrame, { kind: Kind }>) => Elements } =
  {
    welcome: ({ kind: _, ...info }) => [TAG.welcome, present(info)],
    opened: ({ kind: _, sid, next, ...info }) => [TAG.opened, sid, next, present(info)],
    input_ack: ({ sid, mid, status, note }) => [TAG.inputAck, sid, mid, INPUT_STATUSES.indexOf(status), note],
    notice: ({ code, message, ref }) => [TAG.notice, code, message, ref && trimmed([ref.tag, ref.sid, ref.detail])],
    goaway: ({ reason, graceMs, retryAfterMs }) => [TAG.goaway, reason, graceMs, retryAfterMs],
    gap: ({ kind: _, sid, from, next, reason, ...info }) => [
      TAG.gap,
      sid,
      from,
      next,
      GAP_REASONS.indexOf(reason),
      present(info),
    ],
    listed: ({ sid, run, info }) => [TAG.listed, sid, run, info],
    ping: ({ nonce }) => [TAG.ping, nonce],
    pong: ({ nonce }) => [TAG.pong, nonce],
  }

/** Leaves off absent elements at the end. One in the middle becomes nil. */
function trimmed(elements: Elements): Elements {
  while (elements.at(-1) === undefined) elements.pop()
  return elements
}

/** A map of options, or undefined if it has none. */
function present(options: object): object | undefined {
  return keysOf(options as WireMap).length > 0 ? options : undefined
}
