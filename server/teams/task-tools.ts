import { z } from 'zod'
import { MillraceError } from '../../protocol/errors.ts'
import { type Tool, tool } from '../actors/tool.ts'
import { untilAborted } from '../streams/until-aborted.ts'
import type { Task, Tasks } from './tasks.ts'

/** How long a model may wait for a task. */
const WAIT_MS = 600_000

/** What a model learns of a task. */
type TaskFacts = { task: string; member: string; state: string; answer?: unknown; error?: string }

/** The tools with which a model hands out work, and looks after it. */
export type TaskTools = { readonly [name in 'start_task' | 'list_tasks' | 'wait_for_task' | 'cancel_task']: Tool }

/**
 * Makes tools of the tasks of a run: a model can start them, list them, wait for one, and cancel one. They go on while it
 * does other things.
 * @param members the names that a model may give a task to.
 */
export function taskTools(tasks: Tasks, members: readonly string[]): TaskTools {
  const task = z.object({ task: z.string().describe('The id of the task') })
  return {
    start_task: tool({
      description: 'Starts a task in the background, and returns its id',
      input: z.object({
        member: z.enum(members as [string, ...string[]]),
        prompt: z.string().min(1).describe('The task, with everything that is needed to do it'),
      }),
      run: ({ member, prompt }) => factsOf(tasks.start(member, prompt)),
    }),
    list_tasks: tool({
      description: 'Lists all tasks with their states',
      run: () => ({ tasks: tasks.all.map(factsOf) }),
    }),
    wait_for_task: tool({
      description: 'Waits until a task has ended, and returns its answer',
      input: task,
      timeoutMs: WAIT_MS,
      run: ({ task: id }, { signal }) => endOf(tasks.find(id), signal),
    }),
    cancel_task: tool({
      description: 'Cancels a task',
      input: task,
      async run({ task: id }) {
        const found = tasks.find(id)
        await found.cancel('cancelled by the lead')
        return factsOf(found)
      },
    }),
  }
}

function factsOf({ id, member, state }: Task): TaskFacts {
  return { task: id, member, state }
}

async function endOf(task: Task, signal: AbortSignal): Promise<TaskFacts> {
  try {
    const answer = await untilAborted(task.result, signal)
    return { ...factsOf(task), answer }
  } catch (error) {
    signal.throwIfAborted()
    return { ...factsOf(task), error: MillraceError.from(error, 'actor_failed', 'the task failed').message }
  }
}
