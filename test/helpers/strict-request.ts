/**
 * The rules by which providers refuse requests, from their documentation and from the errors of their servers. The fake
 * provider answers 400 to a request that breaks one, so every test of an adapter is a test of its requests.
 */
import type { Dialect } from './fake-dialects.ts'

type Json = { readonly [key: string]: unknown }

/** What a provider signs a text with. It refuses any other signature. */
export function signatureOf(text: string): string {
  return Buffer.from(`signed ${text}`).toString('base64')
}

/** The rule that a request breaks, if it does. */
export function problemIn(dialect: Dialect, body: unknown): string | undefined {
  try {
    RULES[dialect](body as Json)
    return undefined
  } catch (error) {
    if (error instanceof Broken) return error.message
    throw error
  }
}

class Broken extends Error {}

function must(holds: boolean, rule: string): asserts holds {
  if (!holds) throw new Broken(rule)
}

const NAME = /^[a-zA-Z0-9_-]{1,64}$/
const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value)
const isText = (value: unknown): value is string => typeof value === 'string'
const isSaid = (value: unknown): value is string => isText(value) && value.trim() !== ''
const listIn = (value: unknown): Json[] => (Array.isArray(value) ? value.filter(isObject) : [])

function mustBeSchema(schema: unknown): void {
  must(isObject(schema) && schema['type'] === 'object', 'the schema of a tool is of type object')
}

function mustBeDistinct(names: readonly unknown[], what: string): void {
  must(new Set(names).size === names.length, `${what} are unique`)
}

const RULES: { [Name in Dialect]: (body: Json) => void } = { openai, ollama, responses, anthropic, gemini }

// vLLM, llama.cpp, Mistral and OpenAI check the most.
function openai(body: Json): void {
  chat(body, 'openai')
}

function ollama(body: Json): void {
  chat(body, 'ollama')
}

function chat(body: Json, dialect: 'openai' | 'ollama'): void {
  const messages = listIn(body['messages'])
  for (const tool of listIn(body['tools'])) {
    const { name, parameters } = tool['function'] as Json
    must(isText(name) && NAME.test(name), 'a tool has a valid name')
    mustBeSchema(parameters)
  }
  messages.forEach((message, at) => {
    const { role, content } = message
    const calls = listIn(message['tool_calls'])
    if (role !== 'assistant') {
      must(isText(content) || Array.isArray(content), 'a message has a text')
      return
    }
    must(calls.length > 0 || (isText(content) && content !== ''), 'an assistant message has text or calls')
    for (const [n, call] of calls.entries()) {
      const { name, arguments: given } = call['function'] as Json
      must(isText(name) && NAME.test(name), 'a call has a valid name')
      const answer = messages[at + 1 + n]
      must(answer?.['role'] === 'tool', 'each call is answered, directly behind it')
      if (dialect === 'openai') {
        must(isSaid(call['id']), 'a call has an id')
        must(answer['tool_call_id'] === call['id'], 'each call is answered, in order')
        must(isText(given) && isObject(JSON.parse(given)), 'arguments are a JSON object')
      } else {
        must(answer['tool_name'] === name, 'each call is answered, in order')
        must(isObject(given), 'arguments are an object')
      }
    }
    must(messages[at + 1 + calls.length]?.['role'] !== 'tool', 'each answer has its call')
  })
}

const ANTHROPIC_MEMBERS = new Set(
  'model max_tokens messages system tools tool_choice stop_sequences stream thinking output_config cache_control metadata'.split(
    ' ',
  ),
)

function anthropic(body: Json): void {
  const { max_tokens: maxTokens, system, tool_choice: choice, thinking } = body
  const extra = Object.keys(body).find((name) => !ANTHROPIC_MEMBERS.has(name))
  must(extra === undefined, `${extra}: extra inputs are not permitted`)
  must(Number.isInteger(maxTokens) && (maxTokens as number) > 0, 'max_tokens is required')
  must(system === undefined || isSaid(system), 'system has text')
  const tools = listIn(body['tools'])
  for (const { name, input_schema: schema } of tools) {
    must(isText(name) && NAME.test(name), 'a tool has a valid name')
    mustBeSchema(schema)
  }
  const { effort, format, ...unknown } = (body['output_config'] ?? {}) as Json
  must(Object.keys(unknown).length === 0, 'output_config has effort and format')
  must(effort === undefined || ['low', 'medium', 'high'].includes(effort as string), 'effort is a level')
  if (format !== undefined) {
    must(isObject(format) && format['type'] === 'json_schema', 'the format is a JSON Schema')
    mustBeStructured(format['schema'])
  }
  mustBeDistinct(
    tools.map(({ name }) => name),
    'tool names',
  )
  if (choice !== undefined) {
    must(isObject(choice) && tools.length > 0, 'tool_choice needs tools')
    const forced = choice['type'] === 'tool' || choice['type'] === 'any'
    if (choice['type'] === 'tool')
      must(
        tools.some(({ name }) => name === choice['name']),
        'the forced tool exists',
      )
    must(!forced || !isObject(thinking) || thinking['type'] === 'disabled', 'thinking excludes a forced call')
  }
  const messages = listIn(body['messages'])
  must(messages.length > 0, 'at least one message')
  must(messages[0]!['role'] === 'user', 'the first message is of role user')
  must(messages.at(-1)!['role'] === 'user' || isPaused(messages.at(-1)!), 'the last message is of role user')
  const ids = new Set<unknown>()
  messages.forEach(({ role, content }, at) => {
    must(role === (at % 2 === 0 ? 'user' : 'assistant'), 'roles alternate')
    const blocks = listIn(content)
    must(blocks.length > 0, 'content is not empty')
    let said = false
    for (const block of blocks) {
      switch (block['type']) {
        case 'text':
          must(isSaid(block['text']), 'text has characters that are not blank')
          said = true
          break
        case 'image':
        case 'document':
          must(role === 'user' && isObject(block['source']), 'only the user has images and files')
          break
        case 'thinking':
          must(role === 'assistant', 'only the assistant thinks')
          must(block['signature'] === signatureOf(String(block['thinking'])), 'invalid signature in thinking block')
          break
        case 'redacted_thinking':
          must(isSaid(block['data']), 'redacted thinking has data')
          break
        case 'tool_use': {
          must(role === 'assistant', 'only the assistant calls')
          must(tools.length > 0, 'requests with tool_use define tools')
          const { id, name, input } = block
          must(isText(id) && /^[a-zA-Z0-9_-]+$/.test(id), 'tool_use ids are of a-z A-Z 0-9 _ -')
          must(!ids.has(id), 'tool_use ids are unique')
          ids.add(id)
          must(isText(name) && NAME.test(name), 'a call has a valid name')
          must(isObject(input), 'input is an object')
          const results = listIn(messages[at + 1]?.['content']).filter((result) => result['tool_use_id'] === id)
          must(results.length === 1, 'each tool_use has one tool_result in the next message')
          break
        }
        case 'tool_result': {
          must(role === 'user' && !said, 'tool results stand first in a user message')
          const calls = listIn(messages[at - 1]?.['content']).filter((call) => call['id'] === block['tool_use_id'])
          must(calls.length === 1, 'each tool_result has a tool_use in the previous message')
          break
        }
        default:
          must(String(block['type']).startsWith('server_'), `unknown block ${String(block['type'])}`)
      }
    }
  })
}

/** An answer of tools of the provider's own may be continued. */
function isPaused({ content }: Json): boolean {
  return listIn(content).some(({ type }) => type === 'server_tool_use')
}

const STRUCTURED_KEYWORDS = new Set(
  'type properties required additionalProperties items enum const anyOf $ref $defs description title'.split(' '),
)

/** The schemas that structured outputs of Anthropic take. */
function mustBeStructured(schema: unknown): void {
  must(isObject(schema), 'a schema is an object')
  const extra = Object.keys(schema).find((name) => !STRUCTURED_KEYWORDS.has(name))
  must(extra === undefined, `the keyword ${extra} is not supported`)
  if (schema['type'] === 'object')
    must(schema['additionalProperties'] === false, 'additionalProperties of an object is false')
  for (const parts of [schema['properties'], schema['$defs']])
    if (isObject(parts)) Object.values(parts).forEach(mustBeStructured)
  listIn(schema['anyOf']).forEach(mustBeStructured)
  if ('items' in schema) mustBeStructured(schema['items'])
  must(!JSON.stringify(schema['$defs'] ?? {}).includes('"$ref"'), 'schemas are not recursive')
}

const GEMINI_NAME = /^[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}$/
/** Stands for the signature of a call that another model made. */
const NO_SIGNATURE = 'skip_thought_signature_validator'

function gemini(body: Json): void {
  const contents = listIn(body['contents'])
  const declared = listIn(body['tools']).flatMap((tool) => listIn(tool['functionDeclarations']))
  for (const { name, parametersJsonSchema: schema } of declared) {
    must(isText(name) && GEMINI_NAME.test(name), 'a function has a valid name')
    if (schema !== undefined) mustBeSchema(schema)
  }
  mustBeDistinct(
    declared.map(({ name }) => name),
    'function names',
  )
  const calling = ((body['toolConfig'] as Json | undefined)?.['functionCallingConfig'] ?? {}) as Json
  const allowed = calling['allowedFunctionNames']
  if (Array.isArray(allowed)) {
    must(calling['mode'] === 'ANY', 'allowed functions need the mode ANY')
    must(
      allowed.every((name) => declared.some((one) => one['name'] === name)),
      'allowed functions are declared',
    )
  }
  const system = body['systemInstruction']
  if (isObject(system))
    must(
      listIn(system['parts']).every(({ text }) => isSaid(text)),
      'the instruction has text',
    )
  const { responseJsonSchema: schema, responseMimeType: type } = (body['generationConfig'] ?? {}) as Json
  must(schema === undefined || type === 'application/json', 'a schema of the answer needs the type application/json')
  must(contents.length > 0, 'contents are not empty')
  must(contents.at(-1)!['role'] === 'user', 'the last turn is of the user')
  contents.forEach(({ role, parts: given }, at) => {
    must(role === (at % 2 === 0 ? 'user' : 'model'), 'user and model alternate')
    const parts = listIn(given)
    must(parts.length > 0, 'parts are not empty')
    for (const part of parts) {
      const kinds = ['text', 'inlineData', 'functionCall', 'functionResponse'].filter((kind) => kind in part)
      must(kinds.length === 1, 'a part has exactly one kind of data')
      if ('text' in part) must(isSaid(part['text']), 'a text is not empty')
    }
    const calls = parts.filter((part) => 'functionCall' in part)
    const responses = listIn(contents[at + 1]?.['parts']).filter((part) => 'functionResponse' in part)
    if (role === 'model') must(responses.length === calls.length, 'as many function responses as function calls')
    else if (at === 0) must(!parts.some((part) => 'functionResponse' in part), 'a function response follows a call')
    calls.forEach((part, n) => {
      const { id, name, args } = part['functionCall'] as Json
      const response = responses[n]!['functionResponse'] as Json
      must(isText(name) && GEMINI_NAME.test(name), 'a call has a valid name')
      must(args === undefined || isObject(args), 'args are an object')
      must(response['name'] === name && response['id'] === id, 'each response is that of its call')
      must(isObject(response['response']), 'a response is an object')
      const signature = part['thoughtSignature']
      const isValid = signature === NO_SIGNATURE || signature === signatureOf(name)
      must(n === 0 ? isValid : signature === undefined, 'the first call of a step has its thought signature')
    })
  })
}

function responses(body: Json): void {
  const { include, store } = body
  for (const tool of listIn(body['tools'])) {
    must(isText(tool['name']) && NAME.test(tool['name']), 'a tool has a valid name')
    mustBeSchema(tool['parameters'])
    must(tool['strict'] === false, 'a schema without all its rules is not strict')
  }
  must(store === false, 'nothing is stored here')
  must(Array.isArray(include) && include.includes('reasoning.encrypted_content'), 'reasoning goes back encrypted')
  const input = listIn(body['input'])
  must(input.length > 0, 'input is not empty')
  const open = new Set<unknown>()
  input.forEach((item, at) => {
    switch (item['type'] ?? 'message') {
      case 'message':
        must(isText(item['content']), 'a message has a text')
        must(item['role'] !== 'assistant' || isSaid(item['content']), 'an answer has text')
        break
      case 'reasoning': {
        const { id, encrypted_content: content, summary } = item
        const text = listIn(summary).map((part) => String(part['text']))
        must(isSaid(id) && content === signatureOf(text.join('')), 'reasoning is as it was sent')
        const next = input[at + 1]
        const isFollowed =
          next?.['type'] === 'function_call' || next?.['type'] === 'reasoning' || next?.['role'] === 'assistant'
        must(isFollowed, 'reasoning is followed by what it led to')
        break
      }
      case 'function_call': {
        const { call_id: id, name, arguments: args } = item
        must(isText(id) && id !== '' && id.length <= 64 && !open.has(id), 'call ids are unique among open calls')
        must(isText(name) && NAME.test(name), 'a call has a valid name')
        must(isText(args) && isObject(JSON.parse(args)), 'arguments are a JSON object')
        open.add(id)
        break
      }
      case 'function_call_output':
        must(open.delete(item['call_id']), 'each output has its call')
        must(isText(item['output']), 'an output is a text')
        break
      default:
        must(false, `unknown item ${String(item['type'])}`)
    }
  })
  must(open.size === 0, 'each call has an output')
}
