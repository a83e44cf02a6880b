import { type ChatRequest, Ollama, type Message as OllamaMessage, type Tool } from 'ollama'
import { MillraceError } from '../../protocol/errors.ts'
import { isMap } from '../../protocol/map.ts'
import { checkOptions, type OptionKinds } from '../../protocol/options.ts'
import { ndjsonFilter } from '../streams/ndjson.ts'
import { isTextType, type Part } from './message-parts.ts'
import type { Message, Model, ModelEvent, ModelRequest } from './model.ts'
import { type Effort, type SettingName, unsupportedSettings } from './model-settings.ts'
import { answerEnd, malformedLines, stopReasonOf, truncated, unknownEnd } from './provider/answer-end.ts'
import { answer, askingOf, idOf, PROVIDER_OPTIONS, type ProviderOptions } from './provider/attempts.ts'
import type { Exchange } from './provider/exchange.ts'
import { argsOf, callIdIn, contentIn, countIn, objectIn, objectsIn, textIn, type Wire } from './provider/json.ts'
import { bytesOf, inlineText, unsupportedPart } from './provider/parts.ts'
import { Refusal, refusalIn } from './provider/refusal.ts'
import { validCall } from './valid-call.ts'

/** The options of `ollama()`. */
export type OllamaOptions = ProviderOptions & {
  /** The address of the Ollama server. Default: `OLLAMA_HOST`, else `http://127.0.0.1:11434`. */
  host?: string | undefined
  /** Whether, or how much, a thinking model thinks before it answers. Default: the model's own. */
  think?: boolean | 'low' | 'medium' | 'high' | undefined
  /** Options of the model, such as `num_ctx`. They take the place of those that millrace sets. Default: none. */
  options?: { readonly [name: string]: unknown } | undefined
  /** How long the model stays loaded after the answer: `'10m'`, or seconds; -1 for ever. Default: the server's own. */
  keepAlive?: string | number | undefined
  /** The form of the answer: `'json'`, or the JSON Schema of it. Default: text. */
  format?: 'json' | { readonly [name: string]: unknown } | undefined
}

const OPTIONS: OptionKinds<OllamaOptions> = {
  ...PROVIDER_OPTIONS,
  host: 'a string',
  think: 'anything',
  options: 'an object',
  keepAlive: 'anything',
  format: 'anything',
}

/**
 * Makes a model of an Ollama server. Its id is `ollama:NAME`.
 * @param name The name of the model on that server, such as `llama3.2`; `ollama list` shows all names.
 * @throws MillraceError `bad_request` when the name is empty, an option is unknown or unusable, or the host is not an HTTP
 *   address.
 */
export function ollama(name: string, options: OllamaOptions = {}): Model {
  checkOptions('ollama()', options, OPTIONS)
  // Without types, it may be missing.
  if (typeof (name as unknown) !== 'string' || name.trim() === '')
    throw new MillraceError('bad_request', 'ollama needs the name of a model, such as ollama:llama3.2')
  const host = hostOf(options)
  const words = {
    model: name,
    missing: `get it with \`ollama pull ${name}\``,
    key: `check ${hostName(options)}`,
    unreachable: `start it with \`ollama serve\`, or check ${hostName(options)}`,
  }
  const asking = askingOf(words, options)
  return {
    id: idOf(options, `ollama:${name}`),
    provider: 'ollama',
    structured: 'best-effort',
    stream: (request) =>
      answer(
        request,
        (exchange) => ask(exchange, host, name, options, request),
        asking,
        unsupportedSettings('ollama', unsupportedIn(request)),
      ),
  }
}

/** Where the address was set, in the words of a message. */
function hostName({ host }: { readonly host?: string | undefined }): string {
  return host === undefined ? 'OLLAMA_HOST' : '`host`'
}

function hostOf({ host, env = process.env }: OllamaOptions): string {
  const given = (host ?? env['OLLAMA_HOST'] ?? '').trim()
  if (given === '') return 'http://127.0.0.1:11434'
  const withScheme = given.includes('://') ? given : `http://${given.startsWith(':') ? '127.0.0.1' : ''}${given}`
  const url = URL.canParse(withScheme) ? new URL(withScheme) : undefined
  if (!url || !/^https?:$/.test(url.protocol)) {
    throw new MillraceError('bad_request', `${hostName({ host })} must be an address such as http://127.0.0.1:11434`)
  }
  if (url.username !== '' || url.password !== '')
    throw new MillraceError('bad_request', `${hostName({ host })} must not contain a password: pass it in \`headers\``)
  // 0.0.0.0 means all addresses of a server; a client connects to loopback instead.
  if (url.hostname === '0.0.0.0') url.hostname = '127.0.0.1'
  if (url.port === '' && !given.includes('://')) url.port = '11434'
  return url.href
}

async function* ask(
  exchange: Exchange,
  host: string,
  model: string,
  own: OllamaOptions,
  request: ModelRequest,
): AsyncGenerator<ModelEvent, void, undefined> {
  let malformed = 0
  const filtered: typeof fetch = async (input, init) => {
    const { body, headers } = await exchange.fetch(input, init)
    return new Response(ndjsonFilter(body!, { onMalformed: () => malformed++, check: isChunk }), { headers })
  }
  // One client per request: the package keeps a list of its open requests, and each request has its own `fetch`.
  const client = new Ollama({ host, fetch: filtered })

  let calls = 0
  let began = false
  let last: Wire | undefined
  try {
    for await (const response of await client.chat(chatOf(model, own, request))) {
      began = true
      if (malformed > 0) yield malformedLines(malformed)
      malformed = 0
      const chunk = response as unknown as Wire
      const message = objectIn(chunk['message'])
      const thinking = textIn(message['thinking'])
      if (thinking) yield { type: 'thinking', text: thinking }
      yield* contentIn(message['content'])
      for (const part of objectsIn(message['tool_calls'])) {
        const { name, arguments: args } = objectIn(part['function'])
        calls++
        yield { type: 'tool.call', call: callIdIn(part['id']), name: textIn(name), args: argsOf(args) }
      }
      if (chunk['done'] === true) last = chunk
    }
  } catch (error) {
    // If the response has ended, the package complains about a missing last line: `truncated` below reports that. A
    // lost socket does not end the response.
    if (!exchange.ended || error instanceof Refusal) throw error
  }
  if (!began && malformed > 0) throw new TypeError('the provider answered with something else than lines of JSON')
  if (malformed > 0) yield malformedLines(malformed)
  if (last === undefined) throw truncated()
  const word = textIn(last['done_reason'])
  const known = word === '' ? 'stop' : answerEnd(word)
  if (known === 'other' || known === 'paused')
    yield { type: 'warning', code: 'unknown_finish', message: unknownEnd(word) }
  yield { type: 'usage', input: countIn(last['prompt_eval_count']), output: countIn(last['eval_count']) }
  const end = stopReasonOf(known, word)
  yield { type: 'finish', stop: end !== 'length' && calls > 0 ? 'tool_calls' : end }
}

function chatOf(model: string, own: OllamaOptions, request: ModelRequest): ChatRequest & { stream: true } {
  const { messages, tools = [], toolChoice, temperature, topP, maxTokens, stop, seed, effort } = request
  const { keepAlive } = own
  const format = request.output ? objectIn(request.output.schema) : own.format
  const think = effort === undefined ? own.think : LEVELS[effort]
  return {
    model,
    stream: true,
    messages: messages.map(toWire),
    ...(tools.length > 0 && toolChoice !== 'none' && { tools: tools.map(toTool) }),
    ...(think !== undefined && { think }),
    ...(keepAlive !== undefined && { keep_alive: keepAlive }),
    ...(format !== undefined && { format }),
    options: {
      ...(temperature !== undefined && { temperature }),
      ...(topP !== undefined && { top_p: topP }),
      ...(maxTokens !== undefined && { num_predict: maxTokens }),
      ...(stop !== undefined && { stop: [...stop] }),
      ...(seed !== undefined && { seed }),
      ...own.options,
    },
  }
}

const LEVELS = { none: false, minimal: 'low', low: 'low', medium: 'medium', high: 'high' } as const satisfies {
  [Level in Effort]: OllamaOptions['think']
}

/** Ollama always lets a model choose, among the tools that it is sent. */
function unsupportedIn({ tools = [], toolChoice, parallelToolCalls }: ModelRequest): SettingName[] {
  if (tools.length === 0) return []
  return [
    ...(toolChoice === 'required' || typeof toolChoice === 'object' ? (['toolChoice'] as const) : []),
    ...(parallelToolCalls === false ? (['parallelToolCalls'] as const) : []),
  ]
}

/** Whether a line is part of an answer. @throws Refusal for an error in the middle of an answer. */
function isChunk(value: unknown): boolean | string {
  if (!isMap(value)) return false
  const refusal = refusalIn(value)
  if (refusal) throw refusal
  if (!('error' in value)) return true
  // The package takes any `error` for one, also an empty one.
  const { error: _, ...answer } = value
  return JSON.stringify(answer)
}

function toTool({ name, description, parameters }: NonNullable<ModelRequest['tools']>[number]): Tool {
  // The package's type covers only a part of JSON Schema; the Ollama server takes all of it.
  return { type: 'function', function: { name, description, parameters: objectIn(parameters) } }
}

function toWire(message: Message, at: number): OllamaMessage {
  switch (message.role) {
    case 'system':
      return { role: 'system', content: message.content }
    case 'user':
      return typeof message.content === 'string'
        ? { role: 'user', content: message.content }
        : { role: 'user', ...partsToWire(message.content, at) }
    case 'tool':
      return { role: 'tool', content: message.content, tool_name: message.name }
    case 'assistant':
      return {
        role: 'assistant',
        content: message.content,
        ...(message.thinking !== undefined && { thinking: message.thinking }),
        ...(message.calls && {
          tool_calls: message.calls
            .map(validCall)
            .map(({ name, args }) => ({ function: { name, arguments: { ...objectIn(args) } } })),
        }),
      }
  }
}

/**
 * A message of Ollama is one text and a list of images. The package must get images as bytes: it takes a string for the
 * path of a file, and reads that file.
 */
function partsToWire(
  parts: readonly Part[],
  message: number,
): Pick<OllamaMessage, 'content'> & { images: Uint8Array[] } {
  const texts: string[] = []
  const images: Uint8Array[] = []
  parts.forEach((part, n) => {
    const place = { message, part: n }
    if (part.type === 'text') texts.push(part.text)
    else if (part.type === 'image' && 'data' in part) images.push(bytesOf(part, place))
    else if (part.type === 'file' && isTextType(part.mediaType)) texts.push(inlineText(part, place))
    else throw unsupportedPart('ollama', part, place, 'images as bytes, and files of text')
  })
  return { content: texts.join('\n'), images }
}
