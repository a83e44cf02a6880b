import type { Delivery } from '../../client-sdk/index.ts'
import type { Key } from '../../protocol/frames.ts'
import type { RunInput } from '../../server/index.ts'
import type { Run } from '../../server/runs/run.ts'
import type { Transcript } from './audit.ts'
import type { Ledger } from './ledger.ts'
import type { Plan } from './sim-agents.ts'
import type { Stage } from './stage.ts'

type Order = {
  readonly agent?: string
  readonly paused?: boolean
  readonly budget?: { readonly tokens?: number } | null
}

type Sent = { readonly run: string; readonly mid: Key; readonly type: string }

/** What a client has learned of a message, and whether it may have dropped the report of it. */
type Delivered = {
  readonly run: string
  readonly text: string
  readonly delivery: Delivery
  mayMissIt(): boolean
}

/** What clients have made runs do, and what must come of it. */
export class Steering {
  /** The messages that runs have accepted, by their text, which is said once in a world. */
  readonly #messages = new Map<string, Sent>()
  /** Runs that an order pauses, and all below them. */
  readonly #paused = new Set<string>()
  /** The latest budget of a run, in tokens. */
  readonly #budgets = new Map<string, number>()
  /** Every run that ever had one. */
  readonly #everBudgeted = new Set<string>()
  readonly #stops: { readonly run: string; readonly ifSeq: number }[] = []
  /** Stops that were refused, because a later turn had begun. */
  readonly #stale: { readonly run: string; readonly ifSeq: number; readonly last: number }[] = []
  readonly #deliveries: Delivered[] = []
  /** The messages that requests to models had, and which request of their run was the first, from 1. */
  readonly #reached = new Map<string, number>()
  /** The number of requests that each run has sent. */
  readonly #requests = new Map<string, number>()
  readonly #stage: Stage
  readonly #ledger: Ledger

  constructor(stage: Stage, ledger: Ledger) {
    this.#stage = stage
    this.#ledger = ledger
  }

  /** A run has accepted an input. */
  accepted({ id }: Run, { id: mid, type, data }: RunInput, wasOver: boolean): void {
    if (type === 'stop') {
      this.#ledger.cancelled.add(id)
      if (!wasOver) this.#stops.push({ run: id, ifSeq: (data as { ifSeq: number }).ifSeq })
    } else if (type === 'govern') this.#ordered(id, data as Order)
    else if (type.startsWith('message')) this.#messages.set(String(data), { run: id, mid, type })
  }

  #ordered(run: string, { agent = run, paused, budget }: Order): void {
    if (paused === true) this.#paused.add(agent)
    else if (paused === false) this.#paused.delete(agent)
    if (budget === null) this.#budgets.delete(agent)
    else if (budget?.tokens !== undefined) {
      this.#budgets.set(agent, budget.tokens)
      this.#everBudgeted.add(agent)
    }
  }

  /** The run, or one above it, is paused. */
  isPaused(run: string): boolean {
    return [...this.#paused].some((paused) => this.#ledger.isWithin(run, paused))
  }

  /** The client has learned what became of a message. */
  delivered(delivered: Delivered): void {
    this.#deliveries.push(delivered)
  }

  /** A run has refused a stop as late. */
  stale({ id, log }: Run, { data }: RunInput): void {
    this.#stale.push({ run: id, ifSeq: (data as { ifSeq: number }).ifSeq, last: log.last })
  }

  /** A model is asked by the agent `who`, with these messages of its users. */
  asked(who: string, words: readonly string[]): void {
    const run = this.#ledger.idOf(who)
    const n = (this.#requests.get(run ?? '') ?? 0) + 1
    this.#requests.set(run ?? '', n)
    if (run !== undefined && this.isPaused(run)) this.#stage.fail('asked-while-paused', `${who} ${run}`)
    for (const text of words) {
      if (this.#messages.has(text) && this.#messages.get(text)?.run !== run)
        this.#stage.fail('message-astray', `${text} of ${this.#messages.get(text)?.run ?? ''} at ${who}`)
      if (!this.#reached.has(text)) this.#reached.set(text, n)
    }
  }

  /** What must hold when all is over. */
  check(transcript: (run: string) => Transcript | undefined, plans: readonly Plan[]): void {
    for (const [text, sent] of this.#messages) {
      const said = transcript(sent.run)
      const plan = plans.find((plan) => plan.run === sent.run)
      if (said) this.#checkMessage(text, sent, said, plan)
    }
    for (const { run, ...delivered } of this.#deliveries) this.#checkDelivery(delivered, transcript(run))
    for (const { run, ifSeq } of this.#stops)
      if (lastTurn(transcript(run)) > ifSeq) this.#stage.fail('stopped-late', `${run} by a stop of item ${ifSeq}`)
    for (const { run, ifSeq, last } of this.#stale)
      if (lastTurn(transcript(run), last) <= ifSeq) this.#stage.fail('not-late', `${run}: a stop of item ${ifSeq}`)
    for (const run of this.#ledger.runs.keys()) {
      this.#checkBudget(transcript(run))
      this.#checkTurns(run, transcript(run))
    }
  }

  /** An accepted message is in one place of the conversation, and was reported if a model was asked with it. */
  #checkMessage(text: string, { mid, type }: Sent, { run, end, events }: Transcript, plan: Plan | undefined): void {
    const [report, ...more] = reportsOf(mid, events)
    const turn = this.#reached.get(text)
    if (more.length > 0) this.#stage.fail('reported-twice', `${text} to ${run.id}`)
    // A run that is stopped may be so between its request and the report.
    if (report && report.n !== turn)
      this.#stage.fail('wrong-report', `${text} to ${run.id} in turn ${turn}, not ${report.n}`)
    if (turn !== undefined && !report && end.outcome === 'done')
      this.#stage.fail('not-reported', `${text} to ${run.id}`)
    // What waits for the end of an answer may wait beyond the last turn.
    if (turn === undefined && end.outcome === 'done' && type !== 'message.after')
      this.#stage.fail('message-unread', `${text} to ${run.id}`)
    if (!plan?.handedOut) return
    const times = plan.handedOut.filter(({ role, content }) => role === 'user' && content === text).length
    if (times !== 1) this.#stage.fail('message-lost', `${text} to ${run.id} is ${times} times in its conversation`)
  }

  #checkDelivery({ text, delivery, mayMissIt }: Omit<Delivered, 'run'>, said: Transcript | undefined): void {
    const known = this.#messages.get(text)
    if (!known || !said) return
    if ('lost' in delivery && delivery.lost === 'unknown' && mayMissIt()) return
    const [report] = reportsOf(known.mid, said.events)
    const meant = report ? { n: report.n } : { lost: said.end.outcome }
    if (JSON.stringify(delivery) !== JSON.stringify(meant))
      this.#stage.fail('wrong-delivery', `${text} ${JSON.stringify(delivery)}, not ${JSON.stringify(meant)}`)
  }

  /** A turn is one request. A run that is stopped may be so before it reports the last one. */
  #checkTurns(run: string, said: Transcript | undefined): void {
    if (!said) return
    const turns = turnsOf(said.events, Number.POSITIVE_INFINITY).length
    const requests = this.#requests.get(run) ?? 0
    if (turns !== requests && (said.end.outcome === 'done' || turns !== requests - 1))
      this.#stage.fail('turn-unasked', `${run} has ${turns} turns and ${requests} requests`)
  }

  /** A run that is done has not used up its budget, and none without one ends of it. */
  #checkBudget(said: Transcript | undefined): void {
    if (!said) return
    const { run, end } = said
    const budget = this.#budgets.get(run.id)
    const { input = 0, output = 0 } = (end.data['usage'] ?? {}) as { input?: number; output?: number }
    if (end.outcome === 'done' && budget !== undefined && input + output >= budget)
      this.#stage.fail('over-budget', `${run.id} spent ${input + output} of ${budget}`)
    const isMeant = [...this.#everBudgeted].some((id) => this.#ledger.isWithin(id, run.id))
    if (end.data['code'] === 'budget_exceeded' && !isMeant) this.#stage.fail('budget-of-nobody', run.id)
  }
}

/** The item with which the last turn of an agent began, of those up to item `upTo`. */
function lastTurn(said: Transcript | undefined, upTo = Number.POSITIVE_INFINITY): number {
  return turnsOf(said?.events ?? [], upTo).at(-1)?.seq ?? 0
}

function turnsOf(events: Transcript['events'], upTo: number) {
  return events.filter((event) => event.type === 'iteration' && event.agent === undefined && event.seq <= upTo) as {
    readonly seq: number
    readonly n: number
  }[]
}

/** The reports that an input was taken. */
function reportsOf(mid: Key, events: Transcript['events']) {
  const isReport = (event: Transcript['events'][number]) =>
    event.type === 'notice' && event.code === 'input_taken' && event.agent === undefined
  return events.filter(isReport).filter((event) => sameKey((event as { input?: Key }).input, mid)) as { n?: number }[]
}

function sameKey(one: Key | undefined, other: Key): boolean {
  return one !== undefined && typeof one === typeof other && String(one) === String(other)
}
