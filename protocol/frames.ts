import type { Limits } from './limits.ts'

/** The WebSocket subprotocol that both ends name. An incompatible change is a new name. */
export const SUBPROTOCOL = 'millrace.v1'

/** First element of every frame, by the frame's name. */
export * as TAG from './tag.ts'

/** A map of the wire: string keys, plain values. */
export type WireMap = { [key: string]: unknown }

/** How a subscription reads: the producer waits for it (`pace`), own speed (`log`), joined text (`merge`), newest only (`latest`). */
export const POLICIES = ['pace', 'log', 'merge', 'latest'] as const
export type Policy = (typeof POLICIES)[number]

/** What happens to a run that none of its principal's connections watches. */
export const ON_DETACH = ['pause', 'continue', 'cancel'] as const
export type OnDetach = (typeof ON_DETACH)[number]

/** How a run ended, or (`unsubscribed`) that only this subscription did. The wire's number is the index. */
export const OUTCOMES = ['done', 'error', 'cancelled', 'unsubscribed'] as const
export type Outcome = (typeof OUTCOMES)[number]

/** Why items are missing. The wire's number is the index. */
export const GAP_REASONS = ['retention', 'policy', 'store_lost', 'rewound'] as const
export type GapReason = (typeof GAP_REASONS)[number]

/** What became of an input. The wire's number is the index. */
export const INPUT_STATUSES = ['accepted', 'duplicate', 'unwanted', 'invalid', 'busy'] as const
export type InputStatus = (typeof INPUT_STATUSES)[number]

/** A client-made identifier: a START's key, an INPUT's message id. */
export type Key = Uint8Array | string

/** First frame of a connection: who this client instance is, and its how-manieth try this is. */
export type Hello = {
  kind: 'hello'
  /** With `bearer`, the token string itself. */
  auth?: unknown
  /** 16 random bytes of this client instance, kept in memory only. */
  client: Uint8Array
  /** Rises with each try of this instance. */
  attempt: number
  name?: string
  /** Least milliseconds between two messages of text that this client wants. */
  flushMs?: number
}

/** What both START and ATTACH say of the subscription they make. What is undefined is not said. */
export type SubscriptionOptions = {
  credit?: number
  policy?: Policy | undefined
  /** Items a second; 0 begins paused. */
  rate?: number | undefined
  /** Asks for the time of each item. */
  ts?: boolean | undefined
}

export type StartOptions = SubscriptionOptions & {
  /** Names one execution for this principal and actor. */
  key?: Key
  onDetach?: OnDetach
  detachMs?: number
  timeoutMs?: number
  /** Runs the actor's `ask`, where it has one. */
  ask?: boolean
  /** At most 1 KiB encoded. */
  meta?: WireMap
}

/** Begins a run, or attaches to the one that its key names. */
export type Start = { kind: 'start'; sid: number; actor: string; input: unknown; options: StartOptions }

/** Opens a view of an existing run. `after` 0 is from the first item, null is live. */
export type Attach = {
  kind: 'attach'
  sid: number
  run: string
  after: number | null
  options: SubscriptionOptions & { gen?: number | undefined }
}

/** Grants `n` more. */
export type Credit = { kind: 'credit'; sid: number; n: number }

/** Stops the run, or one tool call or sub-agent of it. */
export type Cancel = {
  kind: 'cancel'
  sid: number
  code?: number
  note?: string
  target?: { type: 'call' | 'agent'; id: string }
}

/** Says something to a run while it goes on. */
export type Input = { kind: 'input'; sid: number; mid: Key; type: string; data: unknown }

/** Ends this view; the run goes on. */
export type Detach = { kind: 'detach'; sid: number }

/** Items a second; 0 pauses, null lifts. */
export type Rate = { kind: 'rate'; sid: number; perSec: number | null }

export type Ping = { kind: 'ping'; nonce: number }
export type Pong = { kind: 'pong'; nonce: number }

/** Answer to HELLO. `known`: the registry still had this client instance. */
export type Welcome = {
  kind: 'welcome'
  session: string
  known: boolean
  limits: Partial<Limits>
  now: number
  server?: string
}

/** The parts open just before a position: lane number and the data of its `lane.start`. */
export type OpenLane = [lane: number, data: WireMap]

/** A subscription exists. `next` is the first item it may get. */
export type Opened = {
  kind: 'opened'
  sid: number
  next: number
  run: string
  gen: number
  /** The credit accepted. */
  credit: number
  reused?: boolean
  lanes?: OpenLane[]
  /** Data of each `input.request` not yet answered. */
  pending?: WireMap[]
}

export type InputAck = { kind: 'input_ack'; sid: number; mid: Key; status: InputStatus; note?: string }

/** Something worth knowing. `ref`: the tag and stream it is about, and a detail. */
export type Notice = {
  kind: 'notice'
  code: string
  message: string
  ref?: { tag: number; sid: number; detail?: unknown }
}

/** This server goes away in `graceMs`. */
export type Goaway = { kind: 'goaway'; reason: string; graceMs: number; retryAfterMs?: number }

/** Text. One item (`body` a string), several (an array, one each), or several merged into one string (`count`). */
export type Delta = {
  kind: 'delta'
  sid: number
  seq: number
  lane: number
  body: string | string[]
  count?: number
  ts?: number
}

/** Anything that is not text. `type` is a number of `events.ts` or an application's own string. */
export type EventFrame = {
  kind: 'event'
  sid: number
  seq: number
  type: number | string
  data: WireMap
  cost: number
  ts?: number
}

/** Items `from` to `next - 1` will not come, or (`next` at or below what came) no longer count. */
export type Gap = {
  kind: 'gap'
  sid: number
  from: number
  next: number
  reason: GapReason
  gen?: number
  lanes?: OpenLane[]
  pending?: WireMap[]
}

/** The one end of a run, or of this subscription. `seq` 0: the START or ATTACH was refused. */
export type End = { kind: 'end'; sid: number; seq: number; outcome: Outcome; data: WireMap }

/** All that a client says. */
export type UpFrame = Hello | Start | Attach | Credit | Cancel | Input | Detach | Rate | Ping | Pong

/** All that a server says. */
export type DownFrame = Welcome | Opened | InputAck | Notice | Goaway | Delta | EventFrame | Gap | End | Ping | Pong
