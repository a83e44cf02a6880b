import { randomUUID } from 'node:crypto'
import { type Message, MillraceError, type Model, type ModelEvent, type ModelRequest, textOf } from 'millrace/server'

/** Longest line that is read of an answer, in characters. */
const MAX_LINE = 1_048_576

/**
 * A model of a provider that answers `POST /api/chat` with one JSON object a line, as Ollama and many servers do.
 * @param host Its address, such as `http://127.0.0.1:11434`.
 */
export function ownModel(name: string, host: string): Model {
  return { id: `own:${name}`, provider: 'own', stream: (request) => ask(name, host, request) }
}

async function* ask(name: string, host: string, request: ModelRequest): AsyncGenerator<ModelEvent, void, undefined> {
  const { signal } = request
  signal.throwIfAborted()
  // Of the settings, this server has the three in `bodyOf`: nothing is dropped in silence.
  const missing = (['stop', 'seed', 'toolChoice', 'effort', 'parallelToolCalls'] as const).filter((it) => it in request)
  if (missing.length > 0)
    yield { type: 'warning', code: 'unsupported_setting', message: `this model has no ${missing.join(', ')}` }
  // `fetch` may leave listeners on the signal it is given, and the caller's signal outlives this request.
  const socket = new AbortController()
  const abort = (): void => socket.abort(signal.reason)
  signal.addEventListener('abort', abort, { once: true })
  try {
    const response = await fetch(new URL('/api/chat', host), {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(bodyOf(name, request)),
      signal: socket.signal,
    })
    if (!response.ok || !response.body) throw refusal(response.status)
    for await (const line of linesOf(response.body)) {
      for (const event of eventsOf(JSON.parse(line) as Line)) {
        // Nothing is said after an abort, not even what was read before it.
        signal.throwIfAborted()
        yield event
        if (event.type === 'finish') return
      }
    }
    throw new MillraceError('truncated', 'the answer has no end: try again')
  } catch (error) {
    signal.throwIfAborted()
    // The provider's own words may repeat a key or a prompt: they stay in `cause`.
    throw MillraceError.from(error, 'provider_error', 'the provider cannot be reached, or its answer cannot be read')
  } finally {
    signal.removeEventListener('abort', abort)
    // Closes the socket if the answer was left, and does nothing if it was read to its end.
    socket.abort()
  }
}

function refusal(status: number): MillraceError {
  // Not `unauthenticated`: that is about the client's own token.
  if (status === 401 || status === 403)
    return new MillraceError('provider_error', "the provider refused the server's key", { retryable: false })
  if (status === 413) return new MillraceError('context_too_long', 'the conversation is too long for this model')
  if (status === 429) return new MillraceError('provider_rate_limited', 'the provider limits the rate of requests')
  if (status === 503) return new MillraceError('provider_overloaded', 'the provider is overloaded: try again later')
  if (status >= 500) return new MillraceError('provider_error', `the provider failed (status ${status})`)
  return new MillraceError('bad_request', `the provider refused the request (status ${status})`)
}

/** One line of an answer, as far as it is used. */
type Line = {
  message?: {
    content?: string
    thinking?: string
    tool_calls?: { function: { name: string; arguments: unknown } }[]
  }
  done?: boolean
  done_reason?: string
  prompt_eval_count?: number
  eval_count?: number
  error?: unknown
}

function* eventsOf({
  message = {},
  done,
  done_reason,
  prompt_eval_count,
  eval_count,
  error,
}: Line): Generator<ModelEvent> {
  if (error) throw new MillraceError('provider_error', 'the provider ended its answer with an error')
  if (message.thinking) yield { type: 'thinking', text: message.thinking }
  if (message.content) yield { type: 'text', text: message.content }
  for (const { function: called } of message.tool_calls ?? [])
    yield { type: 'tool.call', call: randomUUID(), name: called.name, args: called.arguments }
  if (!done) return
  yield { type: 'usage', input: prompt_eval_count ?? 0, output: eval_count ?? 0 }
  yield { type: 'finish', stop: done_reason === 'length' || done_reason === 'tool_calls' ? done_reason : 'stop' }
}

/** The lines of a response. The next part of it is read only when its lines are used up: a reader that waits stops the provider. */
async function* linesOf(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const bytes of body) {
    rest += decoder.decode(bytes, { stream: true })
    const lines = rest.split('\n')
    rest = lines.pop() ?? ''
    if (rest.length > MAX_LINE) throw new Error('a line that is too long')
    for (const line of lines) if (line.trim() !== '') yield line
  }
  if (rest.trim() !== '') yield rest
}

function bodyOf(name: string, { messages, tools, temperature, topP, maxTokens }: ModelRequest): unknown {
  return {
    model: name,
    messages: messages.map(messageOf),
    tools: tools?.map((tool) => ({ type: 'function', function: tool })),
    options: { temperature, top_p: topP, num_predict: maxTokens },
    stream: true,
  }
}

function messageOf(message: Message): unknown {
  // This server takes text only. Throw before anything is sent: the model would answer as if it had seen the image.
  if (typeof message.content !== 'string' && message.content.some(({ type }) => type !== 'text'))
    throw new MillraceError('bad_request', 'own takes no images and no files: send text')
  if (message.role === 'user') return { role: 'user', content: textOf(message) }
  if (message.role === 'tool') return { role: 'tool', tool_name: message.name, content: message.content }
  if (message.role !== 'assistant') return message
  const { calls = [], ...rest } = message
  return { ...rest, tool_calls: calls.map(({ name, args }) => ({ function: { name, arguments: args } })) }
}
