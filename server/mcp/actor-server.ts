import {
  type CallToolResult,
  CLIENT_CAPABILITIES_META_KEY,
  type ClientCapabilities,
  type InputRequiredResult,
  McpServer,
  type RequestId,
  type ServerContext,
  type Tool,
} from '@modelcontextprotocol/server'
import { z } from 'zod'
import { MillraceError } from '../../protocol/errors.ts'
import type { Actor } from '../actors/actor.ts'
import { describesObject, jsonSchemaOf } from '../actors/json-schema.ts'
import type { StandardSchema } from '../actors/standard-schema.ts'
import { excerpt } from '../text.ts'
import { callActor } from './actor-call.ts'
import type { RunClient } from './run-client.ts'
import { callRunTool, RUN_TOOLS } from './run-tools.ts'
import { failureOf, resultOf } from './tool-result.ts'

const MAX_NAME_CHARACTERS = 64

/** One actor as a tool. */
type ActorTool = { readonly actor: string; readonly spec: Tool; inputOf(args: Record<string, unknown>): unknown }

/** For whom an MCP server runs actors. */
export type ActorServerUser = {
  /** Runs the actors. */
  readonly client: RunClient
  /** Whether the user may start an actor. Those that it may not are not listed. Default: all of them. */
  mayStart?(actor: string): boolean
  /**
   * A call begins.
   * @param id the id of its request.
   * @param signal aborts when the request is cancelled.
   * @returns a signal that aborts when the call is to stop, for as long as `over` was not called. Default: `signal`.
   */
  called?(id: RequestId, signal: AbortSignal): { readonly signal: AbortSignal; over(): void }
  /** A call has failed. Its client gets the error as the result of the tool. */
  failed?(error: unknown): void
  /** Whether one more message of progress may be sent. Progress that may not is left out. Default: always. */
  takesProgress?(): boolean
}

/**
 * Makes MCP servers whose tools are actors. A call of an actor's tool runs the actor to its end: its progress and a
 * cancel are carried over. Further tools start a run, read on in it, send it something, and cancel it, by its id.
 * @throws MillraceError `bad_request` for two actors whose tools would have one name.
 */
export function actorServer(
  actors: ReadonlyMap<string, Actor>,
  identity: { readonly name: string; readonly version: string },
): (user: ActorServerUser) => McpServer {
  const tools = new Map<string, ActorTool>()
  for (const [name, actor] of actors) {
    const tool = actorTool(name, actor)
    if (tools.has(tool.spec.name) || RUN_TOOLS.some(({ name }) => name === tool.spec.name))
      throw new MillraceError('bad_request', `two tools would be named ${tool.spec.name}: rename the actor ${name}`)
    tools.set(tool.spec.name, tool)
  }

  async function call(
    { server }: McpServer,
    user: ActorServerUser,
    name: string,
    args: Record<string, unknown>,
    { mcpReq }: ServerContext,
  ): Promise<CallToolResult | InputRequiredResult> {
    const { client } = user
    const tool = tools.get(name)
    const open = user.called?.(mcpReq.id, mcpReq.signal)
    const signal = open?.signal ?? mcpReq.signal
    try {
      if (!tool) return resultOf(await callRunTool(client, name, args, signal))
      const takesProgress = (): boolean => user.takesProgress?.() ?? true
      const capabilities = capabilitiesOf(server, mcpReq)
      return await callActor({
        ...{ client, mcpReq, capabilities, signal, takesProgress },
        actor: tool.actor,
        input: tool.inputOf(args),
      })
    } catch (error) {
      user.failed?.(error)
      return failureOf(error)
    } finally {
      open?.over()
    }
  }

  return (user) => {
    const mcp = new McpServer(identity, { capabilities: { tools: {} } })
    const own = [...tools.values()].filter(({ actor }) => user.mayStart?.(actor) ?? true)
    const listed = [...own.map(({ spec }) => spec), ...(RUN_TOOLS as readonly Tool[])]
    // Below `registerTool`, because the schemas are data here, and the actors check their own input.
    const { server } = mcp
    server.setRequestHandler('tools/list', () => ({ tools: listed }))
    server.setRequestHandler('tools/call', ({ params }, context) =>
      call(mcp, user, params.name, params.arguments ?? {}, context),
    )
    return mcp
  }
}

/** What the client of a request can do. The newer protocol says it with each request, the older one at the beginning. */
function capabilitiesOf(
  server: McpServer['server'],
  { envelope }: ServerContext['mcpReq'],
): ClientCapabilities | undefined {
  const said = envelope as { readonly [CLIENT_CAPABILITIES_META_KEY]?: ClientCapabilities } | undefined
  // eslint-disable-next-line @typescript-eslint/no-deprecated -- what a client of the older protocol said is nowhere else
  return said ? said[CLIENT_CAPABILITIES_META_KEY] : server.getClientCapabilities()
}

/** The JSON Schema of an input, as far as it can be written: the actor checks what it is given in any case. */
function knownSchema(input: StandardSchema): unknown {
  try {
    return jsonSchemaOf(input, 'give the actor a schema that provides it')
  } catch {
    if (input['~standard'].vendor !== 'zod') return undefined
    return z.toJSONSchema(input as unknown as z.ZodType, { io: 'input', unrepresentable: 'any' })
  }
}

function actorTool(name: string, { description, input }: Actor): ActorTool {
  const schema = input === undefined ? undefined : knownSchema(input)
  const isMap = describesObject(schema)
  const spec: Tool = {
    name: excerpt(name, MAX_NAME_CHARACTERS).replace(/[^a-zA-Z0-9_-]/g, '_'),
    description: description ?? `Runs ${name} and returns its answer.`,
    // The arguments of a tool are a map. Other inputs are put into one.
    inputSchema: (isMap
      ? schema
      : { type: 'object', properties: { input: schema ?? {} }, required: ['input'] }) as Tool['inputSchema'],
  }
  return { actor: name, spec, inputOf: (args) => (isMap ? args : args['input']) }
}
