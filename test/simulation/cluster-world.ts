import { type Client, createClient, MillraceError, type Run, type StreamEvent } from '../../client-sdk/index.ts'
import { type Actor, createServer, type MillraceServer } from '../../server/index.ts'
import type { Durability } from '../../server/runs/journal.ts'
import { RedisStore } from '../../server/stores/redis/redis-store.ts'
import { quiet } from '../helpers/server.ts'
import { watchCredit } from './credit-watch.ts'
import type { Tamper } from './network.ts'
import { POOL, PoolWatch } from './pool-watch.ts'
import { type RedisHost, redisModule } from './redis-host.ts'
import { ProcessProxy, SimProcess } from './sim-process.ts'
import { byName, PATIENT, Stage, StepReader } from './stage.ts'
import { type Kind as ActorKind, type Doing, type Plan, SAID, StoredActors, type Workplace } from './stored-actors.ts'
import { type Chance, microtasks, type VirtualTime } from './virtual-time.ts'

const LIMITS = { ...PATIENT, initialCredit: 6, maxCredit: 10, readAhead: 3, cancelGraceMs: 500 } as const
const LEASE_MS = 2_000
const DEADLINE_MS = 1_000
const PREFIX = 'sim'
/** How long a run that has ended is kept: longer than a world lasts. */
const KEEP_MS = 7_200_000
/** Processes that die or go away in one world, and failures of Redis. */
const MOST_RESTARTS = 4
const MOST_OUTAGES = 4
/** How long people wait before they start a server again that did not start. */
const RESTART_MS = 500

/** What can happen in a world. Each has some of it. */
const FAULTS = [
  'cut',
  'kill',
  'close',
  'freeze',
  'part',
  'lose',
  'slow',
  'break',
  'stall',
  'down',
  'fail over',
  'wipe',
] as const
type Fault = (typeof FAULTS)[number]
/** Those that end no run. */
const HARMLESS: readonly Fault[] = ['cut', 'lose', 'slow', 'break']

/** A `tree` leaves half of its work to a child, and workers of a pool do what is `far`. */
type Kind = ActorKind | 'tree' | 'far'
const KINDS: readonly Kind[] = ['work', 'work', 'work', 'payer', 'payer', 'boss', 'chief', 'tree', 'tree', 'far', 'far']
type Actors = Record<Kind, Actor>
type Outcome = { readonly outcome: string; readonly seq: number }

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
  asked: string | undefined
  left: 'no' | 'cancelling' | 'cancelled'
  approvals: number
  error: MillraceError | undefined
  end: Outcome | undefined
}

type SimClient = { readonly name: string; readonly sdk: Client<Actors>; readonly views: View[] }

/** A server, its process and its access to the store. */
type Node = {
  readonly process: SimProcess
  readonly server: MillraceServer<Actors>
  isListening: boolean
  isClosing: boolean
}

/** An actor at work: that of the run `root`, or a child of it. */
type Execution = Doing & { readonly run: string; readonly root: string; readonly process: SimProcess }

/**
 * Several servers that share one Redis or two, and their clients. Processes die, freeze and are started again, their
 * clocks differ, networks part, hints are lost, and Redis freezes, dies, and comes back with older data or with none.
 */
export class ClusterWorld {
  readonly chance: Chance
  readonly time: VirtualTime
  readonly stats = {
    items: 0,
    kills: 0,
    freezes: 0,
    partitions: 0,
    rewinds: 0,
    paid: 0,
    interrupted: 0,
    cancelled: 0,
    failovers: 0,
    wipes: 0,
    trees: 0,
    pooled: 0,
    refused: 0,
    paced: 0,
  }
  readonly #stage: Stage
  readonly #durability: Durability
  readonly #hosts = new Map<string, RedisHost>()
  readonly #faults: readonly Fault[]
  #nodes: Node[] = []
  readonly #clients: SimClient[] = []
  readonly #executions: Execution[] = []
  readonly #paid = new Map<string, number>()
  /** How many were told that theirs was the answer to a run. */
  readonly #accepted = new Map<string, number>()
  readonly #keyed = new Set<Plan>()
  /** Runs of which Redis has lost something that it had said to have. */
  readonly #rewritten = new Set<string>()
  #isWiped = false
  /** The children of runs, and their parents. */
  readonly #parents = new Map<string, string>()
  readonly #children = new Map<string, string>()
  /** While these began, an answer of Redis could take so long that several tries took longer than a lease. */
  readonly #beganSlowly = new Set<Plan>()
  readonly #pool: PoolWatch
  #restarts = 0
  /** Servers that did not start, and are started again a moment later. */
  #toRestart = 0
  #outages = 0
  #names = 0

  constructor(seed: number, tamper?: Tamper) {
    this.#stage = new Stage(seed, tamper)
    this.chance = this.#stage.chance
    this.time = this.#stage.time
    this.#durability = this.chance.pick(['eager', 'logged'])
    this.#faults = this.chance.of(0.3) ? HARMLESS : FAULTS.filter(() => this.chance.of(0.4))
    const mostWaiting = this.chance.pick([1, 1, 3])
    const shards = this.chance.pick([1, 1, 2])
    this.#pool = new PoolWatch(this.#stage, PREFIX, mostWaiting, shards)
    for (let n = 1; n <= shards; n++) this.#hosts.set(`redis://redis${n}`, this.#pool.makeHost())
    const processes = (): SimProcess[] => this.#nodes.map(({ process }) => process)
    this.#stage.network.host = new ProcessProxy(processes, this.chance)
  }

  get trace(): readonly string[] {
    return this.#stage.trace
  }

  // --- processes

  /** A process begins. */
  async #begin(): Promise<void> {
    const skew = { wallMs: this.chance.int(120_000) - 60_000, rate: this.chance.pick([1, 1, 0.98, 1.02]) }
    const process = new SimProcess(`n${++this.#names}`, this.time, skew)
    const urls = [...this.#hosts.keys()]
    const store = new RedisStore(
      {
        urls: this.chance.of(0.5) ? urls : urls.toReversed(),
        prefix: PREFIX,
        secret: undefined,
        leaseMs: LEASE_MS,
        liveMs: KEEP_MS,
        keepMs: KEEP_MS,
        maxRunBytes: 2 ** 30,
        deadlineMs: DEADLINE_MS,
        lookMs: LEASE_MS,
        isDeaf: false,
        standIn: redisModule(process, this.#hosts),
      },
      process,
    )
    const actors = new StoredActors(this.#workplace(process))
    const server = createServer({
      actors: {
        ...actors.all,
        tree: actors.tree,
        far: this.#pool.actor,
      },
      authenticate: byName,
      limits: { ...LIMITS, flushMs: this.chance.pick([0, 4, 20]) },
      runtime: process,
      transport: process.transport,
      store,
      durability: this.#durability,
      startWithoutStore: this.chance.of(0.5),
      logger: quiet,
      onError: (error) => process.isDead || this.#unexpected(error),
    })
    const node: Node = { process, server, isListening: false, isClosing: false }
    this.#nodes.push(node)
    try {
      await server.listen()
      node.isListening = true
      this.#stage.log(`${process.name} listens`)
      if (this.chance.of(0.6)) this.#work(node)
    } catch (error) {
      this.#unexpected(error)
      await server.close({ drainMs: 0 })
      this.#remove(node)
      this.#toRestart++
      await this.#stage.pause(undefined, RESTART_MS)
      this.#toRestart--
      if (!process.isDead) await this.#begin()
    }
  }

  #beginLater(): void {
    this.#begin().catch((error: unknown) => this.#stage.failed(error))
  }

  #unexpected(error: unknown): void {
    if (!MillraceError.is(error, 'store_unavailable')) this.#stage.failed(error)
  }

  #remove(node: Node): void {
    this.#nodes = this.#nodes.filter((other) => other !== node)
  }

  /** A process dies without a word. */
  #kill(node: Node): void {
    this.#stage.log(`kill ${node.process.name}`)
    this.stats.kills++
    node.process.kill()
    for (const host of this.#hosts.values()) host.drop(node.process)
    this.#remove(node)
    this.#beginLater()
  }

  /** A process goes away in order. */
  #close(node: Node): void {
    this.#stage.log(`close ${node.process.name}`)
    node.isClosing = true
    const { server } = node
    const closing = async (): Promise<void> => {
      void server.close({ drainMs: Number.POSITIVE_INFINITY })
      await this.#stage.pause(undefined, this.chance.int(2_000))
      await server.close({ drainMs: 0 })
      this.#remove(node)
      await this.#begin()
    }
    closing().catch((error: unknown) => this.#stage.failed(error))
  }

  // --- actors

  /** A server works for the pool, too. */
  #work({ process, server }: Node): void {
    const slots = 1 + this.chance.int(2)
    server.work({ pool: POOL, slots }).then(
      () => this.#stage.log(`${process.name} works, ${slots} slots`),
      // One that goes away meanwhile says so.
      (error: unknown) => process.isDead || MillraceError.is(error, 'draining') || this.#unexpected(error),
    )
  }

  #workplace(process: SimProcess): Workplace {
    return {
      chance: this.chance,
      live: () => process.live(),
      pause: (signal, ms) => process.pause(signal, ms),
      began: ({ run, root, who }) => {
        const execution: Execution = { run, root, process, last: 0, isOver: false }
        if (this.#executions.some((other) => other.run === run) && !this.#isRewritten(root))
          this.#stage.fail('executed-twice', `${who} ${run}`)
        this.#executions.push(execution)
        return execution
      },
      paid: (run) => {
        const times = (this.#paid.get(run) ?? 0) + 1
        this.#paid.set(run, times)
        this.stats.paid++
        if (times > 1 && !this.#isRewritten(this.#parents.get(run) ?? run)) this.#stage.fail('paid-twice', run)
      },
    }
  }

  // --- clients

  #addClient(name: string): SimClient {
    const sdk = createClient<Actors>('ws://simulation', {
      token: 'A',
      name,
      runtime: this.time,
      WebSocket: this.#stage.network.WebSocket,
      connectMs: 3_600_000,
    })
    const client = { name, sdk, views: [] }
    this.#clients.push(client)
    return client
  }

  #start(client: SimClient): void {
    const kind = this.chance.pick(KINDS)
    const plan = { who: `${client.name}w${++this.#names}`, items: 1 + this.chance.int(30), silent: this.chance.of(0.2) }
    const key = this.chance.of(0.6) ? plan.who : undefined
    if (this.#isSlow()) this.#beganSlowly.add(plan)
    const input = doesItems(kind) ? plan : 'go'
    const options = { credit: 1 + this.chance.int(LIMITS.maxCredit), ...(key !== undefined && { key }) }
    this.#follow(client, client.sdk.start(kind, input, options), kind, plan)
    if (key === undefined) return
    this.#keyed.add(plan)
    const other = this.#clients.find((each) => each !== client)
    if (other && this.chance.of(0.5)) this.#follow(other, other.sdk.start(kind, input, { key }), kind, plan)
  }

  #attach(client: SimClient): void {
    const known = this.#views().filter(({ run }) => run.position !== undefined)
    if (known.length === 0) return
    const { run, kind, plan } = this.chance.pick(known)
    const policy = this.chance.pick(['log', 'pace'] as const)
    this.#follow(client, client.sdk.attach(kind, idOf(run), { policy, after: 0 }), kind, plan)
  }

  #follow(client: SimClient, run: Run, kind: Kind, plan: Plan): View {
    const view: View = {
      ...{ name: `${client.name}v${++this.#names}`, client, run, kind, plan },
      reader: new StepReader(
        run[Symbol.asyncIterator](),
        (event) => this.#took(view, event),
        (error) => this.#over(view, error),
      ),
      ...{ items: [], position: 0, asked: undefined, left: 'no', approvals: 0, error: undefined, end: undefined },
    }
    client.views.push(view)
    this.#stage.log(`${view.name} follows ${kind} ${plan.who}`)
    return view
  }

  #took(view: View, event: StreamEvent): void {
    if (event.type === 'gap') return this.#rewound(view, event)
    this.stats.items++
    if (event.seq <= view.position) this.#stage.fail('order', `${view.name} item ${event.seq} after ${view.position}`)
    view.position = event.seq
    if (event.type === 'agent.start') this.#begun(view, event.agent ?? '')
    if (event.type === 'request') view.asked = event.call
    if (event.type === 'token')
      for (const value of event.text.split(';').slice(0, -1)) view.items.push({ seq: event.seq, value })
  }

  /** A run has one child, whatever happens to its servers. */
  #begun(view: View, child: string): void {
    const id = idOf(view.run)
    const known = this.#children.get(id) ?? child
    if (known !== child && !this.#isRewritten(id)) this.#stage.fail('second-child', `${id} ${known} and ${child}`)
    if (!this.#children.has(id)) this.stats.trees++
    this.#children.set(id, child)
    this.#parents.set(child, id)
  }

  #rewound(view: View, { from, next, reason }: Extract<StreamEvent, { type: 'gap' }>): void {
    this.#stage.log(`${view.name} gap ${from} ${next} ${reason} at ${view.position}`)
    const isRewritten = this.#isRewritten(idOf(view.run))
    if (reason !== 'rewound' && !isRewritten)
      return void this.#stage.fail('wrong-gap', `${view.name} ${reason} ${from} ${next}`)
    if (next > view.position + 1 && view.kind === 'work' && !isRewritten)
      this.#stage.fail('silent-loss', `${view.name} goes on at ${next}, it had ${view.position}`)
    if (next <= view.position) {
      this.stats.rewinds++
      if (this.#durability === 'logged' && !isRewritten)
        this.#stage.fail('lost-what-was-seen', `${view.name} had ${view.position}, ${next} and later are void`)
    }
    view.items = view.items.filter(({ seq }) => seq < next)
    view.position = next - 1
  }

  #over(view: View, error: unknown): void {
    if (error !== undefined) view.error = error as MillraceError
    this.#stage.log(`${view.name} over: ${view.error?.code ?? 'done'} ${view.error?.message ?? ''}`)
    view.run.end.then(
      ({ outcome, seq }) => {
        if (seq > 0) view.end = { outcome, seq }
      },
      () => {},
    )
  }

  #approve(view: View): void {
    if (view.asked === undefined || view.reader.done) return
    view.approvals++
    view.run.send('approve', { call: view.asked, ok: true }).then(
      (status) => {
        view.approvals--
        this.#stage.log(`${view.name} approval ${status}`)
        const id = idOf(view.run)
        // One that was sent again is told `duplicate`: it was taken as well.
        if (['accepted', 'duplicate'].includes(status)) this.#accepted.set(id, (this.#accepted.get(id) ?? 0) + 1)
      },
      (error: unknown) => {
        view.approvals--
        this.#stage.log(`${view.name} approval: ${String(error)}`)
      },
    )
  }

  #cancel(view: View): void {
    if (view.left !== 'no' || view.reader.done) return
    view.left = 'cancelling'
    this.#stage.log(`${view.name} cancels`)
    view.run.cancel().then(
      (result) => {
        view.left = 'cancelled'
        this.#stage.log(`${view.name} cancelled: ${JSON.stringify(result)}`)
        if (result.confirmed && result.outcome === 'cancelled') this.stats.cancelled++
        // Whoever is told that it is stopped has its end.
        if (result.confirmed && view.end && result.outcome !== view.end.outcome)
          this.#stage.fail('wrong-receipt', `${view.name} ${result.outcome}, its end is ${view.end.outcome}`)
      },
      (error: unknown) => void this.#stage.fail('cancel-failed', `${view.name} ${String(error)}`),
    )
  }

  // --- the world moves

  async #app(): Promise<void> {
    const client = this.chance.pick(this.#clients)
    const live = client.views.filter(({ reader }) => !reader.done)
    if (live.length < 4 && this.chance.of(0.15)) {
      if (this.chance.of(0.6)) this.#start(client)
      else this.#attach(client)
    }
    if (live.length === 0) return
    const view = this.chance.pick(live)
    const dice = this.chance.next()
    if (dice < 0.85) await view.reader.readOn(1 + this.chance.int(6))
    else if (dice < 0.93) this.#approve(view)
    else if (dice < 0.97) this.#cancel(view)
  }

  async #disturb(): Promise<void> {
    if (this.#faults.length === 0) return
    const fault = this.chance.pick(this.#faults)
    const host = this.chance.pick([...this.#hosts.values()])
    if (this.#nodes.length === 0) return
    const node = this.chance.pick(this.#nodes)
    const isUsable = node.isListening && !node.isClosing && !node.process.isFrozen
    switch (fault) {
      case 'cut':
        this.#stage.cut()
        break
      case 'kill':
        if (isUsable && this.#restarts++ < MOST_RESTARTS) this.#kill(node)
        break
      case 'close':
        if (isUsable && this.#restarts++ < MOST_RESTARTS) this.#close(node)
        break
      case 'freeze':
        if (node.process.isFrozen) await this.#thaw(node)
        else if (!node.isClosing) this.#freeze(node)
        break
      case 'part':
        if (this.chance.of(0.4)) host.reconnect()
        else this.#part(node, host)
        break
      case 'lose':
        host.lossRate = this.chance.pick([0, 0.5, 1])
        break
      case 'slow':
        host.latencyMs = this.chance.pick([2, 2, 50, 300])
        if (this.#isSlow()) for (const { run, plan } of this.#views()) if (idOf(run) === '') this.#beganSlowly.add(plan)
        break
      case 'break':
        this.#stage.log('break')
        host.cutAll()
        break
      case 'stall':
      case 'down':
        if (!host.isUp) this.#revive(host)
        else if (this.#outages++ < MOST_OUTAGES) this.#stop(host, fault)
        break
      case 'fail over':
        if (host.hasReplica) this.#failOver(host)
        else host.lag()
        break
      case 'wipe':
        if (this.chance.of(0.3) && this.#outages++ < MOST_OUTAGES) this.#wipe(host)
        break
    }
  }

  #isSlow(): boolean {
    return [...this.#hosts.values()].some(({ latencyMs }) => latencyMs > LEASE_MS / 10)
  }

  #freeze({ process }: Node): void {
    this.#stage.log(`freeze ${process.name}`)
    this.stats.freezes++
    process.freeze()
  }

  #part({ process }: Node, host: RedisHost): void {
    this.#stage.log(`part ${process.name}`)
    this.stats.partitions++
    host.cutOff(process)
  }

  #stop(host: RedisHost, how: 'stall' | 'down'): void {
    this.#stage.log(how)
    if (how === 'stall') host.freeze()
    else host.kill()
  }

  #failOver(host: RedisHost): void {
    this.#stage.log('fail over')
    this.stats.failovers++
    for (const id of host.changedRuns(PREFIX)) this.#rewritten.add(id)
    host.failOver(this.chance.int(400) - 200)
  }

  #wipe(host: RedisHost): void {
    this.#stage.log('wipe')
    this.stats.wipes++
    this.#isWiped = true
    host.wipe()
  }

  async #thaw({ process }: Node): Promise<void> {
    if (!process.isFrozen) return
    this.#stage.log(`thaw ${process.name}`)
    await process.thaw(this.chance.pick(['ran', 'stood']))
  }

  #revive(host: RedisHost): void {
    this.#stage.log('redis is back')
    host.goOn()
  }

  async #step(): Promise<void> {
    await this.time.advance(this.chance.of(0.03) ? this.chance.int(5_000) : this.chance.int(30))
    const dice = this.chance.next()
    const { network } = this.#stage
    if (dice < 0.45) {
      if (network.busy.length > 0) network.step(this.chance.pick(network.busy))
    } else if (dice < 0.7) {
      await this.time.turn()
    } else if (dice < 0.75) await this.#disturb()
    else await this.#app()
    this.#stage.learn()
    await microtasks()
    this.#stage.check()
  }

  /** Nothing breaks any more and every view reads: all must end. */
  async #settle(): Promise<void> {
    this.#stage.log('settling')
    for (const host of this.#hosts.values()) {
      Object.assign(host, { lossRate: 0, latencyMs: 2 })
      host.reconnect()
      this.#revive(host)
    }
    for (const node of [...this.#nodes]) await this.#thaw(node)
    await this.#readAll(true)
  }

  /** Every view reads to its end. */
  async #readAll(acts: boolean): Promise<void> {
    const isOver = (): boolean =>
      this.#toRestart === 0 &&
      this.#nodes.every(({ isListening, isClosing }) => isListening && !isClosing) &&
      this.#views().every(({ reader, left, approvals }) => reader.done && left !== 'cancelling' && approvals === 0)
    for (let round = 0; round < 400; round++) {
      this.#stage.learn(true)
      for (const view of this.#views()) {
        if (view.reader.done) continue
        // One that Redis has lost may wait again for what its end came of, or was begun again behind a cancel.
        const mayWaitAgain = this.#isRewritten(idOf(view.run))
        const isLate = round % 8 === 7
        if (view.plan.silent && doesItems(view.kind) && (acts || (mayWaitAgain && isLate))) this.#cancel(view)
        if ((acts || mayWaitAgain) && isLate) this.#approve(view)
        await view.reader.readOn(8)
      }
      await this.#stage.flush(60)
      await this.time.advance(round % 10 === 9 ? 5_000 : 50)
      this.#stage.check()
      if (isOver()) return
    }
    for (const { name, reader, left, approvals, position, client } of this.#views())
      if (!reader.done || left === 'cancelling' || approvals > 0)
        this.#stage.fail('deadlock', `${name} at ${position}, ${left}, ${approvals} approvals: ${client.sdk.status}`)
    for (const { process, isListening } of this.#nodes)
      if (!isListening) this.#stage.fail('deadlock', `${process.name} does not listen`)
    this.#stage.check()
  }

  /** Somebody who comes late reads every run from its beginning: what others saw must be what is there. */
  async #witness(): Promise<void> {
    const seen = this.#views()
    const witness = this.#addClient('witness')
    const byRun = new Map<string, View>()
    for (const { run, kind, plan } of seen) {
      const id = idOf(run)
      if (id === '' || byRun.has(id)) continue
      byRun.set(id, this.#follow(witness, witness.sdk.attach(kind, id, { policy: 'log', after: 0 }), kind, plan))
    }
    await this.#readAll(false)
    for (const view of seen) this.#checkView(view, byRun.get(idOf(view.run)))
    // Of a start that its client has said again elsewhere, after Redis had lost everything, nobody knows the run.
    const atWork = (): Execution[] =>
      this.#executions.filter(({ root, process, isOver }) => !isOver && !process.isDead && byRun.has(root))
    // One that was cut off hears that it has lost a run when it asks for its lease the next time.
    for (let ms = 0; ms < 2 * LEASE_MS && atWork().length > 0; ms += 100) {
      await this.time.advance(100)
      await this.#stage.flush(60)
    }
    for (const { run, root, process } of atWork())
      this.#stage.fail(run === root ? 'still-executed' : 'orphan', `${run} by ${process.name}`)
    for (const host of this.#hosts.values())
      for (const key of host.keysForEver(PREFIX)) this.#stage.fail('key-for-ever', key)
    this.#stage.check()
  }

  async #watchCredit(): Promise<void> {
    const client = this.#addClient('far')
    const plan = { who: 'credit', items: 200, silent: true }
    const credit = 1 + this.chance.int(LIMITS.maxCredit)
    const view = this.#follow(client, client.sdk.start('far', plan, { credit, policy: 'pace' }), 'far', plan)
    const run = {
      reader: view.reader,
      read: () => view.items.length,
      said: () => this.#executions.find(({ root }) => root === idOf(view.run))?.last ?? 0,
    }
    const window = LIMITS.maxCredit + LIMITS.readAhead
    if (!(await watchCredit(this.#stage, run, 1 + this.chance.int(20), window))) return
    this.stats.paced++
    this.#cancel(view)
    await this.#readAll(false)
  }

  /** Redis has lost something of this run, or all of it: one with a key may have been begun again. */
  #isRewritten(root: string): boolean {
    return this.#isWiped || this.#rewritten.has(root)
  }

  #checkView(view: View, witness: View | undefined): void {
    const { name, plan, error, end, kind, left } = view
    const code = error?.code
    const isRewritten = this.#isRewritten(idOf(view.run))
    if (code === 'interrupted') this.stats.interrupted++
    if (code === 'overloaded') this.stats.refused++
    const values = view.items.map(({ value }) => value)
    const isGone = witness === undefined || witness.error?.code === 'not_found'
    const isKnown =
      code === undefined ||
      ['cancelled', 'interrupted'].includes(code) ||
      // The process died before the run was stored, or before its key was.
      (['not_found', 'connection_lost', 'store_unavailable'].includes(code) && (isGone || isRewritten)) ||
      (['store_unavailable', 'draining'].includes(code) && values.length === 0) ||
      (kind === 'far' &&
        values.length === 0 &&
        (code === 'unavailable' || (code === 'overloaded' && this.#pool.wasFull)))
    if (!isKnown) this.#stage.fail('unexpected-error', `${name} ${code}: ${error?.message}`)
    const isHarmless = this.#faults.every((fault) => HARMLESS.includes(fault))
    // Whose beginning was answered too late has a lease that nobody keeps: another server ends it before it has done anything.
    const wasExecuted = this.#executions.some(({ run }) => run === idOf(view.run))
    if (code === 'interrupted' && isHarmless && (wasExecuted || !this.#beganSlowly.has(plan)))
      this.#stage.fail('interrupted-by-nobody', `${name}: ${error?.message}`)
    if (doesItems(kind)) {
      const whole = Array.from({ length: values.length }, (_, i) => `${plan.who}.${i + 1}`)
      if (values.join() !== whole.join()) this.#stage.fail('wrong-items', `${name} has ${values.join(' ')}`)
    }
    if (isRewritten) return
    const accepted = this.#accepted.get(idOf(view.run)) ?? 0
    if (accepted > 1) this.#stage.fail('answered-twice', `${name}: ${accepted} approvals were accepted`)
    for (const other of this.#views()) {
      const both = [idOf(view.run), idOf(other.run)].sort()
      if (other.plan === plan && this.#keyed.has(plan) && both[0] !== '' && both[0] !== both[1])
        this.#stage.fail('key-twice', `${name} ${both.join(' ')}`)
    }
    if (code === 'cancelled' && !this.#views().some((other) => other.plan === plan && other.left !== 'no'))
      this.#stage.fail('cancelled-by-nobody', name)
    if (isGone) {
      if (values.length > 0 && this.#durability === 'logged')
        this.#stage.fail('seen-not-stored', `${name} has ${values.length} items of a run that nobody has`)
      return
    }
    if (!end || !witness.end) return
    if (end.outcome !== witness.end.outcome || end.seq !== witness.end.seq)
      this.#stage.fail('two-ends', `${name} ${JSON.stringify(end)}, others ${JSON.stringify(witness.end)}`)
    const all = witness.items.map(({ value }) => value)
    // Whoever cancels reads no further, and is not told any more what was void of what it has.
    const isWhole = left === 'no'
    const isVoid = (i: number): boolean => this.#durability === 'eager' && i >= all.length
    if (isWhole ? values.join() !== all.join() : values.some((value, i) => value !== all[i] && !isVoid(i)))
      this.#stage.fail('other-items', `${name} has ${values.join(' ')}, others ${all.join(' ')}`)
    if (end.outcome !== 'done' || !isWhole) return
    if (doesItems(kind)) {
      if (values.length !== plan.items) this.#stage.fail('incomplete', `${name} has ${values.length} of ${plan.items}`)
      return
    }
    const id = idOf(view.run)
    const paid = this.#paid.get(kind === 'payer' ? id : (this.#children.get(id) ?? '')) ?? 0
    if (paid !== 1 || values.join() !== SAID[kind].join())
      this.#stage.fail('wrong-payment', `${name} paid ${paid} times: ${values.join(' ')}`)
  }

  async run(steps = 80 + this.chance.int(200)): Promise<void> {
    const nodes = this.chance.pick([2, 2, 3])
    await this.#stage.drive(Promise.all(Array.from({ length: nodes }, () => this.#begin())))
    this.#addClient('a1')
    this.#addClient('a2')
    while (steps-- > 0) await this.#step()
    await this.#settle()
    await this.#witness()
    this.stats.pooled = this.#pool.size
    if (this.chance.of(0.2)) await this.#watchCredit()
    await this.#stage.drive(Promise.all(this.#clients.map(({ sdk }) => sdk.close({ runs: 'cancel' }))))
    await this.#stage.drive(Promise.all(this.#nodes.map(({ server }) => server.close({ drainMs: 0 }))))
    this.#stage.check()
  }

  #views(): View[] {
    return this.#clients.flatMap(({ views }) => views)
  }
}

/** Whether a run says the items of its plan. */
function doesItems(kind: Kind): kind is 'work' | 'tree' | 'far' {
  return kind === 'work' || kind === 'tree' || kind === 'far'
}

/** The id of a run, or '' if it was not opened. */
function idOf(run: Run): string {
  return run.position?.run ?? ''
}
