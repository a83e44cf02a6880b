import { MillraceError } from '../../protocol/errors.ts'
import type { RunEnd, StreamEvent } from '../../protocol/events.ts'
import type { ListedFacts, Policy, StartOptions } from '../../protocol/frames.ts'
import type { Limits } from '../../protocol/limits.ts'
import { CANCEL_CODES, type CancelReason, type TargetReceipt } from '../../protocol/receipt.ts'
import type { Runtime } from '../../protocol/runtime.ts'
import type { RunInput } from '../actors/actor.ts'
import { actionOf, forbiddenWords, midName, nothingCalled } from '../connections/commands.ts'
import type { StartPosition } from '../log/cursor.ts'
import { runEndOf } from '../log/logged-end.ts'
import { isLimitError, noteLimit } from '../logging/limit-errors.ts'
import type { ServerLog } from '../logging/logger.ts'
import type { InputAnswer } from '../runs/input-answer.ts'
import type { ReadableRun } from '../runs/readable-run.ts'
import { byClient } from '../runs/stop-cause.ts'
import type { ListableRun } from '../sessions/listed-run.ts'
import type { FoundRun, Registry } from '../sessions/registry.ts'
import type { RunPage } from '../sessions/run-lists.ts'
import type { Caller } from './caller.ts'
import type { Step } from './event-reader.ts'
import { packed } from './json-body.ts'
import { type OpenStreams, takeConnection } from './open-streams.ts'
import { type WatchSettings, watchRun } from './run-watch.ts'
import type { StreamFormat } from './stream-format.ts'
import { positionText } from './stream-position.ts'

/** The end of the log, as it grows. */
const LIVE: StartPosition = { after: null, gen: undefined }
/** How long an answer waits for the end of a cancelled run beyond `cancelGraceMs`, which the run may take to settle. */
const DELIVERY_MS = 2_000
/** The bytes of an INPUT besides its data. */
const INPUT_BYTES = 64
/** The most that one answer in JSON has. */
const MAX_EVENTS = 1_000
const MAX_CHARACTERS = 262_144
/** Headers of every stream. A proxy must neither collect nor change it. */
const STREAM_HEADERS = { 'cache-control': 'no-store, no-transform', 'x-accel-buffering': 'no' }

/** A run to start. */
export type StartRequest = {
  readonly actor: string
  readonly input: unknown
  readonly options: Omit<StartOptions, 'credit' | 'policy' | 'rate' | 'ts'>
}

/** How a response follows a run. */
export type StreamSettings = {
  readonly from: StartPosition
  readonly policy: Policy
  readonly credit?: number | undefined
  readonly rate?: number | undefined
  /** Whether the run is cancelled when the client leaves the stream before its end. */
  readonly cancels?: boolean | undefined
  /** The client instance that reads. Default: the one that the request names. */
  readonly client?: string | undefined
  /** Added to the id of each event. Default: the secret of the caller's ticket, if it has one. */
  readonly tail?: string | undefined
  readonly format: StreamFormat
  readonly headers?: { readonly [name: string]: string } | undefined
}

/** What a cancel did. */
export type Cancelled = {
  /** False: the end had not come in time. */
  readonly confirmed: boolean
  readonly outcome?: RunEnd['outcome'] | 'ok' | undefined
  readonly receipt?: TargetReceipt | undefined
}

/** Events of a run, as one answer. */
export type EventPage = {
  readonly events: readonly StreamEvent[]
  /** The position behind them. */
  readonly next: string
  readonly more: boolean
  readonly end?: RunEnd | undefined
}

type AccessParts = {
  readonly runtime: Runtime
  readonly limits: Limits
  readonly log: ServerLog
  readonly registry: Registry
  readonly streams: OpenStreams
}

/** What clients do with runs over plain HTTP: the same as over a WebSocket, with the same permissions and quotas. */
export class RunAccess {
  readonly #parts: AccessParts

  constructor(parts: AccessParts) {
    this.#parts = parts
  }

  /**
   * Starts a run, or finds the one that its key names.
   * @param began is called before its actor is.
   * @throws MillraceError the reason of the refusal.
   */
  async start(
    caller: Caller,
    { actor, input, options }: StartRequest,
    began: (run: ReadableRun) => void = () => {},
  ): Promise<FoundRun & { reused: boolean }> {
    const { limits, registry } = this.#parts
    return await this.#noted(caller, async () => {
      caller.quota.takeStart()
      const bytes = packed(input, limits)
      if (options.meta) packed(options.meta, { ...limits, maxMessage: MAX_META_BYTES })
      const started = registry.start(caller.principal, { actor, input, options }, bytes)
      const { run, reused } = started instanceof Promise ? await started : started
      if (!reused) began(run)
      return { run, own: true, reused }
    })
  }

  /**
   * @param from where its reader begins. Default: at its end, for what concerns the run as a whole.
   * @param isWhole as the registry takes it.
   * @throws MillraceError `not_found`, with the same message for a run that the caller may not read.
   */
  async find(caller: Caller, id: string, from: StartPosition = LIVE, isWhole = false): Promise<FoundRun> {
    return await this.#noted(caller, async () =>
      Promise.resolve(this.#parts.registry.find(caller.principal, id, from, isWhole)),
    )
  }

  /** The facts of a run, as a list has them. A child run has no more than its log says. */
  facts({ run }: FoundRun): ListedFacts {
    const { lists } = this.#parts.registry
    const { id, actorName, log, end } = run
    const known = lists.find(run.principal, id)?.facts()
    const state = end ? 'ended' : 'running'
    const ended = end && { outcome: end.outcome }
    return known ?? ({ actor: actorName, state, ...ended, gen: log.gen, seq: log.last } as ListedFacts)
  }

  /**
   * A part of the list of the caller, with the runs that only the store has.
   * @param before a run of the list: only runs that began before it.
   * @returns undefined when the list has no such run.
   * @throws MillraceError `store_unavailable`.
   */
  async listPage(caller: Caller, before: string | undefined, most: number): Promise<RunPage | undefined> {
    const { lists } = this.#parts.registry
    const { principal } = caller
    const mayRead = (run: ListableRun): boolean => this.#parts.registry.permits(principal, 'attach', run)
    return await this.#noted(caller, () => lists.page(principal, { before, most, mayRead }))
  }

  /** The runs of the caller that this process knows, the newest first. */
  *list({ principal }: Caller): Generator<{ run: string } & ListedFacts> {
    const { registry } = this.#parts
    for (const listed of [...registry.lists.of(principal)].reverse())
      if (registry.permits(principal, 'attach', listed.run)) yield { run: listed.id, ...listed.facts() }
  }

  /**
   * A response that follows a run.
   * @throws MillraceError `forbidden` for a policy, or a cancel, that the caller may not; `too_many_streams`.
   */
  stream(caller: Caller, { run, own }: FoundRun, settings: StreamSettings, status = 200): Response {
    const { limits, streams } = this.#parts
    const { policy, credit = limits.initialCredit, rate, cancels = false, format, headers } = settings
    if (policy === 'pace') this.#must(caller, 'govern', run, 'pace the run; read it with another policy')
    if (cancels) this.#must(caller, 'cancel', run, 'cancel the run; leave disconnect=cancel out')
    const tail = settings.tail ?? caller.ticket?.resume
    const client = settings.client ?? caller.instance
    const from = withinRun(run, settings.from)
    const stream = streams.open(run, caller, { from, policy, own, client, credit, rate, format, tail, cancels })
    return new Response(stream.body, {
      status,
      headers: { 'content-type': format.type, ...STREAM_HEADERS, ...format.headers, ...headers },
    })
  }

  /** The events of a run behind a position, as far as they fit in one answer. Waits for the first at most `waitMs`. */
  async page({ run }: FoundRun, from: StartPosition, waitMs: number, signal: AbortSignal): Promise<EventPage> {
    const begin = withinRun(run, from)
    const events: StreamEvent[] = []
    let position = positionText(
      begin.gen ?? run.log.genAt((begin.after ?? 0) + 1),
      begin.after ?? run.log.last,
      undefined,
    )
    let characters = 0
    let end: RunEnd | undefined
    const isFull = await watchRun(
      this.#parts,
      run,
      { from: begin },
      waitMs,
      {
        found(step) {
          if (step.kind === 'dismissed') throw step.error
          if (step.kind === 'end') {
            end = runEndOf(step.end)
            position = positionText(step.gen, step.end.seq, undefined)
            return false
          }
          const { event, gen } = step
          events.push(event)
          position = positionText(gen, event.seq, undefined)
          characters += 'text' in event ? event.text.length : CHARACTERS_OF_EVENT
          return events.length >= MAX_EVENTS || characters >= MAX_CHARACTERS ? true : undefined
        },
        drained: () => (events.length > 0 || waitMs === 0 ? false : undefined),
      },
      signal,
    )
    return { events, next: position, more: isFull === true, ...(end && { end }) }
  }

  /**
   * Stops a run, and waits for its receipt.
   * @throws MillraceError `forbidden`.
   */
  async cancel(
    caller: Caller,
    { run }: FoundRun,
    reason: CancelReason,
    note?: string,
    cascade?: boolean,
  ): Promise<Cancelled> {
    const { limits } = this.#parts
    this.#must(caller, 'cancel', run, 'cancel the run')
    run.cancel(byClient(CANCEL_CODES[reason], note, cascade))
    const ms = limits.cancelGraceMs + DELIVERY_MS
    const last = run.end ? undefined : await watchRun(this.#parts, run, { from: LIVE }, ms, { found: lastStep })
    if (hasMoved(last)) return this.cancel(caller, await this.find(caller, run.id), reason, note, cascade)
    const { end } = run
    if (!end) return { confirmed: false }
    const { outcome, receipt } = runEndOf(end)
    return { confirmed: true, outcome, ...(receipt && { receipt }) }
  }

  /**
   * Stops one tool call or sub-agent of a run, and waits for its receipt.
   * @throws MillraceError `forbidden`; `not_found` when nothing of that id goes on.
   */
  async cancelTarget(
    caller: Caller,
    { run }: FoundRun,
    target: { readonly type: 'call' | 'agent'; readonly id: string },
    reason: CancelReason,
    note?: string,
    cascade?: boolean,
  ): Promise<Cancelled> {
    this.#must(caller, 'cancel', run, 'cancel the run')
    const { type, id } = target
    const from = { after: run.log.last, gen: run.log.gen }
    const cause = byClient(CANCEL_CODES[reason], note, cascade)
    const isGoingOn = await (type === 'call' ? run.cancelCall(id, cause) : run.cancelAgent(id, cause))
    if (!isGoingOn) throw new MillraceError('not_found', nothingCalled(id))
    const ms = this.#parts.limits.cancelGraceMs + DELIVERY_MS
    const found = (step: Step): Omit<Cancelled, 'confirmed'> | 'moved' | undefined => {
      if (step.kind === 'end') return { outcome: step.end.outcome }
      if (hasMoved(step)) return 'moved'
      if (step.kind !== 'event') return undefined
      const { event } = step
      const isIt =
        (type === 'call' && event.type === 'tool.result' && event.call === id) ||
        (type === 'agent' && event.type === 'agent.end' && event.agent === id)
      return isIt ? { outcome: event.outcome, ...(event.receipt && { receipt: event.receipt }) } : undefined
    }
    const ending = await watchRun(this.#parts, run, { from }, ms, { found })
    if (ending === 'moved')
      return this.cancelTarget(caller, await this.find(caller, run.id), target, reason, note, cascade)
    return ending ? { confirmed: true, ...ending } : { confirmed: false }
  }

  /**
   * Sends a run an input.
   * @throws MillraceError `forbidden`; `stale` when the run has gone on since.
   */
  async input(
    caller: Caller,
    { run, own }: FoundRun,
    input: RunInput & { id: string },
    instance: string | undefined = caller.instance,
  ): Promise<InputAnswer> {
    const action = actionOf(input.type)
    if (!this.#parts.registry.permits(caller.principal, action, run))
      throw new MillraceError('forbidden', forbiddenWords(action))
    const bytes = packed(input.data, this.#parts.limits).length + INPUT_BYTES
    const from = { principal: caller.principal, instance: own ? instance : undefined }
    const answer = await run.input(midName(input.id), input, bytes, from)
    if (answer.status === 'forbidden' || answer.status === 'stale')
      throw new MillraceError(answer.status, answer.note ?? answer.status)
    return answer
  }

  /** @throws MillraceError `bad_request` for data that no frame could carry. */
  check(data: unknown): Uint8Array {
    return packed(data, this.#parts.limits)
  }

  /** Writes to the log that a caller met a limit, if an error says so, for an answer that is no error of HTTP. */
  noteLimit({ principal }: Caller, error: unknown, over: 'ai-sdk' | 'mcp'): void {
    if (MillraceError.is(error)) noteLimit(this.#parts.log, error, { principal: principal.id, over })
  }

  /** Whether this process executes a run that it has found, or has executed it. */
  isHere({ run }: FoundRun): boolean {
    return this.#parts.registry.run(run.id) === run
  }

  /** Whether the caller may cancel a run. */
  mayCancel(caller: Caller, { run }: FoundRun): boolean {
    return this.#parts.registry.permits(caller.principal, 'cancel', run)
  }

  /**
   * Reads a run for an answer that is no stream, as one connection of the caller.
   * @param look as for `watchRun`.
   * @param signal ends the reading.
   * @throws MillraceError `too_many_streams`.
   */
  async read<T>(
    caller: Caller,
    { run }: FoundRun,
    watch: WatchSettings,
    look: { found: (step: Step) => T | undefined; drained?: () => T | undefined },
    signal: AbortSignal,
  ): Promise<T | undefined> {
    const release = takeConnection(caller.quota)
    try {
      return await watchRun(this.#parts, run, watch, Number.POSITIVE_INFINITY, look, signal)
    } finally {
      release()
    }
  }

  #must(caller: Caller, action: 'govern' | 'cancel', run: ReadableRun, what: string): void {
    if (!this.#parts.registry.permits(caller.principal, action, run))
      throw new MillraceError('forbidden', `this principal may not ${what}`)
  }

  /** Writes a refusal to the log that no limit gave. Only a code: a message may quote what the client sent. */
  async #noted<T>({ principal }: Caller, access: () => Promise<T>): Promise<T> {
    try {
      return await access()
    } catch (error) {
      if (MillraceError.is(error) && !isLimitError(error))
        this.#parts.log.write('run.refused', { principal: principal.id, code: error.code, over: 'http' })
      throw error
    }
  }
}

/** The last step of a reading, whatever it is. */
function lastStep(step: Step): Step | undefined {
  return step.kind === 'event' ? undefined : step
}

/** Whether a reading is over because another server has the run. */
function hasMoved(step: Step | undefined): boolean {
  return step?.kind === 'dismissed' && step.hasMoved
}

/** A position behind the end of a run is that of its last item: the end is no item of the log. */
function withinRun({ end }: ReadableRun, from: StartPosition): StartPosition {
  return end && from.after !== null && from.after >= end.seq ? { ...from, after: end.seq - 1 } : from
}

/** What an event that is no text counts as. */
const CHARACTERS_OF_EVENT = 256
const MAX_META_BYTES = 1_024
