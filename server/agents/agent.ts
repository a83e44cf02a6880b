import { MillraceError } from '../../protocol/errors.ts'
import { checkOptions } from '../../protocol/options.ts'
import { type Actor, actor } from '../actors/actor.ts'
import type { ServerView } from '../actors/server-view.ts'
import type { InferOutput, StandardSchema } from '../actors/standard-schema.ts'
import type { Tool, ToolMap } from '../actors/tool.ts'
import { AGENT_OPTIONS, type AgentDefinition, type NeedsContext } from './agent-definition.ts'
import { type AgentInput, agentInput } from './agent-input.ts'
import { AgentLoop, type LoopDefinition } from './agent-loop.ts'
import { AgentOutput } from './agent-output.ts'
import { AgentSettings } from './agent-settings.ts'
import { FileRules } from './client-files.ts'
import { misnamedTool } from './tool-names.ts'
import type { TurnOutput } from './turn.ts'

const DEFAULT_MAX_ITERATIONS = 8

/** What each agent is made of, for actors that run its loop themselves. */
const LOOPS = new WeakMap<object, LoopDefinition>()

/** What an agent is made of. Undefined for an actor that `agent()` has not made. */
export function loopOf(actor: object): LoopDefinition | undefined {
  return LOOPS.get(actor)
}

/**
 * Makes an actor that asks a model, runs the tools that the model calls, and asks again. The loop ends when the model
 * makes no more tool calls. Text is sent as tokens, everything else as events, and the result of the run is the text.
 *
 * The tool calls of one turn run in parallel, at most 32 of them. Tool errors are reported to the model. A model error
 * ends the run with that error.
 * @throws MillraceError `bad_request` for an unknown or invalid option, for a tool name that providers reject, for invalid
 * settings or `files`, and for a `maxIterations` below 1. `createServer` throws `not_found` for an agent whose model, or
 * that of an `agentTool` of it, the server does not have.
 */
export function agent<
  Context = unknown,
  Tools extends ToolMap<never> = ToolMap<Context>,
  const Schema extends StandardSchema | undefined = undefined,
>(
  definition: AgentDefinition<Context, Tools, Schema> & NeedsContext<NoInfer<Context>, NoInfer<Tools>>,
): Actor<AgentInput, Schema extends undefined ? undefined : InferOutput<Schema>, never> {
  checkOptions('agent()', definition, AGENT_OPTIONS)
  const { description, interactive = true, tools = {}, maxIterations = DEFAULT_MAX_ITERATIONS } = definition
  const misnamed = misnamedTool(tools)
  if (misnamed !== undefined) throw new MillraceError('bad_request', misnamed)
  if (!(maxIterations >= 1))
    throw new MillraceError('bad_request', `maxIterations must be at least 1, not ${String(maxIterations)}`)
  const { temperature, maxTokens, clientSettings = [] } = definition
  const own = {
    ...(temperature !== undefined && { temperature }),
    ...(maxTokens !== undefined && { maxTokens }),
    ...definition.settings,
  }
  const settings = new AgentSettings(own, clientSettings, Object.keys(tools))
  const files = new FileRules(definition.files)
  const output = definition.output && new AgentOutput(definition.output)
  const loop: LoopDefinition = { ...(definition as AgentDefinition), tools, maxIterations, settings, files, output }
  const input = agentInput(definition.allowSystem ?? false, settings, files)
  type Result = Schema extends undefined ? undefined : InferOutput<Schema>
  const made = actor<typeof input, TurnOutput>({
    ...(description !== undefined && { description }),
    interactive,
    input,
    stream: (asked, context) => new AgentLoop(loop, asked, context).run() as AsyncIterable<TurnOutput, undefined>,
  })
  LOOPS.set(made, loop)
  // The type of its result is that of `output`, which the loop has checked.
  return Object.assign(made as Actor as Actor<AgentInput, Result, never>, {
    clientTools: definition.clientTools === true && { reserved: Object.keys(tools) },
    onRegister(server: ServerView): Actor {
      server.findModel(definition.model)
      for (const tool of Object.values<Tool>(tools)) tool.onRegister?.(server)
      return made
    },
    async close(): Promise<void> {
      await Promise.all(Object.values<Tool>(tools).map(async (tool) => tool.close?.()))
    },
  })
}
