import { issueWords } from '../actors/issue-words.ts'
import { jsonSchemaOf, objectSchema } from '../actors/json-schema.ts'
import { type Issue, type StandardSchema, validate } from '../actors/standard-schema.ts'
import type { OutputFormat } from '../models/model.ts'
import { outputWords } from '../models/output-words.ts'
import { excerpt, wellFormed } from '../text.ts'

/** How often a model is asked again for an answer that fits. */
export const MAX_REASKS = 2
/** The longest text of an issue, in characters. */
const MAX_ISSUE_CHARACTERS = 200

/** What an answer is: a value that fits, or what is wrong with it. */
export type ReadOutput = { readonly value: unknown; readonly problem?: undefined } | { readonly problem: string }

/** The structured output of an agent: how its model is told of it, and how an answer is read. */
export class AgentOutput {
  /** What a model that supports it is sent. */
  readonly format: OutputFormat
  /** What any other model is told. */
  readonly instructions: string
  readonly #schema: StandardSchema

  /** @throws MillraceError `bad_request` for a schema that does not provide its JSON Schema, or describes no object. */
  constructor(schema: StandardSchema) {
    this.#schema = schema
    const json = jsonSchemaOf(schema, 'use one that does, such as zod')
    this.format = { name: 'output', schema: objectSchema(json, 'the output of an agent') }
    this.instructions = outputWords(this.format.schema)
  }

  /** Reads an answer. @throws what the schema throws. */
  async read(text: string): Promise<ReadOutput> {
    let given: unknown
    try {
      given = JSON.parse(jsonIn(text))
    } catch {
      return { problem: 'it is no JSON object' }
    }
    const result = await validate(this.#schema, given)
    return result.issues ? { problem: wordsOf(result.issues) } : { value: result.value }
  }
}

/** What a model is told about an answer that does not fit. */
export function askAgain(problem: string): string {
  return `Your answer does not fit the JSON Schema: ${problem}. Answer again, with the corrected JSON object and nothing else.`
}

/** The JSON object in an answer: many models put it into a fence, or words around it. */
function jsonIn(text: string): string {
  const [begin, end] = [text.indexOf('{'), text.lastIndexOf('}')]
  return begin >= 0 && end > begin ? text.slice(begin, end + 1) : text
}

function wordsOf(issues: readonly Issue[]): string {
  return issueWords(issues)
    .map((words) => wellFormed(excerpt(words, MAX_ISSUE_CHARACTERS)))
    .join('; ')
}
