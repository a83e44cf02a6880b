import type { Principal } from './principal.ts'

/**
 * What a principal asks to do:
 *
 * | action | what it allows |
 * |---|---|
 * | `start` | to start a run of an actor |
 * | `attach` | to read a run or a conversation of its own, and to find a run on a list |
 * | `observe` | to read a run or a conversation of another principal |
 * | `govern` | to hold a run back: to attach with the policy `pace`, and to pause it, slow it down or limit what it spends |
 * | `input` | to send a run inputs, such as `message`; to send messages to a conversation, and to change it |
 * | `approve` | to answer its questions: inputs of the types `approve` and `answer` |
 * | `cancel` | to cancel a run, one of its tool calls or one of its sub-agents |
 * | `inspect` | to see a run or a session, or everything, in an inspector |
 */
export type Action = 'start' | 'attach' | 'observe' | 'govern' | 'input' | 'approve' | 'cancel' | 'inspect'

/** The actor of a `start`. */
export type ActorTarget = {
  /** Always `actor`. */
  readonly type: 'actor'
  /** The name of the actor. */
  readonly actor: string
}

/** The run that most other actions are about. */
export type RunTarget = {
  /** Always `run`. */
  readonly type: 'run'
  /** The id of the run. */
  readonly run: string
  /** The name of its actor. */
  readonly actor: string
  /** The principal that started it. */
  readonly owner: Principal
}

/** A session, for `inspect`. */
export type SessionTarget = {
  /** Always `session`. */
  readonly type: 'session'
  /** The public id of the session. */
  readonly session: string
  /** The principal of the session. */
  readonly owner: Principal
}

/** A conversation, for `attach`, `observe` and `input`. */
export type ConversationTarget = {
  /** Always `conversation`. */
  readonly type: 'conversation'
  /** The id of the conversation, unique among those of its owner. There need not be one yet. */
  readonly conversation: string
  /** The name of the actor that keeps it. */
  readonly actor: string
  /** The principal that it belongs to. Of a principal that does not ask itself, only the id is known. */
  readonly owner: Principal
}

/** The whole server, for `inspect`. If it is allowed, the inspector does not ask about single runs and sessions. */
export type ServerTarget = {
  /** Always `server`. */
  readonly type: 'server'
}

/** What an action is done to. */
export type Target = ActorTarget | RunTarget | ConversationTarget | SessionTarget | ServerTarget

/**
 * Decides whether a principal may do something. It must return `true` or `false`, and not a promise: the frames of a
 * client are applied in order, so put what has to be looked up into the principal when you authenticate it. If it throws
 * or returns anything else, the answer is no, and the error is reported to `onError`.
 * @param target What the action is done to. `start` has an `actor`; `inspect` has a `run`, a `session` or the `server`;
 *   `attach`, `observe` and `input` have a `run` or a `conversation`; all other actions have a `run`.
 */
export type Authorize = (principal: Principal, action: Action, target: Target) => boolean
