import { type Client, createClient, type MillraceError, type Run, type StreamEvent } from '../../client-sdk/index.ts'
import { MillraceError as ServerError } from '../../protocol/errors.ts'
import { validConversation } from '../../server/agents/conversation.ts'
import {
  type Actor,
  type Authenticate,
  agent,
  createServer,
  type Message,
  type MillraceServer,
  type Model,
  type ModelEvent,
  type ModelRequest,
  type ToolContext,
  type ToolProgress,
  tool,
} from '../../server/index.ts'
import { Network, type Tamper } from './network.ts'
import { Violation } from './stage.ts'
import { Chance, microtasks, VirtualTime } from './virtual-time.ts'

/** Small where it makes trouble, and large enough that no item is ever lost: every reader must see the same. */
const LIMITS = {
  initialCredit: 8,
  maxCredit: 16,
  readAhead: 3,
  resumeMs: 3_600_000,
  endedMs: 3_600_000,
  timeoutMs: 3_600_000,
  heartbeatMs: 3_000,
  pongMs: 3_000,
  startsPerSec: 1_000,
  startBurst: 1_000,
  maxConnections: 1_000,
  messagesPerSec: 100_000,
  cancelGraceMs: 100,
  slowMs: 600_000,
} as const
const MAX_ITERATIONS = 4
/** What a tool may take that has a limit: `act` has none, and what hangs there is stopped by people only. */
const TOOL_MS = 400
const APPROVAL_MS = 1_500
/** What a tool does when it is called. */
const DEEDS = ['ok', 'ok', 'slow', 'steps', 'throws', 'fails', 'hangs', 'stubborn', 'huge'] as const
type Deed = (typeof DEEDS)[number]

/** What one run is meant to do, and what its parts inside the server did. */
type Plan = {
  readonly who: string
  readonly turns: number
  readonly breaksOff: boolean
  asked: number
  handedOut: Message[] | undefined
  said: string[]
  /** Calls that somebody asked to cancel who may. */
  readonly cancelled: Set<string>
}

/** One execution of a tool. */
type Execution = { readonly signal: AbortSignal; stoppedAt: number | undefined; overAt: number | undefined }

/** What all readers of a run must agree on. */
type Truth = { readonly items: Map<number, string>; readonly events: Map<number, StreamEvent>; end?: string }

type View = {
  readonly name: string
  readonly plan: Plan
  readonly own: boolean
  readonly run: Run
  readonly iterator: AsyncIterator<StreamEvent, unknown>
  readonly seen: Set<number>
  /** Calls without a result so far, and those that wait for leave. */
  readonly calls: Set<string>
  readonly requests: Set<string>
  reading: boolean
  left: boolean
  done: boolean
  error: MillraceError | undefined
  outcome: string | undefined
}

type Person = { readonly name: string; readonly principal: string; readonly sdk: Client; readonly views: View[] }

/** Agents with tools on a real server, real clients, and a seed that lets everything go wrong that can. */
export class AgentWorld {
  readonly chance: Chance
  readonly time: VirtualTime
  readonly network: Network
  readonly stats = { runs: 0, calls: 0, callCancels: 0, cancels: 0, approvals: 0, messages: 0, cuts: 0, items: 0 }
  readonly trace: string[] = []
  readonly #server: MillraceServer<{ agent: Actor }>
  readonly #people: Person[] = []
  readonly #plans = new Map<string, Plan>()
  readonly #truths = new Map<string, Truth>()
  readonly #executions = new Map<string, Execution>()
  /** Calls that somebody has allowed. */
  readonly #allowed = new Set<string>()
  #names = 0
  #failure: Violation | undefined

  constructor(seed: number, tamper?: Tamper) {
    this.chance = new Chance(seed)
    this.time = new VirtualTime(this.chance)
    this.network = new Network(this.chance, tamper)
    const authenticate: Authenticate = ({ auth }) => ({
      id: String(auth),
      ...(auth === 'B' ? { rights: ['observe'] as const } : {}),
    })
    this.#server = createServer<{ agent: Actor }>({
      actors: { agent: this.#agent() },
      authenticate,
      limits: { ...LIMITS, flushMs: this.chance.pick([0, 4, 20]) },
      runtime: this.time,
      transport: this.network.transport,
      onError: (error) => {
        if (!(error instanceof Error && error.message === 'as planned')) this.#fail('server-error', String(error))
      },
    })
  }

  // --- inside the server

  #agent() {
    const act = (input: unknown, context: ToolContext) => this.#act((input as { deed: Deed }).deed, context)
    const input = {
      '~standard': {
        version: 1 as const,
        vendor: 'test',
        validate: (value: unknown) =>
          DEEDS.includes((value as { deed?: Deed } | null)?.deed as Deed)
            ? { value }
            : { issues: [{ message: 'no such deed' }] },
      },
    }
    const both = { description: 'Acts', input, parameters: { type: 'object' }, timeoutMs: TOOL_MS }
    const asked = (value: unknown, context: ToolContext) => {
      const name = `${context.fence.run}/${context.call}`
      if (!this.#allowed.has(name)) this.#fail('without-leave', name)
      return act(value, context)
    }
    return agent({
      model: this.#model(),
      maxIterations: MAX_ITERATIONS,
      instructions: 'act',
      tools: {
        act: tool({ ...both, timeoutMs: 3_600_000, run: act }),
        ask: tool({ ...both, needsApproval: true, approvalMs: APPROVAL_MS, run: asked }),
        walk: tool({ ...both, run: (value, context) => this.#walk(value, context) }),
      },
      onFinish: (conversation) => {
        const plan = this.#planOf(conversation)
        if (plan.handedOut) this.#fail('handed-out-twice', plan.who)
        plan.handedOut = conversation
        this.#checkConversation(conversation, plan.who)
      },
    })
  }

  #model(): Model {
    const stream = (request: ModelRequest) => this.#answer(request)
    return { id: 'demo:simulated', provider: 'demo', stream }
  }

  async *#answer({ messages, signal }: ModelRequest): AsyncGenerator<ModelEvent> {
    const [system, ...conversation] = messages
    if (system?.role !== 'system') this.#fail('no-instructions', JSON.stringify(system))
    const plan = this.#planOf(conversation)
    this.#checkConversation(conversation, plan.who)
    plan.said = conversation.flatMap(({ role, content }) => (role === 'user' ? [content] : []))
    if (++plan.asked > MAX_ITERATIONS) this.#fail('asked-too-often', plan.who)
    if (this.chance.of(0.3)) await this.#pause(signal)
    for (let n = this.chance.int(5); n > 0; n--) {
      if (this.chance.of(0.2)) await this.#pause(signal)
      const text = `${plan.who}.${plan.asked}.${n} `
      yield this.chance.of(0.2) ? { type: 'thinking', text } : { type: 'text', text }
    }
    if (plan.breaksOff && plan.asked === plan.turns) throw new ServerError('truncated', 'as planned')
    const count = plan.asked < plan.turns ? 1 + this.chance.int(4) : 0
    for (let n = 0; n < count; n++) {
      // Ids that come again, names that nobody has, arguments that do not fit.
      const call = this.chance.of(0.3) ? 'again' : `${plan.who}t${plan.asked}n${n}`
      const name = this.chance.pick(['act', 'act', 'act', 'ask', 'walk', 'nobody'])
      const args = this.chance.of(0.9) ? { deed: this.chance.pick(DEEDS) } : { deed: 'no such' }
      if (this.chance.of(0.5)) yield { type: 'tool.args', call, name, text: JSON.stringify(args) }
      yield { type: 'tool.call', call, name, args }
    }
    yield { type: 'usage', input: messages.length, output: 3 }
    yield { type: 'finish', stop: count > 0 ? 'tool_calls' : 'stop' }
  }

  async #act(deed: Deed, { call, signal, fence }: ToolContext): Promise<unknown> {
    const execution = this.#begin(`${fence.run}/${call}`, signal)
    try {
      switch (deed) {
        case 'ok':
        case 'steps':
          return { deed, call }
        case 'slow':
          await this.#pause(signal)
          return 'slowly'
        case 'throws':
          throw new Error('as planned')
        case 'fails':
          await this.#pause(signal)
          throw new ServerError('tool_failed', 'cannot be done')
        case 'hangs':
          await this.#pause(signal, 3_600_000 * 24)
          return this.#fail('hung-on', call)
        case 'stubborn':
          await this.#pause(undefined, this.chance.int(900))
          return 'at last'
        case 'huge':
          return 'x'.repeat(70_000)
      }
    } finally {
      execution.overAt = this.time.now()
    }
  }

  async *#walk(input: unknown, context: ToolContext): AsyncGenerator<ToolProgress, unknown> {
    const execution = this.#begin(`${context.fence.run}/${context.call}`, context.signal)
    try {
      for (let n = this.chance.int(6); n > 0; n--) {
        yield this.chance.of(0.5) ? 'a step' : { current: n }
        if (this.chance.of(0.5)) await this.#pause(context.signal)
        if (this.chance.of(0.2)) void context.progress('beside the way')
      }
      return input
    } finally {
      execution.overAt = this.time.now()
    }
  }

  #begin(name: string, signal: AbortSignal): Execution {
    this.stats.calls++
    if (this.#executions.has(name)) this.#fail('called-twice', name)
    if (signal.aborted) this.#fail('begun-after-its-stop', name)
    const execution: Execution = { signal, stoppedAt: undefined, overAt: undefined }
    signal.addEventListener('abort', () => (execution.stoppedAt = this.time.now()), { once: true })
    this.#executions.set(name, execution)
    return execution
  }

  #planOf(conversation: readonly Message[]): Plan {
    const plan = this.#plans.get(conversation[0]?.content ?? '')
    if (!plan) throw this.#fail('lost-question', JSON.stringify(conversation[0]))
    return plan
  }

  #checkConversation(conversation: readonly Message[], who: string): void {
    if (JSON.stringify(validConversation(conversation, 'missing')) !== JSON.stringify(conversation))
      this.#fail('invalid-conversation', `${who} ${JSON.stringify(conversation)}`)
    const ids = conversation.flatMap((message) => (message.role === 'tool' ? [message.call] : []))
    if (new Set(ids).size < ids.length) this.#fail('id-twice', `${who} ${ids.join(' ')}`)
  }

  #pause(signal: AbortSignal | undefined, ms = this.chance.int(300)): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = this.time.setTimer(ms, () => {
        signal?.removeEventListener('abort', stop)
        resolve()
      })
      const stop = (): void => {
        timer.clear()
        reject(signal?.reason as Error)
      }
      if (signal?.aborted) return stop()
      signal?.addEventListener('abort', stop, { once: true })
    })
  }

  // --- the people

  #add(name: string, principal: string): void {
    const sdk = createClient('ws://simulation', {
      token: principal,
      name,
      runtime: this.time,
      WebSocket: this.network.WebSocket,
      connectMs: 3_600_000,
    })
    this.#people.push({ name, principal, sdk, views: [] })
  }

  #start(person: Person): void {
    const who = `${person.name}r${++this.#names}`
    const plan: Plan = {
      who,
      turns: 1 + this.chance.int(MAX_ITERATIONS + 2),
      breaksOff: this.chance.of(0.1),
      asked: 0,
      handedOut: undefined,
      said: [],
      cancelled: new Set(),
    }
    this.#plans.set(who, plan)
    this.stats.runs++
    const policy = this.chance.of(0.7) ? 'pace' : 'log'
    const credit = 1 + this.chance.int(LIMITS.maxCredit)
    const onDetach = this.chance.pick(['pause', 'continue'] as const)
    this.#follow(person, plan, person.sdk.start('agent', who, { policy, credit, onDetach }))
  }

  #attach(person: Person): void {
    const known = this.#views.filter(({ run }) => run.id !== undefined)
    if (known.length === 0) return
    const { plan, run } = this.chance.pick(known)
    const credit = 1 + this.chance.int(LIMITS.maxCredit)
    this.#follow(person, plan, person.sdk.attach('agent', run.id ?? '', { credit, policy: 'log' }))
  }

  #follow(person: Person, plan: Plan, run: Run): void {
    const view: View = {
      name: `${person.name}v${++this.#names}`,
      plan,
      own: person.principal === 'A',
      run,
      iterator: run[Symbol.asyncIterator](),
      seen: new Set(),
      calls: new Set(),
      requests: new Set(),
      reading: false,
      left: false,
      done: false,
      error: undefined,
      outcome: undefined,
    }
    person.views.push(view)
    this.#log(`${view.name} follows ${plan.who}`)
  }

  #read(view: View): void {
    if (view.reading || view.done) return
    view.reading = true
    view.iterator.next().then(
      ({ done, value }) => {
        view.reading = false
        if (done) this.#over(view, undefined)
        else this.#took(view, value)
      },
      (error: unknown) => {
        view.reading = false
        this.#over(view, error as MillraceError)
      },
    )
  }

  #took(view: View, event: StreamEvent): void {
    this.stats.items++
    if (view.left) this.#fail('after-leaving', `${view.name} item ${event.seq}`)
    if (event.type === 'gap') return void this.#fail('gap', `${view.name} ${event.from} to ${event.next}`)
    if (view.seen.has(event.seq)) this.#fail('item-twice', `${view.name} item ${event.seq}`)
    view.seen.add(event.seq)
    const { at: _, ...rest } = event
    const text = JSON.stringify(rest)
    const { items, events } = this.#truthOf(view.plan)
    if ((items.get(event.seq) ?? text) !== text)
      this.#fail('two-truths', `${view.name} ${text}, others ${items.get(event.seq) ?? ''}`)
    items.set(event.seq, text)
    events.set(event.seq, event)
    if (event.type === 'tool.call') view.calls.add(event.call)
    if (event.type === 'request' && event.call !== undefined) view.requests.add(event.call)
    if (event.type !== 'tool.result') return
    if (!view.calls.delete(event.call)) this.#fail('orphan-result', `${view.name} ${event.call}`)
    view.requests.delete(event.call)
    if (event.outcome === 'cancelled' && !view.plan.cancelled.has(event.call))
      this.#fail('cancelled-by-nobody', `${view.name} ${event.call}`)
  }

  #over(view: View, error: MillraceError | undefined): void {
    view.done = true
    view.error = error
    this.#log(`${view.name} over ${error?.message ?? ''}`)
    view.run.end.then(
      ({ outcome, seq, iterations, usage }) => {
        if (seq === 0) return
        view.outcome = outcome
        const truth = this.#truthOf(view.plan)
        const end = JSON.stringify({ outcome, seq, iterations, usage })
        truth.end ??= end
        if (truth.end !== end) this.#fail('two-ends', `${view.name} ${end}, others ${truth.end}`)
      },
      () => {},
    )
  }

  #truthOf({ who }: Plan): Truth {
    let truth = this.#truths.get(who)
    if (!truth) this.#truths.set(who, (truth = { items: new Map(), events: new Map() }))
    return truth
  }

  #cancel(view: View): void {
    if (view.left || view.done) return
    this.stats.cancels++
    view.left = true
    this.#log(`${view.name} cancels`)
    void view.run.cancel().then((receipt) => {
      if (receipt.confirmed && receipt.outcome === 'cancelled') {
        const both = receipt.tools.filter((call) => receipt.unsettled.includes(call))
        if (both.length > 0) this.#fail('stopped-and-not', both.join(' '))
      }
    })
  }

  #cancelCall(view: View, call = [...view.calls][0]): void {
    if (call === undefined || view.left || view.done) return
    this.stats.callCancels++
    this.#log(`${view.name} cancels ${call}`)
    if (view.own) view.plan.cancelled.add(call)
    void view.run.cancel({ call }).then((receipt) => {
      const execution = this.#executions.get(`${view.run.id ?? ''}/${call}`)
      if (!receipt.confirmed) {
        const goesOn = execution && execution.overAt === undefined && execution.stoppedAt === undefined
        if (receipt.code === 'not_found' && view.own && goesOn) this.#fail('not-found', `${view.name} ${call} goes on`)
        return
      }
      if (receipt.outcome !== 'cancelled') return
      if (!execution) return
      const { stoppedAt = Number.NaN, overAt = Number.POSITIVE_INFINITY } = execution
      if (receipt.settled !== overAt - stoppedAt <= LIMITS.cancelGraceMs)
        this.#fail('receipt-lies', `${call} settled ${receipt.settled}, stopped ${stoppedAt}, over ${overAt}`)
    })
  }

  #approve(view: View): void {
    const [call] = view.requests
    if (call === undefined || view.left || view.done) return
    this.stats.approvals++
    const ok = this.chance.of(0.6)
    if (ok && view.own) this.#allowed.add(`${view.run.id ?? ''}/${call}`)
    view.run.send('approve', { call, ok, note: 'so' }).catch(() => {})
    view.requests.delete(call)
  }

  #say(view: View): void {
    if (view.left || view.done || !view.own) return
    const words = `m${++this.#names}`
    const { plan } = view
    this.stats.messages++
    view.run.send('message', words).then(
      () => {
        if (plan.said.filter((other) => other === words).length > 1) this.#fail('told-twice', words)
      },
      () => {},
    )
  }

  // --- the world moves

  async #app(): Promise<void> {
    const person = this.chance.pick(this.#people)
    const live = person.views.filter(({ done }) => !done)
    if (live.length < 3 && this.chance.of(0.15)) {
      if (person.name === 'a1') this.#start(person)
      else this.#attach(person)
    }
    if (live.length === 0) return
    const view = this.chance.pick(live)
    const dice = this.chance.next()
    if (dice < 0.62) {
      for (let n = 1 + this.chance.int(8); n > 0; n--) {
        this.#read(view)
        await microtasks()
      }
    } else if (dice < 0.72) this.#cancelCall(view)
    else if (dice < 0.84) this.#approve(view)
    else if (dice < 0.9) this.#say(view)
    else if (dice < 0.92) this.#cancel(view)
    else if (dice < 0.95) view.run.pause()
    else view.run.resume()
  }

  #disturb(): void {
    const open = this.network.links.filter((link) => link.isOpen && !link.dead)
    if (open.length === 0) return
    const link = this.chance.pick(open)
    this.stats.cuts++
    this.#log('cut')
    link.cut()
    if (this.chance.of(0.5)) link.tellClient(1006)
    else if (this.chance.of(0.5)) link.tellServer(1006)
  }

  #learn(always = false): void {
    for (const link of this.network.links) {
      if (link.dead && (always || this.chance.of(0.05))) {
        link.tellClient(1006)
        link.tellServer(1006)
      }
      if (!link.clientKnows && link.up.length === 0 && (always || this.chance.of(0.1))) link.tellServer(1005)
    }
    this.network.sweep()
  }

  async #step(): Promise<void> {
    await this.time.advance(this.chance.int(40))
    const dice = this.chance.next()
    if (dice < 0.4) {
      const { busy } = this.network
      if (busy.length > 0) this.network.step(this.chance.pick(busy))
    } else if (dice < 0.65) await this.time.turn()
    else if (dice < 0.67) this.#disturb()
    else await this.#app()
    this.#learn()
    await microtasks()
    this.#check()
  }

  /** Nothing breaks any more and everybody reads: all must end. */
  async #settle(): Promise<void> {
    for (let round = 0; round < 300; round++) {
      this.#learn(true)
      for (const view of this.#views) {
        if (view.left || view.done) continue
        view.run.resume()
        for (let n = 0; n < 8; n++) {
          this.#read(view)
          await microtasks()
        }
        if (round % 10 === 9) for (const call of view.calls) if (view.own) this.#cancelCall(view, call)
      }
      await this.#flush(40)
      await this.time.advance(round % 10 === 9 ? 2_000 : 50)
      this.#check()
      if (this.#views.every(({ left, done }) => left || done) && this.#server.liveRuns === 0) return
    }
    for (const { left, done, name } of this.#views) if (!left && !done) this.#fail('never-ended', name)
    if (this.#server.liveRuns > 0) this.#fail('slot-lost', `${this.#server.liveRuns} runs have not settled`)
    this.#check()
  }

  async #flush(most: number): Promise<void> {
    for (let n = 0; n < most; n++) {
      const { busy } = this.network
      for (const link of busy) this.network.step(link)
      if ((await this.time.turn()) === 0 && busy.length === 0) return
    }
  }

  /** What must hold when all is over. */
  async #finish(): Promise<void> {
    for (const plan of this.#plans.values()) this.#checkTranscript(plan)
    for (const [name, { overAt }] of this.#executions) if (overAt === undefined) this.#fail('orphan-tool', name)
    let closed = false
    const closing = Promise.all(this.#people.map(({ sdk }) => sdk.close({ runs: 'cancel' })))
      .then(() => this.#server.close({ drainMs: 0 }))
      .finally(() => (closed = true))
    for (let n = 0; n < 500 && !closed; n++) {
      this.#learn(true)
      await this.#flush(20)
      await this.time.advance(50)
    }
    if (!closed) this.#fail('close-hangs', 'the end did not come')
    else await closing
    this.#check()
  }

  #checkTranscript(plan: Plan): void {
    const { events, end } = this.#truthOf(plan)
    const views = this.#views.filter((view) => view.plan === plan)
    for (const view of views) {
      if (view.outcome !== undefined && !view.left && view.seen.size !== events.size)
        this.#fail('incomplete', `${view.name} saw ${view.seen.size} of ${events.size}`)
      const code = view.error?.code
      if (code !== undefined && !['cancelled', 'max_iterations', 'truncated', 'not_found'].includes(code))
        this.#fail('unexpected-error', `${view.name} ${code}: ${view.error?.message ?? ''}`)
      if (code === 'not_found' && view.own) this.#fail('lost-run', view.name)
    }
    if (plan.asked > 0 && !plan.handedOut) this.#fail('not-handed-out', plan.who)
    if (end === undefined) return
    const { outcome, iterations, usage } = JSON.parse(end) as {
      outcome: string
      iterations?: number
      usage?: { output: number }
    }
    if (outcome !== 'done') return
    const all = [...events.entries()].sort(([a], [b]) => a - b).map(([, event]) => event)
    // Nobody need have read all of it: then nothing can be counted.
    if (!views.some((view) => view.outcome === 'done' && !view.left)) return
    const open = new Set<string>()
    for (const event of all) {
      if (event.type === 'tool.call') open.add(event.call)
      if (event.type === 'tool.result' && !open.delete(event.call)) this.#fail('orphan-result', event.call)
      if (event.type === 'iteration.end' && open.size > 0) this.#fail('orphan-call', [...open].join(' '))
    }
    if (open.size > 0) this.#fail('orphan-call', [...open].join(' '))
    const count = (type: StreamEvent['type']): number => all.filter((event) => event.type === type).length
    if (count('iteration') !== iterations || count('iteration.end') !== iterations)
      this.#fail('miscounted', `${plan.who} ${iterations ?? 0} iterations`)
    if (usage?.output !== count('usage') * 3) this.#fail('misspent', plan.who)
    const text = all.map((event) => (event.type === 'token' ? event.text : '')).join('')
    const kept = (plan.handedOut ?? []).map((message) => (message.role === 'assistant' ? message.content : '')).join('')
    if (text !== kept) this.#fail('text-not-kept', `${plan.who} said ${text}, kept ${kept}`)
  }

  async run(steps = 100 + this.chance.int(200)): Promise<void> {
    await this.#server.listen()
    this.#add('a1', 'A')
    this.#add('a2', 'A')
    if (this.chance.of(0.5)) this.#add('b1', 'B')
    if (this.#people[0]) this.#start(this.#people[0])
    while (steps-- > 0) await this.#step()
    await this.#settle()
    await this.#finish()
  }

  get #views(): View[] {
    return this.#people.flatMap(({ views }) => views)
  }

  #check(): void {
    if (this.#failure) throw this.#failure
  }

  #fail(kind: string, detail: string): Violation {
    this.#failure ??= new Violation(kind, detail)
    return this.#failure
  }

  #log(line: string): void {
    this.trace.push(`${Math.round(this.time.now())} ${line}`)
  }
}
