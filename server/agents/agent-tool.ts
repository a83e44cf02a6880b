import { z } from 'zod'
import type { AnswerOf, InputOf } from '../../protocol/actors.ts'
import { MillraceError } from '../../protocol/errors.ts'
import { checkOptions, type OptionKinds } from '../../protocol/options.ts'
import type { Actor } from '../actors/actor.ts'
import type { InferInput, StandardSchema } from '../actors/standard-schema.ts'
import { type ApprovalContext, type Tool, type ToolContext, tool } from '../actors/tool.ts'

/** An agent takes longer than other tools, and the run that it works for has a time limit of its own. */
const DEFAULT_TIMEOUT_MS = 600_000

/** What a model gives to an agent that it calls, unless `input` says otherwise. */
type Prompt = { prompt: string }

const PROMPT: StandardSchema<Prompt, Prompt> = z.object({
  prompt: z.string().min(1).describe('The task, with everything that is needed to do it'),
})

/** The second argument of `agentTool`. */
export type AgentToolOptions<Schema, Input> = {
  /** Tells the model what the agent can do and when to call it. */
  description: string
  /**
   * Checks the arguments, and makes the input of the agent of them; any Standard Schema. Default: `{ prompt }`, which is
   * an input of every agent.
   */
  input?: (Schema & StandardSchema<unknown, Input>) | undefined
  /** JSON Schema of the arguments, for the model. Default: taken from `input`, as `tool` does. */
  parameters?: unknown
  /** The displayed name of the child. Default: the registered name of the agent, else `agent`. */
  name?: string | undefined
  /** Whether an attached client must approve a call before it begins, or a function that decides it. Default false. */
  needsApproval?: Tool['needsApproval'] | undefined
  /** Time limit for an approval, in milliseconds. Default 300,000. */
  approvalMs?: number | undefined
  /** Time limit for the child, in milliseconds. Default 600,000. */
  timeoutMs?: number | undefined
  /** Maximum answer for the model, in bytes of UTF-8; the rest is cut off. Default 65,536. */
  maxOutputBytes?: number | undefined
}

const OPTIONS: OptionKinds<AgentToolOptions<undefined, unknown>> = {
  description: 'a string',
  input: 'anything',
  parameters: 'anything',
  name: 'a string',
  needsApproval: 'a function, or true or false',
  approvalMs: 'a number',
  timeoutMs: 'a number',
  maxOutputBytes: 'a number',
}

/**
 * Makes a tool of an agent, or of any other actor: a model that calls it starts a child run. Readers of the run get the
 * events of the child as they come, each with its `agent`, and its text is no part of the text of the run. The model gets
 * what the child returns, or its text. A cancel of the call or of the child stops the child, and its usage counts for the
 * run. A server with the tool is refused when the agent's model is missing, and closes what the agent keeps open.
 * @throws MillraceError `bad_request` as `tool` does.
 */
export function agentTool<A extends Actor, const Schema extends StandardSchema | undefined = undefined>(
  agent: A,
  options: AgentToolOptions<Schema, InputOf<A>>,
): Tool<Schema extends undefined ? Prompt : InferInput<Schema>, AnswerOf<A>> {
  checkOptions('agentTool()', options, OPTIONS)
  const { name, input = PROMPT, timeoutMs = DEFAULT_TIMEOUT_MS, needsApproval, ...others } = options
  const made = tool<StandardSchema>({
    ...others,
    input,
    timeoutMs,
    needsApproval: needsApproval as boolean | ((input: unknown, context: ApprovalContext) => boolean) | undefined,
    run: (given, context) => answerOf(agent, given, name, context),
  })
  // The server treats the agent as if it had registered it.
  const own: Pick<Tool, 'onRegister' | 'close'> = {
    onRegister: (view) => void agent.onRegister?.(view),
    close: async () => agent.close?.(),
  }
  return Object.assign(made, own) as ReturnType<typeof agentTool<A, Schema>>
}

async function answerOf(
  agent: Actor,
  input: unknown,
  name: string | undefined,
  { spawn, emit, signal }: ToolContext,
): Promise<unknown> {
  // After a restart, the call is made again, and finds the child that waits.
  const child = spawn(agent, input, { name, key: 'agent' })
  try {
    for await (const event of child) await emit(event)
    return await child.result
  } catch (error) {
    // The child alone was stopped: its model need not know that this is how it ended.
    if (signal.aborted || !MillraceError.is(error, 'cancelled')) throw error
    throw new MillraceError('tool_failed', 'the agent was stopped before it had an answer')
  }
}
