import type { ListedFacts, RunState, WireMap } from '../../protocol/frames.ts'
import type { Principal } from '../actors/principal.ts'
import type { Log } from '../log/log.ts'
import type { LoggedEnd } from '../log/logged-end.ts'
import { unpackPayload } from '../log/payload.ts'
import type { StoredRunSummary } from '../stores/run-store.ts'

/** A run as a list shows it. */
export interface ListableRun {
  readonly id: string
  readonly actorName: string
  readonly principal: Principal
  readonly state: RunState
  readonly options: { readonly meta: WireMap | undefined }
  readonly log: Pick<Log, 'gen' | 'last'>
  readonly end: Pick<LoggedEnd, 'outcome'> | undefined
}

/** A place on a list: one run, from its beginning until it is no longer kept. */
export class ListedRun {
  /** Its number on the list. It rises from run to run. */
  n: number
  /** False once the run is no longer kept. */
  isKept = true
  /** Only the store has it, or had it when the list was read. */
  isPast: boolean
  /** In epoch milliseconds. */
  readonly startedAt: number
  #run: ListableRun

  constructor(n: number, run: ListableRun, startedAt: number, isPast: boolean) {
    this.n = n
    this.#run = run
    this.startedAt = startedAt
    this.isPast = isPast
  }

  /** A run that only the store has. @param n its number on the list. */
  static past(principal: Principal, summary: StoredRunSummary, n = 0): ListedRun {
    return new ListedRun(n, runOf(principal, summary), summary.startedAt, true)
  }

  /** Takes what the store has of it now. Returns whether its state is another one. */
  update(summary: StoredRunSummary): boolean {
    const { state, principal } = this.#run
    this.#run = runOf(principal, summary)
    return this.#run.state !== state
  }

  get run(): ListableRun {
    return this.#run
  }

  /** From now on, only the store has it. */
  forget(): void {
    this.letGo()
    this.isPast = true
  }

  /** Keeps of the run what a list shows, and not the run. */
  letGo(): void {
    const { id, actorName, principal, state, options, log, end } = this.#run
    const { gen, last } = log
    const outcome = end && { outcome: end.outcome }
    this.#run = { id, actorName, principal, state, options: { meta: options.meta }, log: { gen, last }, end: outcome }
  }

  get id(): string {
    return this.run.id
  }

  get hasEnded(): boolean {
    return this.run.end !== undefined
  }

  /** What a list shows of the run as it is now. */
  facts(): ListedFacts {
    const { actorName: actor, state, end, log, options } = this.run
    return {
      actor,
      state,
      ...(end && { outcome: end.outcome }),
      gen: log.gen,
      seq: log.last,
      startedAt: this.startedAt,
      ...(options.meta && { meta: options.meta }),
    }
  }
}

/** A run as the store has it. */
function runOf(principal: Principal, summary: StoredRunSummary): ListableRun {
  const { id, actor: actorName, gen, next, outcome, meta } = summary
  const state = storedState(summary)
  const options = { meta: meta && (unpackPayload(meta) as WireMap) }
  return { id, actorName, principal, state, options, log: { gen, last: next - 1 }, end: outcome && { outcome } }
}

/** How far a run is, as far as the store knows. */
export function storedState({ outcome, isParked, waitsForWorker }: StoredRunSummary): RunState {
  if (outcome) return 'ended'
  return isParked ? 'waiting_input' : waitsForWorker ? 'opening' : 'running'
}
