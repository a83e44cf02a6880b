import {
  type Actor,
  type AgentInput,
  agent,
  type Flow,
  MillraceError,
  type ModelEvent,
  type StepContext,
  tool,
  workflow,
} from '../../server/index.ts'
import type { Stage } from './stage.ts'
import type { Chance } from './virtual-time.ts'

/** What the code of a step does. */
const ACTIONS = ['ok', 'ok', 'ok', 'slow', 'stream', 'flaky', 'fails', 'throws', 'hangs', 'reports'] as const
type Action = (typeof ACTIONS)[number]

const MAX_DEPTH = 2

/** A value of a simulated workflow: what every step was given, and what it added. */
type Value = { readonly n: number }

/** One execution of the code of a step, in a run or a retry of it. */
export type StepExecution = {
  readonly root: string
  readonly id: string
  readonly run: string
  readonly begunAt: number
  state: 'under way' | 'done' | 'failed'
}

type AnyFlow = Flow<unknown, Value>

/** A workflow that a seed has drawn, and what its steps did. */
export class SimWorkflow {
  readonly actor: Actor
  readonly executions: StepExecution[] = []
  /** Steps fail as planned until this is set: then the workflow can come to its end. */
  isMended = false
  readonly #stage: Stage
  readonly #chance: Chance
  #names = 0

  constructor(stage: Stage) {
    this.#stage = stage
    this.#chance = stage.chance
    this.actor = workflow({
      steps: (flow) => this.#sequence(flow.step('begin', () => ({ n: 0 })) as AnyFlow, 0),
    }) as object as Actor
  }

  // --- the graph

  #sequence(flow: AnyFlow, depth: number): AnyFlow {
    let steps = flow
    for (let left = 1 + this.#chance.int(depth === 0 ? 3 : 2); left > 0; left--) steps = this.#add(steps, depth)
    return steps
  }

  #add(flow: AnyFlow, depth: number): AnyFlow {
    const name = `s${++this.#names}`
    const dice = depth < MAX_DEPTH ? this.#chance.next() : this.#chance.next() * 0.5
    if (dice < 0.36) return this.#leaf(flow, name)
    if (dice < 0.42) return this.#agent(flow, name)
    if (dice < 0.46) return flow.wait(name, this.#chance.int(200))
    if (dice < 0.5) return flow.approve(name, { refused: ({ n }) => ({ n: n + 100 }) })
    if (dice < 0.74) return this.#parallel(flow, name, depth)
    if (dice < 0.8) return this.#route(flow, name, depth)
    if (dice < 0.86) return this.#loop(flow, name, depth)
    if (dice < 0.93) return this.#map(flow, name)
    return this.#batch(flow, name)
  }

  #leaf(flow: AnyFlow, name: string): AnyFlow {
    const action = this.#chance.pick(ACTIONS)
    const code = action === 'stream' ? this.#streaming() : this.#code(action)
    return flow.step(name, code as unknown as () => Value, {
      ...(this.#chance.of(0.4) && { retry: { attempts: 2, delayMs: 20 } }),
      ...((action === 'hangs' || this.#chance.of(0.1)) && { timeoutMs: 80 }),
      ...(this.#chance.of(0.3) && { recover: (_, { n }: Value) => ({ n: n + 1_000 }) }),
    })
  }

  #agent(flow: AnyFlow, name: string): AnyFlow {
    return flow.step(name, this.#makeAgent(), {
      input: ({ n }) => ({ prompt: `n is ${n}` }),
      output: (text, { n }) => ({ n: n + text.length }),
      streaming: this.#chance.of(0.7),
      recover: (_, { n }) => ({ n: n + 10_000 }),
    })
  }

  #parallel(flow: AnyFlow, name: string, depth: number): AnyFlow {
    const branches = ['a', 'b', 'c'].slice(0, 1 + this.#chance.int(3))
    const recovers = this.#chance.of(0.6)
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
    const turns = 1 + this.#chance.int(3)
    return flow.loop(name, (turn) => this.#sequence(turn, depth + 1), { until: (_, n) => n >= turns, max: turns })
  }

  #map(flow: AnyFlow, name: string): AnyFlow {
    const items = this.#chance.int(8)
    const action = this.#chance.pick(['ok', 'slow', 'flaky'] as const)
    const each = this.#code(action)
    return flow
      .map(name, {
        over: ({ n }) => Array.from({ length: items }, (_, at) => ({ n: n + at })),
        each,
        chunk: 1 + this.#chance.int(3),
        concurrency: 1 + this.#chance.int(3),
      })
      .step(`${name}sum`, (all) => ({ n: all.reduce((sum, { n }) => sum + n, 0) }))
  }

  #batch(flow: AnyFlow, name: string): AnyFlow {
    const items = this.#chance.int(12)
    const code = this.#code(this.#chance.pick(['ok', 'slow', 'flaky'] as const))
    return flow
      .batch(name, {
        async *over() {
          for (let at = 0; at < items; at++) yield at
        },
        each: (chunk, context) => code({ n: chunk[0] ?? 0 }, context),
        chunk: 1 + this.#chance.int(4),
        concurrency: 1 + this.#chance.int(2),
      })
      .step(`${name}count`, ({ items: n }) => ({ n }))
  }

  // --- the code of steps

  #code(action: Action): (value: Value, context: StepContext) => Promise<Value> {
    return (value, context) => this.#execute(context, () => this.#act(action, value, context))
  }

  #streaming(): (value: Value, context: StepContext) => AsyncGenerator<string, Value> {
    const execute = (context: StepContext) => this.#begin(context)
    const pause = (signal: AbortSignal) => this.#stage.pause(signal, this.#chance.int(30))
    return async function* ({ n }, context) {
      const execution = execute(context)
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
    const execution = this.#begin(context)
    try {
      const value = await act()
      execution.state = 'done'
      return value
    } catch (error) {
      execution.state = 'failed'
      throw error
    }
  }

  #begin({ step, run }: StepContext): StepExecution {
    const root = String((run.meta as { root?: unknown } | undefined)?.root)
    const execution: StepExecution = {
      ...{ root, id: step.id, run: run.id, begunAt: this.#stage.time.now() },
      state: 'under way',
    }
    this.executions.push(execution)
    this.#stage.log(`${root} does ${step.id} in ${run.id}`)
    return execution
  }

  async #act(action: Action, { n }: Value, context: StepContext): Promise<Value> {
    const { signal, step } = context
    switch (action) {
      case 'slow':
        await this.#stage.pause(signal, 1 + this.#chance.int(150))
        break
      case 'reports':
        for (let current = 1; current <= 3; current++) await context.progress({ current, total: 3 })
        break
      case 'flaky':
        await this.#stage.pause(signal, this.#chance.int(20))
        if (!this.isMended && this.#chance.of(0.4)) throw new MillraceError('unavailable', `${step.id} is flaky`)
        break
      case 'fails':
        if (!this.isMended) throw new MillraceError('content_filtered', `${step.id} fails`)
        break
      case 'throws':
        if (!this.isMended) throw new Error('as planned')
        break
      case 'hangs':
        if (!this.isMended) await this.#stage.pause(signal, 3_000_000)
        break
      case 'ok':
      case 'stream':
    }
    return { n: n + 1 }
  }

  /** An agent that calls a tool, and then says a little. */
  #makeAgent(): Actor<AgentInput, undefined, never> {
    const stage = this.#stage
    return agent({
      tools: {
        look: tool({ description: 'looks', run: (_, { signal }) => stage.pause(signal, this.#chance.int(40)) }),
      },
      model: {
        id: 'sim:model',
        provider: 'sim',
        async *stream({ messages, signal }): AsyncGenerator<ModelEvent> {
          const hasLooked = messages.some(({ role }) => role === 'tool')
          await stage.pause(signal, 5)
          if (hasLooked) yield { type: 'text', text: 'I looked. ' }
          else yield { type: 'tool.call', call: 'c', name: 'look', args: {} }
          yield { type: 'usage', input: 1, output: 1 }
          yield { type: 'finish', stop: hasLooked ? 'stop' : 'tool_calls' }
        },
      },
    })
  }
}
