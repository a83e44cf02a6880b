import type { ActorTypes, AnswerOf, DataOf, InputOf } from '../../protocol/actors.ts'
import type { AnyData, RunEvent } from '../../protocol/events.ts'
import { CANCEL_CODES, type CancelCause, type Receipt } from '../../protocol/receipt.ts'

/** The cause of a cancel by the run that started the target. */
export const BY_PARENT: CancelCause = { by: 'parent', code: CANCEL_CODES.parent }

/** The options of `context.spawn`. */
export type SpawnOptions = {
  /**
   * The displayed name of the child, cut to 256 characters. Default: the registered name of its actor, else `agent`.
   */
  name?: string | undefined
  /**
   * The name by which the run, or the tool call, that begins the child finds it again after a restart of a server with a
   * store: a text of 1 to 256 characters, different from those of all its children that go on. Begin the child again with
   * the same key, actor and input then: it is the child that clients know, which waits on. A tool that gives a key is
   * called again, with the same arguments. Default: none, and a restart ends the run while the child goes on.
   */
  key?: string | undefined
  /**
   * Whether the child outlives its parent. It is not stopped by the end or a cancel of that: from then on it is a run of
   * its own, on the list of its principal, which goes on without a reader. It is kept in memory: a restart ends it, also
   * on a server with a store. Read it in the loop turn in which it begins; otherwise it goes on unread. Leaving its loop
   * does not cancel it. Default false.
   */
  detached?: boolean | undefined
  /** Aborting it cancels the child. Default: none. */
  signal?: AbortSignal | undefined
  /**
   * The `meta` of the child: plain data of at most 1,024 bytes when encoded. Default: that of its parent, without
   * `retryOf`, which is about the parent alone.
   */
  meta?: { readonly [name: string]: unknown } | undefined
}

/**
 * A run that another run started. Its one reader is a loop over its events, or nothing while only `result` is awaited.
 * The child goes no faster than its reader, and its events stay readable after its end. Each event names the child in
 * `agent`, so the parent can pass events on unchanged: `yield* context.spawn(...)`.
 *
 * The loop ends when the child is done or cancelled, and returns the result if there is one. It throws the child's
 * error if the child failed, and `overloaded` if the server gave up the ended child's log before the loop read it. A
 * second loop throws `already_reading`. Leaving the loop cancels the child, unless it is `detached`.
 */
export interface ChildRun<Data extends AnyData = AnyData, Result = unknown>
  extends AsyncIterable<RunEvent<Data> & { agent: string }, Result | undefined> {
  /** The id of its run. Clients attach with it, and the child's events carry it in `agent`. */
  readonly id: string
  /** How far it is. `waiting`: for what a client says. Once it is `done`, `error` or `cancelled`, it stays so. */
  readonly state: ChildState
  /**
   * The value that its actor returned, or its own text, without that of its children. Reading this without a loop lets
   * the child run at full speed. Rejects with the child's error, with `cancelled`, or with `overloaded` if the server
   * gave up the unread text to make room, or the text has more than 67,108,864 characters (UTF-16 code units): a loop
   * over the events then ends, and returns nothing. An unhandled rejection is not reported.
   */
  readonly result: Promise<Result>
  /**
   * Cancels the child. Resolves when it has ended: with its receipt, or with undefined if it had ended otherwise
   * before.
   * @param note A reason for the receipt, cut to 84 characters. Default: none.
   * @param options.cascade Whether its own children are stopped, too. Those that are not are named as `continuing` in
   * the receipt. Default true.
   */
  cancel(note?: string, options?: { cascade?: boolean | undefined }): Promise<Receipt | undefined>
  /**
   * Pauses it, resumes it, slows it down or sets what it may cost, with all that is below it.
   * @throws MillraceError `bad_request` for an invalid order; `not_found` when it has ended.
   */
  govern(order: Omit<GovernOptions, 'agent'>): void
}

/** How far a child is. */
export type ChildState = 'running' | 'waiting' | 'paused' | 'done' | 'error' | 'cancelled'

/** Orders for a run, as `context.govern` takes them. What is left out stays as it is; null lifts a limit. */
export type GovernOptions = {
  /** The id of a child, at any depth: the order is for it and what is below it. Default: the run itself. */
  agent?: string | undefined
  /** Whether no request to a model is sent, and no step of a workflow begins. */
  paused?: boolean | undefined
  /** The most pieces of answers of models in a second. */
  perSec?: number | null | undefined
  /** What it may cost, with its children. A run that has spent it ends with `budget_exceeded`. */
  budget?: Budget | null | undefined
}

/** What a run and its children may cost. null lifts a limit; what is left out stays as it is. */
export type Budget = {
  /** Tokens, of input and output. */
  tokens?: number | null | undefined
  /** Milliseconds since its beginning. */
  ms?: number | null | undefined
  /** The price, in the currency of its models. */
  cost?: number | null | undefined
}

/** The `data` events of a child that yields none: passed on, they add no type to those that its parent yields. */
type NoData = { name: string; value: never }

/** The part of an actor that `spawn` needs: made by `actor()` or `agent()`. */
interface Spawnable extends ActorTypes {
  readonly interactive: boolean
}

/**
 * Starts another actor as a child of a run. The child is a run with its own id and log, for the same principal. The
 * parent logs `agent.start` at once, and `agent.end` when the child has ended and its events were read. A stop or the
 * end of the parent stops its children that are not `detached`, and the parent settles after them. Clients can cancel one child, and answer its
 * requests, through the parent.
 * @param input The child's schema checks it.
 * @throws MillraceError `invalid_input` when the schema rejects the input; `bad_request` for a `meta` that is too large
 * or not plain data, and for an invalid `key`; `key_conflict` when a child with this `key` goes on; `overloaded` when the principal has too many
 * runs or the server has no room; the reason of the stop when the parent is over; the reason of an aborted
 * `options.signal`.
 */
export type Spawn = <A extends Spawnable>(
  actor: A,
  input: InputOf<A>,
  options?: SpawnOptions,
) => ChildRun<DataOf<A, NoData>, AnswerOf<A>>
