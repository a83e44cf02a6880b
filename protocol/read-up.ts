import {
  any,
  bool,
  type Fields,
  key,
  list,
  map,
  optional,
  positive,
  type Read,
  readFrame,
  readMap,
  str,
  type Table,
  text,
  uint,
  word,
  wrong,
} from './fields.ts'
import {
  type Attach,
  type Cancel,
  type Hello,
  ON_DETACH,
  POLICIES,
  type StartOptions,
  type SubscriptionOptions,
  type UpFrame,
  type WireMap,
} from './frames.ts'
import { pack } from './pack.ts'
import * as TAG from './tag.ts'

const SUBSCRIPTION: Fields<SubscriptionOptions> = {
  credit: optional(uint),
  policy: optional(word(POLICIES)),
  rate: optional(uint),
  ts: optional(bool),
}

const START: Fields<StartOptions> = {
  key: optional(key(64)),
  ...SUBSCRIPTION,
  onDetach: optional(word(ON_DETACH)),
  detachMs: optional(uint),
  timeoutMs: optional(uint),
  ask: optional(bool),
  meta: optional(smallMap),
}

const ATTACH: Fields<Attach['options']> = { gen: optional(uint), ...SUBSCRIPTION }

const HELLO: Fields<Hello> = {
  auth: optional(any),
  client: instance,
  attempt: uint,
  name: optional(str),
  flushMs: optional(uint),
}

/** The frames of a client: how each is read, and the order in which its elements are written. */
export const UP: Table<UpFrame> = {
  [TAG.hello]: ['hello', {}, HELLO],
  [TAG.start]: ['start', { sid: positive, actor: str, input: any, options: options(START) }],
  [TAG.attach]: ['attach', { sid: positive, run: str, after: uintOrNull, options: options(ATTACH) }],
  [TAG.credit]: ['credit', { sid: positive, n: positive }],
  [TAG.cancel]: [
    'cancel',
    { sid: positive, code: optional(uint), note: optional(text(256)), target: optional(target) },
  ],
  [TAG.input]: ['input', { sid: positive, mid: key(32), type: str, data: any }],
  [TAG.detach]: ['detach', { sid: positive }],
  [TAG.rate]: ['rate', { sid: positive, perSec: uintOrNull }],
  [TAG.list]: ['list', { sid: positive, watch: optional(bool) }],
  [TAG.ping]: ['ping', { nonce: uint }],
  [TAG.pong]: ['pong', { nonce: uint }],
}

/**
 * Returns the client's frame in a decoded array, or undefined for an unknown tag that may be skipped.
 * @throws ProtocolFault 4400; the message names the malformed element.
 */
export function readUp(value: unknown): UpFrame | undefined {
  return readFrame<UpFrame>(UP, value)
}

function options(shape: object): Read<WireMap> {
  return (value) => readMap(shape, value)
}

function uintOrNull(value: unknown): number | null {
  return value === null ? null : uint(value)
}

function instance(value: unknown): Uint8Array {
  return value instanceof Uint8Array && value.length === 16 ? value : wrong()
}

function target(value: unknown): NonNullable<Cancel['target']> {
  const [type, id] = list(any)(value)
  return { type: word(['call', 'agent'])(type), id: str(id) }
}

/** A map of at most 1 KiB in its smallest encoding. */
function smallMap(value: unknown): WireMap {
  const bytes: number[] = []
  pack(bytes, map(value), Infinity)
  return bytes.length > 1_024 ? wrong() : (value as WireMap)
}
