import { isMap } from '../../protocol/map.ts'
import type { OutputFormat } from './model.ts'

type Schema = { readonly [keyword: string]: unknown }

/** The keywords that a provider knows. The server checks the answer against all of the schema. */
type Mode = {
  readonly keywords: readonly string[]
  /** Whether an object may have members that may be missing. */
  readonly hasOptional: boolean
}

const OPENAI: Mode = {
  hasOptional: false,
  keywords: [
    ...['type', 'properties', 'required', 'items', 'enum', 'const', 'anyOf', '$ref', '$defs', 'description', 'title'],
    ...['pattern', 'minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf', 'minItems', 'maxItems'],
  ],
}
const ANTHROPIC: Mode = {
  hasOptional: true,
  keywords: [
    ...['type', 'properties', 'required', 'items', 'enum', 'const', 'anyOf', '$ref', '$defs', 'description', 'title'],
  ],
}

/** Keywords without which a schema would describe something else. */
const STRUCTURAL = ['allOf', 'not', 'if', 'patternProperties', 'prefixItems', 'dependentSchemas', 'propertyNames']

/** The schema of an answer, in strict mode if it can be written for it: the provider then keeps the model to it. */
export function schemaIn({ schema }: OutputFormat): { schema: unknown; strict: boolean } {
  const strict = strictSchema(schema)
  return { schema: strict ?? schema, strict: strict !== undefined }
}

/**
 * The schema in the form of OpenAI's strict mode: objects have no other members than those listed, and all of them.
 * Undefined for one that cannot be written so, such as one with a member that may be missing.
 */
export function strictSchema(schema: unknown): Schema | undefined {
  return closedSchema(schema, OPENAI)
}

/**
 * The schema in the form of Anthropic's structured outputs: objects have no other members than those listed. Undefined
 * for one that cannot be written so, such as one with members of any name, or one whose shared parts name other parts:
 * the provider refuses recursion.
 */
export function anthropicSchema(schema: unknown): Schema | undefined {
  const closed = closedSchema(schema, ANTHROPIC)
  const isNested = JSON.stringify(closed?.['$defs'] ?? {}).includes('"$ref"')
  return isNested || JSON.stringify(closed ?? {}).includes('"$ref":"#"') ? undefined : closed
}

function closedSchema(schema: unknown, mode: Mode): Schema | undefined {
  if (!isMap(schema) || STRUCTURAL.some((keyword) => keyword in schema)) return undefined
  const { oneOf, properties = {}, required = [], additionalProperties } = schema
  const strict: Record<string, unknown> = {}
  for (const keyword of mode.keywords) if (keyword in schema) strict[keyword] = schema[keyword]
  if (oneOf !== undefined) strict['anyOf'] = oneOf
  if (schema['type'] === 'object') {
    const isOpen = isMap(additionalProperties) && Object.keys(additionalProperties).length > 0
    const names = Object.keys(properties as Schema)
    const isMissing = (name: string): boolean => !(required as readonly unknown[]).includes(name)
    if (isOpen || (!mode.hasOptional && names.some(isMissing))) return undefined
    strict['additionalProperties'] = false
  }
  for (const keyword of ['properties', '$defs']) {
    if (!(keyword in strict)) continue
    const below = Object.entries(strict[keyword] as Schema).map(
      ([name, one]) => [name, closedSchema(one, mode)] as const,
    )
    if (below.some(([, one]) => one === undefined)) return undefined
    strict[keyword] = Object.fromEntries(below)
  }
  if (Array.isArray(strict['anyOf'])) {
    const below = strict['anyOf'].map((one) => closedSchema(one, mode))
    if (below.includes(undefined)) return undefined
    strict['anyOf'] = below
  }
  if ('items' in strict) {
    const items = closedSchema(strict['items'], mode)
    if (items === undefined) return undefined
    strict['items'] = items
  }
  return strict
}
