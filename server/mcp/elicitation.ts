import { type ElicitRequestFormParams, type ElicitResult, isSpecType } from '@modelcontextprotocol/server'
import { isMap } from '../../protocol/map.ts'
import type { Waiting } from './reading.ts'

/** The one field of a form for an answer that is no map. */
const FIELD = 'answer'

/** A form, as an MCP client shows it to its user. */
type Form = ElicitRequestFormParams & { readonly mode: 'form' }
type FormSchema = Form['requestedSchema']

/** A question of a run as a form, and what the run learns of how it was filled in. */
export type Elicitation = {
  readonly form: Form
  /** The answer to the question. Undefined where the user gave none: the form was closed, or what came does not fit. */
  answerTo(result: ElicitResult): { readonly value: unknown } | undefined
}

/**
 * Makes a form of a question. A decision (`approve`, `confirm`) is the form's own accept and decline. Who declines another
 * question answers it with null.
 * @returns undefined for a question that no form can ask: a form has fields, each with one value or a list of choices.
 */
export function elicitationOf({ kind, prompt, schema }: Waiting): Elicitation | undefined {
  const make = (requestedSchema: FormSchema, accepted: Accepted, declined: unknown): Elicitation | undefined => {
    const form = { mode: 'form', message: prompt ?? PROMPTS[kind] ?? 'What is the answer?', requestedSchema } as const
    return isSpecType.ElicitRequestFormParams(form)
      ? { form, answerTo: (result) => answerOf(result, accepted, declined) }
      : undefined
  }
  if (kind === 'approve')
    return make(
      { type: 'object', properties: { remember: REMEMBER } },
      ({ remember }) => ({ ok: true, ...(remember === true && { remember }) }),
      { ok: false },
    )
  if (kind === 'confirm') return make({ type: 'object', properties: {} }, () => true, false)
  if (isMap(schema) && schema['type'] === 'object') {
    const { properties = {}, required } = schema as Partial<FormSchema>
    return make({ type: 'object', properties, ...(required && { required }) }, (content) => content, null)
  }
  const field = fieldOf(kind, schema)
  return field && make({ type: 'object', properties: { [FIELD]: field }, required: [FIELD] }, (all) => all[FIELD], null)
}

/** What a form that was filled in says. Undefined: not what was asked for. */
type Accepted = (content: Record<string, unknown>) => unknown

const PROMPTS: { readonly [kind: string]: string | undefined } = { approve: 'Allow this?', confirm: 'Go on?' }

const REMEMBER = {
  type: 'boolean',
  title: 'Do not ask again',
  description: 'Allow all later calls of this tool in this run',
  default: false,
} as const

function fieldOf(kind: string, schema: unknown): FormSchema['properties'][string] | undefined {
  if (schema === undefined) return kind === 'text' ? { type: 'string' } : undefined
  if (!isMap(schema)) return undefined
  const { enum: choices } = schema
  const isChoice = Array.isArray(choices) && choices.every((choice) => typeof choice === 'string')
  return { ...(isChoice && { type: 'string' }), ...schema } as FormSchema['properties'][string]
}

function answerOf(
  { action, content }: ElicitResult,
  accepted: Accepted,
  declined: unknown,
): { value: unknown } | undefined {
  if (action === 'cancel') return undefined
  const value = action === 'decline' ? declined : accepted(content ?? {})
  return value === undefined ? undefined : { value }
}
