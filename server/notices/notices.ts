import { createHash } from 'node:crypto'
import type { WireMap } from '../../protocol/frames.ts'
import type { Runtime } from '../../protocol/runtime.ts'
import { endData, type LoggedEnd } from '../log/logged-end.ts'
import type { ServerLog } from '../logging/logger.ts'
import { MemoryOutbox } from '../stores/memory-outbox.ts'
import type { Outbox, RunStore, StoredNotice } from '../stores/run-store.ts'
import { excerpt, wellFormed } from '../text.ts'
import { Delivery } from './delivery.ts'
import type { NoticeTarget } from './notice-target.ts'
import type { NoticeEnd, NoticeRequest, NoticeRun, NoticeType, RunNotice } from './run-notice.ts'

/** The most characters of an id or a name in a notice. */
const MAX_CHARACTERS = 256

/** A run, as its notices have it. */
export type NoticedRun = {
  readonly id: string
  /** The name under which its actor is registered. */
  readonly actor: string
  readonly principal: string
  /** In epoch milliseconds. */
  readonly startedAt: number
}

/** A request of a run, as its event has it. */
export type NoticedRequest = {
  readonly id: string
  readonly kind: string
  readonly call?: string | undefined
  /** In epoch milliseconds. */
  readonly expiresAt?: number | undefined
}

/** What runs take from the notices of their server. */
export interface RunNotices {
  /** They are stored with the append of a run, where it has one, and not added besides. */
  readonly areStored: boolean
  /** The notices of an end. */
  ended(run: NoticedRun, end: Pick<LoggedEnd, 'outcome' | 'packed'>): readonly StoredNotice[]
  /** The notices of a request that waits for an answer. */
  asked(run: NoticedRun, request: NoticedRequest, attended: boolean): readonly StoredNotice[]
  /** Sends notices that no append has. */
  add(notices: readonly StoredNotice[]): void
  /** An append has stored notices: they can be sent. */
  stored(): void
}

/** What notices take from their server. */
export type NoticesParts = {
  readonly runtime: Runtime
  readonly log: ServerLog
  readonly target: NoticeTarget
  readonly store: RunStore | undefined
  /** The name of the server. */
  readonly server: string | undefined
  /** Resolves when the store is open. */
  opened(): Promise<unknown>
}

/** Makes the notices of the runs of a server, and has them sent. */
export class Notices implements RunNotices {
  readonly #parts: NoticesParts
  readonly #outbox: Outbox
  readonly #delivery: Delivery
  readonly areStored: boolean

  constructor(parts: NoticesParts) {
    this.#parts = parts
    const { store, runtime, log, target } = parts
    this.areStored = store?.outbox !== undefined
    this.#outbox = store?.outbox ?? new MemoryOutbox(runtime)
    const opened = (): Promise<unknown> => parts.opened()
    this.#delivery = new Delivery({ runtime, log, outbox: this.#outbox, target, isStored: this.areStored, opened })
  }

  /** How many wait to be sent. */
  get pending(): number {
    return this.#delivery.pending
  }

  ended(run: NoticedRun, end: Pick<LoggedEnd, 'outcome' | 'packed'>): readonly StoredNotice[] {
    if (!this.#wants(run.actor)) return []
    const { outcome } = end
    const data = endData({ ...end, seq: 0 })
    const now = this.#parts.runtime.wallClock()
    const facts: NoticeEnd = {
      ...runOf(run),
      outcome,
      ...(outcome === 'error' && { code: short(data['code']) as NonNullable<NoticeEnd['code']> }),
      ...(outcome === 'cancelled' && { by: data['by'] as NonNullable<NoticeEnd['by']> }),
      ms: Math.max(0, Math.round(now - run.startedAt)),
      ...usageOf(data),
    }
    const isBudget = outcome === 'error' && data['code'] === 'budget_exceeded'
    return [
      ...this.#notices('run.ended', run.id, '', now, facts),
      ...(isBudget ? this.#notices('run.budget', run.id, '', now, facts) : []),
    ]
  }

  asked(run: NoticedRun, request: NoticedRequest, attended: boolean): readonly StoredNotice[] {
    if (!this.#wants(run.actor)) return []
    const { id, kind, call, expiresAt } = request
    const facts: NoticeRequest = {
      ...runOf(run),
      request: short(id),
      kind: short(kind),
      ...(call !== undefined && { call: short(call) }),
      ...(expiresAt !== undefined && { expiresAt: timeOf(expiresAt) }),
      attended,
    }
    return this.#notices('run.needs_you', run.id, id, this.#parts.runtime.wallClock(), facts)
  }

  add(notices: readonly StoredNotice[]): void {
    if (notices.length === 0) return
    const { log, target } = this.#parts
    this.#parts
      .opened()
      .then(() => this.#outbox.add(notices))
      .then(
        () => this.stored(),
        () => log.write('notice.dropped', { host: target.host, code: 'store_unavailable', count: notices.length }),
      )
  }

  stored(): void {
    this.#delivery.look()
  }

  /** Stops sending. Resolves when nothing is under way. */
  close(): Promise<void> {
    return this.#delivery.close()
  }

  #wants(actor: string): boolean {
    return this.#parts.target.actors?.includes(actor) ?? true
  }

  #notices<Type extends NoticeType>(
    type: Type,
    run: string,
    request: string,
    at: number,
    data: Extract<RunNotice, { type: Type }>['data'],
  ): readonly StoredNotice[] {
    const { target, server } = this.#parts
    if (!target.on.includes(type)) return []
    const name = server === undefined ? {} : { server }
    const body = { version: 1, type, timestamp: timeOf(at), ...name, data }
    return [{ id: idOf(type, run, request), body: Buffer.from(JSON.stringify(body)) }]
  }
}

/** The same for what is told twice: whoever takes over a run tells again what may not have been stored. */
function idOf(...parts: readonly string[]): string {
  return `ntc_${createHash('sha256').update(JSON.stringify(parts)).digest().subarray(0, 18).toString('base64url')}`
}

function runOf({ id, actor, principal, startedAt }: NoticedRun): NoticeRun {
  return { run: short(id), actor: short(actor), principal: short(principal), startedAt: timeOf(startedAt) }
}

function usageOf({ usage }: WireMap): Pick<NoticeEnd, 'usage'> {
  return usage === undefined ? {} : { usage: usage as NonNullable<NoticeEnd['usage']> }
}

function short(text: unknown): string {
  return wellFormed(excerpt(String(text), MAX_CHARACTERS))
}

function timeOf(ms: number): string {
  return new Date(ms).toISOString()
}
