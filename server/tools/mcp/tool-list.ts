import type { Tool as McpTool } from '@modelcontextprotocol/client'
import { MillraceError } from '../../../protocol/errors.ts'
import { excerpt, wellFormed } from '../../text.ts'
import { OutputSchema } from './output-schema.ts'
import type { ServerSettings } from './server-options.ts'

const MAX_NAME_CHARACTERS = 64
/** What a tool without a description is described as. */
const NO_DESCRIPTION = 'A tool of the MCP server '

/** A tool of a server, under the name that models use. */
export type NamedTool = {
  readonly name: string
  readonly description: string
  readonly tool: McpTool
  /** Absent for a tool that promises no structured content. */
  readonly output: OutputSchema | undefined
}

/**
 * Chooses and names the tools of a server.
 * @throws MillraceError `bad_request` for a tool that is configured and missing, for too many or too large tools, and for
 * two that would have one name. The message says which option to change.
 */
export function namedTools(settings: ServerSettings, listed: readonly McpTool[]): NamedTool[] {
  const { name: server, tools: wanted, maxTools } = settings
  const missing = wanted?.find((name) => !listed.some((tool) => tool.name === name))
  if (missing !== undefined) throw refused(settings, `has no tool ${quoted(missing)}, which \`tools\` names`)
  const chosen = wanted ? listed.filter(({ name }) => wanted.includes(name)) : listed
  if (chosen.length > maxTools)
    throw refused(
      settings,
      `has ${chosen.length} tools: name the ones to take in \`tools\`, or raise maxTools (${maxTools})`,
    )
  const named = chosen.map((tool) => {
    const { name, description = '', inputSchema, outputSchema } = tool
    if (description.length > settings.maxDescription)
      throw refused(settings, tooLarge(name, 'description', `${description.length} characters`, 'maxDescription'))
    for (const [what, schema] of Object.entries({ schema: inputSchema, 'output schema': outputSchema })) {
      const bytes = Buffer.byteLength(JSON.stringify(schema ?? null))
      if (bytes > settings.maxSchemaBytes)
        throw refused(settings, tooLarge(name, what, `${bytes} bytes`, 'maxSchemaBytes'))
    }
    const words = description.trim() === '' ? `${NO_DESCRIPTION}${server}` : wellFormed(description)
    return { name: nameFor(settings, name), description: words, tool, output: outputOf(settings, tool) }
  })
  const names = new Set<string>()
  for (const { name, tool } of named) {
    if (names.has(name))
      throw refused(settings, `has two tools that would be named ${name}; one is ${quoted(tool.name)}`)
    names.add(name)
  }
  return named
}

/** The name of a tool for models: every provider takes 64 of the characters `a-z A-Z 0-9 _ -`. */
function nameFor(settings: ServerSettings, given: string): string {
  const name = `${settings.prefix}${given}`.replace(/[^a-zA-Z0-9_-]/g, '_')
  if (name.length > MAX_NAME_CHARACTERS)
    throw refused(settings, `has a tool whose name is too long with its prefix: ${quoted(name)}; set a shorter prefix`)
  return name
}

function outputOf(settings: ServerSettings, { name, outputSchema }: McpTool): OutputSchema | undefined {
  try {
    return outputSchema && new OutputSchema(outputSchema)
  } catch {
    throw refused(
      settings,
      `has a tool ${quoted(name)} with an output schema that is not valid: leave it out of \`tools\``,
    )
  }
}

function tooLarge(name: string, what: string, size: string, option: string): string {
  return `has a tool ${quoted(name)} with a ${what} of ${size}: leave it out of \`tools\`, or raise ${option}`
}

function refused({ name }: ServerSettings, words: string): MillraceError {
  return new MillraceError('bad_request', `the MCP server ${name} ${words}`)
}

function quoted(name: string): string {
  return JSON.stringify(excerpt(name, 80))
}
