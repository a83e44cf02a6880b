import type { Limits } from './limits.ts'

/** The WebSocket subprotocol that both ends name. An incompatible change takes a new name. */
export const SUBPROTOCOL = 'millrace.v1'

/** The tags, by the name of the frame. A tag is the first element of every frame. */
export * as TAG from './tag.ts'

/** A map as it is sent: string keys, plain data as values. */
export type WireMap = { [key: string]: unknown }

/**
 * How a subscription reads: the actor waits for it (`pace`), own speed (`log`), joined text (`merge`), newest only
 * (`latest`).
 */
export const POLICIES = ['pace', 'log', 'merge', 'latest'] as const
/** One of `POLICIES`. */
export type Policy = (typeof POLICIES)[number]

/** How a run goes on while it is detached: while no connection of its principal reads it. */
export const ON_DETACH = ['pause', 'continue', 'cancel'] as const
/** One of `ON_DETACH`. */
export type OnDetach = (typeof ON_DETACH)[number]

/** How a run ended. `unsubscribed`: only this subscription ended. The number on the wire is the index. */
export const OUTCOMES = ['done', 'error', 'cancelled', 'unsubscribed'] as const
/** One of `OUTCOMES`. */
export type Outcome = (typeof OUTCOMES)[number]

/** Why items are missing. The number on the wire is the index. */
export const GAP_REASONS = ['retention', 'policy', 'store_lost', 'rewound'] as const
/** One of `GAP_REASONS`. */
export type GapReason = (typeof GAP_REASONS)[number]

/** The server's answer to an input. The number on the wire is the index. */
export const INPUT_STATUSES = ['accepted', 'duplicate', 'unwanted', 'invalid', 'busy'] as const
/** One of `INPUT_STATUSES`. */
export type InputStatus = (typeof INPUT_STATUSES)[number]

/** The states of a run, in their order. */
export type RunState = 'opening' | 'running' | 'waiting_input' | 'settling' | 'ended'

/** A client-made identifier: a START's key, an INPUT's message id. */
export type Key = Uint8Array | string

/** The first frame of a connection. It identifies the client instance, and has its attempt number. */
export type Hello = {
  kind: 'hello'
  /** The credentials. For `bearer` and `jwt`, the token string itself. */
  auth?: unknown
  /** 16 random bytes that name this client instance. They are kept in memory only. */
  client: Uint8Array
  /** Rises with each attempt of this instance. */
  attempt: number
  /** A name for people and inspectors. */
  name?: string
  /** The least time between two messages of text, in milliseconds. Default: the server's `flushMs`. */
  flushMs?: number
}

/** The options of START and ATTACH for the subscription they open. An undefined option is not sent. */
export type SubscriptionOptions = {
  /** The balance to begin with. Default: the server's `initialCredit`. */
  credit?: number | undefined
  /** Default: `pace` for START, `log` for ATTACH. */
  policy?: Policy | undefined
  /** Items per second; 0 begins paused. Default: no limit. */
  rate?: number | undefined
  /** Asks for the time of the first item of each frame. */
  ts?: boolean | undefined
}

/** The options of START. */
export type StartOptions = SubscriptionOptions & {
  /** Names one execution for this principal and actor. */
  key?: Key | undefined
  /** Default: `pause`. */
  onDetach?: OnDetach | undefined
  /** How long the run may be detached, in milliseconds. Default: `resumeMs`, or 10,000 with `cancel`. */
  detachMs?: number | undefined
  /** The run's deadline, in milliseconds. Default: the server's `timeoutMs`. */
  timeoutMs?: number | undefined
  /** Runs the actor's `ask` in place of its `stream`, if it has one. */
  ask?: boolean | undefined
  /** Data for the actor. At most 1,024 bytes encoded. */
  meta?: WireMap | undefined
}

/** Begins a run, or attaches to the run that its key names. */
export type Start = { kind: 'start'; sid: number; actor: string; input: unknown; options: StartOptions }

/** Opens a view of an existing run, behind item `after`. 0: from the first item on; null: from the next item on. */
export type Attach = {
  kind: 'attach'
  sid: number
  run: string
  after: number | null
  options: SubscriptionOptions & { gen?: number | undefined }
}

/** Grants `n` more credits. */
export type Credit = { kind: 'credit'; sid: number; n: number }

/** Stops the run, or one target of it: a tool call or sub-agent. */
export type Cancel = {
  kind: 'cancel'
  sid: number
  code?: number
  note?: string
  target?: { type: 'call' | 'agent'; id: string }
}

/** Sends an input to a live run. */
export type Input = { kind: 'input'; sid: number; mid: Key; type: string; data: unknown }

/** Ends this subscription. The run goes on. */
export type Detach = { kind: 'detach'; sid: number }

/** Sets the subscription's rate, in items per second. 0 pauses it, null removes the limit. */
export type Rate = { kind: 'rate'; sid: number; perSec: number | null }

/** Asks for the runs of the client's principal. `watch`: and for each later change, until DETACH. */
export type List = { kind: 'list'; sid: number; watch?: boolean | undefined }

/** Asks the peer for a PONG with the same `nonce`. */
export type Ping = { kind: 'ping'; nonce: number }
/** Answers PING. */
export type Pong = { kind: 'pong'; nonce: number }

/**
 * Accepts HELLO. `known`: the server still had a session of this client instance. `now`: the server's clock. `features`:
 * what it can do beyond the protocol of release 0.1.0.
 */
export type Welcome = {
  kind: 'welcome'
  session: string
  known: boolean
  limits: Partial<Limits>
  now: number
  server?: string
  features?: string[]
}

/** A lane that is open just before a position: its number, and the data of its `lane.start`. */
export type OpenLane = [lane: number, data: WireMap]

/** A subscription exists. `next` is the first item that it may get. */
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
  /** The data of each `input.request` that has no answer yet. */
  pending?: WireMap[]
}

/** Answers INPUT. */
export type InputAck = { kind: 'input_ack'; sid: number; mid: Key; status: InputStatus; note?: string }

/** Reports a condition to the client. `ref`: the tag and stream it refers to, and a detail. */
export type Notice = {
  kind: 'notice'
  code: string
  message: string
  ref?: { tag: number; sid: number; detail?: unknown }
}

/** The server is going away: it closes the connection within `graceMs` milliseconds. */
export type Goaway = { kind: 'goaway'; reason: string; graceMs: number; retryAfterMs?: number }

/** Text: one item (a string), several (an array, one string each), or several merged into one string (`count`). */
export type Delta = {
  kind: 'delta'
  sid: number
  seq: number
  lane: number
  body: string | string[]
  count?: number | undefined
  ts?: number | undefined
}

/** One item that is not text. `type` is a number of `event-type.ts`, or a string of the application's own. */
export type EventFrame = {
  kind: 'event'
  sid: number
  seq: number
  type: number | string
  data: WireMap
  cost: number
  ts?: number
}

/** Items `from` to `next - 1` will not come. If the client already has items from `next` on, these no longer count. */
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

/** The end of a run, or only of this subscription. `seq` 0: the START or ATTACH was refused. */
export type End = { kind: 'end'; sid: number; seq: number; outcome: Outcome; data: WireMap }

/** The facts of a run on a list: the `info` of LISTED as this version writes it. */
export type ListedFacts = {
  /** The name of its actor. */
  actor: string
  /** What it is doing. */
  state: RunState
  /** How it ended. Absent before the end. */
  outcome?: Exclude<Outcome, 'unsubscribed'>
  /** The life of its log. */
  gen: number
  /** The number of its last item when this was sent. Items alone do not cause another. */
  seq: number
  /** When it began, in epoch milliseconds of the server's clock. */
  startedAt: number
  /** The `meta` of its START. */
  meta?: WireMap
}

/**
 * One run of a list. Without `info` it is no longer kept. Without `run` the list is complete up to here, and what
 * follows, if the list is watched, are changes.
 */
export type Listed = { kind: 'listed'; sid: number; run?: string; info?: WireMap }

/** Every frame that a client sends. */
export type UpFrame = Hello | Start | Attach | Credit | Cancel | Input | Detach | Rate | List | Ping | Pong

/** Every frame that a server sends. */
export type DownFrame =
  | Welcome
  | Opened
  | InputAck
  | Notice
  | Goaway
  | Delta
  | EventFrame
  | Gap
  | End
  | Listed
  | Ping
  | Pong
