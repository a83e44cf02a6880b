import { z } from 'zod'
import { MillraceError } from '../../protocol/errors.ts'
import { checkOptions, type OptionKinds } from '../../protocol/options.ts'
import { type Actor, type ActorContext, actor } from '../actors/actor.ts'
import { type Tool, type ToolMap, tool } from '../actors/tool.ts'
import { agent } from '../agents/agent.ts'
import type { AgentDefinition } from '../agents/agent-definition.ts'
import type { AgentInput, Asked } from '../agents/agent-input.ts'
import { agentTool } from '../agents/agent-tool.ts'
import { EMPTY_FLOW } from '../workflows/flow.ts'
import type { FlowNodes } from '../workflows/flow-node.ts'
import { isWorkflowOf } from '../workflows/sub-workflow.ts'
import { taskTools } from './task-tools.ts'
import { type KeptTask, Tasks } from './tasks.ts'
import { limitOnce, type Members, membersOf, TEAM_OPTIONS, type TeamFlow, type TeamOptions } from './team.ts'

/** The argument of `supervisorTeam()`: a team, and the agent that leads it. */
export type SupervisorOptions<M extends Members, Shared> = TeamOptions<M, Shared> &
  Pick<AgentDefinition, 'model' | 'instructions' | 'maxIterations' | 'settings' | 'files' | 'onStep'> & {
    /** Tools of the lead besides those for its members, or a function that makes them of what the team shares. */
    tools?: ToolMap | ((shared: Shared) => ToolMap) | undefined
    /** Whether the lead can hand the whole task over to a member, who then answers in its place. Default true. */
    handOff?: boolean | undefined
    /** Whether the lead can have tasks done in the background. Default false. */
    tasks?: boolean | undefined
  }

const OPTIONS: OptionKinds<SupervisorOptions<Members, unknown>> = {
  ...TEAM_OPTIONS,
  model: 'a string or an object',
  instructions: 'a string',
  maxIterations: 'a number',
  settings: 'an object',
  files: 'an object or false',
  onStep: 'a function',
  tools: 'anything',
  handOff: 'true or false',
  tasks: 'true or false',
}

/** The member that takes over, what it is asked, and in which turn of the lead. */
type HandOff = { readonly member: string; readonly prompt: string; readonly turn: number }

/** From what a team goes on in another process. */
type TeamState = {
  /** That of the lead. Absent: its turns are over. */
  readonly lead?: unknown
  readonly handOff?: HandOff
  readonly tasks: readonly KeptTask[]
}

/**
 * Makes a team that an agent leads. Its model asks a member with the tool `ask_NAME`, and gets the answer. With
 * `hand_off` it hands the whole task over: its own turn ends, and the answer of that member is the answer of the team.
 * With `tasks`, the tools `start_task`, `list_tasks`, `wait_for_task` and `cancel_task` are there, too.
 * @throws MillraceError `bad_request` as `agent` does; without members; and for a tool that is named like one of these.
 */
export function supervisorTeam<M extends Members, Shared = undefined>(
  options: SupervisorOptions<M, Shared>,
): Actor<AgentInput, unknown, never> {
  checkOptions('supervisorTeam()', options, OPTIONS)
  const { description, budget } = options
  // Whatever is wrong with the definition is known before the first run.
  const shared = options.shared?.()
  const known = membersOf(options as never, shared, 1)
  const example = lead(options as never, shared, known, undefined, () => undefined)
  const made = actor({
    description,
    interactive: true,
    input: example.input,
    async *stream(asked: Asked, context: ActorContext) {
      limitOnce(budget, context)
      const shared = options.shared?.()
      const members = membersOf(options as never, shared, 1)
      const restored = context.restored as TeamState | undefined
      const tasks = new Tasks(members, context, restored?.tasks ?? [])
      let handOff = restored?.handOff
      const state = (): TeamState => ({ tasks: tasks.state, ...(handOff && { handOff }) })
      if (!handOff || restored?.lead !== undefined) {
        const leader = lead(options as never, shared, members, tasks, (given) => (handOff ??= given))
        const inner = leadContext(context, restored?.lead, state)
        const result = yield* (leader.stream as NonNullable<Actor['stream']>)(asked as never, inner)
        if (!handOff) return result
      }
      const { member, prompt } = handOff
      context.checkpoint(state)
      const successor = context.spawn(members[member] as Actor, { prompt }, { name: member, key: 'hand over' })
      const answer = yield* successor
      // What the lead has said so far is no answer.
      if (successor.state === 'cancelled')
        throw new MillraceError('actor_failed', `${member} took over, and was stopped before it had an answer`)
      return answer
    },
  } as unknown as Parameters<typeof actor>[0])
  isWorkflowOf(made, shownSteps(example, known, options.handOff !== false), false)
  return Object.assign(made as unknown as Actor<AgentInput, unknown, never>, {
    onRegister(server: never): Actor {
      example.onRegister?.(server)
      return made
    },
    ...(example.close && { close: example.close }),
  })
}

/**
 * The agent that leads.
 * @param tasks of its run. Undefined: it is only made to be checked.
 * @param handOver takes a task that the lead hands over. Gives it, once there is one.
 */
function lead(
  options: SupervisorOptions<Members, unknown>,
  shared: unknown,
  members: Members,
  tasks: Tasks | undefined,
  handOver: (given?: HandOff) => HandOff | undefined,
): Actor {
  const { model, instructions, maxIterations, settings, files, onStep } = options
  const tools = typeof options.tools === 'function' ? options.tools(shared) : (options.tools ?? {})
  const names = Object.keys(members)
  const given: { [name: string]: Tool } = Object.fromEntries(
    names.map((name) => [
      `ask_${name}`,
      agentTool(members[name] as Actor, { name, description: aboutMember(name, members) }),
    ]),
  )
  let turn = 0
  if (options.handOff !== false)
    given['hand_off'] = tool({
      description: 'Hands the whole task over to a member, who answers in your place',
      input: z.object({
        member: z.enum(names as [string, ...string[]]),
        prompt: z.string().min(1).describe('The task, with everything that is needed to do it'),
      }),
      run: ({ member, prompt }) => {
        const handOff = { member, prompt, turn }
        return handOver(handOff) === handOff ? `${member} takes over` : 'the task is handed over already'
      },
    })
  if (options.tasks === true) Object.assign(given, taskTools(tasks ?? new Tasks(members, UNUSED), names))
  const twice = Object.keys(tools).find((name) => Object.hasOwn(given, name))
  if (twice !== undefined)
    throw new MillraceError('bad_request', `supervisorTeam() has a tool ${twice} already: name yours differently`)
  return agent({
    ...{ model, instructions, maxIterations, settings, files, onStep },
    tools: { ...tools, ...given },
    turn({ n }) {
      turn = n
      // The other calls of the turn that hands over are done, also behind a restart.
      const handedOver = handOver()
      return handedOver && handedOver.turn < n ? { stop: true } : undefined
    },
  })
}

/**
 * The context of the lead. What it can go on from is a part of what its team can.
 * @param restored from what it goes on.
 * @param state that of the team, without that of its lead.
 */
function leadContext(context: ActorContext, restored: unknown, state: () => TeamState): ActorContext {
  const checkpoint: ActorContext['checkpoint'] = (ofLead) =>
    context.checkpoint((waiting) => {
      const lead = ofLead(waiting)
      return lead === undefined ? undefined : { ...state(), lead }
    })
  return Object.create(context, { restored: { value: restored }, checkpoint: { value: checkpoint } }) as ActorContext
}

/** What a picture shows: the lead, and the members that may take over. */
function shownSteps(leader: Actor, members: Members, handsOff: boolean): FlowNodes {
  const flow = EMPTY_FLOW as unknown as TeamFlow
  const led = flow.step('lead', leader)
  if (!handsOff) return led.nodes
  const ways = Object.fromEntries(Object.entries(members).map(([name, member]) => [name, flow.step(name, member)]))
  return led.route(
    'hand over',
    () => '',
    () => ways,
  ).nodes
}

/** Of an agent that is only checked: it runs no tool. */
const UNUSED = {} as Pick<ActorContext, 'spawn' | 'emit'>

function aboutMember(name: string, members: Members): string {
  return members[name]?.description ?? `Asks ${name}, and returns the answer`
}
