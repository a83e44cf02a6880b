import type { ActorMap, AnswerOf, DataOf, InputOf } from '../protocol/actors.ts'
import { MillraceError } from '../protocol/errors.ts'
import type { AnyData, StreamEvent } from '../protocol/events.ts'
import type { OnDetach } from '../protocol/frames.ts'
import type { Limits } from '../protocol/limits.ts'
import { checkOptions, type OptionKinds } from '../protocol/options.ts'
import { CANCEL_CODES, type Receipt, readReceipt } from '../protocol/receipt.ts'
import type { Actor, Principal } from './actors/actor.ts'
import { endData, type LoggedEnd } from './log/logged-end.ts'
import { packPayload } from './log/payload.ts'
import { LocalReader, readRun } from './runs/local-reader.ts'
import type { ReadableRun } from './runs/readable-run.ts'
import { KeepAlive } from './runtime.ts'
import { checkedPrincipal } from './sessions/auth.ts'
import { LOCAL } from './sessions/permissions.ts'
import type { FoundRun, Registry } from './sessions/registry.ts'

const NO_BYTES = new Uint8Array(0)
const MAX_KEY_BYTES = 64

/** Options of every call through a router. */
export type RouterOptions = {
  /**
   * The owner of the run, who may attach to it and cancel it. Default: a principal that exists only in this process;
   * all such runs share its limits.
   */
  principal?: Principal | undefined
  /**
   * Milliseconds after which the run fails with `timeout`, also while it waits for an input that no client is there to
   * send. Default: the limit `timeoutMs`.
   */
  timeout?: number | undefined
  /** Aborting it cancels the run. Default: none. */
  signal?: AbortSignal | undefined
}

/** The options of `router.ask` with a stream. */
export type StreamAskOptions<Data extends AnyData> = RouterOptions & {
  /**
   * Called with each event, in order. The actor waits for a returned promise. If it throws, the run is cancelled and
   * the call rejects with that error. Default: none.
   */
  onChunk?: ((event: StreamEvent<Data>) => void | Promise<void>) | undefined
}

/** The options of `router.start`. */
export type RouterStartOptions = Pick<RouterOptions, 'principal' | 'timeout'> & {
  /**
   * Names one execution, in 1 to 64 bytes: a start with a key that the principal has used for this actor, from whatever
   * process, gives the run of then, for as long as that is kept. Default: each start is a new run.
   */
  key?: string | undefined
}

/** The options of `router.attach`. */
export type RouterAttachOptions = {
  /** Who reads. Another principal than the owner needs the right to observe. Default: as of `router.start`. */
  principal?: Principal | undefined
  /** The number of the item behind which to begin. Default 0: before the first. */
  after?: number | undefined
  /**
   * false: the actor does not wait for this reader. Items that are dropped meanwhile are reported as a `gap`. Default: it
   * waits for readers of its own principal that may govern it.
   */
  pace?: boolean | undefined
  /** Aborting it ends the reading with its reason. The run goes on. Default: none. */
  signal?: AbortSignal | undefined
}

/** The options of `router.cancel`. */
export type RouterCancelOptions = {
  /** Who cancels. Another principal than the owner needs the right to cancel. Default: as of `router.start`. */
  principal?: Principal | undefined
  /** A note for people, which the receipt repeats. Default: none. */
  note?: string | undefined
}

const START_OPTIONS: OptionKinds<RouterStartOptions> = { principal: 'anything', timeout: 'anything', key: 'a string' }
const ATTACH_OPTIONS: OptionKinds<RouterAttachOptions> = {
  principal: 'anything',
  after: 'a number',
  pace: 'true or false',
  signal: 'anything',
}
const CANCEL_OPTIONS: OptionKinds<RouterCancelOptions> = { principal: 'anything', note: 'a string' }
const OPTIONS: OptionKinds<RouterOptions> = { principal: 'anything', timeout: 'anything', signal: 'anything' }
const STREAM_ASK_OPTIONS: OptionKinds<StreamAskOptions<never>> = { ...OPTIONS, onChunk: 'a function' }

/**
 * Calls actors from inside the server's own process, also those that are remote. The address of an actor is its name.
 * Their runs are runs like any other: they count in the limits of their principal, and its clients may attach to them. It
 * needs no `listen`: a call that waits for an answer or an event keeps the process alive.
 */
export interface Router<Actors extends ActorMap> {
  /**
   * Resolves with one answer: that of the actor's `ask`, or the result or the own text of its `stream`. The
   * text of its children is not part of that.
   * @throws MillraceError `not_found` for an unknown address; `forbidden` if `authorize` does not let the principal
   * start the actor; `invalid_input`; `bad_request` for an invalid option; `overloaded`; `draining`; `cancelled`;
   * `timeout`; the error of the actor.
   */
  ask<Name extends keyof Actors & string>(
    address: Name,
    payload: InputOf<Actors[Name]>,
    options?: RouterOptions,
  ): Promise<AnswerOf<Actors[Name]>>
  /**
   * Yields the events of a run. The run starts with the first `next()`. The actor waits for the loop, and leaving the
   * loop cancels the run. So does dropping the iterator, once it is garbage-collected.
   * @throws MillraceError as `ask` does.
   */
  stream<Name extends keyof Actors & string>(
    address: Name,
    payload: InputOf<Actors[Name]>,
    options?: RouterOptions,
  ): AsyncIterable<StreamEvent<DataOf<Actors[Name]>>>
  /**
   * Calls the `ask` or the `stream` of an actor, passes each event to `onChunk`, and resolves with the answer.
   * @param type `ask` needs an actor with `ask`. `stream` accepts any actor.
   * @throws MillraceError as `ask` does; also `bad_request` when the actor has no such function.
   */
  streamAsk<Name extends keyof Actors & string>(
    address: Name,
    type: 'ask' | 'stream',
    payload: InputOf<Actors[Name]>,
    options?: StreamAskOptions<DataOf<Actors[Name]>>,
  ): Promise<AnswerOf<Actors[Name]>>
  /**
   * Starts a run that goes on whether somebody reads it or not.
   * @returns its id, for `attach` and `cancel`: here, and on every server that shares the store.
   * @throws MillraceError as `ask` does for a start; `key_conflict` when the key was used with another payload.
   */
  start<Name extends keyof Actors & string>(
    address: Name,
    payload: InputOf<Actors[Name]>,
    options?: RouterStartOptions,
  ): Promise<string>
  /**
   * Yields the events of a run, from any item on: of this server, of another one that shares its store, or one that has
   * ended and is still kept. Leaving the loop does not cancel the run. Behind the last item, it begins with the next one.
   * Items that a store has lost, because it came back with older data, are not reported: those in their place may be
   * left out.
   * @param run The id of the run.
   * @throws MillraceError `not_found` for a run that does not exist, is no longer kept, or that the principal may not
   * read; `forbidden` for `pace: true` of a principal that may only look on; `bad_request` for an invalid option;
   * `cancelled`, or the error of the actor, as the run ended.
   */
  attach<Data extends AnyData = AnyData>(run: string, options?: RouterAttachOptions): AsyncIterable<StreamEvent<Data>>
  /**
   * Cancels a run, on whatever server it is executed, and resolves once it has ended.
   * @param run The id of the run.
   * @returns the receipt; undefined when the run ended otherwise, or had ended.
   * @throws MillraceError `not_found` as `attach` does; `forbidden`; `bad_request` for an invalid option.
   */
  cancel(run: string, options?: RouterCancelOptions): Promise<Receipt | undefined>
}

/** What a call reads, once it has begun. It must not refer to the iterator that the caller has. */
type Call = { reading?: { readonly run: ReadableRun; readonly reader: LocalReader } }

/**
 * Cancels the runs whose iterators were dropped: nobody can read them any more, and they would wait for their reader for
 * ever.
 */
const dropped = new FinalizationRegistry<Call>(({ reading }) => {
  reading?.run.cancel({ by: 'server', code: CANCEL_CODES.detached, note: 'its iterator was dropped' })
  reading?.reader.leave()
})

/** Makes the router of a server. */
export function createRouter<Actors extends ActorMap>(
  registry: Registry,
  actors: ReadonlyMap<string, Actor>,
  limits: Limits,
): Router<Actors> {
  /** A call that waits for its next event keeps the process alive, also without a port. */
  const alive = new KeepAlive()
  const waited = <Result>(result: Promise<Result>): Promise<Result> => {
    alive.hold()
    return result.finally(() => alive.release())
  }

  const ownerOf = (principal: Principal = LOCAL): Principal =>
    principal === LOCAL ? LOCAL : checkedPrincipal(principal)

  /** Gives the run at once, so that its reader joins before its first item, unless a store has to answer. */
  function begin(
    address: string,
    payload: unknown,
    ask: boolean,
    options: RouterOptions,
    { onDetach, key }: { readonly onDetach?: OnDetach; readonly key?: string | undefined } = {},
  ): ReadableRun | Promise<ReadableRun> {
    if (options.signal?.aborted)
      throw MillraceError.from(options.signal.reason, 'cancelled', 'the signal was aborted before the run started')
    const { principal, timeout } = options
    // Code of the server may know its actors. The registry's answer is also for clients.
    if (!actors.has(address)) {
      const known = [...actors.keys()].join(', ')
      throw new MillraceError('not_found', `unknown actor ${JSON.stringify(address)}; known actors: ${known}`)
    }
    if (timeout !== undefined && !(typeof timeout === 'number' && timeout > 0))
      throw new MillraceError('bad_request', `timeout must be a number of milliseconds above 0, not ${String(timeout)}`)
    if (key !== undefined && (key === '' || Buffer.byteLength(key) > MAX_KEY_BYTES))
      throw new MillraceError('bad_request', `key must have 1 to ${MAX_KEY_BYTES} bytes`)
    const named = key === undefined ? {} : { key }
    const start = {
      actor: address,
      input: payload,
      options: {
        ask,
        ...named,
        ...(timeout === undefined ? {} : { timeoutMs: timeout }),
        ...(onDetach && { onDetach }),
      },
    }
    const started = registry.start(ownerOf(principal), start, key === undefined ? NO_BYTES : bytesOf(payload))
    return started instanceof Promise ? started.then(({ run }) => run) : started.run
  }

  /** To what a key is bound. */
  function bytesOf(payload: unknown): Uint8Array {
    try {
      return packPayload(payload, { ...limits, maxEvent: limits.maxMessage })
    } catch (error) {
      const { message } = MillraceError.from(error)
      throw new MillraceError('bad_request', `a start with a key needs a payload of plain data: ${message}`)
    }
  }

  async function* read(
    call: Call,
    started: ReadableRun | Promise<ReadableRun>,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<StreamEvent, LoggedEnd> {
    const begun = started instanceof Promise ? await waited(started) : started
    const stop = (): void => begun.cancel({ by: 'client', code: CANCEL_CODES.user })
    const reader = new LocalReader(begun, limits, limits.initialCredit)
    const events = readRun(begun, reader)
    call.reading = { run: begun, reader }
    signal?.addEventListener('abort', stop, { once: true })
    try {
      for (;;) {
        const step = await waited(events.next())
        if (step.done) return step.value as LoggedEnd
        yield step.value
      }
    } finally {
      signal?.removeEventListener('abort', stop)
      await events.return(undefined)
    }
  }

  async function collect(
    address: string,
    payload: unknown,
    ask: boolean,
    options: StreamAskOptions<never>,
  ): Promise<unknown> {
    const events = read({}, begin(address, payload, ask, options), options.signal)
    let text = ''
    for (;;) {
      const step = await events.next()
      if (step.done) {
        const data = endData(step.value)
        return 'result' in data ? data['result'] : text
      }
      if (step.value.type === 'token' && step.value.agent === undefined) text += step.value.text
      try {
        await options.onChunk?.(step.value as StreamEvent<never>)
      } catch (error) {
        await events.return(undefined as never)
        throw error
      }
    }
  }

  async function* streamed(
    call: Call,
    address: string,
    payload: unknown,
    options: RouterOptions,
  ): AsyncGenerator<StreamEvent, void> {
    checkOptions('router.stream', options, OPTIONS)
    yield* read(call, begin(address, payload, false, options), options.signal)
  }

  async function find(id: string, principal: Principal | undefined, after: number | null): Promise<FoundRun> {
    if (typeof id !== 'string') throw new MillraceError('bad_request', 'a run is named by its id, which is a string')
    return waited(Promise.resolve(registry.find(ownerOf(principal), id, { after, gen: undefined })))
  }

  async function* attached(id: string, options: RouterAttachOptions): AsyncGenerator<StreamEvent, void> {
    checkOptions('router.attach', options, ATTACH_OPTIONS)
    const { principal, after = 0, pace, signal } = options
    if (!Number.isSafeInteger(after) || after < 0)
      throw new MillraceError('bad_request', `after must be the number of an item, or 0, not ${after}`)
    const stopped = (): MillraceError => MillraceError.from(signal?.reason, 'cancelled', 'the reading was ended')
    if (signal?.aborted) throw stopped()
    const { run, own } = await find(id, principal, after)
    const mayPace = own && registry.permits(ownerOf(principal), 'govern', run)
    if (pace === true && !mayPace)
      throw new MillraceError('forbidden', 'this principal may only look on: leave `pace` out')
    const observes = !mayPace || pace === false
    const reader = new LocalReader(run, limits, limits.initialCredit, {
      after: Math.min(after, run.log.written),
      observes,
    })
    const stop = (): void => reader.stop()
    signal?.addEventListener('abort', stop, { once: true })
    const events = readRun(run, reader, true)
    try {
      for (let step = await waited(events.next()); !step.done; step = await waited(events.next())) yield step.value
      if (signal?.aborted && !run.end) throw stopped()
    } finally {
      signal?.removeEventListener('abort', stop)
      await events.return(undefined)
    }
  }

  async function cancelled(id: string, { principal, note }: RouterCancelOptions): Promise<Receipt | undefined> {
    const { run, own } = await find(id, principal, null)
    if (!registry.permits(ownerOf(principal), 'cancel', run))
      throw new MillraceError('forbidden', `this principal may not cancel ${own ? 'its runs' : 'runs of others'}`)
    if (run.end) return undefined
    const reader = new LocalReader(run, limits, limits.maxCredit, { after: run.log.last, observes: true })
    try {
      run.cancel({ by: 'client', code: CANCEL_CODES.user, note })
      while (await waited(reader.next()));
    } catch (error) {
      if (!reader.hasMoved) throw error
      return await cancelled(id, { principal, note })
    } finally {
      reader.leave()
    }
    const end = run.end as LoggedEnd | undefined
    return end?.outcome === 'cancelled' ? readReceipt(endData(end)) : undefined
  }

  return {
    async ask(address, payload, options = {}) {
      checkOptions('router.ask', options, OPTIONS)
      return (await collect(address, payload, true, options)) as never
    },
    stream(address, payload, options = {}) {
      const call: Call = {}
      const events = streamed(call, address, payload, options)
      dropped.register(events, call)
      return events as AsyncGenerator<StreamEvent<never>>
    },
    async streamAsk(address, type, payload, options = {}) {
      checkOptions('router.streamAsk', options, STREAM_ASK_OPTIONS)
      const found = actors.get(address)
      const abilities = (['ask', 'stream'] as const).filter((ability) => found?.[ability])
      if (found && (type === 'ask' ? !found.ask : !found.ask && !found.stream)) {
        throw new MillraceError(
          'bad_request',
          `actor ${address} has no \`${type}\`; call its ${abilities.map((ability) => `\`${ability}\``).join(' or ')}`,
        )
      }
      return (await collect(address, payload, type === 'ask', options)) as never
    },
    async start(address, payload, options = {}) {
      checkOptions('router.start', options, START_OPTIONS)
      const begun = begin(address, payload, false, options, { onDetach: 'continue', key: options.key })
      return (begun instanceof Promise ? await waited(begun) : begun).id
    },
    attach(run, options = {}) {
      return attached(run, options) as AsyncGenerator<StreamEvent<never>>
    },
    async cancel(run, options = {}) {
      checkOptions('router.cancel', options, CANCEL_OPTIONS)
      return cancelled(run, options)
    },
  }
}
