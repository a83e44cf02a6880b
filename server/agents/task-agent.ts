import { z } from 'zod'
import { MillraceError } from '../../protocol/errors.ts'
import { type Actor, actor } from '../actors/actor.ts'
import type { ServerView } from '../actors/server-view.ts'
import { type Tool, type ToolContext, type ToolMap, type ToolProgress, tool } from '../actors/tool.ts'
import type { Message, ToolSpec } from '../models/model.ts'
import { agent } from './agent.ts'
import type { AgentDefinition } from './agent-definition.ts'
import type { AgentInput, Asked } from './agent-input.ts'
import type { TurnOutput } from './turn.ts'

/** Something that runs the tool calls of agents, such as a coordinator of workers. */
export interface Orchestrator {
  /** The tools that it can run, as models see them. Read when a run begins. */
  readonly tools: readonly ToolSpec[]
  /**
   * Runs one call and resolves with its output: text, or data that JSON can write. Rejects when the call fails; the model
   * sees the message of a `MillraceError`, and of other errors only that the call failed.
   * @param call.call Unique in the run. @param call.args What the model wrote; nothing has checked it.
   */
  execute(
    call: { readonly call: string; readonly name: string; readonly args: unknown },
    context: Pick<ToolContext, 'signal' | 'principal' | 'fence' | 'progress'>,
  ): unknown
}

/** The input of a task agent. */
export type TaskRequest = {
  /** What is to be done. */
  task: string
  /** Data that the task is about. The model gets it as JSON. Default: none. */
  context?: unknown
  /** The conversation that the task continues, such as the `messages` of an earlier result. Default: none. */
  messages?: Message[] | undefined
}

/** The result of a task agent. */
export type TaskResult = {
  /** The answer: the text after the last tool call. */
  text: string
  /** The whole conversation with its tool calls, valid as the `messages` of another request. */
  messages: Message[]
}

/** The argument of `taskAgent()`: that of `agent()`, and what runs the tools. */
export type TaskAgentDefinition = Omit<AgentDefinition, 'clientSettings'> & {
  /** Runs the tools. Tools of `tools` run here, and come before those of the same name. */
  orchestrator: Orchestrator
}

const request = z.object({
  task: z.string().min(1),
  context: z.unknown().optional(),
  messages: z.array(z.unknown()).optional(),
})

/**
 * Makes the schema of a task agent's input.
 * @param input that of the agent, which takes the conversation with the task at its end.
 */
function taskInput(input: z.ZodType<Asked, AgentInput>): z.ZodType<Asked> {
  return request.transform((given, context): Asked => {
    const { data, error } = input.safeParse({ messages: [...(given.messages ?? []), questionOf(given)] })
    for (const { message, path } of error?.issues ?? []) context.addIssue({ code: 'custom', message, path })
    return data ?? z.NEVER
  })
}

/**
 * Makes tools of what an orchestrator can run. Each call reports as its progress `executing`, then `completed` or
 * `failed: ` and the reason. A tool that the model invents is an error of its call, as everywhere.
 * @throws MillraceError `bad_request` for a tool whose arguments are not an object.
 */
export function orchestratorTools(orchestrator: Orchestrator): ToolMap {
  return Object.fromEntries(orchestrator.tools.map((spec) => [spec.name, toolOf(orchestrator, spec)]))
}

function toolOf(orchestrator: Orchestrator, { name, description, parameters }: ToolSpec): Tool {
  return tool({
    description,
    parameters,
    async *run(args, { call, signal, principal, fence, progress }): AsyncGenerator<ToolProgress, unknown> {
      yield 'executing'
      let output: unknown
      try {
        output = await orchestrator.execute({ call, name, args }, { signal, principal, fence, progress })
      } catch (error) {
        yield `failed: ${MillraceError.from(error, 'tool_failed', 'the tool failed').message}`
        throw error
      }
      yield 'completed'
      return output
    },
  })
}

/**
 * Makes an actor that does a task: a request in, a conversation with its tool calls out. The model decides which tools it
 * needs, and the orchestrator runs them. Readers see the events of an agent.
 * @throws MillraceError `bad_request` as `agent()` does, and for a tool that is none.
 */
export function taskAgent(definition: TaskAgentDefinition): Actor<TaskRequest, TaskResult, never> {
  const { orchestrator, ...own } = definition
  const made = (onFinish?: AgentDefinition['onFinish']): Actor<AgentInput, unknown, never> =>
    agent({ ...own, onFinish, tools: { ...orchestratorTools(orchestrator), ...own.tools } })
  // Whatever is wrong with the definition is known before the first run.
  const { interactive, description, onRegister, close, input } = made()
  const task = actor<z.ZodType<Asked>, TurnOutput, TaskResult>({
    description,
    interactive,
    input: taskInput(input as z.ZodType<Asked, AgentInput>),
    async *stream(asked: Asked, context) {
      let messages: Message[] = []
      const runner = made(async (conversation, ...rest) => {
        messages = conversation
        await own.onFinish?.(conversation, ...rest)
      })
      yield* (runner.stream as NonNullable<Actor['stream']>)(asked as never, context) as AsyncIterable<TurnOutput>
      const last = messages.at(-1)
      return { text: last?.role === 'assistant' ? last.content : '', messages }
    },
  })
  return Object.assign(task as unknown as Actor<TaskRequest, TaskResult, never>, {
    onRegister(server: ServerView): Actor {
      onRegister?.(server)
      return task
    },
    ...(close && { close }),
  })
}

function questionOf({ task, context }: { task: string; context?: unknown }): Message {
  return { role: 'user', content: context === undefined ? task : `${task}\n\n${JSON.stringify(context)}` }
}
