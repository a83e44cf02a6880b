import { isThenable } from '../streams/thenable.ts'

/**
 * The Standard Schema interface, version 1 (https://standardschema.dev), which zod, valibot and arktype implement.
 * millrace declares it itself, so that its public types depend on no schema library.
 */
export interface StandardSchema<Input = unknown, Output = unknown> {
  /** The members that the interface defines. */
  readonly '~standard': {
    readonly version: 1
    readonly vendor: string
    readonly validate: (value: unknown) => ValidationResult<Output> | Promise<ValidationResult<Output>>
    readonly types?: { readonly input: Input; readonly output: Output } | undefined
  }
}

/**
 * Checks a value against a schema. Returns the result, or a promise of it if the schema is asynchronous.
 * @throws what the schema throws, and `TypeError` when the schema returns something that is not a result.
 */
export function validate<Output>(
  schema: StandardSchema<unknown, Output>,
  value: unknown,
): ValidationResult<Output> | Promise<ValidationResult<Output>> {
  const result: unknown = schema['~standard'].validate(value)
  return isThenable(result) ? Promise.resolve(result).then(resultOf<Output>) : resultOf<Output>(result)
}

/** Copies the result of a schema: a getter in it runs once, and only here. */
function resultOf<Output>(result: unknown): ValidationResult<Output> {
  if (typeof result !== 'object' || result === null)
    throw new TypeError(`the schema returned ${String(result)}, which is not a result`)
  const { issues, value } = result as { issues?: readonly Issue[] | null; value?: Output }
  if (issues === undefined || issues === null) return { value: value as Output }
  if (!Array.isArray(issues)) throw new TypeError('the schema returned `issues` that are not an array')
  return { issues: Array.from(issues as readonly Issue[], ({ message, path }) => ({ message, path })) }
}

/** One problem that a schema found. `path` leads to the wrong part of the value. */
export type Issue = {
  readonly message: string
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined
}

/** The checked value, or the issues. */
export type ValidationResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly Issue[] }

type TypesOf<Schema> = Schema extends { readonly '~standard': { readonly types?: infer T } } ? NonNullable<T> : never

/** The type that a schema accepts; `unknown` without a schema. */
export type InferInput<Schema> = Schema extends StandardSchema
  ? TypesOf<Schema> extends { input: infer T }
    ? T
    : unknown
  : unknown
/** The type that a schema returns; `unknown` without a schema. */
export type InferOutput<Schema> = Schema extends StandardSchema
  ? TypesOf<Schema> extends { output: infer T }
    ? T
    : unknown
  : unknown
