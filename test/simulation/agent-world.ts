import { type Client, createClient, type MillraceError, type Run, type StreamEvent } from '../../client-sdk/index.ts'
import { type Actor, createServer, type MillraceServer } from '../../server/index.ts'
import { ModelFailure } from '../../server/models/model-failure.ts'
import { quiet } from '../helpers/server.ts'
import { Audit, wordsOf } from './audit.ts'
import { Ledger } from './ledger.ts'
import type { Tamper } from './network.ts'
import { SimAgents } from './sim-agents.ts'
import { byName, PATIENT, Stage, StepReader } from './stage.ts'
import { type Chance, microtasks } from './virtual-time.ts'

/** Small where it makes trouble, and large enough that no item is ever lost: every reader must see the same. */
const LIMITS = { ...PATIENT, initialCredit: 8, maxCredit: 16, readAhead: 3, cancelGraceMs: 100 } as const
/** What a run may end of. */
const FAILURES = [
  'cancelled',
  'truncated',
  'tool_failed',
  'actor_failed',
  'max_iterations',
  'timeout',
  'budget_exceeded',
]
/** When a message is to reach the model. */
const MESSAGES = ['message', 'message.now', 'message.after'] as const

/** Why a target is not cancelled: it is over, or the run is. */
const OVER = ['not_found', 'connection_lost']

type View = {
  readonly name: string
  /** Whom it follows: the name under which a run was asked for, or an id. */
  readonly whom: string
  /** It does not see how the run began. */
  readonly isLate: boolean
  readonly own: boolean
  readonly run: Run
  readonly reader: StepReader<StreamEvent>
  readonly seen: Map<number, string>
  /** Calls without a result so far, agents without an end, and requests that nobody here has answered. */
  readonly calls: Set<string>
  readonly agents: Set<string>
  readonly requests: Map<string, { call: string | undefined; prompt: string | undefined }>
  /** Requests that were open before it attached. */
  readonly pending: Extract<StreamEvent, { type: 'request' }>[]
  left: boolean
  /** A stop has ended it, if the run had not ended before: the items that waited are dropped. */
  isStopped: boolean
  error: MillraceError | undefined
  end: { outcome: string; seq: number; usage: unknown; iterations: unknown } | undefined
}

type Person = { readonly name: string; readonly principal: string; readonly sdk: Client; readonly views: View[] }

/** Agents with tools and children on a real server, real clients, and a seed that lets everything go wrong that can. */
export class AgentWorld {
  readonly stats = {
    runs: 0,
    callCancels: 0,
    agentCancels: 0,
    cancels: 0,
    stops: 0,
    answers: 0,
    messages: 0,
    orders: 0,
    cuts: 0,
    items: 0,
  }
  readonly #stage: Stage
  readonly #chance: Chance
  readonly #ledger: Ledger
  readonly #simAgents: SimAgents
  readonly #server: MillraceServer<{ agent: Actor; worker: Actor }>
  readonly #people: Person[] = []
  /** Calls that were cancelled with the right to, by root and call. */
  readonly #cancelledCalls = new Set<string>()
  readonly #maxRuns: number
  /** Cancels without an answer so far. */
  #cancelling = 0
  #names = 0
  /** The server went away before all was over. */
  #isBrokenOff = false

  constructor(seed: number, tamper?: Tamper) {
    this.#stage = new Stage(seed, tamper)
    this.#chance = this.#stage.chance
    this.#ledger = new Ledger(this.#stage)
    this.#maxRuns = this.#chance.pick([3, 7, 256, 256])
    this.#simAgents = new SimAgents(this.#stage, this.#ledger, () => this.#server.liveRuns < this.#maxRuns)
    this.#server = createServer<{ agent: Actor; worker: Actor }>({
      actors: { agent: this.#simAgents.agent, worker: this.#simAgents.worker },
      authenticate: byName,
      limits: {
        ...LIMITS,
        maxRuns: this.#maxRuns,
        flushMs: this.#chance.pick([0, 4, 20]),
        timeoutMs: this.#chance.pick([3_600_000, 3_600_000, 3_600_000, 2_000]),
      },
      runtime: this.#stage.time,
      transport: this.#stage.network.transport,
      logger: quiet,
      onError: (error) => {
        const reported = error instanceof ModelFailure ? error.cause : error
        if (!(reported instanceof Error && reported.message === 'as planned')) this.#fail('server-error', String(error))
      },
    })
  }

  get trace(): readonly string[] {
    return this.#stage.trace
  }

  /** How much happened. */
  get counts(): { readonly [what: string]: number } {
    return { ...this.stats, ...this.#simAgents.stats }
  }

  // --- the people

  #add(name: string, principal: string): void {
    const sdk = createClient('ws://simulation', {
      token: principal,
      name,
      runtime: this.#stage.time,
      WebSocket: this.#stage.network.WebSocket,
      connectMs: 3_600_000,
    })
    this.#people.push({ name, principal, sdk, views: [] })
  }

  #start(person: Person): void {
    const who = `${person.name}r${++this.#names}`
    this.stats.runs++
    const policy = this.#chance.of(0.7) ? 'pace' : 'log'
    const credit = 1 + this.#chance.int(LIMITS.maxCredit)
    const onDetach = this.#chance.pick(['pause', 'continue'] as const)
    const options = { policy, credit, onDetach, ...(this.#chance.of(0.1) && { timeoutMs: 1_000 }) } as const
    const isAgent = this.#chance.of(0.5)
    if (isAgent) this.#simAgents.plan(who, 0)
    const input = isAgent ? who : { who, depth: 0 }
    this.#follow(person, who, person.sdk.start(isAgent ? 'agent' : 'worker', input, options))
  }

  /** Attaches to a known run: one that was started, or a child. */
  #attach(person: Person): void {
    const known = this.#views.flatMap(({ run, agents }) => (run.id === undefined ? [] : [run.id, ...agents]))
    if (known.length === 0) return
    const id = this.#chance.pick(known)
    const credit = 1 + this.#chance.int(LIMITS.maxCredit)
    const policy = person.principal === 'A' && this.#chance.of(0.2) ? 'pace' : 'log'
    const after = this.#chance.of(0.15) ? 'live' : 'start'
    this.#follow(person, id, person.sdk.attach('agent', id, { credit, policy, after }), after === 'live')
  }

  #follow(person: Person, whom: string, run: Run, isLate = false): void {
    const view: View = {
      name: `${person.name}v${++this.#names}`,
      whom,
      isLate,
      own: person.principal === 'A',
      run,
      reader: new StepReader(
        run[Symbol.asyncIterator](),
        (event) => this.#took(view, event),
        (error) => this.#over(view, error),
      ),
      seen: new Map(),
      calls: new Set(),
      agents: new Set(),
      requests: new Map(),
      pending: [],
      left: false,
      isStopped: false,
      error: undefined,
      end: undefined,
    }
    person.views.push(view)
    this.#stage.log(`${view.name} follows ${whom}`)
  }

  #took(view: View, event: StreamEvent): void {
    this.stats.items++
    if (view.left) this.#fail('after-leaving', `${view.name} item ${event.seq}`)
    if (event.type === 'gap') return this.#fail('gap', `${view.name} ${event.from} to ${event.next}`)
    if (event.type === 'request') view.requests.set(event.id, { call: event.call, prompt: event.prompt })
    // A late reader first gets the requests that are still open.
    if (view.isLate && event.type === 'request' && view.seen.size === 0) return void view.pending.push(event)
    if (view.seen.has(event.seq)) this.#fail('item-twice', `${view.name} item ${event.seq}`)
    view.seen.set(event.seq, wordsOf(event))
    if (event.type === 'tool.call') view.calls.add(event.call)
    if (event.type === 'agent.start') view.agents.add(event.agent ?? '')
    if (event.type === 'agent.end') view.agents.delete(event.agent ?? '')
    if (event.type !== 'tool.result') return
    if (!view.calls.delete(event.call) && !view.isLate) this.#fail('orphan-result', `${view.name} ${event.call}`)
    if (event.outcome === 'cancelled' && !this.#cancelledCalls.has(this.#nameOf(view, event.call)))
      this.#fail('cancelled-by-nobody', `${view.name} ${event.call}`)
  }

  #over(view: View, error: unknown): void {
    view.error = error as MillraceError | undefined
    this.#stage.log(`${view.name} over ${view.error?.message ?? ''}`)
    view.run.end.then(
      ({ outcome, seq, usage, iterations }) => {
        if (seq > 0) view.end = { outcome, seq, usage, iterations }
      },
      () => {},
    )
  }

  /** The name of a call in `SimAgents`. */
  #nameOf(view: View, call: string): string {
    return `${this.#ledger.rootOf(this.#idOf(view))}/${call}`
  }

  /** The run it follows, also where it has never heard its id. */
  #idOf({ whom }: View): string {
    return this.#ledger.idOf(whom) ?? whom
  }

  /** Waits for what a cancel did. */
  #watch<Result>(cancelling: Promise<Result>, answered: (result: Result) => void): void {
    this.#cancelling++
    cancelling.then(
      (result) => {
        this.#cancelling--
        answered(result)
      },
      (error: unknown) => this.#fail('cancel-rejected', String(error)),
    )
  }

  /** A cancel was not confirmed, which may be for some reasons only. */
  #refused({ own, name }: View, code: string, mayBe: readonly string[]): void {
    if (own ? !mayBe.includes(code) && !this.#isBrokenOff : code !== 'forbidden' && !OVER.includes(code))
      this.#fail('cancel-refused', `${name}: ${code}`)
  }

  #cancel(view: View): void {
    if (view.left || view.reader.done) return
    this.stats.cancels++
    view.left = true
    if (view.own) this.#ledger.cancelled.add(view.whom)
    this.#stage.log(`${view.name} cancels`)
    this.#watch(view.run.cancel(), (receipt) => {
      if (!receipt.confirmed) return this.#refused(view, receipt.code, ['overloaded'])
      if (receipt.outcome !== 'cancelled') return
      const both = receipt.tools.filter((call) => receipt.unsettled.includes(call))
      if (both.length > 0) this.#fail('stopped-and-not', both.join(' '))
      const run = this.#ledger.runs.get(this.#idOf(view))
      // Cancelled before it was asked for, it was never begun.
      if (receipt.settled && run && !run.settled)
        this.#fail('wrong-receipt', `${view.name}: not all of ${view.whom} has finished`)
    })
  }

  #cancelCall(view: View, call: string | undefined = [...view.calls][0]): void {
    if (call === undefined || view.left || view.reader.done) return
    this.stats.callCancels++
    const name = this.#nameOf(view, call)
    this.#stage.log(`${view.name} cancels ${name}`)
    if (view.own) this.#cancelledCalls.add(name)
    this.#watch(view.run.cancel({ call }), (receipt) => {
      const execution = this.#simAgents.executions.get(name)
      if (!receipt.confirmed) {
        const goesOn = execution && execution.overAt === undefined && execution.stoppedAt === undefined
        if (receipt.code === 'not_found' && view.own && goesOn) this.#fail('not-found', `${view.name} ${call} goes on`)
        this.#refused(view, receipt.code, OVER)
        return
      }
      if (receipt.outcome !== 'cancelled' || !execution) return
      const { stoppedAt = Number.NaN, overAt = Number.POSITIVE_INFINITY } = execution
      const tookMs = overAt - stoppedAt
      // Where both are over at the same moment, either may have been first.
      if (tookMs !== LIMITS.cancelGraceMs && receipt.settled !== tookMs < LIMITS.cancelGraceMs)
        this.#fail('wrong-receipt', `${call} settled ${receipt.settled}, stopped ${stoppedAt}, over ${overAt}`)
    })
  }

  #cancelAgent(view: View, agent: string): void {
    if (view.left || view.reader.done) return
    this.stats.agentCancels++
    this.#stage.log(`${view.name} cancels agent ${agent}`)
    if (view.own) this.#ledger.cancelled.add(agent)
    this.#watch(view.run.cancel({ agent }), (receipt) => {
      if (!receipt.confirmed) this.#refused(view, receipt.code, OVER)
      if (!view.own) return
      const lives = this.#ledger.goesOn(agent)
      if (receipt.confirmed ? lives : receipt.code === 'not_found' && lives && this.#ledger.goesOn(this.#idOf(view)))
        this.#fail('not-stopped', `${agent} goes on after its cancel: ${JSON.stringify(receipt)}`)
      if (receipt.confirmed && receipt.outcome === 'cancelled' && receipt.settled) {
        if (!this.#ledger.runs.get(agent)?.settled) this.#fail('wrong-receipt', `${agent} has not finished`)
      }
    })
  }

  /** Answers a question, of whichever agent. */
  #answer(view: View): void {
    const [asked] = view.requests
    if (!asked || view.left || view.reader.done) return
    const [request, { call, prompt }] = asked
    view.requests.delete(request)
    this.stats.answers++
    const ok = this.#chance.of(0.6)
    if (call !== undefined && ok && view.own) this.#simAgents.allowed.add(this.#nameOf(view, call))
    const isApproval = call !== undefined && this.#chance.of(0.7)
    const said = isApproval
      ? view.run.send('approve', { call, ok, note: 'so' })
      : view.run.send('answer', { request, value: call === undefined ? prompt : ok })
    said.catch((error: unknown) => {
      const { code } = error as MillraceError
      if (view.own && code === 'not_found' && this.#ledger.asks(this.#idOf(view), request))
        this.#fail('answer-lost', `${view.name} ${request}`)
    })
  }

  #say(view: View): void {
    if (view.left || view.reader.done || !view.own) return
    this.stats.messages++
    const text = `m${++this.#names}`
    const type = this.#chance.pick(MESSAGES)
    this.#stage.log(`${view.name} says ${text} as ${type}`)
    const sent = view.run.send(type, text)
    sent.catch(() => {})
    void sent.delivery.then((delivery) => {
      // A view that stops the run drops what is on its way, also the report of a message.
      const mayMissIt = (): boolean => view.left || view.isStopped || this.#isBrokenOff
      this.#ledger.steering.delivered({ run: this.#idOf(view), text, delivery, mayMissIt })
    })
  }

  /** Stops the run in the turn that the view sees. */
  #stop(view: View): void {
    const seen = [...view.seen.keys()].at(-1)
    if (seen === undefined || view.left || view.reader.done || !view.own) return
    this.stats.stops++
    this.#stage.log(`${view.name} stops at ${seen}`)
    this.#watch(view.run.cancel({ ifSeq: seen }), (receipt) => {
      if (receipt.confirmed) view.isStopped = true
      else this.#refused(view, receipt.code, [...OVER, 'overloaded', 'stale'])
    })
  }

  /** Pauses the run or one below it, or lets it go on, or changes what it may spend. */
  #govern(view: View, order: object = this.#order(view)): void {
    if (view.left || view.reader.done || !view.own) return
    this.stats.orders++
    this.#stage.log(`${view.name} orders ${JSON.stringify(order)}`)
    view.run.send('govern', order).catch(() => {})
  }

  #order({ agents }: View): object {
    const agent = agents.size > 0 && this.#chance.of(0.4) && { agent: this.#chance.pick([...agents]) }
    const dice = this.#chance.next()
    if (dice < 0.45) return { ...agent, paused: true }
    if (dice < 0.75) return { ...agent, paused: false }
    if (dice < 0.83) return { ...agent, perSec: this.#chance.pick([20, 200, null]) }
    return { ...agent, budget: this.#chance.of(0.8) ? { tokens: 5 + this.#chance.int(60) } : null }
  }

  // --- the world moves

  async #app(): Promise<void> {
    const person = this.#chance.pick(this.#people)
    const live = person.views.filter(({ reader }) => !reader.done)
    if (live.length < 3 && this.#chance.of(0.15)) {
      if (person.name === 'a1') this.#start(person)
      else this.#attach(person)
    }
    if (live.length === 0) return
    const view = this.#chance.pick(live)
    if (view.requests.size > 0 && this.#chance.of(0.3)) {
      this.#answer(view)
      return
    }
    if (view.agents.size > 0 && this.#chance.of(0.08)) {
      this.#cancelAgent(view, this.#chance.pick([...view.agents]))
      return
    }
    const dice = this.#chance.next()
    if (dice < 0.64) await view.reader.readOn(1 + this.#chance.int(8))
    else if (dice < 0.74) this.#cancelCall(view)
    else if (dice < 0.82) this.#say(view)
    else if (dice < 0.89) this.#govern(view)
    else if (dice < 0.94) this.#stop(view)
    else if (dice < 0.95) this.#cancel(view)
    else if (dice < 0.97) view.run.pause()
    else view.run.resume()
  }

  async #step(): Promise<void> {
    const { time, network } = this.#stage
    await time.advance(this.#chance.int(40))
    const dice = this.#chance.next()
    if (dice < 0.4) {
      const { busy } = network
      if (busy.length > 0) network.step(this.#chance.pick(busy))
    } else if (dice < 0.65) await time.turn()
    else if (dice < 0.67) {
      this.stats.cuts++
      this.#stage.cut()
    } else await this.#app()
    this.#stage.learn()
    await microtasks()
    this.#check()
  }

  /** Nothing breaks any more and every view reads: all must end. */
  async #settle(): Promise<void> {
    for (let round = 1; round < 300; round++) {
      this.#stage.learn(true)
      for (const view of this.#views) {
        if (view.left || view.reader.done) continue
        view.run.resume()
        await view.reader.readOn(8)
        if (!view.own) continue
        // Nobody leaves a run paused, or slow.
        if (round % 4 === 1) this.#letGoOn(view)
        if (view.requests.size > 0) this.#answer(view)
        // People stop a call that hangs; in a child that is not passed on, only with the child.
        if (round % 6 === 0) for (const call of view.calls) this.#cancelCall(view, call)
        if (round % 18 === 0) for (const agent of view.agents) this.#cancelAgent(view, agent)
      }
      await this.#stage.flush(40)
      await this.#stage.time.advance(round % 6 === 0 ? 2_000 : 50)
      this.#check()
      const isRead = this.#views.every(({ left, reader }) => left || reader.done)
      if (isRead && this.#server.liveRuns === 0 && this.#cancelling === 0) return
    }
    for (const { left, reader, name } of this.#views) if (!left && !reader.done) this.#fail('never-ended', name)
    if (this.#server.liveRuns > 0) this.#fail('slot-lost', `${this.#server.liveRuns} runs have not settled`)
    if (this.#cancelling > 0) this.#fail('cancel-hangs', `${this.#cancelling} cancels have no answer`)
    this.#check()
  }

  #letGoOn(view: View): void {
    for (const agent of [undefined, ...view.agents])
      this.#govern(view, { ...(agent !== undefined && { agent }), paused: false, perSec: null })
  }

  /** The server goes away in the midst of it. */
  async #breakOff(): Promise<void> {
    this.#isBrokenOff = true
    this.#stage.log('the server goes away')
    await this.#stage.drive(this.#server.close({ drainMs: this.#chance.pick([0, 300]) }))
    for (let n = 0; n < 100 && this.#server.liveRuns > 0; n++) {
      await this.#stage.time.turn()
      await this.#stage.time.advance(100)
      this.#check()
    }
  }

  /** What must hold when all is over. */
  async #finish(): Promise<void> {
    const audit = new Audit(this.#stage, this.#ledger)
    await audit.check(this.#simAgents.plans.values())
    this.#ledger.steering.check((id) => audit.transcript(id), [...this.#simAgents.plans.values()])
    for (const view of this.#views) this.#checkView(view, audit)
    for (const [name, { overAt }] of this.#simAgents.executions)
      if (overAt === undefined) this.#fail('orphan-tool', name)
    const closing = Promise.all(this.#people.map(({ sdk }) => sdk.close({ runs: 'cancel' })))
    await this.#stage.drive(closing.then(() => this.#server.close({ drainMs: 0 })))
    await microtasks()
    if (this.#cancelling > 0) this.#fail('cancel-hangs', `${this.#cancelling} cancels have no answer`)
    this.#check()
  }

  /** A view has seen what the log has, and all of it if it stayed to the end. */
  #checkView(view: View, audit: Audit): void {
    const code = view.error?.code
    const mayFail = [...FAILURES, ...(this.#maxRuns < 256 ? ['overloaded'] : []), ...(view.own ? [] : ['not_found'])]
    if (code !== undefined && !this.#isBrokenOff && !mayFail.includes(code))
      this.#fail('unexpected-error', `${view.name} ${code}: ${view.error?.message ?? ''}`)
    const transcript = audit.transcript(this.#idOf(view))
    if (!transcript) {
      if (view.seen.size > 0 || view.end) this.#fail('lost-run', view.name)
      return
    }
    const { events, end, words: said } = transcript
    for (const [seq, words] of view.seen)
      if (said.get(seq) !== words) this.#fail('two-truths', `${view.name} ${words}, the log has ${said.get(seq) ?? ''}`)
    for (const { id, agent, prompt, seq } of view.pending) {
      const asked = events.find((event) => event.type === 'request' && event.id === id)
      if (asked?.type !== 'request' || asked.agent !== agent || asked.prompt !== prompt || asked.seq > seq)
        this.#fail('never-asked', `${view.name} ${id}`)
    }
    if (!view.end) return
    const { usage, iterations } = end.data
    const expected = JSON.stringify({ outcome: end.outcome, seq: end.seq, usage, iterations })
    if (JSON.stringify(view.end) !== expected)
      this.#fail('two-ends', `${view.name} ${JSON.stringify(view.end)}, not ${expected}`)
    const [first = 0] = view.isLate ? view.seen.keys() : []
    const meant = view.isLate && first === 0 ? 0 : events.filter(({ seq }) => seq >= first).length
    if (!view.left && !view.isStopped && view.seen.size !== meant)
      this.#fail('incomplete', `${view.name} saw ${view.seen.size} of ${meant}`)
  }

  async run(steps: number = 16 + this.#chance.int(64)): Promise<void> {
    const stopWatching = this.#ledger.watch()
    try {
      await this.#server.listen()
      this.#add('a1', 'A')
      this.#add('a2', 'A')
      if (this.#chance.of(0.5)) this.#add('b1', 'B')
      if (this.#people[0]) this.#start(this.#people[0])
      while (steps-- > 0) await this.#step()
      if (this.#chance.of(0.08)) await this.#breakOff()
      else await this.#settle()
      await this.#finish()
    } finally {
      stopWatching()
    }
  }

  get #views(): View[] {
    return this.#people.flatMap(({ views }) => views)
  }

  #check(): void {
    this.#ledger.check(this.#server.liveRuns)
    this.#stage.check()
  }

  #fail(kind: string, detail: string): void {
    this.#stage.fail(kind, detail)
  }
}
