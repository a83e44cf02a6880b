import { z } from 'zod'
import { MillraceError } from '../../protocol/errors.ts'
import type { StandardSchema } from './standard-schema.ts'

/** The optional JSON Schema part of a Standard Schema: https://standardschema.dev/json-schema. */
type StatesItself = { readonly jsonSchema?: { input(options: { target: string }): unknown } }

/**
 * The JSON Schema of what a schema takes, for a model.
 * @param advice what to do where the library does not provide it.
 * @throws MillraceError `bad_request` where it does not.
 */
export function jsonSchemaOf(schema: StandardSchema | undefined, advice: string): unknown {
  if (schema === undefined) return { type: 'object' }
  const standard = schema['~standard'] as StandardSchema['~standard'] & StatesItself
  try {
    if (standard.jsonSchema) return standard.jsonSchema.input({ target: 'draft-2020-12' })
    if (standard.vendor === 'zod') return z.toJSONSchema(schema as unknown as z.ZodType, { io: 'input' })
  } catch (cause) {
    throw new MillraceError('bad_request', `this schema cannot be written as JSON Schema for the model: ${advice}`, {
      cause,
    })
  }
  throw new MillraceError('bad_request', `a schema of ${standard.vendor} does not provide its JSON Schema: ${advice}`)
}

/**
 * The schema as every provider accepts it. One that is no object, or that lacks `properties`, makes OpenAI refuse the
 * whole request.
 * @param what what it describes, such as `the arguments of a tool`.
 * @throws MillraceError `bad_request` for one that describes no object.
 */
export function objectSchema(schema: unknown, what: string): unknown {
  if (!describesObject(schema))
    throw new MillraceError(
      'bad_request',
      `${what} must be an object: put other values into one, such as { value: ... }`,
    )
  return 'properties' in schema ? schema : { ...schema, properties: {} }
}

/** Whether a JSON Schema is one of an object. */
export function describesObject(schema: unknown): schema is { readonly type: 'object' } {
  return typeof schema === 'object' && schema !== null && 'type' in schema && schema.type === 'object'
}
