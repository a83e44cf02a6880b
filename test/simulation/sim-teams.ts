import {
  type Actor,
  type AgentInput,
  agent,
  debateTeam,
  type Message,
  MillraceError,
  type Model,
  type ModelEvent,
  type ModelRequest,
  pipelineTeam,
  researchTeam,
  supervisorTeam,
  tool,
} from '../../server/index.ts'
import { textOf } from '../../server/models/message-parts.ts'
import type { Life } from './lives.ts'
import type { Stage } from './stage.ts'
import { Chance } from './virtual-time.ts'
import type { WorkLedger } from './work-ledger.ts'

const KINDS = ['pipeline', 'debate', 'research', 'supervisor', 'supervisor'] as const
/** An agent of the simulation asks its model no more often. */
const MAX_TURNS = 4

type Member = Actor<AgentInput, undefined, never>

/** A team that a seed has drawn. Its members are agents with tools, and their models do what comes to their minds. */
export class SimTeam {
  readonly actor: Actor
  readonly kind: (typeof KINDS)[number]
  readonly members: readonly string[]
  readonly #stage: Stage
  readonly #chance: Chance
  readonly #ledger: WorkLedger
  readonly #life: Life

  /** @param seed that of the team: the same in all processes. */
  constructor(stage: Stage, ledger: WorkLedger, life: Life, seed: number) {
    this.#stage = stage
    this.#chance = stage.chance
    this.#ledger = ledger
    this.#life = life
    const drawn = new Chance(seed)
    this.kind = drawn.pick(KINDS)
    this.members = ['m1', 'm2', 'm3', 'm4'].slice(0, 3 + drawn.int(2))
    this.actor = this.#make(drawn)
  }

  /** Who may give the answer of the team. */
  get speakers(): readonly string[] {
    return this.kind === 'supervisor' ? ['lead', ...this.members] : this.members.slice(-1)
  }

  #make(drawn: Chance): Actor {
    const members = Object.fromEntries(this.members.map((name) => [name, this.#member(name)]))
    const last = this.members.at(-1) as string
    switch (this.kind) {
      case 'pipeline':
        return pipelineTeam({ members })
      case 'debate':
        return debateTeam({ members, judge: last, rounds: 1 + drawn.int(2) })
      case 'research':
        return researchTeam({ members, writer: last })
      case 'supervisor':
        return supervisorTeam({
          members,
          model: this.#model('lead', (request) => this.#leadTurn(request)),
          maxIterations: MAX_TURNS,
          tasks: drawn.of(0.7),
          tools: this.#tools(),
        })
    }
  }

  #member(name: string): Member {
    const made = (run: string): Member =>
      agent({
        model: this.#model(name, (request) => this.#memberTurn(request, name, run)),
        maxIterations: MAX_TURNS,
        tools: this.#tools(),
      })
    return this.#ledger.watched(made(''), this.#life, made)
  }

  #tools() {
    const life = this.#life
    return {
      look: tool({
        description: 'looks',
        run: async (_, { signal }) => {
          await life.pause(signal, this.#chance.int(60))
          return 'seen'
        },
      }),
      pay: tool({
        description: 'pays, if somebody approves',
        needsApproval: true,
        approvalMs: 3_600_000,
        run: async (_, { fence, call }) => {
          await life.live()
          this.#ledger.pay(fence.run, call)
          return 'paid'
        },
      }),
    }
  }

  #model(name: string, turn: (request: ModelRequest) => readonly ModelEvent[]): Model {
    const life = this.#life
    const pauseMs = (): number => this.#chance.int(40)
    const begun = (request: ModelRequest): readonly ModelEvent[] => {
      this.#stage.log(`the model of ${name} is asked`)
      return turn(request)
    }
    return {
      id: 'sim:model',
      provider: 'sim',
      async *stream(request): AsyncGenerator<ModelEvent> {
        await life.live()
        for (const event of begun(request)) {
          await life.pause(request.signal, pauseMs())
          yield event
        }
      },
    }
  }

  #memberTurn({ messages }: ModelRequest, name: string, run: string): ModelEvent[] {
    this.#ledger.asked(run, messages)
    const n = turnsIn(messages) + 1
    if (!this.#ledger.isMended && this.#chance.of(0.04)) throw new MillraceError('content_filtered', 'as planned')
    const said = this.#words(name, n)
    if (n === MAX_TURNS || this.#chance.of(0.4)) return [...said, ...STOP]
    return [
      ...said,
      ...this.#calls(n, [
        ['look', {}],
        ['pay', {}],
      ]),
    ]
  }

  #leadTurn({ messages, tools = [] }: ModelRequest): ModelEvent[] {
    const task = textOf(messages.find(({ role }) => role === 'user') as Message)
    this.#ledger.asked(`lead of ${task}`, messages)
    const answers = messages.flatMap((message) => (message.role === 'tool' ? [message] : []))
    const handedOver = answers.find(({ name, content }) => name === 'hand_off' && content.includes('takes over'))
    if (handedOver) this.#stage.fail('lead-goes-on', `${task} after ${handedOver.call}`)
    const n = turnsIn(messages) + 1
    const said = this.#words('lead', n)
    if (n === MAX_TURNS || this.#chance.of(0.2)) return [...said, ...STOP]
    const known = new Set(tools.map(({ name }) => name))
    const ids = answers.flatMap(({ content }) => Array.from(content.matchAll(/"task":"(r_[\w-]+)"/g), ([, id]) => id))
    const member = (): string => this.#chance.pick(this.members)
    const asked = (): object => ({ member: member(), prompt: `do ${n}` })
    const ways: [string, object][] = [
      [`ask_${member()}`, { prompt: `say ${n}` }],
      ['pay', {}],
      ['pay', {}],
      ['start_task', asked()],
      ['start_task', asked()],
      ['start_task', asked()],
      ['list_tasks', {}],
      ['hand_off', asked()],
    ]
    if (ids.length > 0) {
      for (let n = 0; n < 4; n++) ways.push(['wait_for_task', { task: this.#chance.pick(ids) }])
      ways.push(['cancel_task', { task: this.#chance.pick(ids) }])
    }
    return [
      ...said,
      ...this.#calls(
        n,
        ways.filter(([name]) => known.has(name)),
      ),
    ]
  }

  #words(name: string, n: number): ModelEvent[] {
    return Array.from({ length: 1 + this.#chance.int(2) }, (_, at) => ({ type: 'text', text: `${name}:${n}.${at} ` }))
  }

  /** Some calls. Their ids come again in other runs. */
  #calls(n: number, ways: readonly (readonly [string, object])[]): ModelEvent[] {
    const calls = Array.from({ length: 1 + this.#chance.int(3) }, (_, at): ModelEvent => {
      const [name, args] = this.#chance.pick(ways)
      return { type: 'tool.call', call: `c${n}${at}`, name, args: args }
    })
    return [...calls, { type: 'usage', input: 2, output: 1 }, { type: 'finish', stop: 'tool_calls' }]
  }
}

const STOP: readonly ModelEvent[] = [
  { type: 'usage', input: 1, output: 1 },
  { type: 'finish', stop: 'stop' },
]

function turnsIn(messages: readonly Message[]): number {
  return messages.filter(({ role }) => role === 'assistant').length
}
