import { isThenable } from '../streams/thenable.ts'

/**
 * The Standard Schema interface, version 1 (https://standardschema.dev), which zod, valibot and arktype implement.
 * Declared here so that no schema library's types become ours.
 */
export interface StandardSchema<Input = unknown, Output = unknown> {
  readonly '~standard': {
    readonly version: 1
    readonly vendor: string
    readonly validate: (value: unknown) => ValidationResult<Output> | Promise<ValidationResult<Output>>
    readonly types?: { readonly input: Input; readonly output: Output } | undefined
  }
}

/**
 * Has a schema check a value: its result, or a promise of that where the schema is asynchronous.
 * @throws what the schema throws, and `TypeError` for a result that is none.
 */
export function validate<Output>(
  schema: StandardSchema<unknown, Output>,
  value: unknown,
): ValidationResult<Output> | Promise<ValidationResult<Output>> {
  const result: unknown = schema['~standard'].validate(value)
  return isThenable(result) ? Promise.resolve(result).then(resultOf<Output>) : resultOf<Output>(result)
}

/** A copy of what a schema answered: it is read once, and only here. */
function resultOf<Output>(result: unknown): ValidationResult<Output> {
  if (typeof result !== 'object' || result === null) throw new TypeError(`the schema answered ${String(result)}`)
  const { issues, value } = result as { issues?: readonly Issue[] | null; value?: Output }
  if (issues === undefined || issues === null) return { value: value as Output }
  if (!Array.isArray(issues)) throw new TypeError('the schema answered with `issues` that are no array')
  return { issues: Array.from(issues as readonly Issue[], ({ message, path }) => ({ message, path })) }
}

export type Issue = {
  readonly message: string
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined
}

export type ValidationResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly Issue[] }

type TypesOf<Schema> = Schema extends { readonly '~standard': { readonly types?: infer T } } ? NonNullable<T> : never

/** What a schema accepts; `unknown` without a schema. */
export type InferInput<Schema> = Schema extends StandardSchema
  ? TypesOf<Schema> extends { input: infer T }
    ? T
    : unknown
  : unknown
/** What a schema makes of it; `unknown` without a schema. */
export type InferOutput<Schema> = Schema extends StandardSchema
  ? TypesOf<Schema> extends { output: infer T }
    ? T
    : unknown
  : unknown
