import { type DownFrame, GAP_REASONS, INPUT_STATUSES, OUTCOMES, type UpFrame, type WireMap } from './frames.ts'
import * as TAG from './tag.ts'
import { Writer } from './writer.ts'

export { Writer } from './writer.ts'

/**
 * One message of what a client says.
 * @param maxDepth how many containers may nest in a frame, itself counted. Default 16.
 */
export function encodeUp(frames: readonly UpFrame[], maxDepth?: number): Uint8Array<ArrayBuffer> {
  const writer = new Writer()
  for (const frame of frames) writeUp(writer, frame, maxDepth)
  return writer.take()
}

/** One message of what a server says. */
export function encodeDown(frames: readonly DownFrame[]): Uint8Array<ArrayBuffer> {
  const writer = new Writer()
  for (const frame of frames) writeDown(writer, frame)
  return writer.take()
}

/**
 * Appends one frame of a client.
 * @param maxDepth how many containers may nest in it, itself counted. Default 16.
 * @throws MillraceError `bad_request` for data that is not plain. What was written of the frame by then stays: reset.
 */
function writeUp(writer: Writer, frame: UpFrame, maxDepth = 16): void {
  write(writer, upElements(frame), maxDepth)
}

/**
 * Appends one frame of a server.
 * @throws MillraceError `bad_request` for data that is not plain. What was written of the frame by then stays: reset.
 */
export function writeDown(writer: Writer, frame: DownFrame): void {
  // No limit of its own: what a frame quotes of the log was checked when it was logged, against the server's limits.
  write(writer, downElements(frame), Infinity)
}

function upElements(frame: UpFrame): unknown[] {
  switch (frame.kind) {
    case 'hello': {
      const { kind: _, ...options } = frame
      return [TAG.hello, present(options)]
    }
    case 'start':
      return [TAG.start, frame.sid, frame.actor, frame.input ?? null, presentOrAbsent(frame.options)]
    case 'attach':
      return [TAG.attach, frame.sid, frame.run, frame.after, presentOrAbsent(frame.options)]
    case 'credit':
      return [TAG.credit, frame.sid, frame.n]
    case 'cancel': {
      const { sid, code, note, target } = frame
      return [TAG.cancel, sid, code, note, target && [target.type, target.id]]
    }
    case 'input':
      return [TAG.input, frame.sid, frame.mid, frame.type, frame.data ?? null]
    case 'detach':
      return [TAG.detach, frame.sid]
    case 'rate':
      return [TAG.rate, frame.sid, frame.perSec]
    case 'ping':
    case 'pong':
      return [TAG[frame.kind], frame.nonce]
  }
}

function downElements(frame: DownFrame): unknown[] {
  switch (frame.kind) {
    case 'welcome': {
      const { kind: _, ...info } = frame
      return [TAG.welcome, present(info)]
    }
    case 'opened': {
      const { kind: _, sid, next, ...info } = frame
      return [TAG.opened, sid, next, present(info)]
    }
    case 'input_ack':
      return [TAG.inputAck, frame.sid, frame.mid, INPUT_STATUSES.indexOf(frame.status), frame.note]
    case 'notice': {
      const { code, message, ref } = frame
      return [TAG.notice, code, message, ref && trimmed([ref.tag, ref.sid, ref.detail])]
    }
    case 'goaway':
      return [TAG.goaway, frame.reason, frame.graceMs, frame.retryAfterMs]
    case 'delta':
      return [TAG.delta, frame.sid, frame.seq, frame.lane, frame.body, frame.count, frame.ts]
    case 'event': {
      const { sid, seq, type, data, cost, ts } = frame
      return [TAG.event, sid, seq, type, data, cost === 1 ? undefined : cost, ts]
    }
    case 'gap': {
      const { kind: _, sid, from, next, reason, ...info } = frame
      return [TAG.gap, sid, from, next, GAP_REASONS.indexOf(reason), presentOrAbsent(info)]
    }
    case 'end':
      return [TAG.end, frame.sid, frame.seq, OUTCOMES.indexOf(frame.outcome), frame.data]
    case 'ping':
    case 'pong':
      return [TAG[frame.kind], frame.nonce]
  }
}

function write(writer: Writer, elements: unknown[], maxDepth: number): void {
  writer.value(trimmed(elements), maxDepth)
}

/** Absent elements at the end are left off; nil stands for one in the middle. */
function trimmed(elements: unknown[]): unknown[] {
  while (elements.at(-1) === undefined) elements.pop()
  return elements
}

/** The options that are there: absent ones are left out, where data's own `undefined` would be nil. */
function present(options: object): WireMap {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
}

function presentOrAbsent(options: object): WireMap | undefined {
  const map = present(options)
  return Object.keys(map).length > 0 ? map : undefined
}
