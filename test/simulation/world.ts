import {
  type Client,
  createClient,
  MillraceError,
  type Policy,
  type Run,
  type RunEvent,
  type StreamEvent,
} from '../../client-sdk/index.ts'
import { type ActorContext, actor, createServer, type MillraceServer } from '../../server/index.ts'
import type { Reader } from '../../server/log/readers.ts'
import { Run as ServerRun } from '../../server/runs/run.ts'
import { quiet } from '../helpers/server.ts'
import { ListWatches } from './list-watches.ts'
import { Link, type Tamper } from './network.ts'
import { byName, PATIENT, Stage, StepReader } from './stage.ts'
import { type Chance, microtasks, type VirtualTime } from './virtual-time.ts'

/** Small, so that every limit is met in a short run. */
const LIMITS = {
  ...PATIENT,
  initialCredit: 6,
  maxCredit: 10,
  readAhead: 3,
  maxInputs: 4,
  cancelGraceMs: 500,
} as const
const DETACH_MS = 8_000

type Plan = {
  items: number
  who: string
  fails: boolean
  silent: boolean
  /** It thinks now and then: lanes open and close, and their events have numbers that nobody sees. */
  thinks: boolean
}
type Actors = ReturnType<typeof actorsOf>
type AppRun = Run

/** What the actor of one run did. */
type Work = {
  produced: number
  executions: number
  /** Every reader so far paces, and it was never left to itself. */
  onlyPaced: boolean
  applied: Map<string, number>
  /** The type of each thing said, by its index. */
  said: Map<number, string>
  id?: string
}

/** One consumer of a run, and what it saw. */
type View = {
  readonly name: string
  readonly client: SimClient
  readonly run: AppRun
  readonly plan: Plan
  readonly policy: Policy
  readonly credit: number
  readonly started: boolean
  readonly after: number
  readonly reader: StepReader<StreamEvent>
  items: { seq: number; value: string }[]
  missing: [number, number][]
  position: number
  /** The index of the last thing that came, among all its actor said; undefined where that cannot be known. */
  index: number | undefined
  left: 'no' | 'cancelled' | 'detached'
  error: MillraceError | undefined
  end: { outcome: string; seq: number } | undefined
  receipt: Awaited<ReturnType<AppRun['cancel']>> | undefined
  inputs: { text: string; status?: string; error?: string }[]
}

type SimClient = {
  readonly name: string
  readonly principal: string
  readonly sdk: Client<Actors>
  readonly views: View[]
  closed: boolean
}

function actorsOf(world: World) {
  return {
    work: actor({
      interactive: true,
      stream: (input: unknown, context: ActorContext) => world.act(input as Plan, context),
    }),
  }
}

/** A server, its clients, and the links between them, driven by a seed through everything that goes wrong. */
export class World {
  readonly chance: Chance
  readonly time: VirtualTime
  readonly clients: SimClient[] = []
  readonly stats = { items: 0, cuts: 0, lateHellos: 0, cancels: 0, inputs: 0, runs: 0, gaps: 0, resumes: 0 }
  readonly #stage: Stage
  readonly #server: MillraceServer<Actors>
  readonly #works = new Map<string, Work>()
  /** The runs of the server, and how much each had produced when a reader was first seen to have its rate. */
  readonly #serverRuns = new Map<string, ServerRun>()
  readonly #rated = new Map<Reader, { readonly perSec: number; readonly produced: number }>()
  readonly #lists: ListWatches
  /** What every consumer must agree on: items and end of each run, by run id. */
  readonly #truth = new Map<string, { items: Map<number, string>; end?: string }>()
  readonly #late: { due: number; messages: Uint8Array[] }[] = []
  #names = 0

  constructor(seed: number, tamper?: Tamper) {
    this.#stage = new Stage(seed, tamper)
    this.#lists = new ListWatches(this.#stage)
    this.chance = this.#stage.chance
    this.time = this.#stage.time
    const retainEvents = this.chance.pick([13, 40, 10_000])
    this.#server = createServer({
      actors: actorsOf(this),
      authenticate: byName,
      limits: { ...LIMITS, retainEvents, flushMs: this.chance.pick([0, 4, 20]) },
      runtime: this.time,
      transport: this.#stage.network.transport,
      logger: quiet,
      onError: (error) => this.#stage.failed(error),
    })
  }

  get trace(): readonly string[] {
    return this.#stage.trace
  }

  // --- the actor

  async *act(plan: Plan, context: ActorContext): AsyncGenerator<string | RunEvent> {
    const work = this.#workOf(plan, context.run.id)
    work.executions++
    if (work.executions > 1) this.#fail('executed-twice', plan.who)
    void this.#takeInputs(work, context)
    for (let i = 1; i <= plan.items; i++) {
      if (this.chance.of(0.4)) await this.#stage.pause(context.signal, this.chance.int(60))
      work.produced = i
      this.#checkGate(plan, work)
      this.#checkRates(plan, work)
      const value = `${plan.who}.${i}`
      const type = this.chance.of(0.2) ? 'data' : plan.thinks && this.chance.of(0.4) ? 'thinking' : 'token'
      work.said.set(i, type)
      if (type === 'token') yield value
      else yield type === 'data' ? { type, name: 'n', value } : { type, text: value }
    }
    if (plan.silent) await this.#stage.pause(context.signal, 3_600_000)
    if (plan.fails) throw new MillraceError('tool_failed', 'as planned')
  }

  async #takeInputs(work: Work, context: ActorContext): Promise<void> {
    for await (const input of context.inputs) {
      const text = String(input.data)
      work.applied.set(text, (work.applied.get(text) ?? 0) + 1)
      if (work.applied.get(text) !== 1) this.#fail('input-twice', text)
    }
  }

  #workOf(plan: Plan, id?: string): Work {
    let work = this.#works.get(plan.who)
    if (!work) {
      work = { produced: 0, executions: 0, onlyPaced: true, applied: new Map(), said: new Map() }
      this.#works.set(plan.who, work)
    }
    if (id !== undefined) work.id = id
    return work
  }

  /** Slow means slow: the actor is never further than its reader's window and the read-ahead. */
  #checkGate(plan: Plan, work: Work): void {
    if (!work.onlyPaced) return
    for (const view of this.#views()) {
      if (view.plan.who !== plan.who || !view.started || view.left !== 'no' || view.run.position?.run !== work.id)
        continue
      const consumed = view.items.length
      if (work.produced > consumed + view.credit + LIMITS.readAhead) {
        this.#fail(
          'gate',
          `${plan.who} produces ${work.produced}, ${view.name} consumed ${consumed}, window ${view.credit}`,
        )
      }
    }
  }

  /** The actor is never further than the read-ahead beyond what the rate of a pacing reader has let through. */
  #checkRates(plan: Plan, work: Work): void {
    for (const reader of this.#serverRuns.get(work.id ?? '')?.followers ?? []) {
      const { perSec = 0, policy, cursor } = reader
      if (policy !== 'pace' || perSec === 0) {
        this.#rated.delete(reader)
        continue
      }
      let since = this.#rated.get(reader)
      if (since?.perSec !== perSec) {
        since = { perSec, produced: work.produced }
        this.#rated.set(reader, since)
      }
      const burst = Math.max(1, perSec / 10)
      if (work.produced > Math.max(since.produced, cursor.last + burst + LIMITS.readAhead))
        this.#fail('rate', `${plan.who} produces ${work.produced}, ${cursor.last} were sent at ${perSec} a second`)
    }
  }

  // --- the applications

  addClient(name: string, principal: string): void {
    const sdk = createClient<Actors>('ws://simulation', {
      token: principal,
      name,
      runtime: this.time,
      WebSocket: this.#stage.network.WebSocket,
      connectMs: 3_600_000,
      timestamps: this.chance.of(0.5),
    })
    this.clients.push({ name, principal, sdk, views: [], closed: false })
    if (this.chance.of(0.5)) this.#lists.add(name, principal, sdk)
  }

  #start(client: SimClient): void {
    const plan: Plan = {
      items: 3 + this.chance.int(50),
      who: `${client.name}w${++this.#names}`,
      fails: this.chance.of(0.1),
      silent: this.chance.of(0.1),
      thinks: this.chance.of(0.25),
    }
    const key = this.chance.of(0.5) ? plan.who : undefined
    const policy = this.chance.of(0.8) ? 'pace' : 'log'
    const credit = 1 + this.chance.int(LIMITS.maxCredit)
    const onDetach = this.chance.pick(['pause', 'pause', 'continue'] as const)
    const run = client.sdk.start('work', plan, { policy, credit, ...(key && { key }), onDetach, detachMs: DETACH_MS })
    this.stats.runs++
    const work = this.#workOf(plan)
    if (policy !== 'pace' || onDetach === 'continue') work.onlyPaced = false
    this.#follow(client, run, { plan, policy, credit, started: true, after: 0 })
    // The same key from another instance of the principal: one execution, two readers.
    const other = this.clients.find((each) => each !== client && each.principal === client.principal)
    if (key && other && this.chance.of(0.3)) {
      work.onlyPaced = false
      this.#follow(other, other.sdk.start('work', plan, { key, credit, detachMs: DETACH_MS }), {
        plan,
        policy: 'pace',
        credit,
        started: true,
        after: 0,
      })
    }
  }

  #attach(client: SimClient): void {
    const known = this.#views().filter((view) => view.run.position !== undefined)
    if (known.length === 0) return
    const view = this.chance.pick(known)
    const own = client.principal === view.client.principal
    const position = view.run.position
    if (!position) return
    const policy = this.chance.pick<Policy>(own ? ['log', 'merge', 'latest', 'pace'] : ['log', 'merge', 'latest'])
    const credit = 1 + this.chance.int(LIMITS.maxCredit)
    const after = this.chance.of(0.3) ? position.seq : 0
    this.#workOf(view.plan).onlyPaced = false
    const run = client.sdk.attach('work', position.run, { policy, credit, after, gen: position.gen })
    this.#follow(client, run, { plan: view.plan, policy, credit, started: false, after })
  }

  #follow(client: SimClient, run: AppRun, what: Pick<View, 'plan' | 'policy' | 'credit' | 'started' | 'after'>): void {
    const view: View = {
      name: `${client.name}v${++this.#names}`,
      client,
      run,
      ...what,
      reader: new StepReader(
        run[Symbol.asyncIterator](),
        (event) => this.#took(view, event),
        (error) => this.#over(view, error),
      ),
      items: [],
      missing: [],
      position: what.after,
      index: what.after === 0 ? 0 : undefined,
      left: 'no',
      error: undefined,
      end: undefined,
      receipt: undefined,
      inputs: [],
    }
    client.views.push(view)
    this.#log(
      `${view.name} ${what.started ? 'starts' : 'attaches to'} ${what.plan.who} ${what.policy} after ${what.after}`,
    )
  }

  #took(view: View, event: StreamEvent): void {
    if (view.left !== 'no') this.#fail('after-leaving', `${view.name} got item ${event.seq} after it ${view.left}`)
    if (event.type === 'gap') {
      this.stats.gaps++
      if (view.plan.thinks ? event.from <= view.position : event.from !== view.position + 1)
        this.#fail('gap-order', `${view.name} gap ${event.from}..${event.next - 1} at ${view.position}`)
      if (event.reason === 'retention' && this.#workOf(view.plan).onlyPaced)
        this.#fail('pacing-lost-items', `${view.name} ${event.from}..${event.next - 1}`)
      view.missing.push([event.from, event.next - 1])
      view.index = undefined
      view.position = event.next - 1
      return
    }
    this.stats.items++
    if (event.type === 'warning') {
      // The run ended before it took all inputs, and says so: no item of the actor.
      view.items.push({ seq: event.seq, value: 'warning' })
      view.position = event.seq
      return
    }
    const said = event.type === 'data' ? String(event.value) : 'text' in event ? event.text : event.type
    // Merged text comes as one event. Each text in it begins with the same name, which shows where it begins.
    const texts = said.split(view.plan.who).slice(1)
    const first = event.seq - texts.length + 1
    const follows = view.plan.thinks ? first > view.position : first === view.position + 1
    if (!follows) this.#fail('order', `${view.name} item ${first} after ${view.position}`)
    texts.forEach((text, i) => this.#agree(view, first + i, event.type, Number(text.slice(1))))
    if (texts.length === 0) this.#fail('wrong-run', `${view.name} item ${event.seq} is ${said}`)
    view.position = event.seq
  }

  #agree(view: View, seq: number, type: string, index: number): void {
    const value = `${type} ${index}`
    view.items.push({ seq, value })
    if (view.index !== undefined && index !== view.index + 1)
      this.#fail('silent-loss', `${view.name} item ${seq} is the ${index}th thing said, after the ${view.index}th`)
    view.index = index
    const truth = this.#truthOf(view)
    const known = truth.items.get(seq) ?? value
    if (known !== value) this.#fail('two-truths', `${view.name} item ${seq} is ${value}, was ${known}`)
    truth.items.set(seq, value)
    const meant = this.#workOf(view.plan).said.get(index)
    if (meant !== type) this.#fail('wrong-item', `${view.name} item ${seq} is ${value}, said was ${meant ?? 'nothing'}`)
    if (view.client.principal === 'C') this.#fail('leak', `${view.name} sees ${view.plan.who}`)
  }

  #truthOf(view: View): { items: Map<number, string>; end?: string } {
    let truth = this.#truth.get(view.plan.who)
    if (!truth) {
      truth = { items: new Map() }
      this.#truth.set(view.plan.who, truth)
    }
    return truth
  }

  #over(view: View, error: unknown): void {
    if (error !== undefined) view.error = error as MillraceError
    this.#log(`${view.name} over ${error instanceof Error ? error.message : ''}`)
    view.run.end.then(
      (end) => {
        view.end = { outcome: end.outcome, seq: end.seq }
        if (end.seq > 0) this.#checkEnd(view, end.outcome, end.seq)
      },
      () => {},
    )
  }

  #checkEnd(view: View, outcome: string, seq: number): void {
    const truth = this.#truthOf(view)
    const end = `${outcome} at ${seq}`
    truth.end ??= end
    if (truth.end !== end) this.#fail('two-ends', `${view.name} ${end}, others ${truth.end}`)
    const complete = view.plan.thinks ? view.position < seq : view.position === seq - 1
    if (view.left === 'no' && !complete)
      this.#fail('incomplete', `${view.name} END ${seq} at position ${view.position}`)
  }

  #cancel(view: View): void {
    if (view.left !== 'no' || view.reader.done) return
    view.left = 'cancelled'
    this.stats.cancels++
    this.#log(`${view.name} cancels`)
    void view.run.cancel().then((receipt) => {
      view.receipt = receipt
      if (receipt.confirmed) {
        const truth = this.#truthOf(view)
        const outcome = truth.end?.split(' ')[0]
        if (outcome !== undefined && outcome !== receipt.outcome)
          this.#fail('wrong-receipt', `${view.name} has ${receipt.outcome}, it ended ${outcome}`)
      }
    })
  }

  #detach(view: View): void {
    if (view.left !== 'no' || view.reader.done) return
    view.left = 'detached'
    // The run goes on by itself: nobody paces it any more as this one did.
    this.#workOf(view.plan).onlyPaced = false
    view.run.detach()
    this.#log(`${view.name} detaches`)
  }

  #say(view: View): void {
    if (view.left !== 'no' || view.reader.done || view.inputs.length >= 6) return
    const input: View['inputs'][number] = { text: `${view.name}i${view.inputs.length}` }
    view.inputs.push(input)
    this.stats.inputs++
    view.run.send('message', input.text).then(
      (status) => (input.status = status),
      (error: unknown) => (input.error = (error as MillraceError).code),
    )
  }

  // --- the world moves

  async #app(): Promise<void> {
    const client = this.chance.pick(this.clients)
    if (client.closed) return
    if (this.chance.of(0.1)) return this.#lists.act()
    const live = client.views.filter((view) => !view.reader.done)
    if (live.length < 4 && this.chance.of(0.12)) {
      if (client.principal === 'A' && this.chance.of(0.6)) this.#start(client)
      else this.#attach(client)
    }
    if (live.length === 0) return
    const view = this.chance.pick(live)
    const dice = this.chance.next()
    if (dice < 0.75) {
      await view.reader.readOn(1 + this.chance.int(6))
    } else if (dice < 0.78) this.#cancel(view)
    else if (dice < 0.795) this.#detach(view)
    else if (dice < 0.86) this.#say(view)
    else if (dice < 0.88) view.run.pause()
    else if (dice < 0.92) view.run.resume()
    else if (dice < 0.94) view.run.throttle(this.chance.pick([5, 50, null]))
  }

  #disturb(): void {
    if (this.chance.of(0.8)) {
      this.stats.cuts++
      return this.#stage.cut()
    }
    const said = this.#stage.network.links.filter(({ isOpen, dead, sentUp }) => isOpen && !dead && sentUp.length > 0)
    if (said.length === 0) return
    // A copy of what a client said at first arrives once more, from nowhere, some time later.
    const messages = this.chance.pick(said).sentUp.slice(0, 1 + this.chance.int(2))
    this.#late.push({ due: this.time.now() + this.chance.int(10_000), messages })
  }

  #replayLate(): void {
    for (const late of [...this.#late]) {
      if (late.due > this.time.now()) continue
      this.#late.splice(this.#late.indexOf(late), 1)
      this.stats.lateHellos++
      this.#log('late copy of a HELLO')
      const copy = new Link(this.#stage.network, undefined)
      copy.open()
      for (const message of late.messages) copy.sendUp(message)
      while (copy.up.length > 0) copy.deliverUp()
      copy.closeUp()
      copy.tellServer(1006)
    }
  }

  async step(): Promise<void> {
    await this.time.advance(this.chance.of(0.02) ? this.chance.int(9_000) : this.chance.int(30))
    const dice = this.chance.next()
    if (dice < 0.45) {
      const { busy } = this.#stage.network
      if (busy.length > 0) this.#stage.network.step(this.chance.pick(busy))
    } else if (dice < 0.7) await this.time.turn()
    else if (dice < 0.725) this.#disturb()
    else await this.#app()
    this.#stage.learn()
    this.#replayLate()
    await microtasks()
    this.#stage.check()
  }

  /** Nothing breaks any more and every view reads: all must end, complete. */
  async settle(): Promise<void> {
    this.#log('settling')
    this.#late.length = 0
    for (let round = 0; round < 400; round++) {
      this.#stage.learn(true)
      for (const view of this.#views()) {
        if (view.left !== 'no' || view.reader.done) continue
        if (view.plan.silent && view.client.principal === 'A') this.#cancel(view)
        else if (view.plan.silent && round > 50) this.#detach(view)
        else {
          // A rate stays: it slows a run down and never stops it.
          view.run.resume()
          await view.reader.readOn(8)
        }
      }
      await this.#stage.flush(60)
      await this.time.advance(round % 10 === 9 ? 5_000 : 50)
      this.#stage.check()
      if (this.#views().every((view) => view.reader.done || view.left === 'detached' || view.receipt !== undefined))
        return
    }
    for (const view of this.#views()) {
      if (view.left === 'cancelled' && !view.receipt) this.#fail('cancel-hangs', view.name)
      if (!view.reader.done && view.left === 'no')
        this.#fail(
          'deadlock',
          `${view.name} (${view.policy}) at ${view.position}, its client is ${view.client.sdk.status}`,
        )
    }
    this.#stage.check()
  }

  /** What must hold when all is over. */
  async finish(): Promise<void> {
    await this.#lists.settle()
    this.#stage.check()
    this.#lists.closing()
    for (const client of this.clients) {
      if (client.sdk.status === 'closed') this.#fail('stopped', `${client.name} stopped by itself`)
    }
    for (const view of this.#views()) {
      const work = this.#workOf(view.plan)
      const outcome = this.#truthOf(view).end?.split(' ')[0]
      for (const { text, status, error } of view.inputs) {
        const times = work.applied.get(text) ?? 0
        if (status === 'accepted' && outcome === 'done' && times !== 1 && !view.plan.fails)
          this.#mayBeUnread(view, text)
        if (error !== undefined && error !== 'connection_lost' && times > 0) this.#fail('input-refused-applied', text)
      }
      if (view.left !== 'no' || !view.reader.done) continue
      if (
        view.error &&
        !['cancelled', 'not_found', 'forbidden', 'tool_failed', 'key_conflict'].includes(view.error.code)
      )
        this.#fail('unexpected-error', `${view.name} ${view.error.code}: ${view.error.message}`)
      if (
        view.error?.code === 'cancelled' &&
        view.error.receipt?.by !== 'server' &&
        !this.#views().some((other) => other.plan === view.plan && other.left === 'cancelled')
      ) {
        this.#fail('cancelled-by-nobody', view.name)
      }
      if (view.error?.code === 'not_found' && view.client.principal === 'A')
        this.#fail('lost-run', `${view.name} ${view.plan.who}`)
      if (view.error || view.policy === 'latest' || view.plan.thinks) continue
      for (let seq = view.after + 1; seq <= view.position; seq++) {
        const here =
          view.items.some((item) => item.seq === seq) || view.missing.some(([from, to]) => from <= seq && seq <= to)
        if (!here) this.#fail('silent-loss', `${view.name} item ${seq}`)
      }
    }
    const closing = Promise.all(this.clients.map((client) => client.sdk.close({ runs: 'cancel' })))
    await this.#stage.drive(closing)
    await this.#stage.drive(this.#server.close({ drainMs: 0 }))
    this.#stage.check()
    if (this.#server.liveRuns > 0) this.#fail('slot-lost', `${this.#server.liveRuns} runs have not settled`)
    if (this.#server.connections > 0) this.#fail('connection-lost', 'a connection outlived the server')
    this.#stage.check()
  }

  /** An input that was accepted as the run ended: the run says that it was not read. */
  #mayBeUnread(view: View, text: string): void {
    this.#log(`${view.name} ${text} accepted and not read`)
  }

  /**
   * Watches the runs from inside: which there are, and that one is cancelled for being left alone only when it was, and
   * long enough. Returns how to stop watching.
   */
  #watchRuns(): () => void {
    const { join, leave, cancel } = ServerRun.prototype
    const serverRuns = this.#serverRuns
    const leftAt = new Map<string, number>()
    const now = (): number => this.time.now()
    const fail = (detail: string): void => this.#fail('detach-early', detail)
    ServerRun.prototype.join = function (this: ServerRun, reader) {
      serverRuns.set(this.id, this)
      join.call(this, reader)
    }
    ServerRun.prototype.leave = function (this: ServerRun, reader) {
      if (reader.own) leftAt.set(this.id, now())
      leave.call(this, reader)
    }
    ServerRun.prototype.cancel = function (this: ServerRun, why) {
      const away = now() - (leftAt.get(this.id) ?? now())
      if (why.code === 5 && !this.end && (!this.detached || away < DETACH_MS)) {
        fail(`${this.id} cancelled ${away} ms after its last own reader${this.detached ? '' : ', with one there'}`)
      }
      cancel.call(this, why)
    }
    return () => Object.assign(ServerRun.prototype, { join, leave, cancel })
  }

  async run(steps = 80 + this.chance.int(200)): Promise<void> {
    const stopWatching = this.#watchRuns()
    const stopListing = this.#lists.start()
    try {
      await this.#run(steps)
    } finally {
      stopListing()
      stopWatching()
    }
  }

  async #run(steps: number): Promise<void> {
    await this.#server.listen()
    this.addClient('a1', 'A')
    if (this.chance.of(0.6)) this.addClient('a2', 'A')
    if (this.chance.of(0.5)) this.addClient('b1', 'B')
    if (this.chance.of(0.3)) this.addClient('c1', 'C')
    while (steps-- > 0) await this.step()
    await this.settle()
    await this.finish()
  }

  #views(): View[] {
    return this.clients.flatMap((client) => client.views)
  }

  #fail(kind: string, detail: string): void {
    this.#stage.fail(kind, detail)
  }

  #log(line: string): void {
    this.#stage.log(line)
  }
}
