import type { OutputFormat } from './model.ts'

type Schema = { readonly [keyword: string]: unknown }

/** The keywords that strict structured outputs of OpenAI know. The server checks the answer against all of them. */
const KEPT = [
  ...['type', 'properties', 'required', 'items', 'enum', 'const', 'anyOf', '$ref', '$defs', 'description', 'title'],
  ...['pattern', 'minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf', 'minItems', 'maxItems'],
]
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
  if (!isSchema(schema) || STRUCTURAL.some((keyword) => keyword in schema)) return undefined
  const { oneOf, properties = {}, required = [], additionalProperties } = schema
  const strict: Record<string, unknown> = {}
  for (const keyword of KEPT) if (keyword in schema) strict[keyword] = schema[keyword]
  if (oneOf !== undefined) strict['anyOf'] = oneOf
  if (schema['type'] === 'object') {
    const isOpen = isSchema(additionalProperties) && Object.keys(additionalProperties).length > 0
    const names = Object.keys(properties as Schema)
    if (isOpen || names.some((name) => !(required as readonly unknown[]).includes(name))) return undefined
    strict['additionalProperties'] = false
  }
  for (const keyword of ['properties', '$defs']) {
    if (!(keyword in strict)) continue
    const below = Object.entries(strict[keyword] as Schema).map(([name, one]) => [name, strictSchema(one)] as const)
    if (below.some(([, one]) => one === undefined)) return undefined
    strict[keyword] = Object.fromEntries(below)
  }
  if (Array.isArray(strict['anyOf'])) {
    const below = strict['anyOf'].map(strictSchema)
    if (below.includes(undefined)) return undefined
    strict['anyOf'] = below
  }
  if ('items' in strict) {
    const items = strictSchema(strict['items'])
    if (items === undefined) return undefined
    strict['items'] = items
  }
  return strict
}

function isSchema(value: unknown): value is Schema {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
