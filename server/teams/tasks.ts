import { type ErrorShape, MillraceError } from '../../protocol/errors.ts'
import type { ActorContext } from '../actors/actor.ts'
import type { ChildRun, ChildState, GovernOptions } from '../actors/child-run.ts'
import type { Members } from './team.ts'

/** One piece of work that a member does in the background: a child run, as its team handles it. */
export interface Task {
  /** The id of its run. Clients cancel it with `run.cancel({ agent: id })`. */
  readonly id: string
  /** Who does it. */
  readonly member: string
  /** How far it is. Once it is `done`, `error` or `cancelled`, it stays so. */
  readonly state: ChildState
  /** The answer. Rejects as `ChildRun.result` does; a rejection need not be caught. */
  readonly result: Promise<unknown>
  /** Cancels it, as `ChildRun.cancel` does. Resolves with its state then. */
  cancel(...how: Parameters<ChildRun['cancel']>): Promise<ChildState>
  /** Pauses it, resumes it or slows it down. @throws MillraceError as `ChildRun.govern` does. */
  govern(order: Omit<GovernOptions, 'agent'>): void
}

/** A task as another process goes on with it. */
export type KeptTask = {
  /** The id of its run. */
  readonly id: string
  /** Who does it. */
  readonly member: string
  /** What it is. */
  readonly prompt: string
  /** How it has ended. Absent: it goes on. */
  readonly end?: { readonly state: ChildState; readonly answer?: unknown; readonly error?: ErrorShape }
}

/** The tasks of one run: readers of the run get what each of them says, as it comes. */
export class Tasks {
  readonly #members: Members
  readonly #context: Pick<ActorContext, 'spawn' | 'emit'>
  readonly #tasks = new Map<string, Task>()
  /** Undefined: they end with the process. */
  readonly #kept: Map<string, KeptTask> | undefined

  /**
   * No task is there yet, but those of `kept`.
   * @param members who may get a task.
   * @param context of the run. When it ends, its tasks are cancelled.
   * @param kept makes the tasks outlast a restart: what `state` of the last process gave, or an empty list. A run has one
   * such `Tasks`. Default: a restart ends the run, unless all tasks have ended, which are unknown then.
   * @throws MillraceError `not_found` for a kept task whose member is unknown.
   */
  constructor(members: Members, context: Pick<ActorContext, 'spawn' | 'emit'>, kept?: readonly KeptTask[]) {
    this.#members = members
    this.#context = context
    this.#kept = kept && new Map()
    for (const task of kept ?? []) {
      if (task.end) this.#add(task, endedTask(task, task.end))
      else this.start(task.member, task.prompt)
    }
  }

  /** All tasks that were started, in order. */
  get all(): readonly Task[] {
    return [...this.#tasks.values()]
  }

  /** What another process goes on with, for a checkpoint. Empty, unless they outlast a restart. */
  get state(): readonly KeptTask[] {
    return [...(this.#kept?.values() ?? [])]
  }

  /**
   * Starts a task.
   * @throws MillraceError `not_found` for an unknown member, and as `context.spawn` does.
   */
  start(member: string, prompt: string): Task {
    const actor = Object.hasOwn(this.#members, member) ? this.#members[member] : undefined
    if (!actor) {
      const known = Object.keys(this.#members).join(', ')
      throw new MillraceError('not_found', `unknown member ${member}; known members: ${known}`)
    }
    // Its number finds it again.
    const key = this.#kept && `task ${this.#tasks.size + 1}`
    const child: ChildRun = this.#context.spawn(actor, { prompt }, { name: member, key })
    const { id } = child
    const result = this.#pass(child)
    const started = { id, member, prompt }
    const ended = (end: Omit<NonNullable<KeptTask['end']>, 'state'>): void => {
      this.#kept?.set(id, { ...started, end: { state: child.state, ...end } })
    }
    result.then(
      (answer) => ended({ answer }),
      (error: unknown) => ended({ error: MillraceError.from(error, 'actor_failed', 'the task failed').toJSON() }),
    )
    return this.#add(started, {
      id,
      member,
      get state() {
        return child.state
      },
      result,
      async cancel(...how) {
        await child.cancel(...how)
        return child.state
      },
      govern: (order) => child.govern(order),
    })
  }

  #add(kept: KeptTask, task: Task): Task {
    this.#tasks.set(kept.id, task)
    this.#kept?.set(kept.id, kept)
    return task
  }

  /** The task of this id. @throws MillraceError `not_found` for an unknown one. */
  find(id: string): Task {
    const task = this.#tasks.get(id)
    if (task) return task
    const known = [...this.#tasks.keys()].join(', ') || 'none'
    throw new MillraceError('not_found', `unknown task ${id}; known tasks: ${known}`)
  }

  async #pass(child: ChildRun): Promise<unknown> {
    for await (const event of child) await this.#context.emit(event)
    return child.result
  }
}

/** A task that had ended when the process began. */
function endedTask({ id, member }: KeptTask, { state, answer, error }: NonNullable<KeptTask['end']>): Task {
  const result = error ? Promise.reject(MillraceError.fromShape(error)) : Promise.resolve(answer)
  result.catch(() => {})
  return {
    id,
    member,
    state,
    result,
    cancel: () => Promise.resolve(state),
    govern() {
      throw new MillraceError('not_found', 'the run has ended')
    },
  }
}
