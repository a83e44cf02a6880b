import type { ActorTypes, AnswerOf, DataOf, InputOf } from '../../protocol/actors.ts'
import { MillraceError } from '../../protocol/errors.ts'
import { checkOptions, type OptionKinds } from '../../protocol/options.ts'
import type { Actor } from './actor.ts'
import type { StandardSchema } from './standard-schema.ts'

const DEFAULT_WAIT_MS = 60_000
const DAY_MS = 86_400_000
const DEFAULT_MAX_WAITING = 1_000
/** A name is a part of a key in the store. */
const POOL = /^[\w.-]{1,64}$/

/** The options of `remote()`. */
export type RemoteOptions = {
  /** The pool whose workers execute it: 1 to 64 letters, digits and `_ . -`. All of them have this actor. */
  pool: string
  /** How long a run may wait for a worker, in milliseconds; then it ends with `unavailable`. Default 60,000, at most a day. */
  waitMs?: number | undefined
  /** How many runs may wait in the pool. Further starts fail with `overloaded`. Default 1,000. */
  maxWaiting?: number | undefined
  /** One sentence for people and for inspectors. Default: none. */
  description?: string | undefined
  /**
   * Checks the input before the run waits; any Standard Schema (zod, valibot, arktype). The worker gets the input as it
   * was sent, and checks it with the schema of its own. Default: only the worker checks it.
   */
  input?: StandardSchema | undefined
}

const OPTIONS: OptionKinds<RemoteOptions> = {
  pool: 'a string',
  waitMs: 'a number',
  maxWaiting: 'a number',
  description: 'a string',
  input: 'anything',
}

/**
 * Makes an actor whose code is in other processes: the workers of a pool. The server that has it needs a store that it
 * shares with them, such as `redis({ url })`. Its runs are read, cancelled and answered like those of any actor.
 * @typeParam Of The type of the actor, of which only types are needed here: `remote<typeof research>('research', ...)`.
 * @param name The name that the actor has in the workers.
 * @throws MillraceError `bad_request` for a wrong name or option.
 */
export function remote<Of extends ActorTypes = ActorTypes>(
  name: string,
  options: RemoteOptions,
): Actor<InputOf<Of>, AnswerOf<Of>, DataOf<Of>> {
  checkOptions('remote()', options, OPTIONS)
  const { pool, waitMs = DEFAULT_WAIT_MS, maxWaiting = DEFAULT_MAX_WAITING, description, input } = options
  if (typeof name !== 'string' || name === '')
    throw new MillraceError('bad_request', 'remote() needs the name that the actor has in the workers')
  checkPool('remote()', pool)
  checkWhole('waitMs', waitMs, DAY_MS)
  checkWhole('maxWaiting', maxWaiting, Number.MAX_SAFE_INTEGER)
  const isElsewhere = (): never => {
    throw new MillraceError(
      'bad_request',
      `the actor ${name} is remote: start it by its name, and not as a part of another run`,
    )
  }
  return {
    description,
    interactive: true,
    input,
    ask: isElsewhere,
    stream: isElsewhere,
    remote: { actor: name, pool, waitMs, maxWaiting },
  }
}

/** @throws MillraceError `bad_request` for what is no name of a pool. */
export function checkPool(where: string, pool: unknown): void {
  if (typeof pool !== 'string' || !POOL.test(pool))
    throw new MillraceError('bad_request', `${where}: pool must be 1 to 64 letters, digits and _ . -`)
}

function checkWhole(name: string, value: number, most: number): void {
  if (!Number.isSafeInteger(value) || value < 1 || value > most)
    throw new MillraceError('bad_request', `remote(): ${name} must be a whole number from 1 to ${most}, not ${value}`)
}
