import {
  type Actor,
  type ActorContext,
  actor,
  agent,
  agentTool,
  type Model,
  type ModelEvent,
  tool,
} from '../../server/index.ts'
import type { Chance } from './virtual-time.ts'

/** What a run says: `items` of it, under its name. A silent one does not end by itself. */
export type Plan = {
  readonly who: string
  readonly items: number
  readonly silent: boolean
  /** Of a child: its first item, and the run that has begun it. */
  readonly from?: number
  readonly parent?: string
}

/** A `boss` has a child that pays: it asks for the approval, and its parent waits for it. So has a `chief`, no agent. */
export type Kind = 'work' | 'payer' | 'boss' | 'chief'

/** What a payer says, and what a boss makes of that. */
const PAYMENT = ['let me pay', 'paid0', 'paid1', 'paid2']
const REPORT = ['let me pay0', 'let me pay1', 'let me pay2']
export const SAID = {
  payer: PAYMENT,
  boss: ['you pay', ...PAYMENT, ...REPORT],
  chief: ['you pay', ...PAYMENT, ...REPORT],
} as const

/** What the code of a plan has done. */
export type Doing = {
  /** The number of the last item that it gave away. */
  last: number
  isOver: boolean
}

/** A process, as the code of its actors sees it, and who notes what they do. */
export type Workplace = {
  readonly chance: Chance
  /** Resolves at once, or never: what a dead process does never ends, and nobody sees it. */
  live(): Promise<void>
  /** Resolves when `ms` have passed; rejects with the reason of `signal`. */
  pause(signal: AbortSignal, ms: number): Promise<void>
  /** The code of a plan begins. Gives where it notes what it does. @param root the run that clients know. */
  began(work: { readonly run: string; readonly root: string; readonly who: string }): Doing
  /** The tool of a run has paid. */
  paid(run: string): void
}

/** The actors of a process whose runs outlive it in a store. */
export class StoredActors {
  readonly #at: Workplace

  constructor(at: Workplace) {
    this.#at = at
  }

  get all(): Record<Kind, Actor> {
    return {
      work: actor({ stream: (input: unknown, context: ActorContext) => this.#work(input as Plan, context) }),
      payer: this.#payer(),
      boss: this.#boss(),
      chief: this.#chief(),
    }
  }

  /** An actor that does the first half of its work itself, and leaves the rest to a child. */
  get tree(): Actor {
    const { work } = this.all
    const half = (plan: Plan, context: ActorContext): AsyncGenerator<string> => this.#work(plan, context)
    return actor({
      async *stream(input: unknown, context: ActorContext) {
        const plan = input as Plan
        const own = Math.ceil(plan.items / 2)
        yield* half({ ...plan, items: own, silent: false }, context)
        const rest = context.spawn(work, { ...plan, from: own + 1, parent: context.run.id }, { key: 'rest' })
        yield* rest
        await rest.result
      },
    })
  }

  async *#work({ who, items, silent, from = 1, parent }: Plan, { run, signal }: ActorContext): AsyncGenerator<string> {
    const { chance } = this.#at
    const doing = this.#at.began({ run: run.id, who, root: parent ?? run.id })
    try {
      for (let i = from; i <= items; i++) {
        if (chance.of(0.5)) await this.#at.pause(signal, chance.int(80))
        await this.#at.live()
        doing.last = i
        yield `${who}.${i};`
      }
      if (silent) await this.#at.pause(signal, 3_600_000)
    } finally {
      doing.isOver = true
    }
  }

  #payer(): ReturnType<typeof agent> {
    const pay = tool({
      description: 'Pays',
      parameters: { type: 'object' },
      needsApproval: true,
      approvalMs: 3_600_000,
      run: async (_args, { fence }) => {
        await this.#at.live()
        this.#at.paid(fence.run)
        return 'paid'
      },
    })
    return agent({ model: this.#model('pay', 'let me pay;'), tools: { pay } })
  }

  #boss(): ReturnType<typeof agent> {
    const delegate = agentTool(this.#payer(), { description: 'Pays', name: 'clerk' })
    return agent({ model: this.#model('delegate', 'you pay;'), tools: { delegate } })
  }

  #chief(): Actor {
    const payer = this.#payer()
    const live = (): Promise<void> => this.#at.live()
    return actor({
      async *stream(_input: unknown, { checkpoint, restored, spawn }: ActorContext) {
        if (restored === undefined) yield 'you pay;'
        checkpoint(() => ({}))
        const clerk = spawn(payer, 'pay', { key: 'clerk' })
        yield* clerk
        const said = String(await clerk.result)
        await live()
        for (let i = 0; i < 3; i++) yield `${said.split(';')[0]}${i};`
      },
    })
  }

  /** A model that calls a tool, and then says what came of it. */
  #model(name: string, says: string): Model {
    const at = this.#at
    const { chance } = at
    return {
      id: 'demo:sim',
      provider: 'demo',
      async *stream({ messages, signal }): AsyncGenerator<ModelEvent> {
        await at.live()
        const last = messages[messages.length - 1]
        if (chance.of(0.5)) await at.pause(signal, chance.int(200))
        await at.live()
        if (last?.role === 'tool') {
          for (let i = 0; i < 3; i++) yield { type: 'text', text: `${last.content.split(';')[0]}${i};` }
          yield { type: 'finish', stop: 'stop' }
          return
        }
        yield { type: 'text', text: says }
        yield { type: 'tool.call', call: name, name, args: { prompt: says } }
        yield { type: 'finish', stop: 'tool_calls' }
      },
    }
  }
}
