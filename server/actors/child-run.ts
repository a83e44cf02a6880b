import type { ActorTypes, AnswerOf, DataOf, InputOf } from '../../protocol/actors.ts'
import type { RunEvent } from '../../protocol/events.ts'
import type { Receipt } from '../../protocol/receipt.ts'

export type SpawnOptions = {
  /**
   * What the child is called where it is shown: its first 256 characters. Default: the name its actor is registered under,
   * else `agent`.
   */
  name?: string
  /** Aborting it cancels the child. */
  signal?: AbortSignal
}

/**
 * A run that another run began. It has one reader: a loop over its events, or nobody while only `result` is awaited; it
 * goes no faster than it is read, and what it said waits to be read also when it has ended. Its events say in `agent` whose
 * they are, so that they can be passed on as they are: `yield* context.spawn(...)`. The loop ends when the child is done or
 * was cancelled, with its result if it has one, and throws the error the child failed of, or `overloaded` when the ended
 * child was given up to make room before it was read. Leaving the loop cancels the child.
 */
export interface ChildRun<Data = unknown, Result = unknown>
  extends AsyncIterable<RunEvent<Data> & { agent: string }, Result | undefined> {
  /** The id of its run, under which clients may attach to it, and of the agent in its events. */
  readonly id: string
  /**
   * What its actor returned, or its text. Reading this without a loop lets the child go on as fast as it can. Rejects with
   * the error it failed of, with `cancelled`, and with `overloaded` when its text was given up to make room before it was
   * read; it need not be caught.
   */
  readonly result: Promise<Result>
  /**
   * Stops it. Resolves when it has ended, with the receipt unless it ended otherwise before.
   * @param note Told in the receipt: its first 84 characters.
   */
  cancel(note?: string): Promise<Receipt | undefined>
}

/** An actor, as far as it must be known here: made by `actor()` or `agent()`. */
interface Spawnable extends ActorTypes {
  readonly interactive: boolean
}

/**
 * Begins another actor as a child of a run: a run of its own, with its own log, for the same principal. The parent says
 * `agent.start` at once, and `agent.end` when the child has ended and what it said was read. A stop of the parent stops
 * its children, and so does its end; it settles once they have. Clients may stop one child alone, and answer what it
 * asks, at the parent.
 * @throws MillraceError `invalid_input`; `overloaded` when the principal has too many runs, or the server no room; the
 * reason of the stop when the parent is over.
 */
export type Spawn = <A extends Spawnable>(
  actor: A,
  input: InputOf<A>,
  options?: SpawnOptions,
) => ChildRun<DataOf<A>, AnswerOf<A>>
