import { validConversation } from '../../server/agents/conversation.ts'
import { type Actor, type ActorContext, type Message, MillraceError, type StepContext } from '../../server/index.ts'
import type { Life } from './lives.ts'
import type { Stage } from './stage.ts'

/** One execution of the code of a step, in a run or a retry of it. */
export type StepExecution = {
  readonly root: string
  readonly id: string
  readonly run: string
  /** The process that does it. */
  readonly life: Life
  state: 'under way' | 'done' | 'failed'
}

/** A run of an actor that the simulation has written: a member of a team, or what a step has begun. */
export type ActorRun = {
  readonly id: string
  readonly isDetached: boolean
  readonly life: Life
  state: 'under way' | 'over'
  /** Why its signal aborted. */
  stopped: unknown
}

/** What the code of workflows and teams did, over all processes. */
export class WorkLedger {
  readonly executions: StepExecution[] = []
  readonly runs = new Map<string, ActorRun>()
  /** The agents whose models were asked, one by one. */
  readonly requests: string[] = []
  /** Runs that people have stopped, by their ids. */
  readonly stopped = new Set<string>()
  /** Runs of which somebody was told that they have ended. */
  readonly ended = new Set<string>()
  /** Steps fail as planned until this is set: then the work can come to its end. */
  isMended = false
  readonly #stage: Stage
  readonly #paid = new Set<string>()
  /** The steps that are agents, by the ids of their runs, each behind the name of the work that it is part of. */
  readonly #steps = new Map<string, { readonly root: string; readonly id: string }>()
  /** Steps that an earlier run of the same work had done. */
  readonly #finished = new Set<string>()
  /** The last conversation that each agent was asked with. */
  readonly #asked = new Map<string, readonly string[]>()

  constructor(stage: Stage) {
    this.#stage = stage
  }

  /** The code of a step begins. */
  begin({ step, run }: StepContext, life: Life): StepExecution {
    const root = rootOf(run)
    const execution: StepExecution = { root, id: step.id, run: run.id, life, state: 'under way' }
    this.executions.push(execution)
    this.#stage.log(`${root} does ${step.id} in ${run.id}`)
    return execution
  }

  /** Notes the runs of an actor. @param make gives the actor of one run. */
  watched<A extends Actor>(actor: A, life: Life, make: (run: string) => Actor, isDetached = false): A {
    const note = (context: ActorContext): ActorRun => this.#beginRun(context, life, isDetached)
    const check = (run: ActorRun): void => this.#checkStop(run)
    const watched: A = {
      ...actor,
      async *stream(input: never, context: ActorContext) {
        await life.live()
        const run = note(context)
        const stopped = (): void => {
          run.stopped = context.signal.reason
          check(run)
        }
        context.signal.addEventListener('abort', stopped, { once: true })
        try {
          return yield* make(context.run.id).stream?.(input, context) as AsyncGenerator<string, unknown>
        } finally {
          if (run.state === 'under way') run.state = 'over'
        }
      },
      onRegister(server: never): Actor {
        actor.onRegister?.(server)
        return watched
      },
    }
    return watched
  }

  #beginRun({ run: { id }, restored }: ActorContext, life: Life, isDetached: boolean): ActorRun {
    const known = this.runs.get(id)
    // One that was stopped may wait again where its process died before anybody was told that it has stopped.
    const mayGoOn = known?.life !== life && restored !== undefined && !this.ended.has(id)
    if (known && !(mayGoOn && (known.state === 'under way' || known.stopped !== undefined)))
      this.#stage.fail('executed-twice', `${id}, which is ${known.state}`)
    this.#stage.log(`${id} ${known ? 'goes on' : 'begins'}`)
    const run: ActorRun = { id, isDetached, life, state: 'under way', stopped: undefined }
    this.runs.set(id, run)
    return run
  }

  /** What is declared to outlive its parent is stopped only by name, and by the end of its server. */
  #checkStop({ id, isDetached, stopped, state, life }: ActorRun): void {
    if (!isDetached || state === 'over' || life.isOver || life.isClosing) return
    if (MillraceError.is(stopped, 'cancelled') && !this.stopped.has(id)) this.#stage.fail('detached-stopped', id)
  }

  /** A run is the step `id` of the work `root`. */
  isStep(run: string, root: string, id: string): void {
    this.#steps.set(run, { root, id })
  }

  /** A run has done these steps: no later one of the same work does them again. */
  finished(steps: Iterable<string>): void {
    for (const id of steps) this.#finished.add(id)
  }

  /** A tool does what must not happen twice: neither in its run, nor in another one that is the same step. */
  pay(run: string, call: string): void {
    const step = this.#steps.get(run)
    for (const name of [`${run} ${call}`, ...(step ? [`${step.root} ${step.id}`] : [])]) {
      if (this.#paid.has(name)) this.#stage.fail('paid-twice', name)
      this.#paid.add(name)
    }
    if (step && this.#finished.has(step.id))
      this.#stage.fail('paid-twice', `${step.id}, which was done in an earlier run`)
  }

  /** A model is asked: the conversation of an agent is valid, and it only grows. */
  asked(agent: string, messages: readonly Message[]): void {
    this.requests.push(agent)
    const conversation = messages.filter(({ role }) => role !== 'system')
    if (JSON.stringify(validConversation(conversation, 'missing')) !== JSON.stringify(conversation))
      this.#stage.fail('invalid-conversation', `${agent} ${JSON.stringify(conversation)}`)
    const calls = conversation.flatMap((message) => (message.role === 'tool' ? [message.call] : []))
    if (new Set(calls).size < calls.length) this.#stage.fail('answered-twice', `${agent} ${calls.join(' ')}`)
    const words = conversation.map((message) => JSON.stringify(message))
    const before = this.#asked.get(agent)
    if (before && (words.length <= before.length || before.some((message, at) => message !== words[at])))
      this.#stage.fail('conversation-lost', `${agent} ${words.join()}, before ${before.join()}`)
    this.#asked.set(agent, words)
  }

  /** What has begun and is not over. With a process, all dies that it has under way. */
  get underWay(): readonly (StepExecution | ActorRun)[] {
    return [...this.executions, ...this.runs.values()].filter(isUnderWay)
  }

  /** Whether a run goes on that the simulation has written. */
  isUnderWay(run: string): boolean {
    const known = this.runs.get(run)
    return known !== undefined && isUnderWay(known)
  }
}

function isUnderWay({ state, life }: StepExecution | ActorRun): boolean {
  return state === 'under way' && !life.isOver
}

/** Under which name a run was started: it is in the `meta` of all that it begins. */
function rootOf({ meta }: Pick<ActorContext['run'], 'meta'>): string {
  return String((meta as { root?: unknown } | undefined)?.root)
}
