import { fromJsonSchema, type JsonSchemaType, type Tool as McpTool } from '@modelcontextprotocol/client'
import { MillraceError } from '../../../protocol/errors.ts'
import { isMap } from '../../../protocol/map.ts'
import { issueWords } from '../../actors/issue-words.ts'
import { type StandardSchema, validate } from '../../actors/standard-schema.ts'

/** Keywords with expressions of the server. One that takes exponential time would stop this process. */
const EXPRESSIONS: ReadonlySet<string> = new Set(['pattern', 'patternProperties'])

/** The schema of what a tool of an MCP server puts out. */
export class OutputSchema {
  readonly #schema: StandardSchema

  /** @throws what the validator throws for a schema that it cannot read. */
  constructor(schema: NonNullable<McpTool['outputSchema']>) {
    this.#schema = fromJsonSchema(withoutExpressions(schema) as JsonSchemaType)
  }

  /**
   * Checks the structured content of a call that succeeded.
   * @param hide takes secrets out of the words of an error.
   * @throws MillraceError `tool_failed` for content that is missing or does not fit.
   */
  async check(structured: unknown, hide: (text: string) => string): Promise<void> {
    if (structured === undefined)
      throw new MillraceError('tool_failed', 'it gave no structured content, which its output schema promises')
    const { issues } = await validate(this.#schema, structured)
    if (issues)
      throw new MillraceError(
        'tool_failed',
        hide(`its output does not fit its schema: ${issueWords(issues).join('; ')}`),
      )
  }
}

/** The same schema without what is written as regular expressions. Members that have these names stay. */
function withoutExpressions(schema: unknown, isOfMembers = false): unknown {
  if (Array.isArray(schema)) return schema.map((one) => withoutExpressions(one))
  if (!isMap(schema)) return schema
  const kept = Object.entries(schema).filter(([keyword]) => isOfMembers || !EXPRESSIONS.has(keyword))
  return Object.fromEntries(
    kept.map(([keyword, value]) => {
      const isData = !isOfMembers && (keyword === 'const' || keyword === 'enum' || keyword === 'default')
      const areMembers = !isOfMembers && (keyword === 'properties' || keyword === '$defs')
      return [keyword, isData ? value : withoutExpressions(value, areMembers)]
    }),
  )
}
