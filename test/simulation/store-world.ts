import { type Client, createClient, MillraceError, type Run, type StreamEvent } from '../../client-sdk/index.ts'
import { type Actor, createServer, type MillraceServer } from '../../server/index.ts'
import type { Durability } from '../../server/runs/journal.ts'
import type { FailingStore } from '../helpers/failing-store.ts'
import { quiet } from '../helpers/server.ts'
import { type Life, Lives } from './lives.ts'
import type { Tamper } from './network.ts'
import { byName, PATIENT, Stage, StepReader } from './stage.ts'
import { type Kind, type Plan, SAID, StoredActors, type Workplace } from './stored-actors.ts'
import { type Chance, microtasks, type VirtualTime } from './virtual-time.ts'

const LIMITS = { ...PATIENT, initialCredit: 6, maxCredit: 10, readAhead: 3, cancelGraceMs: 500 } as const
/** The longest time for which a disk is full. */
const MOST_FULL_MS = 3_000
/** After this time and so many loop turns without a fault, a store has what it was given. */
const CALM_MS = 1_500
const CALM_TURNS = 12
/** Restarts in one world. */
const MOST_RESTARTS = 4

type Actors = Record<Kind, Actor>

/** One consumer of a run, and what it has of it: without what was void. */
type View = {
  readonly name: string
  readonly client: SimClient
  readonly run: Run
  readonly kind: Kind
  readonly plan: Plan
  readonly reader: StepReader<StreamEvent>
  items: { readonly seq: number; readonly value: string }[]
  position: number
  /** The tool call that it saw a request for, and when. */
  asked: string | undefined
  askedAt: number
  askedTurn: number
  left: 'no' | 'cancelled'
  error: MillraceError | undefined
  end: { readonly outcome: string; readonly seq: number } | undefined
}

type SimClient = { readonly name: string; readonly sdk: Client<Actors>; readonly views: View[] }

/**
 * Servers, one after the other, that have one store: it is slow, it fails before and after it applied something, it is
 * full, and the process dies and begins anew. What clients see must be what is stored, in the end.
 */
export class StoreWorld {
  readonly chance: Chance
  readonly time: VirtualTime
  readonly stats = {
    items: 0,
    kills: 0,
    closes: 0,
    rewinds: 0,
    restored: 0,
    trees: 0,
    paid: 0,
    interrupted: 0,
    faults: 0,
  }
  readonly #stage: Stage
  readonly #durability: Durability
  readonly #lives: Lives<MillraceServer<Actors>>
  readonly #clients: SimClient[] = []
  #restarts = 0
  #names = 0
  /** How often the actor of each run was begun, and its tool was run. */
  readonly #executions = new Map<string, number>()
  readonly #paid = new Map<string, number>()
  /** The child of each boss. */
  readonly #clerks = new Map<string, string>()
  /** Runs whose request somebody has answered. */
  readonly #answered = new Set<string>()
  /** When the store last stopped to fail. */
  #calmSince = 0
  /** Runs that only waited when their process died: they are never interrupted by that. */
  readonly #waited = new Set<string>()
  readonly #keyed = new Set<Plan>()
  /** What every consumer must agree on in the end. */
  readonly #ends = new Map<string, string>()

  constructor(seed: number, tamper?: Tamper) {
    this.#stage = new Stage(seed, tamper)
    this.chance = this.#stage.chance
    this.time = this.#stage.time
    this.#durability = this.chance.pick(['eager', 'logged'])
    this.#lives = new Lives(this.#stage, (store, life) => this.#makeServer(store, life))
  }

  get trace(): readonly string[] {
    return this.#stage.trace
  }

  // --- processes

  #makeServer(store: FailingStore, life: Life): MillraceServer<Actors> {
    return createServer({
      actors: new StoredActors(this.#workplace(life)).all,
      authenticate: byName,
      limits: { ...LIMITS, flushMs: this.chance.pick([0, 4, 20]) },
      runtime: this.time,
      transport: this.#stage.network.transport,
      store,
      durability: this.#durability,
      logger: quiet,
      onError: (error) => life.isOver || this.#unexpected(error),
    })
  }

  #unexpected(error: unknown): void {
    if (!MillraceError.is(error, 'store_unavailable')) this.#stage.failed(error)
  }

  #workplace(life: Life): Workplace {
    return {
      chance: this.chance,
      live: () => life.live(),
      pause: (signal, ms) => life.pause(signal, ms),
      began: ({ run, who }) => {
        const times = (this.#executions.get(run) ?? 0) + 1
        this.#executions.set(run, times)
        if (times > 1) this.#stage.fail('executed-twice', who)
        return { last: 0, isOver: false }
      },
      paid: (run) => {
        const times = (this.#paid.get(run) ?? 0) + 1
        this.#paid.set(run, times)
        this.stats.paid++
        if (times > 1) this.#stage.fail('paid-twice', run)
      },
    }
  }

  /** The process dies, or goes away in order. Another one begins. */
  #restart(): void {
    if (this.#restarts >= MOST_RESTARTS || this.#lives.isRestarting) return
    this.#restarts++
    const isKill = this.chance.of(0.7)
    this.#stage.log(isKill ? 'kill' : 'close')
    if (isKill) {
      this.stats.kills++
      void this.#noteWaiting()
      return this.#lives.kill()
    }
    this.stats.closes++
    this.#lives.close((closed) => this.#patience(closed))
  }

  /** A run that has waited for a while, with a store that did not fail, waits on in the next process. */
  async #noteWaiting(): Promise<void> {
    const before = this.time.now() - CALM_MS
    if (this.#calmSince > before || this.#hasFaults()) return
    for (const { askedAt, askedTurn, run } of this.#views()) {
      const id = run.position?.run ?? ''
      if (
        askedAt > before ||
        this.time.turns < askedTurn + CALM_TURNS ||
        this.#answered.has(id) ||
        (await this.#lives.kept.find(id))?.end
      )
        continue
      this.stats.restored++
      if (this.#clerks.has(id)) this.stats.trees++
      this.#waited.add(id)
    }
  }

  #hasFaults(): boolean {
    const { slowMs, failBefore, failAfter, isFull } = this.#lives.store.faults
    return slowMs > 0 || failBefore > 0 || failAfter > 0 || isFull
  }

  async #patience(closed: Promise<void>): Promise<void> {
    const { turns } = this.time
    await Promise.race([closed, this.#stage.pause(undefined, this.chance.int(2_000))])
    // However fast time passes here, no process meets a deadline before it has done anything.
    while (this.time.turns < turns + CALM_TURNS) await this.#stage.pause(undefined, 50)
  }

  // --- clients

  #addClient(name: string): void {
    const sdk = createClient<Actors>('ws://simulation', {
      token: 'A',
      name,
      runtime: this.time,
      WebSocket: this.#stage.network.WebSocket,
      connectMs: 3_600_000,
    })
    this.#clients.push({ name, sdk, views: [] })
  }

  #start(client: SimClient): void {
    const kind = this.chance.pick<Kind>(['work', 'work', 'payer', 'boss', 'chief'])
    const plan = { who: `${client.name}w${++this.#names}`, items: 1 + this.chance.int(30), silent: this.chance.of(0.2) }
    const key = this.chance.of(0.6) ? plan.who : undefined
    const input = kind === 'work' ? plan : 'go'
    const options = { credit: 1 + this.chance.int(LIMITS.maxCredit), ...(key !== undefined && { key }) }
    this.#follow(client, client.sdk.start(kind, input, options), kind, plan)
    if (key !== undefined) this.#keyed.add(plan)
    const other = this.#clients.find((each) => each !== client)
    if (key !== undefined && other && this.chance.of(0.4))
      this.#follow(other, other.sdk.start(kind, input, { key }), kind, plan)
  }

  #attach(client: SimClient): void {
    const known = this.#views().filter(({ run }) => run.position !== undefined)
    if (known.length === 0) return
    const { run, kind, plan } = this.chance.pick(known)
    const id = run.position?.run ?? ''
    this.#follow(
      client,
      client.sdk.attach(kind, id, { policy: this.chance.pick(['log', 'merge']), after: 0 }),
      kind,
      plan,
    )
  }

  #follow(client: SimClient, run: Run, kind: Kind, plan: Plan): void {
    const view: View = {
      name: `${client.name}v${++this.#names}`,
      client,
      run,
      kind,
      plan,
      reader: new StepReader(
        run[Symbol.asyncIterator](),
        (event) => this.#took(view, event),
        (error) => this.#over(view, error),
      ),
      items: [],
      position: 0,
      asked: undefined,
      askedAt: Number.POSITIVE_INFINITY,
      askedTurn: 0,
      left: 'no',
      error: undefined,
      end: undefined,
    }
    client.views.push(view)
    this.#stage.log(`${view.name} follows ${kind} ${plan.who}`)
  }

  #took(view: View, event: StreamEvent): void {
    if (event.type === 'gap') return this.#rewound(view, event)
    this.stats.items++
    if (event.seq <= view.position) this.#stage.fail('order', `${view.name} item ${event.seq} after ${view.position}`)
    view.position = event.seq
    if (event.type === 'agent.start') this.#begun(view, event.agent ?? '')
    if (event.type === 'request') {
      view.asked = event.call
      view.askedAt = this.time.now()
      view.askedTurn = this.time.turns
    }
    if (event.type === 'token')
      for (const value of event.text.split(';').slice(0, -1)) view.items.push({ seq: event.seq, value })
  }

  /** A boss has one child, whatever happens to its servers. */
  #begun(view: View, clerk: string): void {
    const id = view.run.position?.run ?? ''
    const known = this.#clerks.get(id) ?? clerk
    if (known !== clerk) this.#stage.fail('second-child', `${view.name} ${known} and ${clerk}`)
    this.#clerks.set(id, clerk)
  }

  #rewound(view: View, { from, next, reason }: Extract<StreamEvent, { type: 'gap' }>): void {
    this.#stage.log(`${view.name} gap ${from} ${next} ${reason} at ${view.position}`)
    if (reason !== 'rewound') return void this.#stage.fail('wrong-gap', `${view.name} ${reason} ${from} ${next}`)
    if (next > view.position + 1 && view.kind === 'work')
      this.#stage.fail('silent-loss', `${view.name} goes on at ${next}, it had ${view.position}`)
    if (next <= view.position) {
      this.stats.rewinds++
      if (this.#durability === 'logged')
        this.#stage.fail('lost-what-was-seen', `${view.name} had ${view.position}, ${next} and later are void`)
    }
    view.items = view.items.filter(({ seq }) => seq < next)
    view.position = next - 1
  }

  #over(view: View, error: unknown): void {
    if (error !== undefined) view.error = error as MillraceError
    const id = view.run.position?.run ?? ''
    const isWaiting = this.#waited.has(id) && !this.#answered.has(id) && !this.#isCancelled(id)
    if (MillraceError.is(error, 'interrupted') && isWaiting) this.#stage.fail('wait-interrupted', view.name)
    view.run.end.then(
      ({ outcome, seq }) => {
        if (seq === 0 || !view.run.position) return
        view.end = { outcome, seq }
        const end = `${outcome} at ${seq}`
        const known = this.#ends.get(view.run.position.run) ?? end
        if (known !== end) this.#stage.fail('two-ends', `${view.name} ${end}, others ${known}`)
        this.#ends.set(view.run.position.run, end)
      },
      () => {},
    )
  }

  #approve(view: View): void {
    if (view.asked === undefined || view.reader.done) return
    const id = view.run.position?.run ?? ''
    this.#answered.add(id)
    view.run.send('approve', { call: view.asked, ok: true }).then(
      (status) => {
        this.#stage.log(`${view.name} approval ${status}`)
      },
      () => {},
    )
  }

  #cancel(view: View): void {
    if (view.left !== 'no' || view.reader.done) return
    view.left = 'cancelled'
    this.#stage.log(`${view.name} cancels`)
    void view.run.cancel().catch(() => {})
  }

  /** Somebody cancels it: it does not wait any more, and may have died before its end was stored. */
  #isCancelled(id: string): boolean {
    return this.#views().some(({ run, left }) => run.position?.run === id && left === 'cancelled')
  }

  // --- the world moves

  async #app(): Promise<void> {
    const client = this.chance.pick(this.#clients)
    const live = client.views.filter(({ reader }) => !reader.done)
    if (live.length < 4 && this.chance.of(0.15)) {
      if (this.chance.of(0.7)) this.#start(client)
      else this.#attach(client)
    }
    if (live.length === 0) return
    const view = this.chance.pick(live)
    const dice = this.chance.next()
    if (dice < 0.85) await view.reader.readOn(1 + this.chance.int(6))
    else if (dice < 0.95) this.#approve(view)
    else if (dice < 0.97) this.#cancel(view)
  }

  #disturb(): void {
    const { faults } = this.#lives.store
    const dice = this.chance.next()
    if (dice < 0.3) return this.#stage.cut()
    if (dice < 0.5) return this.#restart()
    this.stats.faults++
    this.#calmSince = this.time.now() + MOST_FULL_MS
    if (dice < 0.6) faults.slowMs = this.chance.pick([0, 5, 200])
    else if (dice < 0.7) faults.failBefore = this.chance.pick([0, 0.3])
    else if (dice < 0.8) faults.failAfter = this.chance.pick([0, 0.3])
    else if (dice < 0.9) this.#lives.store.fillFor(this.chance.int(MOST_FULL_MS))
    else this.#lives.store.loseReplies(1 + this.chance.int(3))
  }

  async #step(): Promise<void> {
    await this.time.advance(this.chance.of(0.02) ? this.chance.int(5_000) : this.chance.int(30))
    const dice = this.chance.next()
    const { network } = this.#stage
    if (dice < 0.45) {
      if (network.busy.length > 0) network.step(this.chance.pick(network.busy))
    } else if (dice < 0.7) {
      await this.time.turn()
    } else if (dice < 0.73) this.#disturb()
    else await this.#app()
    this.#stage.learn()
    await microtasks()
    this.#stage.check()
  }

  /** Nothing breaks any more and every view reads: all must end. */
  async #settle(): Promise<void> {
    this.#stage.log('settling')
    for (let round = 0; round < 400; round++) {
      Object.assign(this.#lives.store.faults, { slowMs: 0, failBefore: 0, failAfter: 0, isFull: false })
      this.#stage.learn(true)
      for (const view of this.#views()) {
        if (view.reader.done) continue
        if (view.plan.silent && view.kind === 'work') this.#cancel(view)
        if (round % 8 === 7) this.#approve(view)
        await view.reader.readOn(8)
      }
      await this.#stage.flush(60)
      await this.time.advance(round % 10 === 9 ? 5_000 : 50)
      this.#stage.check()
      if (!this.#lives.isRestarting && this.#views().every(({ reader }) => reader.done)) return
    }
    for (const view of this.#views())
      if (!view.reader.done) this.#stage.fail('deadlock', `${view.name} at ${view.position}: ${view.client.sdk.status}`)
    this.#stage.check()
  }

  async #finish(): Promise<void> {
    for (const view of this.#views()) await this.#checkView(view)
    this.#stage.check()
    await this.#stage.drive(Promise.all(this.#clients.map(({ sdk }) => sdk.close({ runs: 'cancel' }))))
    await this.#stage.drive(this.#lives.server.close({ drainMs: 0 }))
    this.#stage.check()
  }

  async #checkView(view: View): Promise<void> {
    const { name, plan, error, end, kind } = view
    const id = view.run.position?.run ?? ''
    const stored = await this.#lives.kept.find(id)
    const code = error?.code
    if (code === 'interrupted') this.stats.interrupted++
    if (stored && end && (stored.end?.seq !== end.seq || stored.end.outcome !== end.outcome))
      this.#stage.fail(
        'end-not-stored',
        `${name} ${JSON.stringify(end)}, stored ${JSON.stringify(stored.end?.outcome)}`,
      )
    if (!stored && view.items.length > 0 && this.#durability === 'logged')
      this.#stage.fail('seen-not-stored', `${name} has ${view.items.length} items of a run that is not stored`)
    const isKnown =
      code === undefined ||
      ['cancelled', 'interrupted'].includes(code) ||
      // The process died before the run was stored, or before its key was.
      (['not_found', 'connection_lost'].includes(code) && !stored) ||
      (['store_unavailable', 'draining'].includes(code) && view.items.length === 0)
    if (!isKnown) this.#stage.fail('unexpected-error', `${name} ${code}: ${error?.message}`)
    if (code === 'cancelled' && !this.#views().some((other) => other.plan === plan && other.left === 'cancelled'))
      this.#stage.fail('cancelled-by-nobody', name)
    const values = view.items.map(({ value }) => value)
    for (const other of this.#views()) {
      const both = [id, other.run.position?.run ?? ''].sort()
      if (other.plan === plan && this.#keyed.has(plan) && both[0] !== '' && both[0] !== both[1])
        this.#stage.fail('key-twice', `${name} ${both.join(' ')}`)
    }
    if (kind === 'work') {
      const whole = Array.from({ length: values.length }, (_, i) => `${plan.who}.${i + 1}`)
      if (values.join() !== whole.join()) this.#stage.fail('wrong-items', `${name} has ${values.join(' ')}`)
      if (view.left === 'no' && end?.outcome === 'done' && values.length !== plan.items)
        this.#stage.fail('incomplete', `${name} has ${values.length} of ${plan.items}`)
      return
    }
    const paid = this.#paid.get(kind === 'payer' ? id : (this.#clerks.get(id) ?? '')) ?? 0
    const whole = SAID[kind]
    if (view.left === 'no' && end?.outcome === 'done' && (paid !== 1 || values.join() !== whole.join()))
      this.#stage.fail('wrong-payment', `${name} paid ${paid} times: ${values.join(' ')}`)
    if (paid > 0 && !this.#answered.has(id)) this.#stage.fail('paid-unasked', name)
  }

  async run(steps = 80 + this.chance.int(200)): Promise<void> {
    await this.#stage.drive(this.#lives.begin())
    this.#addClient('a1')
    if (this.chance.of(0.6)) this.#addClient('a2')
    while (steps-- > 0) await this.#step()
    await this.#settle()
    await this.#finish()
  }

  #views(): View[] {
    return this.#clients.flatMap(({ views }) => views)
  }
}
