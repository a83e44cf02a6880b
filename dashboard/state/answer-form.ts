import type { OpenRequest } from './server-api.ts'

/** What a form asks for, by the schema of a question. */
export type AnswerField =
  /** One of a few values. */
  | { readonly type: 'choice'; readonly values: readonly (string | number | boolean)[] }
  | { readonly type: 'boolean' }
  | { readonly type: 'number' }
  | { readonly type: 'text' }
  /** Anything else, as JSON. */
  | { readonly type: 'json' }

/** The field for a question, by the JSON schema of its answer. Without one, an answer is a text, or a yes or no. */
export function fieldOf({ kind, schema }: Pick<OpenRequest, 'kind' | 'schema'>): AnswerField {
  if (kind === 'confirm') return { type: 'boolean' }
  if (typeof schema !== 'object' || schema === null) return { type: 'text' }
  const { type, enum: values } = schema as { type?: unknown; enum?: unknown }
  if (Array.isArray(values) && values.length > 0 && values.length <= 8 && values.every(isPlain))
    return { type: 'choice', values }
  if (type === 'boolean') return { type: 'boolean' }
  if (type === 'number' || type === 'integer') return { type: 'number' }
  return type === 'string' ? { type: 'text' } : { type: 'json' }
}

/**
 * The value of what was typed into a field.
 * @throws SyntaxError for what is no JSON, where JSON is asked for.
 */
export function valueOf({ type }: AnswerField, typed: string): unknown {
  if (type === 'number') return Number(typed)
  return type === 'json' ? (JSON.parse(typed) as unknown) : typed
}

function isPlain(value: unknown): value is string | number | boolean {
  return ['string', 'number', 'boolean'].includes(typeof value)
}
