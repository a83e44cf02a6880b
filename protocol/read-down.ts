import {
  any,
  bool,
  key,
  list,
  map,
  numbered,
  openLane,
  optional,
  positive,
  readFrame,
  type Row,
  str,
  text,
  uint,
  wrong,
} from './fields.ts'
import { type DownFrame, GAP_REASONS, INPUT_STATUSES, type Notice, OUTCOMES, TAG } from './frames.ts'
import type { Limits } from './limits.ts'

const nonce = { nonce: uint }
const place = { gen: optional(uint), lanes: optional(list(openLane)), pending: optional(list(map)) }

const ROWS: { [tag: number]: Row<DownFrame> } = {
  [TAG.welcome]: {
    kind: 'welcome',
    elements: {},
    info: { session: str, known: bool, limits, now: uint, server: optional(str) },
  },
  [TAG.opened]: {
    kind: 'opened',
    elements: { sid: positive, next: uint },
    info: { run: str, credit: uint, reused: optional(bool), ...place, gen: uint },
  },
  [TAG.inputAck]: {
    kind: 'input_ack',
    elements: { sid: positive, mid: key(32), status: numbered(INPUT_STATUSES), note: optional(str) },
  },
  [TAG.notice]: { kind: 'notice', elements: { code: str, message: text(512), ref: optional(reference) } },
  [TAG.goaway]: { kind: 'goaway', elements: { reason: str, graceMs: uint, retryAfterMs: optional(uint) } },
  [TAG.delta]: {
    kind: 'delta',
    elements: {
      sid: positive,
      seq: positive,
      lane: uint,
      body: textOrTexts,
      count: optional(positive),
      ts: optional(uint),
    },
  },
  [TAG.event]: {
    kind: 'event',
    elements: {
      sid: positive,
      seq: positive,
      type: uintOrStr,
      data: map,
      cost: (value, name) => (value == null ? 1 : positive(value, name)),
      ts: optional(uint),
    },
  },
  [TAG.gap]: {
    kind: 'gap',
    elements: { sid: positive, from: uint, next: uint, reason: numbered(GAP_REASONS) },
    info: place,
    optionalInfo: true,
  },
  [TAG.end]: { kind: 'end', elements: { sid: positive, seq: uint, outcome: numbered(OUTCOMES), data: map } },
  [TAG.ping]: { kind: 'ping', elements: nonce },
  [TAG.pong]: { kind: 'pong', elements: nonce },
}

/**
 * The frame of a server that a decoded array says, or undefined for an unknown tag that may be skipped.
 * @throws ProtocolFault 4400 naming what is wrong.
 */
export function readDown(value: unknown): DownFrame | undefined {
  return readFrame(ROWS, value)
}

function limits(value: unknown, name: string): Partial<Limits> {
  const result = map(value, name)
  for (const one of Object.values(result)) uint(one, name)
  return result
}

function textOrTexts(value: unknown, name: string): string | string[] {
  if (typeof value === 'string') return value
  const texts = list(str)(value, name)
  return texts.length === 0 ? wrong(name) : texts
}

function uintOrStr(value: unknown, name: string): number | string {
  return typeof value === 'string' ? value : uint(value, name)
}

function reference(value: unknown, name: string): NonNullable<Notice['ref']> {
  const [tag, sid, detail] = list(any)(value, name)
  const ref: NonNullable<Notice['ref']> = { tag: uint(tag, name), sid: uint(sid, name) }
  if (detail != null) ref.detail = detail
  return ref
}
