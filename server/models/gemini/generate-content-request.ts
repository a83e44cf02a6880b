import { bareType, isTextType } from '../message-parts.ts'
import type { ModelRequest } from '../model.ts'
import type { Effort, SettingName } from '../model-settings.ts'
import { type AnswerTurn, alternationOf, type PlacedPart, type UserTurn } from '../provider/alternation.ts'
import { objectIn, textIn, type Wire } from '../provider/json.ts'
import { base64, inlineText, unsupportedPart } from '../provider/parts.ts'
import { GEMINI } from './generate-content-answer.ts'

/** What the API takes in place of the signature of a call that another model has made. */
const NO_SIGNATURE = 'skip_thought_signature_validator'

const MAX_NAME_CHARACTERS = 64

/** The contents and the configuration of a request, in the words of the package. */
export type GenerateContentRequest = { readonly contents: Wire[]; readonly config: Wire }

/** @param model the name of the model: older ones have a thinking budget in place of a level, and sign nothing. */
export function generateContentRequest(model: string, request: ModelRequest): GenerateContentRequest {
  const { system, turns } = alternationOf(request.messages)
  const { tools = [], toolChoice, temperature, topP, maxTokens, stop, seed, effort, output } = request
  const older = isOlder(model)
  return {
    contents: turns.map((turn, at) =>
      turn.role === 'user' ? userContent(turn, turns[at - 1]) : modelContent(turn, older),
    ),
    config: {
      ...(system !== '' && { systemInstruction: system }),
      ...(tools.length > 0 && {
        tools: [{ functionDeclarations: tools.map(toDeclaration) }],
        ...(toolChoice !== undefined && { toolConfig: { functionCallingConfig: toCalling(toolChoice) } }),
      }),
      ...(temperature !== undefined && { temperature }),
      ...(topP !== undefined && { topP }),
      ...(maxTokens !== undefined && { maxOutputTokens: maxTokens }),
      ...(stop !== undefined && { stopSequences: [...stop] }),
      ...(seed !== undefined && { seed }),
      ...(effort !== undefined && { thinkingConfig: thinkingOf(effort, older) }),
      ...(output && { responseMimeType: 'application/json', responseJsonSchema: withoutConst(output.schema) }),
    },
  }
}

/** Whether a model is of the generations that sign nothing and take no tools together with a schema of the answer. */
export function isOlder(model: string): boolean {
  return /gemini-[12]\b/.test(model)
}

/** The schema with lists of one value in place of `const`, which the API ignores. */
function withoutConst(schema: unknown): unknown {
  return JSON.parse(JSON.stringify(schema), (_, value: unknown) => {
    const { const: only, ...rest } = objectIn(value)
    return typeof only === 'string' || typeof only === 'number' ? { ...rest, enum: [only] } : value
  })
}

/** The settings that Gemini does not have. */
export function unsupportedIn({ tools = [], parallelToolCalls }: ModelRequest): SettingName[] {
  return tools.length > 0 && parallelToolCalls === false ? ['parallelToolCalls'] : []
}

/** The name of a tool by the name under which it is sent. */
export function toolNames({ tools = [] }: ModelRequest): (sent: string) => string {
  const names = new Map(tools.map(({ name }) => [functionName(name), name]))
  return (sent) => names.get(sent) ?? sent
}

/** The name of a tool at the provider, which takes none that begins with a digit or a hyphen. */
function functionName(name: string): string {
  return /^[a-z_]/i.test(name) ? name : `_${name}`.slice(0, MAX_NAME_CHARACTERS)
}

const BUDGETS = { minimal: 512, low: 1_024, medium: 8_192, high: 24_576 } as const satisfies {
  [Level in Exclude<Effort, 'none'>]: number
}

function thinkingOf(effort: Effort, isOlder: boolean): Wire {
  if (effort === 'none') return { thinkingBudget: 0 }
  const amount = isOlder ? { thinkingBudget: BUDGETS[effort] } : { thinkingLevel: effort.toUpperCase() }
  return { ...amount, includeThoughts: true }
}

function toCalling(choice: NonNullable<ModelRequest['toolChoice']>): Wire {
  if (typeof choice === 'object') return { mode: 'ANY', allowedFunctionNames: [functionName(choice.tool)] }
  return { mode: { auto: 'AUTO', none: 'NONE', required: 'ANY' }[choice] }
}

function toDeclaration({ name, description, parameters }: NonNullable<ModelRequest['tools']>[number]): Wire {
  const schema = objectIn(parameters)
  // A function without parameters has no schema: an object without properties is refused.
  const isBare = Object.keys(objectIn(schema['properties'])).length === 0
  return {
    name: functionName(name),
    description,
    ...(!isBare && { parametersJsonSchema: { type: 'object', ...schema } }),
  }
}

/** @param before the answer whose calls have their results here. */
function userContent({ results, parts }: UserTurn, before: UserTurn | AnswerTurn | undefined): Wire {
  const calls = before?.role === 'assistant' ? (before.message.calls ?? []) : []
  return {
    role: 'user',
    parts: [
      ...results.map(({ name, content }, n) => ({
        functionResponse: { ...idOf(calls[n]?.extra), name: functionName(name), response: { output: content } },
      })),
      ...parts.map(userPart),
    ],
  }
}

function userPart({ part, place }: PlacedPart): Wire {
  if (part.type === 'text') return { text: part.text }
  if (part.type === 'file' && isTextType(part.mediaType)) return { text: inlineText(part, place) }
  if ('data' in part && /^(?:image|audio|video)\/|^application\/pdf$/.test(bareType(part.mediaType)))
    return { inlineData: { mimeType: bareType(part.mediaType), data: base64(part, place) } }
  throw unsupportedPart(GEMINI, part, place, 'images, audio, video and PDF as bytes, and files of text')
}

function modelContent({ message }: AnswerTurn, isOlder: boolean): Wire {
  const { content, calls = [], extra } = message
  const signed = calls.some((call) => signatureIn(call.extra) !== undefined)
  const signature = signatureIn(extra)
  return {
    role: 'model',
    parts: [
      ...(content.trim() === '' ? [] : [{ text: content, ...(signature && { thoughtSignature: signature }) }]),
      ...calls.map((call, n) => {
        const own = signatureIn(call.extra) ?? (n === 0 && !signed && !isOlder ? NO_SIGNATURE : undefined)
        return {
          functionCall: { ...idOf(call.extra), name: functionName(call.name), args: call.args },
          ...(own && { thoughtSignature: own }),
        }
      }),
    ],
  }
}

/** A conversation may come from a client, so nothing else of `extra` goes to the provider. */
function signatureIn(extra: Wire | undefined): string | undefined {
  return textIn(objectIn(extra?.[GEMINI])['thoughtSignature']) || undefined
}

/** The id that the provider itself gave to a call. Most calls have none. */
function idOf(extra: Wire | undefined): { id?: string } {
  const id = textIn(objectIn(extra?.[GEMINI])['id'])
  return id === '' ? {} : { id }
}
