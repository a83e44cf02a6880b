import { type Client, createClient, type RunEnd, type StreamEvent } from '../../client-sdk/index.ts'
import { type Actor, createServer, MillraceError, type MillraceServer } from '../../server/index.ts'
import { ModelFailure } from '../../server/models/model-failure.ts'
import type { Durability } from '../../server/runs/journal.ts'
import type { RunStore } from '../../server/stores/run-store.ts'
import { quiet } from '../helpers/server.ts'
import { type Life, Lives } from './lives.ts'
import type { Tamper } from './network.ts'
import { RunView } from './run-view.ts'
import { SimTeam } from './sim-teams.ts'
import { SimWorkflow } from './sim-workflows.ts'
import { byName, PATIENT, Stage } from './stage.ts'
import { checkTeam } from './team-story.ts'
import { type Chance, microtasks } from './virtual-time.ts'
import { type ActorRun, WorkLedger } from './work-ledger.ts'
import { checkBranches, checkStory, storyOf } from './workflow-story.ts'

const LIMITS = { ...PATIENT, initialCredit: 8, maxCredit: 64, readAhead: 3, cancelGraceMs: 100 } as const
/** Runs of the same work, each of which begins where the one before it failed. */
const MOST_ATTEMPTS = 3
/** Restarts in one run. */
const MOST_RESTARTS = 2
/** How long a run has just gone on. */
const EXCITING_MS = 400
/** How long branches stay paused when all else goes on. */
const PAUSED_ROUNDS = 8
/** What a client learns of a run that has ended with its process. */
const GONE = ['not_found', 'connection_lost', 'interrupted']

type Person = { readonly name: string; readonly sdk: Client }

/** A pause that a branch has accepted: what the ids of its steps begin with, and how much had begun. */
type Pause = { readonly prefix: string; readonly executions: number; readonly requests: number }

/**
 * A workflow or a team that a seed has drawn, on real servers with one store, one after the other, with real clients that
 * stop its branches, let them go, pause them and lose the connection.
 */
export class WorkflowWorld {
  readonly stats = {
    runs: 0,
    teams: 0,
    retries: 0,
    branchCancels: 0,
    cancels: 0,
    letGo: 0,
    orders: 0,
    answers: 0,
    cuts: 0,
    kills: 0,
    closes: 0,
    waited: 0,
    interrupted: 0,
    items: 0,
    done: 0,
  }
  readonly #stage: Stage
  readonly #chance: Chance
  readonly #ledger: WorkLedger
  readonly #lives: Lives<MillraceServer<{ work: Actor }>>
  readonly #durability: Durability
  /** What the work is, in the newest process. */
  #team: SimTeam | undefined
  readonly #clients: Person[] = []
  #views: RunView[] = []
  /** By the ids of the branches. */
  readonly #paused = new Map<string, Pause>()
  /** Branches that somebody has let go on: a pause that was on its way may come later. */
  readonly #resumed = new Set<string>()
  /** Branches that somebody wanted to pause. */
  readonly #everPaused = new Set<string>()
  /** Children that a receipt names as going on, each with the process in which they do. */
  readonly #continuing = new Map<string, number>()
  /** All runs that a list has had. */
  readonly #listed = new Set<string>()
  /** Steps that an earlier run had done, by its log. */
  readonly #doneBefore = new Set<string>()
  /** Cancels without an answer. */
  #cancelling = 0
  #root = ''
  /** People stop and pause, connections break and processes die. */
  #isWild = false
  /** Somebody has let children of this run go: what goes on below a stopped branch may be theirs. */
  #isLettingGo = false
  #restarts = 0
  /** How likely people only read. */
  readonly #patience: number
  /** When somebody answered for the last time. */
  #answeredAt = Number.NEGATIVE_INFINITY
  /** It only waited when its process died for the last time. */
  #hasWaited = false
  /** What its actors had under way then. */
  #left: readonly ActorRun[] = []

  constructor(seed: number, tamper?: Tamper) {
    this.#stage = new Stage(seed, tamper)
    this.#chance = this.#stage.chance
    this.#ledger = new WorkLedger(this.#stage)
    this.#durability = this.#chance.pick(['eager', 'logged'])
    this.#patience = this.#chance.pick([0.42, 0.42, 0.93])
    const isTeam = this.#chance.of(0.4)
    const drawnBy = this.#chance.int(2 ** 30)
    this.#lives = new Lives(this.#stage, (store, life) => {
      const { actor } = isTeam ? this.#makeTeam(life, drawnBy) : this.#makeWorkflow(life, drawnBy)
      return this.#makeServer(actor, store, life)
    })
  }

  get trace(): readonly string[] {
    return this.#stage.trace
  }

  /** How much happened. */
  get counts(): { readonly [what: string]: number } {
    const { executions, runs } = this.#ledger
    return { ...this.stats, steps: executions.length, actorRuns: runs.size }
  }

  async run(): Promise<void> {
    await this.#stage.drive(this.#lives.begin())
    for (const name of ['A', 'A', 'B']) this.#connect(name)
    if (this.#team) this.stats.teams++
    let retryOf: string | undefined
    // The last attempt meets no failure but those that people and their processes cause.
    for (let attempt = 1; attempt <= MOST_ATTEMPTS; attempt++) {
      this.#ledger.isMended = attempt === MOST_ATTEMPTS
      this.#root = `w${attempt}`
      const before = this.#ledger.executions.length
      const id = await this.#once(retryOf, attempt < MOST_ATTEMPTS)
      // Its process died before the store had it.
      if (id === undefined) break
      const isDone = await this.#check(id, retryOf !== undefined, before)
      retryOf = id
      if (!isDone) continue
      this.stats.done++
      break
    }
    const closing = Promise.all(this.#clients.map(({ sdk }) => sdk.close({ runs: 'cancel' })))
    await this.#stage.drive(closing.then(() => this.#lives.server.close({ drainMs: 0 })))
    this.#stage.check()
  }

  // --- processes

  #makeTeam(life: Life, drawnBy: number): SimTeam {
    this.#team = new SimTeam(this.#stage, this.#ledger, life, drawnBy)
    return this.#team
  }

  #makeWorkflow(life: Life, drawnBy: number): SimWorkflow {
    return new SimWorkflow(this.#stage, this.#ledger, life, drawnBy)
  }

  #makeServer(work: Actor, store: RunStore, life: Life): MillraceServer<{ work: Actor }> {
    return createServer<{ work: Actor }>({
      actors: { work },
      authenticate: byName,
      limits: { ...LIMITS, flushMs: this.#chance.pick([0, 4, 20]) },
      runtime: this.#stage.time,
      transport: this.#stage.network.transport,
      store,
      durability: this.#durability,
      logger: quiet,
      onError: (error) => {
        const reported = error instanceof ModelFailure ? error.cause : error
        const isPlanned = reported instanceof Error && reported.message === 'as planned'
        if (!isPlanned && !life.isOver) this.#fail('server-error', String(error))
      },
    })
  }

  /** The process dies, or goes away in order. Another one begins. */
  #restart(): void {
    if (this.#restarts >= MOST_RESTARTS || this.#lives.isRestarting) return
    this.#restarts++
    this.#hasWaited = false
    const isKill = this.#chance.of(0.75)
    this.#stage.log(isKill ? 'kill' : 'close')
    if (isKill) {
      this.stats.kills++
      void this.#noteWaiting()
      return this.#lives.kill()
    }
    this.stats.closes++
    const patienceMs = this.#chance.int(300)
    this.#lives.close((closed) => Promise.race([closed, this.#stage.pause(undefined, patienceMs)]))
  }

  /** A run of which the store knows that it only waits goes on in the next process. */
  async #noteWaiting(): Promise<void> {
    const id = this.#views[0]?.run.id
    const died = this.#ledger.underWay.flatMap((work) => ('isDetached' in work && !work.isDetached ? [work] : []))
    if (id === undefined || !(await this.#lives.kept.find(id))?.parked) return
    this.stats.waited++
    this.#hasWaited = true
    this.#left = died
  }

  // --- one run

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

  /** Starts a run, lives through it, and gives its id once all of it has settled. Undefined: the run is lost. */
  async #once(retryOf: string | undefined, isWild: boolean): Promise<string | undefined> {
    this.#views = []
    this.#paused.clear()
    this.#continuing.clear()
    this.#isLettingGo = this.#hasWaited = false
    this.#restarts = 0
    this.stats.runs++
    if (retryOf !== undefined) this.stats.retries++
    const { sdk } = this.#clients[0] as Person
    const meta = { root: this.#root, ...(retryOf !== undefined && { retryOf }) }
    const policy = this.#chance.of(0.7) ? 'pace' : 'log'
    const options = { policy, credit: 4 + this.#chance.int(60), onDetach: 'continue', meta } as const
    this.#lives.store.faults.slowMs = this.#chance.pick([0, 0, 20, 200])
    const main = this.#follow('main', sdk.start('work', this.#root, options), true)
    this.#isWild = isWild
    for (let steps = isWild ? 20 + this.#chance.int(80) : 8; steps > 0; steps--) await this.#step(main)
    await this.#settle()
    const id = main.run.id
    const stored = id === undefined ? undefined : await this.#lives.kept.find(id)
    if (id !== undefined && stored) return id
    // Nobody was asked for a run that was cancelled before.
    if (id === undefined && main.left) return undefined
    if (this.#restarts === 0 || (this.#durability === 'logged' && main.events.length > 0))
      this.#fail('run-lost', `${String(id)} with ${main.events.length} items`)
    this.#stage.check()
    return undefined
  }

  /** @param isStored whether the store has the run, and not that of another one only. */
  #follow(name: string, run: RunView['run'], own: boolean, isStored = true): RunView {
    const callbacks = {
      stage: this.#stage,
      isLogged: this.#durability === 'logged',
      took: (view: RunView, event: StreamEvent) => this.#took(view, event),
    }
    const view = new RunView(callbacks, `${this.#root} ${name}`, run, own, isStored)
    this.#views.push(view)
    return view
  }

  /** Some branches are paused as soon as they are seen. */
  #took(view: RunView, event: StreamEvent): void {
    this.stats.items++
    if (event.type === 'agent.end') this.#ledger.ended.add(event.agent ?? '')
    // A member of a team may do several tasks.
    if (event.type === 'agent.start' && !this.#team) this.#ledger.isStep(event.agent ?? '', this.#root, event.name)
    if (event.type !== 'agent.start' || !this.#isWild || !view.own || !isBranch(event.name)) return
    if (this.#chance.of(0.2)) this.#pauseBranch(view, event.agent ?? '', event.name)
  }

  async #step(main: RunView): Promise<void> {
    const { time, network } = this.#stage
    await time.advance(this.#chance.int(40))
    const dice = this.#chance.next()
    if (dice < 0.4) {
      const { busy } = network
      if (busy.length > 0) network.step(this.#chance.pick(busy))
    } else if (dice < 0.65) await time.turn()
    else if (dice < 0.67 && this.#isWild) {
      this.stats.cuts++
      this.#stage.cut()
    } else if (dice < (this.#isExciting(main) ? 0.74 : 0.68) && this.#isWild) this.#restart()
    else await this.#people(main)
    this.#stage.learn()
    await microtasks()
    this.#watchPauses()
    this.#stage.check()
  }

  /** It waits for somebody, or has just gone on. */
  #isExciting(main: RunView): boolean {
    return main.requests.size > 0 || this.#stage.time.now() - this.#answeredAt < EXCITING_MS
  }

  async #people(main: RunView): Promise<void> {
    if (main.run.id !== undefined && this.#views.length < 3 && this.#chance.of(0.15)) this.#observe(main.run.id)
    const view = this.#chance.pick(this.#views)
    const dice = this.#chance.next()
    if (dice < this.#patience || !view.own) await view.reader.readOn(1 + this.#chance.int(6))
    else this.#act(main, view)
  }

  #act(main: RunView, view: RunView): void {
    const dice = this.#chance.next()
    if (dice < 0.1) this.#answer(view)
    else if (!this.#isWild) return
    else if (dice < 0.3) this.#cancelBranch(view)
    else if (dice < 0.9) this.#pause(view)
    else if (dice < 0.94) this.#cancel(main, true)
    else if (dice < 0.97) this.#cancel(main, false)
    else this.#cancelAlone(view)
  }

  #observe(id: string): void {
    const { name, sdk } = this.#chance.pick(this.#clients)
    const policy = name === 'A' && this.#chance.of(0.3) ? 'pace' : 'log'
    const run = sdk.attach('work', id, { policy, after: 'start', credit: 8 + this.#chance.int(56) })
    this.#follow(`view ${this.#views.length}`, run, name === 'A')
  }

  #answer(view: RunView): void {
    const [request] = view.requests
    if (request === undefined) return
    view.requests.delete(request)
    this.stats.answers++
    this.#answeredAt = this.#stage.time.now()
    view.run.send('answer', { request, value: this.#chance.of(0.7) }).catch(() => {})
  }

  // --- cancels

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

  #cancelBranch(view: RunView): void {
    const agents = [...view.agents.keys()]
    if (agents.length === 0 || view.reader.done) return
    const agent = this.#chance.pick(agents)
    this.stats.branchCancels++
    this.#stage.log(`${view.name} cancels ${view.agents.get(agent) ?? ''}`)
    this.#ledger.stopped.add(agent)
    const prefix = `${view.agents.get(agent) ?? ''}/`
    const root = this.#root
    this.#watch(view.run.cancel({ agent }), (receipt) => {
      if (receipt.confirmed) this.#ledger.ended.add(agent)
      if (!receipt.confirmed || receipt.outcome !== 'cancelled' || !receipt.settled) return
      if (this.#ledger.isUnderWay(agent)) this.#fail('not-stopped', `${agent} goes on after its cancel`)
      if (this.#isLettingGo) return
      // Its siblings go on, and nothing of it does.
      const goesOn = this.#ledger.underWay.find(
        (one) => 'root' in one && one.root === root && one.id.startsWith(prefix),
      )
      if (goesOn) this.#fail('not-stopped', `${goesOn.id} goes on after the cancel of ${prefix}`)
    })
  }

  /** Cancels the whole run: with all that it has begun, or alone. */
  #cancel(main: RunView, cascade: boolean): void {
    if (main.isOver) return
    main.left = true
    this.stats.cancels++
    this.#stage.log(`${main.name} cancels the run${cascade ? '' : ' alone'}`)
    if (!cascade) this.#letsGo()
    const root = this.#root
    const { number } = this.#lives.life
    this.#watch(main.run.cancel({ cascade }), (receipt) => {
      if (!receipt.confirmed || receipt.outcome !== 'cancelled') return
      this.#noteContinuing(receipt.continuing, number)
      if (cascade) for (const id of receipt.continuing ?? []) this.#checkDeclared(id)
      if (!cascade && receipt.continuing) return
      if (!receipt.settled || this.#isLettingGo) return
      const goesOn = this.#ledger.underWay.find((one) => 'root' in one && one.root === root)
      if (goesOn) this.#fail('not-stopped', `${goesOn.id} goes on after the cancel of its run`)
    })
  }

  /** Cancels a branch, or another child, without what that has begun. */
  #cancelAlone(view: RunView): void {
    const agents = [...view.agents.keys()]
    if (agents.length === 0 || view.reader.done) return
    const agent = this.#chance.pick(agents)
    this.#stage.log(`${view.name} cancels ${view.agents.get(agent) ?? ''} alone`)
    this.#letsGo()
    this.#ledger.stopped.add(agent)
    const { sdk } = this.#clients[0] as Person
    const alone = this.#follow(`alone ${agent}`, sdk.attach('work', agent, { policy: 'log' }), true, false)
    alone.left = true
    const { number } = this.#lives.life
    this.#watch(alone.run.cancel({ cascade: false }), (receipt) => {
      if (!receipt.confirmed) return
      this.#ledger.ended.add(agent)
      if (receipt.outcome === 'cancelled') this.#noteContinuing(receipt.continuing, number)
    })
  }

  /** A child outlives its parent only by declaration, or where somebody has let it go. */
  #checkDeclared(id: string): void {
    if (!this.#isLettingGo && !this.#ledger.runs.get(id)?.isDetached) this.#fail('undeclared', id)
  }

  #letsGo(): void {
    this.#isLettingGo = true
    this.#paused.clear()
  }

  /** @param life the process that was asked. Another one may answer, from the store, and has none of these children. */
  #noteContinuing(ids: readonly string[] | undefined, life: number): void {
    for (const id of ids ?? []) {
      this.stats.letGo++
      this.#continuing.set(id, life)
    }
  }

  // --- pauses

  /** Pauses a branch, or lets one go on. */
  #pause(view: RunView): void {
    const [paused] = this.#paused
    this.stats.orders++
    if (paused && this.#chance.of(0.1)) return this.#resume(view, paused[0])
    const agents = [...view.agents].filter(([, name]) => isBranch(name))
    if (agents.length === 0 || view.reader.done) return
    this.#pauseBranch(view, ...this.#chance.pick(agents))
  }

  #pauseBranch(view: RunView, agent: string, name: string): void {
    this.#stage.log(`${view.name} pauses ${name}`)
    this.#everPaused.add(agent)
    view.run.send('govern', { agent, paused: true }).then(
      () => {
        const { executions, requests } = this.#ledger
        if (!this.#isLettingGo && !this.#resumed.has(agent))
          this.#paused.set(agent, {
            prefix: `${name}/`,
            executions: executions.length,
            requests: requests.length,
          })
      },
      () => {},
    )
  }

  #resume(view: RunView, agent: string): void {
    this.#paused.delete(agent)
    this.#resumed.add(agent)
    view.run.send('govern', { agent, paused: false }).catch(() => {})
  }

  /** No step begins in a branch that is paused, and no agent that is paused asks its model. */
  #watchPauses(): void {
    for (const [agent, { prefix, executions, requests }] of this.#paused) {
      if (this.#ledger.requests.slice(requests).includes(agent)) this.#fail('not-paused', `${agent} asks its model`)
      const begun = this.#ledger.executions.slice(executions).find(({ id }) => id.startsWith(prefix))
      if (begun) this.#fail('not-paused', `${begun.id} has begun in the paused branch ${prefix}`)
    }
  }

  // --- the end

  /** Nothing breaks any more, and everybody reads and answers: all must end. */
  async #settle(): Promise<void> {
    this.#isWild = false
    this.#lives.store.faults.slowMs = 0
    let isListed = false
    for (let round = 1; round < 400; round++) {
      this.#stage.learn(true)
      if (round % 8 === 1 && !this.#lives.isRestarting) this.#list((hasLive) => (isListed = !hasLive))
      for (const view of this.#views) await this.#goOn(view)
      // What is paused stays so for a while, in which all others go on.
      if (round === PAUSED_ROUNDS) this.#paused.clear()
      if (round > PAUSED_ROUNDS && round % 4 === 1) this.#letGoOn()
      await this.#stage.flush(40)
      await this.#stage.time.advance(round % 6 === 0 ? 2_000 : 50)
      this.#watchPauses()
      this.#stage.check()
      const isRead = this.#views.every(({ isOver }) => isOver) && isListed
      if (isRead && !this.#lives.isRestarting && this.#lives.server.liveRuns === 0 && this.#cancelling === 0) return
    }
    const waiting = this.#views.filter(({ isOver }) => !isOver).map(({ name }) => name)
    this.#fail(
      'never-ended',
      `${this.#lives.server.liveRuns} runs go on, ${this.#cancelling} cancels wait, and so do ${waiting.join()}`,
    )
    this.#stage.check()
  }

  async #goOn(view: RunView): Promise<void> {
    if (view.isOver) return
    await view.reader.readOn(64)
    if (view.own) this.#answer(view)
  }

  /** Nothing stays paused. And somebody follows each child: one that is not passed on may ask something. */
  #letGoOn(): void {
    const seen = new Set<string>()
    for (const { run, own, isOver, agents } of [...this.#views]) {
      const { id } = run
      if (!own || id === undefined || seen.has(id)) continue
      if (!isOver) seen.add(id)
      if (!isOver && this.#everPaused.has(id)) run.send('govern', { paused: false }).catch(() => {})
      for (const agent of agents.keys()) {
        if (!isOver && this.#everPaused.has(agent)) run.send('govern', { agent, paused: false }).catch(() => {})
        this.#attach(agent, false)
      }
    }
  }

  /** Somebody looks which runs go on, and follows those that nobody follows: they may wait for an answer. */
  #list(listed: (hasLive: boolean) => void): void {
    const { sdk } = this.#clients[0] as Person
    const { number } = this.#lives.life
    sdk.runs().then(
      (runs) => {
        for (const { id } of runs) this.#listed.add(id)
        const live = runs.filter(({ state }) => state !== 'ended')
        listed(live.length > 0)
        for (const { id, actor } of live) {
          // What others have begun has no actor of its own name.
          const isLetGo = actor !== 'work'
          if (isLetGo) this.#checkDeclared(id)
          if (isLetGo && !this.#continuing.has(id)) this.#continuing.set(id, number)
          this.#attach(id, !isLetGo)
          // What a child has begun before a restart is in the log of the run above it.
          const above = this.#views[0]?.run.id
          if (isLetGo && above !== undefined) this.#attach(above, true)
        }
      },
      () => {},
    )
  }

  /** Somebody follows a run, unless somebody does, or did to its end. */
  #attach(id: string, isStored: boolean): void {
    if (this.#views.some(({ run, left, name }) => !left && (run.id === id || name.endsWith(id)))) return
    const { sdk } = this.#clients[0] as Person
    const run = sdk.attach('work', id, { policy: 'log', after: 'start', credit: 64 })
    this.#follow(`found ${id}`, run, true, isStored)
  }

  // --- what must hold

  /** Checks a run that has ended, and those that it let go. Returns whether it is done. */
  async #check(id: string, isRetry: boolean, before: number): Promise<boolean> {
    for (const [child, life] of this.#continuing) await this.#checkLetGo(child, life)
    const { view, end } = await this.#truthOf(id)
    if (!end) throw this.#stage.fail('no-end', id)
    const story = storyOf(view.events)
    const isInterrupted = end.error?.code === 'interrupted'
    checkStory(story, end, (kind, detail) => this.#fail(kind, detail))
    if (!this.#isLettingGo) checkBranches(story, (kind, detail) => this.#fail(kind, detail))
    if (this.#team) checkTeam(this.#team, view.events, end, (kind, detail) => this.#fail(kind, detail))
    if (isInterrupted) {
      this.stats.interrupted++
      if (this.#restarts === 0) this.#fail('interrupted-by-nobody', id)
      if (this.#hasWaited) this.#fail('wait-interrupted', id)
    }
    if (end.outcome === 'done' && this.#hasWaited) this.#checkLeft()
    if (isRetry) {
      const again = story.steps.find((step) => step.status === 'start' && this.#doneBefore.has(step.id))
      if (again) this.#fail('done-again', `${again.id} was done in an earlier run`)
    }
    this.#checkExecutions(isRetry, before)
    for (const done of story.done) this.#doneBefore.add(done)
    if (!this.#team) this.#ledger.finished(story.done)
    await this.#compare(view, end)
    this.#stage.check()
    return end.outcome === 'done'
  }

  /** What waited was begun again, and not only what waited for it. */
  #checkLeft(): void {
    // A branch that people stop or pause may end before that.
    if (this.#isLettingGo || this.#ledger.stopped.size > 0 || this.#everPaused.size > 0) return
    const lost = this.#left.find((run) => this.#ledger.runs.get(run.id) === run)
    if (lost) this.#fail('never-went-on', lost.id)
  }

  /** A child that went on has ended by itself, unless its process did. */
  async #checkLetGo(id: string, life: number): Promise<void> {
    const { view, end } = await this.#truthOf(id, false)
    if (!end) {
      if (life === this.#lives.life.number) this.#fail('let-go-lost', `${id}: ${view.error?.message ?? ''}`)
      return
    }
    if (end.outcome === 'cancelled' && !this.#ledger.stopped.has(id))
      this.#fail('let-go-stopped', `${id} ${JSON.stringify(end.receipt)}`)
    if (!view.isPartial) checkStory(storyOf(view.events), end, (kind, detail) => this.#fail(kind, detail))
    if (life === this.#lives.life.number && !this.#listed.has(id)) this.#fail('not-listed', id)
    await this.#compare(view, end)
  }

  /** What a run says to somebody who reads it from the beginning when all is over. */
  async #truthOf(id: string, isStored = true): Promise<{ view: RunView; end: RunEnd | undefined }> {
    const { sdk } = this.#clients[0] as Person
    const run = sdk.attach('work', id, { policy: 'log', after: 'start', credit: 64 })
    const view = this.#follow(`truth of ${id}`, run, true, isStored)
    for (let round = 0; round < 200 && !view.reader.done; round++) {
      this.#stage.learn(true)
      await view.reader.readOn(64)
      await this.#stage.flush(20)
      await this.#stage.time.advance(20)
    }
    if (!view.reader.done) throw this.#stage.fail('unreadable', id)
    this.#stage.check()
    return { view, end: await endOf(view) }
  }

  /** All who have read a run to its end know the same story, and the same end. */
  async #compare(truth: RunView, end: RunEnd): Promise<void> {
    for (const other of this.#views) {
      if (other === truth || other.run.id !== truth.run.id || other.left) continue
      const seen = await endOf(other)
      if (!seen) {
        this.#fail('end-unseen', `${other.name}: ${other.error?.message ?? ''}`)
        continue
      }
      if (JSON.stringify(seen) !== JSON.stringify(end)) this.#fail('two-ends', other.name)
      if (other.isPartial === truth.isPartial && wordsOf(other.events) !== wordsOf(truth.events))
        this.#fail('two-stories', `${other.name} saw something else`)
    }
  }

  /** What was done in the run before is not done again, and what has begun is over. */
  #checkExecutions(isRetry: boolean, before: number): void {
    for (const { id } of this.#ledger.underWay) this.#fail('orphan', id)
    const times = new Map<string, number>()
    for (const { id, state } of this.#ledger.executions.slice(before)) {
      if (state === 'done') times.set(id, (times.get(id) ?? 0) + 1)
      if (isRetry && this.#doneBefore.has(id)) this.#fail('done-again', `${id} was done in an earlier run`)
    }
    for (const [id, n] of times) if (n > 1) this.#fail('done-twice', `${id} ${n} times`)
  }

  #fail(kind: string, detail: string): void {
    this.#stage.fail(kind, detail)
  }
}

/** A step that is inside of another one, whose name is a path. */
function isBranch(name: string): boolean {
  return name.includes('/')
}

/** The end that a view has seen. Undefined: the run was gone before. */
async function endOf({ run, error }: RunView): Promise<RunEnd | undefined> {
  const end = await Promise.race([run.end.catch(() => undefined), microtasks()])
  const isGone = MillraceError.is(error) && GONE.includes(error.code)
  // Where nobody knows the end, the client says how it lost the run.
  return !end || (isGone && end.seq === 0) ? undefined : end
}

/** What events say. When an item arrived is no part of it. */
function wordsOf(events: readonly StreamEvent[]): string {
  return JSON.stringify(events.map(({ at: _, ...said }) => said))
}
