import { type DownFrame, GAP_REASONS, INPUT_STATUSES, OUTCOMES, TAG, type UpFrame, type WireMap } from './frames.ts'
import { Writer } from './writer.ts'

export { Writer } from './writer.ts'

/** One message of what a client says. */
export function encodeUp(frames: readonly UpFrame[]): Uint8Array<ArrayBuffer> {
  const writer = new Writer()
  for (const frame of frames) writeUp(writer, frame)
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
 * @throws MillraceError `bad_request` for data that is not plain. What was written of the frame by then stays: reset.
 */
export function writeUp(writer: Writer, frame: UpFrame): void {
  switch (frame.kind) {
    case 'hello': {
      const { kind: _, ...options } = frame
      return write(writer, [TAG.hello, present(options)])
    }
    case 'start': {
      const options = present(frame.options)
      const { sid, actor, input = null } = frame
      return write(writer, [TAG.start, sid, actor, input, Object.keys(options).length > 0 ? options : undefined])
    }
    case 'attach': {
      const options = present(frame.options)
      const { sid, run, after } = frame
      return write(writer, [TAG.attach, sid, run, after, Object.keys(options).length > 0 ? options : undefined])
    }
    case 'credit':
      return write(writer, [TAG.credit, frame.sid, frame.n])
    case 'cancel': {
      const { sid, code, note, target } = frame
      return write(writer, [TAG.cancel, sid, code, note, target && [target.type, target.id]])
    }
    case 'input':
      return write(writer, [TAG.input, frame.sid, frame.mid, frame.type, frame.data ?? null])
    case 'detach':
      return write(writer, [TAG.detach, frame.sid])
    case 'rate':
      return write(writer, [TAG.rate, frame.sid, frame.perSec])
    case 'ping':
      return write(writer, [TAG.ping, frame.nonce])
    case 'pong':
      return write(writer, [TAG.pong, frame.nonce])
  }
}

/**
 * Appends one frame of a server.
 * @throws MillraceError `bad_request` for data that is not plain. What was written of the frame by then stays: reset.
 */
export function writeDown(writer: Writer, frame: DownFrame): void {
  switch (frame.kind) {
    case 'welcome': {
      const { kind: _, ...info } = frame
      return write(writer, [TAG.welcome, present(info)])
    }
    case 'opened': {
      const { kind: _, sid, next, ...info } = frame
      return write(writer, [TAG.opened, sid, next, present(info)])
    }
    case 'input_ack':
      return write(writer, [TAG.inputAck, frame.sid, frame.mid, INPUT_STATUSES.indexOf(frame.status), frame.note])
    case 'notice': {
      const { code, message, ref } = frame
      return write(writer, [TAG.notice, code, message, ref && trimmed([ref.tag, ref.sid, ref.detail])])
    }
    case 'goaway':
      return write(writer, [TAG.goaway, frame.reason, frame.graceMs, frame.retryAfterMs])
    case 'delta':
      return write(writer, [TAG.delta, frame.sid, frame.seq, frame.lane, frame.body, frame.count, frame.ts])
    case 'event': {
      const { sid, seq, type, data, cost, ts } = frame
      return write(writer, [TAG.event, sid, seq, type, data, cost === 1 ? undefined : cost, ts])
    }
    case 'gap': {
      const { kind: _, sid, from, next, reason, ...rest } = frame
      const info = present(rest)
      const number = GAP_REASONS.indexOf(reason)
      return write(writer, [TAG.gap, sid, from, next, number, Object.keys(info).length > 0 ? info : undefined])
    }
    case 'end':
      return write(writer, [TAG.end, frame.sid, frame.seq, OUTCOMES.indexOf(frame.outcome), frame.data])
    case 'ping':
      return write(writer, [TAG.ping, frame.nonce])
    case 'pong':
      return write(writer, [TAG.pong, frame.nonce])
  }
}

function write(writer: Writer, elements: unknown[]): void {
  trimmed(elements)
  writer.array(elements.length)
  for (const one of elements) writer.value(one)
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
