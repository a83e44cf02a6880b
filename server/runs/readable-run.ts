import type { WireMap } from '../../protocol/frames.ts'
import type { CancelCause } from '../../protocol/receipt.ts'
import type { RunInput } from '../actors/actor.ts'
import type { Principal } from '../actors/principal.ts'
import type { Log } from '../log/log.ts'
import type { LoggedEnd } from '../log/logged-end.ts'
import type { Reader } from '../log/readers.ts'
import type { InputAnswer, InputSender } from './input-answer.ts'

/**
 * A run as its readers see it: what can be followed, stopped and spoken to, wherever it is executed. `Run` implements it
 * for a run of this process. A run that another process holds, or that only its stored log is left of, implements it
 * over what this process knows of it: its `log` then grows as items arrive.
 *
 * No member throws, and none waits: readers call them from the path of a token. What takes time is a promise, and only
 * where the type says so.
 */
export interface ReadableRun {
  readonly id: string
  readonly actorName: string
  /** For whom it is executed. By default only this principal may pace, stop and speak to it. */
  readonly principal: Principal
  /** The `meta` with which it was started, where this process knows it. */
  readonly meta?: WireMap | undefined
  /** The items that can be read now. It may begin behind item 1, and where its items have not arrived it is empty. */
  readonly log: Log
  /** The one end, once all items before it are in `log`; it never changes then, nor does `log` grow. */
  readonly end: LoggedEnd | undefined

  /** A reader begins to follow. It is woken for every item and for the end until it leaves; joining twice is joining once. */
  join(reader: Reader): void
  /** A reader has all that is in `log` and wants to be woken for more. One that does not rest is not woken for text. */
  rest(reader: Reader): void
  /** A reader leaves, if it followed. The run goes on as its `onDetach` says. */
  leave(reader: Reader): void
  /** This reader was granted credit, or its rate changed or lets more through: the gate may have opened. */
  reconsider(moved: Reader): void

  /** The data of each request that was logged before item `seq` and waits for its answer. */
  pendingAt(seq: number): WireMap[]

  /**
   * Asks for the stop of the run. The end is the answer, with a receipt where the stop came first: a run that has ended,
   * or is being stopped, is left as it is.
   */
  cancel(why: CancelCause): void
  /**
   * Asks for the stop of one tool call, of this run or of a child. True: its `tool.result`, or the end of the run, is the
   * answer. False: no call of that id has its result to come.
   */
  cancelCall(call: string, why: CancelCause): boolean | Promise<boolean>
  /** Asks for the stop of one child, as `cancelCall` does; its `agent.end` is the answer. */
  cancelAgent(agent: string, why: CancelCause): boolean | Promise<boolean>
  /**
   * Takes an input, once for each `mid`.
   * @param mid the client's name for this input. The same name gives the same answer, or `duplicate`.
   * @param bytes its size as encoded.
   * @param from the client that sends it. Questions may be for some only.
   * @returns what became of it, which the client is told. A promise never rejects.
   */
  input(mid: string, input: RunInput, bytes: number, from?: InputSender): InputAnswer | Promise<InputAnswer>
}
