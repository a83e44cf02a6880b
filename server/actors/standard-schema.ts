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
