/// <reference lib="esnext.disposable" preserve="true" />
import type { Tool as McpTool } from '@modelcontextprotocol/client'
import { MillraceError } from '../../../protocol/errors.ts'
import { type Tool, type ToolContext, tool } from '../../actors/tool.ts'
import { untilAborted } from '../../streams/until-aborted.ts'
import { Connection } from './connection.ts'
import { outputOf } from './output.ts'
import { type McpServer, type ServerSettings, serverSettings } from './server-options.ts'
import { type NamedTool, namedTools } from './tool-list.ts'

export type { McpEndpoint, McpProgram, McpServer, McpToolOptions } from './server-options.ts'

/** The options of `mcpTools` that concern all servers. */
export type McpToolsOptions = {
  /**
   * Receives an error that no call reports, such as a changed list of tools that is refused. Default: a warning of the
   * process (`process.emitWarning`).
   */
  onError?: ((error: MillraceError) => void) | undefined
}

/**
 * Tools of MCP servers, by the names that models use. The object changes when a server's list does: an agent that has it
 * as its `tools` gets new tools with its next run. Spread into another object, it is a copy: tools that change or go are
 * seen there too, new ones are not.
 */
export type McpTools = { readonly [name: string]: Tool } & AsyncDisposable

/**
 * Connects to MCP servers and returns their tools. The tools of a server are named after it: `search` of `docs` is
 * `docs_search`. A server that is lost is connected again by the next call. A server of millrace whose agents have the
 * tools ends the connections when it closes; otherwise, dispose of the returned object (`await using`).
 *
 * Commands and addresses come from your code only. Never make them from the input of a client.
 * @param servers How to reach each server, by a name of your choice.
 * @throws MillraceError `bad_request` for invalid options, for a server whose tools exceed a limit, and for two tools of one
 * name; `unavailable` for a server that cannot be started, reached or asked for its tools. The message names the server.
 */
export async function mcpTools(
  servers: { readonly [name: string]: McpServer },
  options: McpToolsOptions = {},
): Promise<McpTools> {
  const { onError = (error: MillraceError): void => process.emitWarning(error.message, 'McpWarning') } = options
  const settings = Object.entries(servers).map(([name, server]) => serverSettings(name, server))
  const tools: { [name: string]: Tool } = {}
  const sources = settings.map((one) => new Source(one, tools, onError))
  const close = async (): Promise<void> => {
    await Promise.all(sources.map((source) => source.connection.close()))
  }
  try {
    // All at once: programs take seconds to start.
    await Promise.all(sources.map((source) => source.connection.open()))
  } catch (error) {
    await close()
    throw error
  }
  // Not enumerable, so that it is no tool: an agent looks at all that is.
  return Object.defineProperty(tools, Symbol.asyncDispose, { value: close }) as McpTools
}

/** The tools of one server, in the map that all servers share. */
class Source {
  readonly connection: Connection
  readonly #settings: ServerSettings
  readonly #tools: { [name: string]: Tool }
  /** Each tool that the server has had. A copy of the map may still have one that is gone. */
  readonly #made = new Map<string, { readonly tool: Tool; now: Pick<NamedTool, 'tool' | 'output'> | undefined }>()

  constructor(settings: ServerSettings, tools: { [name: string]: Tool }, onError: (error: MillraceError) => void) {
    this.#settings = settings
    this.#tools = tools
    this.connection = new Connection(settings, {
      tools: (listed) => this.#take(namedTools(settings, listed)),
      failed: onError,
    })
  }

  #take(listed: readonly NamedTool[]): void {
    const taken = listed.find(({ name }) => Object.hasOwn(this.#tools, name) && !this.#made.has(name))
    if (taken)
      throw new MillraceError(
        'bad_request',
        `two MCP servers have a tool named ${taken.name}; one is ${this.#settings.name}: give it another prefix`,
      )
    for (const [name, made] of this.#made) {
      made.now = undefined
      Reflect.deleteProperty(this.#tools, name)
    }
    for (const now of listed) {
      const { name, description, tool } = now
      const made = this.#made.get(name) ?? { tool: this.#toolNamed(name, description, tool), now }
      // The same object for the same name, because a copy of the map has the object.
      Object.assign(made.tool, { description, parameters: this.#toolNamed(name, description, tool).parameters })
      made.now = now
      this.#made.set(name, made)
      this.#tools[name] = made.tool
    }
  }

  #toolNamed(name: string, description: string, { name: own, inputSchema }: McpTool): Tool {
    const { needsApproval, timeoutMs, maxOutputBytes, redact } = this.#settings
    const made = tool({
      description,
      parameters: inputSchema,
      needsApproval: typeof needsApproval === 'function' ? (args: unknown) => needsApproval(own, args) : needsApproval,
      timeoutMs,
      maxOutputBytes,
      redact: redact && ((output: unknown) => redact(own, output)),
      run: (args, context) => this.#call(name, args, context),
    })
    return Object.assign(made, { close: () => this.connection.close() })
  }

  async #call(name: string, args: unknown, context: ToolContext): Promise<unknown> {
    // A lost server is asked again first: it may have the tool now, or no longer.
    await untilAborted(this.connection.open(), context.signal)
    const now = this.#made.get(name)?.now
    if (!now)
      throw new MillraceError('not_found', `the MCP server ${this.#settings.name} no longer has the tool ${name}`)
    const result = await this.connection.call(now.tool, args, context)
    const output = outputOf(result, this.#settings.hide)
    await now.output?.check(result.structuredContent, this.#settings.hide)
    return output
  }
}
