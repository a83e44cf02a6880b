import {
  any,
  bool,
  type FieldRow,
  key,
  list,
  map,
  numbered,
  openLane,
  optional,
  positive,
  type ReadWhole,
  readFrame,
  str,
  text,
  uint,
  wrong,
} from './fields.ts'
import { type Delta, type DownFrame, GAP_REASONS, INPUT_STATUSES, type Notice, OUTCOMES } from './frames.ts'
import type { Limits } from './limits.ts'
import * as TAG from './tag.ts'

/** Of a DELTA, and made once: one is read for every few tokens. */
const maybeUint = optional(uint)
const maybePositive = optional(positive)
const strs = list(str)

const place = { gen: optional(uint), lanes: optional(list(openLane)), pending: optional(list(map)) }

const ROWS: { readonly [tag: number]: FieldRow<DownFrame> | ReadWhole<Delta> } = {
  [TAG.welcome]: [
    'welcome',
    {},
    { session: str, known: bool, limits, now: uint, server: optional(str), features: optional(list(str)) },
  ],
  [TAG.opened]: [
    'opened',
    { sid: positive, next: uint },
    { run: str, credit: uint, reused: optional(bool), ...place, gen: uint },
  ],
  [TAG.inputAck]: ['input_ack', { sid: positive, mid: key(32), status: numbered(INPUT_STATUSES), note: optional(str) }],
  [TAG.notice]: ['notice', { code: str, message: text(512), ref: optional(reference) }],
  [TAG.goaway]: ['goaway', { reason: str, graceMs: uint, retryAfterMs: optional(uint) }],
  [TAG.delta]: delta,
  [TAG.event]: [
    'event',
    {
      sid: positive,
      seq: positive,
      type: uintOrStr,
      data: map,
      cost: (value) => positive(value ?? 1),
      ts: optional(uint),
    },
  ],
  [TAG.gap]: ['gap', { sid: positive, from: uint, next: uint, reason: numbered(GAP_REASONS) }, place],
  [TAG.end]: ['end', { sid: positive, seq: uint, outcome: numbered(OUTCOMES), data: map }],
  [TAG.listed]: ['listed', { sid: positive, run: optional(str), info: optional(map) }],
  [TAG.ping]: ['ping', { nonce: uint }],
  [TAG.pong]: ['pong', { nonce: uint }],
}

/**
 * Returns the server's frame in a decoded array, or undefined for an unknown tag that may be skipped.
 * @throws ProtocolFault 4400; the message names the malformed element.
 */
export function readDown(value: unknown): DownFrame | undefined {
  return readFrame<DownFrame>(ROWS, value)
}

/** Without fields that are gone through by name: most of what a client reads are these. */
function delta([, sid, seq, lane, body, count, ts]: unknown[]): Delta {
  // An array has as many items as texts. Two numbers of items could contradict each other.
  if (count != null && typeof body !== 'string') wrong('count')
  return {
    kind: 'delta',
    sid: positive(sid),
    seq: positive(seq),
    lane: uint(lane),
    body: textOrTexts(body),
    count: maybePositive(count),
    ts: maybeUint(ts),
  }
}

function limits(value: unknown): Partial<Limits> {
  list(uint)(Object.values(map(value)))
  return value as Partial<Limits>
}

function textOrTexts(value: unknown): string | string[] {
  if (typeof value === 'string') return value
  return strs(value).length > 0 ? (value as string[]) : wrong()
}

function uintOrStr(value: unknown): number | string {
  return typeof value === 'string' ? value : uint(value)
}

function reference(value: unknown): NonNullable<Notice['ref']> {
  const [tag, sid, detail] = list(any)(value)
  return { tag: uint(tag), sid: uint(sid), ...(detail != null && { detail }) }
}
