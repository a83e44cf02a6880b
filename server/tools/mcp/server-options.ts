import { MillraceError } from '../../../protocol/errors.ts'
import { checkOptions, type OptionKinds } from '../../../protocol/options.ts'
import { hiderOf } from './configured-secrets.ts'

/** What the tools of every MCP server may be given, however it is reached. */
export type McpToolOptions = {
  /** Comes before the names of the server's tools. Default: the name of the server and `_`. */
  prefix?: string | undefined
  /** The tools to take, by the server's own names. Default: all. */
  tools?: readonly string[] | undefined
  /**
   * Whether an attached client must approve a call before it runs, or a function that decides it from the server's own
   * name of the tool and the arguments. Default false.
   */
  needsApproval?: boolean | ((tool: string, args: unknown) => boolean | Promise<boolean>) | undefined
  /** Time limit for a call, in milliseconds, without the time for answers of people. Default 30,000. */
  timeoutMs?: number | undefined
  /** Time limit for starting or reaching the server, in milliseconds. Default 30,000. */
  connectMs?: number | undefined
  /** Maximum output of a call, in bytes of UTF-8; the rest is cut off. Default 65,536. */
  maxOutputBytes?: number | undefined
  /**
   * Makes what readers see in place of an output, from the server's own name of the tool and the output. As for `tool()`.
   * Default: they see the output.
   */
  redact?: ((tool: string, output: unknown) => unknown) | undefined
  /** Maximum number of tools. Default 64. */
  maxTools?: number | undefined
  /** Maximum size of each JSON Schema of a tool, of its arguments and of its output, in bytes of UTF-8. Default 16,384. */
  maxSchemaBytes?: number | undefined
  /** Maximum length of a tool's description, in characters. Default 4,096. */
  maxDescription?: number | undefined
}

/** An MCP server that is a program of this machine. millrace starts it and speaks to it through its stdin and stdout. */
export type McpProgram = McpToolOptions & {
  /** The program: a path, or a name that is found through `PATH`. No shell reads it. */
  command: string
  /** Its arguments. Default: none. */
  args?: readonly string[] | undefined
  /** Its whole environment, besides `PATH`. It gets no other variable of this process. Default: none. */
  env?: { readonly [name: string]: string } | undefined
  /** The folder in which it starts. Default: that of this process. */
  cwd?: string | undefined
  /** What becomes of its stderr. Default `inherit`: it is written to the stderr of this process. */
  stderr?: 'inherit' | 'ignore' | undefined
}

/** An MCP server that is reached through streamable HTTP. */
export type McpEndpoint = McpToolOptions & {
  /** Its address, with scheme `http:` or `https:`. A redirect to another origin is not followed. */
  url: string
  /** Further headers of each request, such as `authorization`. Default: none. */
  headers?: { readonly [name: string]: string } | undefined
}

/** How to reach an MCP server, and what to take of it. */
export type McpServer = McpProgram | McpEndpoint

/** How to start a server. */
export type Program = { readonly type: 'program'; readonly program: McpProgram }

/** Where to reach a server. */
export type Endpoint = {
  readonly type: 'endpoint'
  readonly url: URL
  readonly headers: { readonly [name: string]: string }
}

/** The options of one server, with their defaults. */
export type ServerSettings = {
  readonly [Name in Exclude<keyof McpToolOptions, 'tools' | 'redact'>]-?: NonNullable<McpToolOptions[Name]>
} & {
  readonly name: string
  readonly tools: readonly string[] | undefined
  readonly redact: McpToolOptions['redact']
  readonly reach: Program | Endpoint
  /** Takes what may be secret of `reach` out of a text. */
  readonly hide: (text: string) => string
}

const TOOL_OPTIONS: OptionKinds<McpToolOptions> = {
  prefix: 'a string',
  tools: 'a list',
  needsApproval: 'a function, or true or false',
  timeoutMs: 'a number',
  connectMs: 'a number',
  maxOutputBytes: 'a number',
  redact: 'a function',
  maxTools: 'a number',
  maxSchemaBytes: 'a number',
  maxDescription: 'a number',
}

const PROGRAM_OPTIONS: OptionKinds<McpProgram> = {
  ...TOOL_OPTIONS,
  command: 'a string',
  args: 'a list',
  env: 'an object',
  cwd: 'a string',
  stderr: 'a string',
}

const ENDPOINT_OPTIONS: OptionKinds<McpEndpoint> = { ...TOOL_OPTIONS, url: 'a string', headers: 'an object' }

/**
 * Checks the options of an MCP server and fills in the defaults.
 * @throws MillraceError `bad_request` for an unknown or invalid option. The message names the server.
 */
export function serverSettings(name: string, given: McpServer): ServerSettings {
  const of = `the MCP server ${name}`
  const isEndpoint = 'url' in given && given.url !== undefined
  if (isEndpoint === ('command' in given && given.command !== undefined))
    throw new MillraceError('bad_request', `${of} needs either \`command\` or \`url\``)
  checkOptions(of, given, isEndpoint ? ENDPOINT_OPTIONS : PROGRAM_OPTIONS)
  const settings = {
    name,
    prefix: given.prefix ?? `${name}_`,
    tools: given.tools,
    redact: given.redact,
    needsApproval: given.needsApproval ?? false,
    timeoutMs: given.timeoutMs ?? 30_000,
    connectMs: given.connectMs ?? 30_000,
    maxOutputBytes: given.maxOutputBytes ?? 65_536,
    maxTools: given.maxTools ?? 64,
    maxSchemaBytes: given.maxSchemaBytes ?? 16_384,
    maxDescription: given.maxDescription ?? 4_096,
  }
  for (const [option, value] of Object.entries(settings))
    if (typeof value === 'number' && !(value > 0))
      throw new MillraceError('bad_request', `${of}: ${option} must be above 0, not ${value}`)
  if (isEndpoint) {
    const { url, headers = {} } = given
    return { ...settings, reach: { type: 'endpoint', url: urlOf(of, url), headers }, hide: hiderOf(headers) }
  }
  const program = given as McpProgram
  const { command, args = [], env = {}, stderr = 'inherit' } = program
  if (command.trim() === '') throw new MillraceError('bad_request', `${of}: command is empty`)
  if (![...args, ...Object.values(env)].every((text) => typeof text === 'string'))
    throw new MillraceError('bad_request', `${of}: args and the values of env must be strings`)
  if (stderr !== 'inherit' && stderr !== 'ignore')
    throw new MillraceError('bad_request', `${of}: stderr must be inherit or ignore`)
  return { ...settings, reach: { type: 'program', program }, hide: hiderOf(env) }
}

function urlOf(of: string, given: string): URL {
  if (URL.canParse(given)) {
    const url = new URL(given)
    if (url.protocol === 'http:' || url.protocol === 'https:') return url
  }
  throw new MillraceError('bad_request', `${of}: url must be an address such as https://mcp.example/mcp`)
}
