import { MillraceError } from '../../protocol/errors.ts'
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
  /** Cancels it. Resolves with its state then. */
  cancel(note?: string): Promise<ChildState>
  /** Pauses it, resumes it or slows it down. @throws MillraceError as `ChildRun.govern` does. */
  govern(order: Omit<GovernOptions, 'agent'>): void
}

/** The tasks of one run: readers of the run get what each of them says, as it comes. */
export class Tasks {
  readonly #members: Members
  readonly #context: Pick<ActorContext, 'spawn' | 'emit'>
  readonly #tasks = new Map<string, Task>()

  /**
   * No task is there yet.
   * @param members who may get a task.
   * @param context of the run. When it ends, its tasks are cancelled.
   */
  constructor(members: Members, context: Pick<ActorContext, 'spawn' | 'emit'>) {
    this.#members = members
    this.#context = context
  }

  /** All tasks that were started, in order. */
  get all(): readonly Task[] {
    return [...this.#tasks.values()]
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
    const child: ChildRun = this.#context.spawn(actor, { prompt }, { name: member })
    const result = this.#pass(child)
    result.catch(() => {})
    const task: Task = {
      id: child.id,
      member,
      get state() {
        return child.state
      },
      result,
      async cancel(note) {
        await child.cancel(note)
        return child.state
      },
      govern: (order) => child.govern(order),
    }
    this.#tasks.set(child.id, task)
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
