import { MillraceError } from '../../protocol/errors.ts'
import { validConversation } from '../../server/agents/conversation.ts'
import {
  type Actor,
  type ActorContext,
  actor,
  agent,
  type ChildRun,
  type Message,
  type Model,
  type ModelEvent,
  type ModelRequest,
  type RunEvent,
  type StandardSchema,
  type ToolContext,
  type ToolProgress,
  tool,
} from '../../server/index.ts'
import { textOf } from '../../server/models/message-parts.ts'
import type { Bond, Ledger } from './ledger.ts'
import type { Stage } from './stage.ts'
import type { Chance } from './virtual-time.ts'

const MAX_ITERATIONS = 4
/** How long a tool with a limit may take: `act` has none, and only people stop what hangs there. */
const TOOL_MS = 400
const APPROVAL_MS = 1_500
/** Children of children of a run begin no others. */
const MAX_DEPTH = 2
/** What a tool does when it is called. */
const ACTIONS = ['ok', 'ok', 'slow', 'steps', 'throws', 'fails', 'hangs', 'stubborn', 'huge'] as const
type Action = (typeof ACTIONS)[number]
/** What is done with a child. Only a generator can `pass` it on. */
const USES = ['emit', 'watch', 'result', 'leave', 'break', 'stop', 'abort'] as const
const USES_OF_GENERATORS = ['pass', 'pass', 'pass', ...USES] as const
type Use = (typeof USES_OF_GENERATORS)[number]
/** What a child may fail of. */
const FAILURES = [
  'cancelled',
  'truncated',
  'tool_failed',
  'actor_failed',
  'max_iterations',
  'timeout',
  'budget_exceeded',
]

/** What one agent is meant to do, and what it did. */
export type Plan = {
  readonly who: string
  readonly depth: number
  readonly turns: number
  readonly breaksOff: boolean
  asked: number
  run: string | undefined
  handedOut: Message[] | undefined
}

/** What a worker is asked. */
export type Task = { readonly who: string; readonly depth: number }

/** One execution of a tool. */
export type Execution = { stoppedAt: number | undefined; overAt: number | undefined }

/** Where children are begun: in an actor, or in a tool that it calls. */
type Place = Pick<ActorContext, 'signal' | 'spawn' | 'emit'> & {
  readonly id: string
  readonly depth: number
  /** The actor has failed. Its end may still wait for its last events, and nothing further is taken of it. */
  hasFailed?: boolean
}

type Child = ChildRun

/** The actors of a simulated server: agents with tools and plain workers, which begin one another. */
export class SimAgents {
  readonly agent: Actor
  readonly worker: Actor
  /** How often it did what. */
  readonly stats = { calls: 0, children: 0, refused: 0 }
  readonly plans = new Map<string, Plan>()
  /** By root and call. */
  readonly executions = new Map<string, Execution>()
  /** Calls that were allowed, by root and call. */
  readonly allowed = new Set<string>()
  readonly #stage: Stage
  readonly #chance: Chance
  readonly #ledger: Ledger
  readonly #hasRoom: () => boolean
  #names = 0

  /** @param hasRoom whether the server has a slot for another run. */
  constructor(stage: Stage, ledger: Ledger, hasRoom: () => boolean) {
    this.#stage = stage
    this.#chance = stage.chance
    this.#ledger = ledger
    this.#hasRoom = hasRoom
    this.agent = this.#makeAgent() as object as Actor
    this.worker = actor({
      stream: (task: unknown, context: ActorContext) => this.#work(task as Task, context),
    })
  }

  /** Plans what an agent of that name will do, when it is asked its name. */
  plan(who: string, depth: number): void {
    this.plans.set(who, {
      who,
      depth,
      turns: 1 + this.#chance.int(MAX_ITERATIONS + 2 - depth),
      breaksOff: this.#chance.of(0.1),
      asked: 0,
      run: undefined,
      handedOut: undefined,
    })
  }

  // --- agents

  #makeAgent() {
    const act = (input: unknown, context: ToolContext) => this.#act((input as { action: Action }).action, context)
    const input: StandardSchema = {
      '~standard': {
        version: 1 as const,
        vendor: 'test',
        validate: (value: unknown) =>
          ACTIONS.includes((value as { action?: Action } | null)?.action as Action)
            ? { value }
            : { issues: [{ message: 'no such action' }] },
      },
    }
    const parameters = { type: 'object' }
    const each = { description: 'Acts', input, parameters, timeoutMs: TOOL_MS, maxOutputBytes: 20_000 }
    const asked = (value: unknown, context: ToolContext) => {
      if (!this.allowed.has(this.#nameOf(context))) this.#stage.fail('without-approval', this.#nameOf(context))
      return act(value, context)
    }
    return agent({
      model: this.#model(),
      maxIterations: MAX_ITERATIONS,
      instructions: 'act',
      turn: async ({ signal }) => {
        if (this.#chance.of(0.2)) await this.#pause(signal)
        return undefined
      },
      tools: {
        act: tool({ ...each, timeoutMs: 3_600_000, run: act }),
        ask: tool({ ...each, needsApproval: true, approvalMs: APPROVAL_MS, run: asked }),
        walk: tool({ ...each, run: (value, context) => this.#walk(value, context) }),
        delegate: tool({ ...each, timeoutMs: 4 * TOOL_MS, run: (_, context) => this.#delegateInTool(context) }),
      },
      onFinish: (conversation, { run }) => {
        const plan = this.#planOf(conversation)
        if (plan.handedOut) this.#stage.fail('handed-out-twice', plan.who)
        plan.handedOut = conversation
        plan.run = run.id
        this.#checkConversation(conversation, plan.who)
      },
    })
  }

  #model(): Model {
    const stream = (request: ModelRequest) => this.#answer(request)
    return { id: 'demo:simulated', provider: 'demo', stream }
  }

  async *#answer({ messages, signal }: ModelRequest): AsyncGenerator<ModelEvent> {
    const chance = this.#chance
    const [system, ...conversation] = messages
    if (system?.role !== 'system') this.#stage.fail('no-instructions', JSON.stringify(system))
    const plan = this.#planOf(conversation)
    this.#checkConversation(conversation, plan.who)
    this.#ledger.steering.asked(plan.who, wordsOfUsers(conversation).slice(1))
    if (++plan.asked > MAX_ITERATIONS) this.#stage.fail('asked-too-often', plan.who)
    if (chance.of(0.3)) await this.#pause(signal)
    for (let n = chance.int(5); n > 0; n--) {
      if (chance.of(0.2)) await this.#pause(signal)
      const text = `${plan.who}.${plan.asked}.${n} `
      yield chance.of(0.2) ? { type: 'thinking', text } : { type: 'text', text }
    }
    if (plan.breaksOff && plan.asked === plan.turns) throw new MillraceError('truncated', 'as planned')
    const count = plan.asked < plan.turns ? 1 + chance.int(4 - plan.depth) : 0
    for (let n = 0; n < count; n++) {
      // Ids that come again, names that nobody has, arguments that do not fit.
      const call = chance.of(0.3) ? 'again' : `${plan.who}t${plan.asked}n${n}`
      const name = chance.pick(['act', 'act', 'delegate', 'delegate', 'ask', 'ask', 'walk', 'nobody'])
      const args = chance.of(0.9) ? { action: chance.pick(ACTIONS) } : { action: 'no such' }
      if (chance.of(0.5)) yield { type: 'tool.args', call, name, text: JSON.stringify(args) }
      yield { type: 'tool.call', call, name, args }
    }
    yield { type: 'usage', input: messages.length, output: 3 }
    yield { type: 'finish', stop: count > 0 ? 'tool_calls' : 'stop' }
  }

  #planOf(conversation: readonly Message[]): Plan {
    const [question] = conversation
    const plan = question && this.plans.get(textOf(question))
    if (!plan) throw this.#stage.fail('lost-question', JSON.stringify(question))
    return plan
  }

  #checkConversation(conversation: readonly Message[], who: string): void {
    if (JSON.stringify(validConversation(conversation, 'missing')) !== JSON.stringify(conversation))
      this.#stage.fail('invalid-conversation', `${who} ${JSON.stringify(conversation)}`)
    const calls = conversation.flatMap((message) => (message.role === 'tool' ? [message.call] : []))
    if (new Set(calls).size < calls.length) this.#stage.fail('id-twice', `${who} ${calls.join(' ')}`)
    const words = wordsOfUsers(conversation)
    if (new Set(words).size < words.length) this.#stage.fail('message-twice', `${who} ${words.join(' ')}`)
  }

  // --- tools

  async #act(action: Action, context: ToolContext): Promise<unknown> {
    const { call, signal } = context
    const execution = this.#begin(context)
    try {
      switch (action) {
        case 'ok':
        case 'steps':
          return { action, call }
        case 'slow':
          await this.#pause(signal)
          return 'slowly'
        case 'throws':
          throw new Error('as planned')
        case 'fails':
          await this.#pause(signal)
          throw new MillraceError('tool_failed', 'cannot be done')
        case 'hangs':
          await this.#pause(signal, 3_600_000 * 24)
          return this.#stage.fail('hung-on', call)
        case 'stubborn':
          await this.#pause(undefined, this.#chance.int(900))
          return 'at last'
        case 'huge':
          return 'x'.repeat(22_000)
      }
    } finally {
      execution.overAt = this.#stage.time.now()
    }
  }

  async *#walk(input: unknown, context: ToolContext): AsyncGenerator<ToolProgress, unknown> {
    const execution = this.#begin(context)
    try {
      for (let n = this.#chance.int(6); n > 0; n--) {
        yield this.#chance.of(0.5) ? 'a step' : { current: n }
        if (this.#chance.of(0.5)) await this.#pause(context.signal)
        if (this.#chance.of(0.2)) void context.progress('on the side')
      }
      return input
    } finally {
      execution.overAt = this.#stage.time.now()
    }
  }

  async #delegateInTool(context: ToolContext): Promise<unknown> {
    const { signal, spawn, emit, fence } = context
    const execution = this.#begin(context)
    const depth = this.#depthOf(fence.run)
    try {
      if (depth < MAX_DEPTH) await this.#delegate({ signal, spawn, emit, id: fence.run, depth })
      return 'delegated'
    } finally {
      execution.overAt = this.#stage.time.now()
    }
  }

  #begin(context: ToolContext): Execution {
    const { signal } = context
    const name = this.#nameOf(context)
    this.stats.calls++
    if (this.executions.has(name)) this.#stage.fail('called-twice', name)
    if (signal.aborted) this.#stage.fail('started-after-its-stop', name)
    const execution: Execution = { stoppedAt: undefined, overAt: undefined }
    signal.addEventListener('abort', () => (execution.stoppedAt = this.#stage.time.now()), { once: true })
    this.executions.set(name, execution)
    return execution
  }

  #nameOf({ fence, call }: ToolContext): string {
    return `${this.#ledger.rootOf(fence.run)}/${call}`
  }

  #depthOf(run: string): number {
    const parent = this.#ledger.runs.get(run)?.parent
    return parent ? 1 + this.#depthOf(parent.id) : 0
  }

  // --- workers

  async *#work({ who, depth }: Task, context: ActorContext): AsyncGenerator<string | RunEvent, unknown> {
    const chance = this.#chance
    const { signal, spawn, emit, run } = context
    const place: Place = { signal, spawn, emit, id: run.id, depth }
    for (let n = 1 + chance.int(6); n > 0; n--) {
      const dice = chance.next()
      if (dice < 0.3) yield `${who}.${n} `
      else if (dice < 0.4) yield { type: 'thinking', text: `${who}?` }
      else if (dice < 0.5) yield { type: 'usage', input: 2, output: 1 }
      else if (dice < 0.6) await this.#pause(signal)
      else if (dice < 0.66) await this.#ask(`${who}.${n}?`, context)
      else if (dice < 0.7) await this.#pause(undefined)
      else if (depth >= MAX_DEPTH) yield { type: 'progress', current: n }
      else if (dice < 0.8) await this.#delegateSeveral(place, 2 + chance.int(2))
      else yield* this.#pass(place)
    }
    if (chance.of(0.1)) throw new MillraceError('tool_failed', 'as planned')
    return chance.of(0.5) ? { who } : undefined
  }

  /** The failure of one is the failure of the actor, while the others go on. */
  async #delegateSeveral(place: Place, n: number): Promise<void> {
    try {
      await Promise.all(Array.from({ length: n }, () => this.#delegate(place)))
    } catch (error) {
      place.hasFailed = true
      throw error
    }
  }

  async #ask(prompt: string, { request, signal }: ActorContext): Promise<void> {
    try {
      const answer = await request({ kind: 'answer', prompt, expiresMs: APPROVAL_MS })
      if (answer !== prompt) this.#stage.fail('wrong-answer', `${prompt} ${String(answer)}`)
    } catch (error) {
      if (signal.aborted || !MillraceError.is(error, 'timeout')) throw error
    }
  }

  // --- children

  /** Begins a child, and uses it in a random way. */
  async #delegate(place: Place, use: Use = this.#chance.pick(USES)): Promise<void> {
    const spawned = this.#spawn(place, use)
    if (!spawned) return
    const { child, bond } = spawned
    await this.#coping(place, bond, async () => {
      switch (use) {
        case 'pass':
        case 'emit': {
          bond.passes = true
          const patient = this.#chance.of(0.5)
          for await (const event of child) {
            const said = place.emit(event)
            if (patient) await said
          }
          return true
        }
        case 'watch':
          for await (const _ of child) if (this.#chance.of(0.1)) await this.#pause(place.signal)
          return true
        case 'abort':
        case 'result':
          bond.answer = { value: await child.result }
          return true
        case 'leave':
          return false
        case 'break': {
          let n = this.#chance.int(4)
          for await (const _ of child) if (n-- === 0) break
          return false
        }
        case 'stop': {
          await this.#pause(place.signal)
          bond.letGo = true
          const receipt = await child.cancel('enough')
          if (receipt && receipt.reason === 'parent' && receipt.note !== 'enough' && !this.#isOver(place))
            this.#stage.fail('note-lost', child.id)
          return true
        }
      }
    })
  }

  /** As `delegate`, in a generator: it may pass on the child itself. */
  async *#pass(place: Place): AsyncGenerator<RunEvent, void> {
    const use = this.#chance.pick(USES_OF_GENERATORS)
    if (use !== 'pass') return this.#delegate(place, use)
    const spawned = this.#spawn(place, use)
    if (!spawned) return
    const { child, bond } = spawned
    bond.passes = true
    try {
      yield* child
      bond.awaited = !this.#isOver(place)
    } catch (error) {
      this.#cope(place, bond, error)
    } finally {
      // A parent that is left in the middle has left its child as well.
      if (!bond.awaited) bond.letGo = true
    }
  }

  /** Uses a child. `use` resolves with whether it has seen the end of the child. */
  async #coping(place: Place, bond: Bond, use: () => Promise<boolean>): Promise<void> {
    try {
      bond.awaited = (await use()) && !this.#isOver(place)
    } catch (error) {
      this.#cope(place, bond, error)
    }
  }

  /** A child has failed. Its parent may go on without it. */
  #cope(place: Place, bond: Bond, error: unknown): void {
    if (this.#isOver(place)) {
      // Nobody takes what it says any more, so it is left.
      if (place.hasFailed) bond.letGo = true
      throw error
    }
    if (!MillraceError.is(error) || !FAILURES.includes(error.code))
      this.#stage.fail('child-failed', `${bond.child} ${String(error)}`)
    bond.awaited = true
    if (this.#chance.of(0.25)) throw error
  }

  /** It is stopped, or its run is over: one of several children may have failed meanwhile. */
  #isOver({ id, signal, hasFailed }: Place): boolean {
    return signal.aborted || hasFailed === true || !this.#ledger.goesOn(id)
  }

  #spawn(place: Place, use: Use): { child: Child; bond: Bond } | undefined {
    const depth = place.depth + 1
    const who = `c${++this.#names}`
    const isAgent = this.#chance.of(0.4)
    const controller = new AbortController()
    const options = { name: who, ...(use === 'abort' && { signal: controller.signal }) }
    const hasRoom = this.#hasRoom()
    let child: Child
    try {
      if (isAgent) this.plan(who, depth)
      child = place.spawn(isAgent ? this.agent : this.worker, isAgent ? who : { who, depth }, options)
    } catch (error) {
      if (this.#isOver(place)) throw error
      if (hasRoom || !MillraceError.is(error, 'overloaded')) throw this.#stage.fail('spawn-refused', String(error))
      this.stats.refused++
      return undefined
    }
    if (!hasRoom) this.#stage.fail('too-many-runs', child.id)
    this.stats.children++
    this.#stage.log(`${place.id} begins ${who} ${child.id}: ${use}`)
    const bond: Bond = { child: child.id, parent: place.id, passes: false, awaited: false, letGo: use === 'break' }
    this.#ledger.bonds.set(child.id, bond)
    this.#stopWith(place.signal, bond)
    if (use === 'abort') {
      this.#stopWith(controller.signal, bond)
      this.#stage.time.setTimer(this.#chance.int(300), () => controller.abort())
    }
    return { child, bond }
  }

  /** The child has to stop when `signal` aborts. */
  #stopWith(signal: AbortSignal, bond: Bond): void {
    const stopped = (): void => {
      bond.letGo = true
      // Its other listeners come first, and a run is noted as it begins.
      queueMicrotask(() => {
        if (this.#ledger.goesOn(bond.child)) this.#stage.fail('not-stopped', `${bond.child} goes on after its signal`)
      })
    }
    signal.addEventListener('abort', stopped, { once: true })
  }

  #pause(signal: AbortSignal | undefined, ms: number = this.#chance.int(300)): Promise<void> {
    return this.#stage.pause(signal, ms)
  }
}

function wordsOfUsers(conversation: readonly Message[]): string[] {
  return conversation.flatMap((message) => (message.role === 'user' ? [textOf(message)] : []))
}
