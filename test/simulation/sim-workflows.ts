import {
  type Actor,
  type AgentInput,
  actor,
  agent,
  type Flow,
  MillraceError,
  type ModelEvent,
  type RunEvent,
  type StepContext,
  tool,
  workflow,
} from '../../server/index.ts'
import type { Life } from './lives.ts'
import type { Stage } from './stage.ts'
import { Chance } from './virtual-time.ts'
import type { WorkLedger } from './work-ledger.ts'

/** What the code of a step does. */
const ACTIONS = [
  ...['ok', 'ok', 'slow', 'slow', 'slow', 'stream', 'flaky', 'fails', 'throws', 'hangs', 'reports'],
  ...['delegates', 'lets go'],
] as ('ok' | 'slow' | 'stream' | 'flaky' | 'fails' | 'throws' | 'hangs' | 'reports' | 'delegates' | 'lets go')[]
type Action = (typeof ACTIONS)[number]

const MAX_DEPTH = 2

/** A value of a simulated workflow: what every step was given, and what it added. */
type Value = { readonly n: number }

type AnyFlow = Flow<unknown, Value>

/** What a child of a step is asked. */
type Errand = { readonly who: string; readonly words: number; readonly asks: boolean }

/** A workflow that a seed has drawn, in one process. */
export class SimWorkflow {
  readonly actor: Actor
  readonly #stage: Stage
  readonly #chance: Chance
  /** Draws the graph: the same in all processes. */
  readonly #drawn: Chance
  readonly #ledger: WorkLedger
  readonly #life: Life
  readonly #runners: { readonly bound: Actor; readonly detached: Actor }
  #names = 0

  /** @param seed that of the graph. */
  constructor(stage: Stage, ledger: WorkLedger, life: Life, seed: number) {
    this.#stage = stage
    this.#chance = stage.chance
    this.#drawn = new Chance(seed)
    this.#ledger = ledger
    this.#life = life
    this.#runners = { bound: this.#runner(false), detached: this.#runner(true) }
    this.actor = workflow({
      steps: (flow) => this.#sequence(flow.step('begin', () => ({ n: 0 })) as AnyFlow, 0),
    }) as object as Actor
  }

  // --- the graph

  #sequence(flow: AnyFlow, depth: number): AnyFlow {
    let steps = flow
    for (let left = 1 + this.#drawn.int(3); left > 0; left--) steps = this.#add(steps, depth)
    return steps
  }

  #add(flow: AnyFlow, depth: number): AnyFlow {
    const name = `s${++this.#names}`
    const dice = depth < MAX_DEPTH ? this.#drawn.next() : this.#drawn.next() * 0.5
    if (dice < 0.32) return this.#leaf(flow, name)
    if (dice < 0.39) return this.#agent(flow, name)
    if (dice < 0.44) return flow.wait(name, this.#drawn.int(1_500))
    if (dice < 0.5) return flow.approve(name, { refused: ({ n }) => ({ n: n + 100 }) })
    if (dice < 0.74) return this.#parallel(flow, name, depth)
    if (dice < 0.8) return this.#route(flow, name, depth)
    if (dice < 0.86) return this.#loop(flow, name, depth)
    if (dice < 0.93) return this.#map(flow, name)
    return this.#batch(flow, name)
  }

  #leaf(flow: AnyFlow, name: string): AnyFlow {
    const action = this.#drawn.pick(ACTIONS)
    const code = action === 'stream' ? this.#streaming() : this.#code(action)
    const hasLimit = action === 'hangs' || this.#drawn.of(0.1)
    return flow.step(name, code as unknown as () => Value, {
      ...(this.#drawn.of(0.4) && { retry: { attempts: 2, delayMs: this.#drawn.pick([20, 200]) } }),
      // What a child has done is passed on at the pace of its readers, which takes of its time.
      ...(hasLimit ? { timeoutMs: 80 } : { branch: this.#drawn.of(0.3) }),
      ...(this.#drawn.of(0.3) && { recover: (_, value: Value) => this.#recover(value) }),
    })
  }

  #agent(flow: AnyFlow, name: string): AnyFlow {
    return flow.step(name, this.#makeAgent(), {
      input: ({ n }) => ({ prompt: `n is ${n}` }),
      output: (text, { n }) => ({ n: n + text.length }),
      streaming: this.#drawn.of(0.7),
      recover: (_, { n }) => ({ n: n + 10_000 }),
    })
  }

  #parallel(flow: AnyFlow, name: string, depth: number): AnyFlow {
    const branches = ['a', 'b', 'c'].slice(0, 1 + this.#drawn.int(3))
    const recovers = this.#drawn.of(0.6)
    return flow
      .parallel(
        name,
        (branch) => Object.fromEntries(branches.map((way) => [way, this.#sequence(branch, depth + 1)])),
        recovers ? { recover: () => ({ n: 7 }) } : {},
      )
      .step(`${name}sum`, (values) => ({ n: Object.values(values).reduce((sum, { n }) => sum + n, 0) }))
  }

  #route(flow: AnyFlow, name: string, depth: number): AnyFlow {
    return flow.route(
      name,
      ({ n }) => (n % 2 === 0 ? 'even' : 'odd'),
      (way) => ({ even: this.#sequence(way, depth + 1), odd: this.#sequence(way, depth + 1) }),
    )
  }

  #loop(flow: AnyFlow, name: string, depth: number): AnyFlow {
    const turns = 1 + this.#drawn.int(3)
    return flow.loop(name, (turn) => this.#sequence(turn, depth + 1), { until: (_, n) => n >= turns, max: turns })
  }

  #map(flow: AnyFlow, name: string): AnyFlow {
    const items = this.#drawn.int(8)
    const action = this.#drawn.pick(['ok', 'slow', 'flaky'] as const)
    const each = this.#code(action)
    return flow
      .map(name, {
        over: (value) => this.#items(value, items),
        each,
        chunk: 1 + this.#drawn.int(3),
        concurrency: 1 + this.#drawn.int(3),
      })
      .step(`${name}sum`, (all) => ({ n: all.reduce((sum, { n }) => sum + n, 0) }))
  }

  #batch(flow: AnyFlow, name: string): AnyFlow {
    const items = this.#drawn.int(12)
    const code = this.#code(this.#drawn.pick(['ok', 'slow', 'flaky'] as const))
    return flow
      .batch(name, {
        async *over() {
          for (let at = 0; at < items; at++) yield at
        },
        each: (chunk, context) => code({ n: chunk[0] ?? 0 }, context),
        chunk: 1 + this.#drawn.int(4),
        concurrency: 1 + this.#drawn.int(2),
      })
      .step(`${name}count`, ({ items: n }) => ({ n }))
  }

  // --- the code of steps

  #code(action: Action): (value: Value, context: StepContext) => Promise<Value> {
    return (value, context) => this.#execute(context, () => this.#act(action, value, context))
  }

  #streaming(): (value: Value, context: StepContext) => AsyncGenerator<string, Value> {
    const ledger = this.#ledger
    const life = this.#life
    const pause = (signal: AbortSignal) => life.pause(signal, this.#chance.int(30))
    return async function* ({ n }, context) {
      await life.live()
      const execution = ledger.begin(context, life)
      try {
        for (let word = 0; word < 3; word++) {
          await pause(context.signal)
          yield `${context.step.id}.${word} `
        }
        execution.state = 'done'
        return { n: n + 1 }
      } finally {
        // A stop leaves it at its `yield`.
        if (execution.state === 'under way') execution.state = 'failed'
      }
    }
  }

  async #execute(context: StepContext, act: () => Promise<Value>): Promise<Value> {
    await this.#life.live()
    const execution = this.#ledger.begin(context, this.#life)
    try {
      const value = await act()
      // One that did not notice its stop has done nothing.
      execution.state = context.signal.aborted ? 'failed' : 'done'
      return value
    } catch (error) {
      execution.state = 'failed'
      throw error
    }
  }

  async #act(action: Action, { n }: Value, context: StepContext): Promise<Value> {
    const { signal, step } = context
    switch (action) {
      case 'slow':
        await this.#life.pause(signal, 1 + this.#chance.int(150))
        break
      case 'reports':
        for (let current = 1; current <= 3; current++) await context.progress({ current, total: 3 })
        break
      case 'flaky':
        await this.#life.pause(signal, this.#chance.int(20))
        if (!this.#ledger.isMended && this.#chance.of(0.4))
          throw new MillraceError('unavailable', `${step.id} is flaky`)
        break
      case 'fails':
        if (!this.#ledger.isMended) throw new MillraceError('content_filtered', `${step.id} fails`)
        break
      case 'throws':
        if (!this.#ledger.isMended) throw new Error('as planned')
        break
      case 'hangs':
        if (!this.#ledger.isMended) await this.#life.pause(signal, 3_000_000)
        break
      case 'delegates':
        await this.#delegate(context)
        break
      case 'lets go':
        await this.#letGo(context)
        break
      case 'ok':
      case 'stream':
    }
    return { n: n + 1 }
  }

  async #recover({ n }: Value): Promise<Value> {
    if (this.#chance.of(0.5)) await this.#life.pause(undefined, this.#chance.int(80))
    return { n: n + 1_000 }
  }

  async *#items({ n }: Value, count: number): AsyncGenerator<Value> {
    for (let at = 0; at < count; at++) {
      if (this.#chance.of(0.2)) await this.#life.pause(undefined, this.#chance.int(60))
      yield { n: n + at }
    }
  }

  // --- children of steps

  /** What runs errands. */
  #runner(isDetached: boolean): Actor {
    const life = this.#life
    const pause = (signal: AbortSignal): Promise<void> => life.pause(signal, this.#chance.int(60))
    const runner = actor({
      async *stream(errand: unknown, { signal, request }) {
        const { who, words, asks } = errand as Errand
        for (let word = 0; word < words; word++) {
          await pause(signal)
          yield `${who}.${word} `
        }
        if (asks) await request({ kind: 'answer', prompt: `${who}?` })
      },
    }) as object as Actor
    return this.#ledger.watched(runner, life, () => runner, isDetached)
  }

  #errand({ step }: StepContext): Errand {
    return { who: step.id, words: 1 + this.#chance.int(5), asks: this.#chance.of(0.2) }
  }

  /** Waits for a child. One that people stop takes nothing with it. */
  async #delegate(context: StepContext): Promise<void> {
    const child = context.spawn(this.#runners.bound as never, this.#errand(context), { name: 'errand' })
    try {
      for await (const event of child as AsyncIterable<RunEvent>) await context.emit(event)
      await child.result
    } catch (error) {
      context.signal.throwIfAborted()
      if (!MillraceError.is(error, 'cancelled')) throw error
    }
  }

  /** Begins a child that outlives it, and may listen to it for a while. */
  async #letGo(context: StepContext): Promise<void> {
    const options = { name: 'errand', detached: true }
    const child = context.spawn(this.#runners.detached as never, this.#errand(context), options)
    let left = this.#chance.int(4)
    if (left === 0) return
    for await (const event of child as AsyncIterable<RunEvent>) {
      await context.emit(event)
      if (--left === 0) break
    }
  }

  /** An agent that calls a tool, perhaps one that needs approval, and then says a little. */
  #makeAgent(): Actor<AgentInput, undefined, never> {
    const life = this.#life
    const ledger = this.#ledger
    const name = this.#drawn.pick(['look', 'pay', 'pay'])
    const look = tool({ description: 'looks', run: (_, { signal }) => life.pause(signal, this.#chance.int(40)) })
    const pay = tool({
      description: 'pays',
      needsApproval: true,
      approvalMs: 3_600_000,
      run: async (_, { fence, call }) => {
        await life.live()
        ledger.pay(fence.run, call)
      },
    })
    const made = (run: string): Actor<AgentInput, undefined, never> =>
      agent({
        tools: { look, pay },
        model: {
          id: 'sim:model',
          provider: 'sim',
          async *stream({ messages, signal }): AsyncGenerator<ModelEvent> {
            await life.live()
            ledger.asked(run, messages)
            const hasActed = messages.some(({ role }) => role === 'tool')
            await life.pause(signal, 5)
            if (hasActed) yield { type: 'text', text: 'I did it. ' }
            else yield { type: 'tool.call', call: 'c', name, args: {} }
            yield { type: 'usage', input: 1, output: 1 }
            yield { type: 'finish', stop: hasActed ? 'stop' : 'tool_calls' }
          },
        },
      })
    return ledger.watched(made(''), life, made)
  }
}
