import { type Client, createClient, type MillraceError, type Run, type StreamEvent } from '../../client-sdk/index.ts'
import { type Actor, createServer, type MillraceServer } from '../../server/index.ts'
import { quiet } from '../helpers/server.ts'
import type { Tamper } from './network.ts'
import { SimWorkflow } from './sim-workflows.ts'
import { byName, PATIENT, Stage, StepReader } from './stage.ts'
import { type Chance, microtasks } from './virtual-time.ts'
import { checkStory, storyOf } from './workflow-story.ts'

const LIMITS = { ...PATIENT, initialCredit: 8, maxCredit: 64, readAhead: 3, cancelGraceMs: 100 } as const

type Person = { readonly name: string; readonly sdk: Client }

/** A reader of a run. */
type View = {
  readonly name: string
  readonly run: Run
  readonly own: boolean
  readonly reader: StepReader<StreamEvent>
  readonly events: StreamEvent[]
  /** Branches and other children that have not ended, by what they are called. */
  readonly agents: Map<string, string>
  readonly requests: Set<string>
  left: boolean
  error: MillraceError | undefined
}

/** A workflow that a seed has drawn, on a real server, with real clients that stop its branches, pause and lose it. */
export class WorkflowWorld {
  readonly stats = {
    runs: 0,
    retries: 0,
    branchCancels: 0,
    cancels: 0,
    orders: 0,
    answers: 0,
    cuts: 0,
    items: 0,
    done: 0,
  }
  readonly #stage: Stage
  readonly #chance: Chance
  readonly #work: SimWorkflow
  readonly #server: MillraceServer<{ work: Actor }>
  readonly #clients: Person[] = []
  readonly #views: View[] = []
  /** Branches for which a pause was accepted, with what the ids of their steps begin with. */
  readonly #paused = new Map<string, { readonly prefix: string; readonly executions: number }>()
  /** Cancels without an answer. */
  #cancelling = 0
  #root = ''
  /** People stop and pause, and connections break. */
  #isWild = false

  constructor(seed: number, tamper?: Tamper) {
    this.#stage = new Stage(seed, tamper)
    this.#chance = this.#stage.chance
    this.#work = new SimWorkflow(this.#stage)
    this.#server = createServer<{ work: Actor }>({
      actors: { work: this.#work.actor },
      authenticate: byName,
      limits: { ...LIMITS, flushMs: this.#chance.pick([0, 4, 20]) },
      runtime: this.#stage.time,
      transport: this.#stage.network.transport,
      logger: quiet,
      onError: (error) => {
        if (!(error instanceof Error && error.message === 'as planned')) this.#fail('server-error', String(error))
      },
    })
  }

  get trace(): readonly string[] {
    return this.#stage.trace
  }

  /** How much happened. */
  get counts(): { readonly [what: string]: number } {
    return { ...this.stats, steps: this.#work.executions.length }
  }

  async run(): Promise<void> {
    await this.#server.listen()
    for (const name of ['A', 'A', 'B']) this.#connect(name)
    const runs: string[] = []
    // The last attempt meets no failure but those that people cause.
    for (let attempt = 1; attempt <= 3; attempt++) {
      this.#work.isMended = attempt === 3
      this.#root = `w${attempt}`
      const before = this.#work.executions.length
      const id = await this.#once(runs.at(-1), attempt < 3)
      if (id === undefined) break
      const isDone = await this.#check(id, runs.at(-1), before)
      runs.push(id)
      if (isDone) {
        this.stats.done++
        break
      }
    }
    const closing = Promise.all(this.#clients.map(({ sdk }) => sdk.close({ runs: 'cancel' })))
    await this.#stage.drive(closing.then(() => this.#server.close({ drainMs: 0 })))
    this.#stage.check()
  }

  #connect(name: string): void {
    const sdk = createClient('ws://simulation', {
      token: name,
      name: `${name}${this.#clients.length}`,
      runtime: this.#stage.time,
      WebSocket: this.#stage.network.WebSocket,
      connectMs: 3_600_000,
    })
    this.#clients.push({ name, sdk })
  }

  // --- one run

  /** Starts a run, lives through it, and gives its id once all of it has settled. */
  async #once(retryOf: string | undefined, isWild: boolean): Promise<string | undefined> {
    this.#views.length = 0
    this.#paused.clear()
    this.stats.runs++
    if (retryOf !== undefined) this.stats.retries++
    const { sdk } = this.#clients[0] as Person
    const meta = { root: this.#root, ...(retryOf !== undefined && { retryOf }) }
    const policy = this.#chance.of(0.7) ? 'pace' : 'log'
    const run = sdk.start('work', null, { policy, credit: 4 + this.#chance.int(60), onDetach: 'continue', meta })
    this.#isWild = isWild
    const main = this.#follow(`${this.#root} main`, run, true)
    for (let steps = isWild ? 20 + this.#chance.int(80) : 8; steps > 0; steps--) await this.#step(main, isWild)
    await this.#settle(main)
    return run.id
  }

  #follow(name: string, run: Run, own: boolean): View {
    const view: View = {
      ...{ name, run, own, events: [], agents: new Map(), requests: new Set(), left: false, error: undefined },
      reader: new StepReader(
        run[Symbol.asyncIterator](),
        (event) => this.#took(view, event),
        (error) => {
          view.error = error as MillraceError | undefined
          this.#stage.log(`${name} over ${view.error?.message ?? ''}`)
        },
      ),
    }
    this.#views.push(view)
    return view
  }

  #took(view: View, event: StreamEvent): void {
    this.stats.items++
    if (event.type === 'gap') return this.#fail('gap', `${view.name} ${event.from} to ${event.next}`)
    if (view.events.at(-1) && event.seq <= (view.events.at(-1) as StreamEvent).seq)
      this.#fail('item-twice', `${view.name} item ${event.seq}`)
    view.events.push(event)
    if (event.type === 'agent.start') this.#began(view, event.agent ?? '', event.name)
    if (event.type === 'agent.end') view.agents.delete(event.agent ?? '')
    if (event.type === 'request') view.requests.add(event.id)
  }

  /** A child of the run has begun. Some branches are paused as soon as they are seen. */
  #began(view: View, agent: string, name: string): void {
    view.agents.set(agent, name)
    if (this.#isWild && view.own && name.includes('/') && this.#chance.of(0.2)) this.#pauseBranch(view, agent, name)
  }

  async #step(main: View, isWild: boolean): Promise<void> {
    const { time, network } = this.#stage
    await time.advance(this.#chance.int(40))
    const dice = this.#chance.next()
    if (dice < 0.4) {
      const { busy } = network
      if (busy.length > 0) network.step(this.#chance.pick(busy))
    } else if (dice < 0.65) await time.turn()
    else if (dice < 0.67 && isWild) {
      this.stats.cuts++
      this.#stage.cut()
    } else await this.#people(main, isWild)
    this.#stage.learn()
    await microtasks()
    this.#watchPauses()
    this.#stage.check()
  }

  async #people(main: View, isWild: boolean): Promise<void> {
    if (main.run.id !== undefined && this.#views.length < 3 && this.#chance.of(0.15)) this.#observe(main.run.id)
    const view = this.#chance.pick(this.#views)
    const dice = this.#chance.next()
    if (dice < 0.42 || !view.own) await view.reader.readOn(1 + this.#chance.int(6))
    else if (dice < 0.52) this.#answer(view)
    else if (!isWild) return
    else if (dice < 0.64) this.#cancelBranch(view)
    else if (dice < 0.96) this.#pause(view)
    else if (dice < 0.98) this.#cancel(main)
  }

  #observe(id: string): void {
    const { name, sdk } = this.#chance.pick(this.#clients)
    const policy = name === 'A' && this.#chance.of(0.3) ? 'pace' : 'log'
    const run = sdk.attach('work', id, { policy, after: 'start', credit: 8 + this.#chance.int(56) })
    this.#follow(`${this.#root} view ${this.#views.length}`, run, name === 'A')
  }

  #answer(view: View): void {
    const [request] = view.requests
    if (request === undefined) return
    view.requests.delete(request)
    this.stats.answers++
    view.run.send('answer', { request, value: this.#chance.of(0.7) }).catch(() => {})
  }

  #cancelBranch(view: View): void {
    const agents = [...view.agents.keys()]
    if (agents.length === 0 || view.reader.done) return
    const agent = this.#chance.pick(agents)
    this.stats.branchCancels++
    this.#stage.log(`${view.name} cancels ${view.agents.get(agent) ?? ''}`)
    this.#cancelling++
    const prefix = `${view.agents.get(agent) ?? ''}/`
    const root = this.#root
    view.run.cancel({ agent }).then(
      (receipt) => {
        this.#cancelling--
        if (!receipt.confirmed || receipt.outcome !== 'cancelled' || !receipt.settled) return
        // Its siblings go on, and nothing of it does.
        const goesOn = this.#work.executions.find(
          (one) => one.root === root && one.state === 'under way' && one.id.startsWith(prefix),
        )
        if (goesOn) this.#fail('not-stopped', `${goesOn.id} goes on after the cancel of ${prefix}`)
      },
      (error: unknown) => this.#fail('cancel-rejected', String(error)),
    )
  }

  #cancel(main: View): void {
    if (main.left || main.reader.done) return
    main.left = true
    this.stats.cancels++
    this.#stage.log(`${main.name} cancels the run`)
    this.#cancelling++
    void main.run.cancel().then(() => this.#cancelling--)
  }

  /** Pauses a branch, or lets one go on. */
  #pause(view: View): void {
    const [paused] = this.#paused
    this.stats.orders++
    if (paused && this.#chance.of(0.1)) return this.#resume(view, paused[0])
    const agents = [...view.agents].filter(([, name]) => name.includes('/'))
    if (agents.length === 0 || view.reader.done) return
    this.#pauseBranch(view, ...this.#chance.pick(agents))
  }

  #pauseBranch(view: View, agent: string, name: string): void {
    this.#stage.log(`${view.name} pauses ${name}`)
    view.run.send('govern', { agent, paused: true }).then(
      () => this.#paused.set(agent, { prefix: `${name}/`, executions: this.#work.executions.length }),
      () => {},
    )
  }

  #resume(view: View, agent: string): void {
    this.#paused.delete(agent)
    view.run.send('govern', { agent, paused: false }).catch(() => {})
  }

  /** No step begins in a branch that is paused. */
  #watchPauses(): void {
    for (const { prefix, executions } of this.#paused.values()) {
      const begun = this.#work.executions.slice(executions).find(({ id }) => id.startsWith(prefix))
      if (begun) this.#fail('not-paused', `${begun.id} has begun in the paused branch ${prefix}`)
    }
  }

  /** Nothing breaks any more, and everybody reads and answers: all must end. */
  async #settle(main: View): Promise<void> {
    this.#isWild = false
    this.#paused.clear()
    for (let round = 1; round < 400; round++) {
      this.#stage.learn(true)
      for (const view of this.#views) {
        if (view.left || view.reader.done) continue
        await view.reader.readOn(64)
        if (!view.own) continue
        for (const agent of round % 4 === 1 ? [undefined, ...view.agents.keys()] : [])
          view.run.send('govern', { ...(agent !== undefined && { agent }), paused: false }).catch(() => {})
        this.#answer(view)
        // A call of an agent may wait for its turn; nothing else takes people to end.
      }
      await this.#stage.flush(40)
      await this.#stage.time.advance(round % 6 === 0 ? 2_000 : 50)
      this.#stage.check()
      const isRead = this.#views.every(({ left, reader }) => left || reader.done)
      if (isRead && this.#server.liveRuns === 0 && this.#cancelling === 0) return
    }
    this.#fail('never-ended', `${main.name}: ${this.#server.liveRuns} runs go on, ${this.#cancelling} cancels wait`)
    this.#stage.check()
  }

  // --- what must hold

  /** Checks a run that has ended. Returns whether it is done. */
  async #check(id: string, retryOf: string | undefined, before: number): Promise<boolean> {
    const { sdk } = this.#clients[0] as Person
    const view = this.#follow('truth', sdk.attach('work', id, { policy: 'log', after: 'start', credit: 64 }), true)
    for (let round = 0; round < 200 && !view.reader.done; round++) {
      this.#stage.learn(true)
      await view.reader.readOn(64)
      await this.#stage.flush(20)
      await this.#stage.time.advance(20)
    }
    if (!view.reader.done) this.#fail('unreadable', id)
    const end = await Promise.race([view.run.end, microtasks()])
    if (!end) throw this.#stage.fail('no-end', id)
    const story = storyOf(view.events)
    checkStory(story, end, (kind, detail) => this.#fail(kind, detail))
    this.#checkExecutions(story.done, retryOf !== undefined, before)
    for (const other of this.#views) {
      if (other === view || other.left) continue
      // When an item arrived is no part of it.
      const words = (events: readonly StreamEvent[]): string => JSON.stringify(events.map(({ at: _, ...said }) => said))
      if (words(other.events) !== words(view.events)) this.#fail('two-stories', `${other.name} saw something else`)
      const seen = await Promise.race([other.run.end, microtasks()])
      if (JSON.stringify(seen) !== JSON.stringify(end)) this.#fail('two-ends', other.name)
    }
    this.#stage.check()
    return end.outcome === 'done'
  }

  /** What was done in the run before is not done again, and what is said to be done was. */
  #checkExecutions(done: ReadonlySet<string>, isRetry: boolean, before: number): void {
    const own = this.#work.executions.slice(before)
    const times = new Map<string, number>()
    for (const { id, state } of own) {
      if (state === 'under way') this.#fail('orphan-step', id)
      if (state === 'done') times.set(id, (times.get(id) ?? 0) + 1)
    }
    for (const [id, n] of times) if (n > 1) this.#fail('done-twice', `${id} ${n} times`)
    if (isRetry)
      for (const { id } of own)
        if (this.#doneBefore.has(id)) this.#fail('done-again', `${id} was done in an earlier run`)
    for (const id of done) this.#doneBefore.add(id)
  }

  readonly #doneBefore = new Set<string>()

  #fail(kind: string, detail: string): void {
    this.#stage.fail(kind, detail)
  }
}
