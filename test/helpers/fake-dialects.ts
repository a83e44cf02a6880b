/** How the fake provider writes what it says, in the forms of five APIs. Each writes one answer. */
import { signatureOf } from './strict-request.ts'

/** The API of a provider, as its requests and responses are written. */
export type Dialect = 'openai' | 'responses' | 'ollama' | 'anthropic' | 'gemini'

type Counts = { input: number; output: number }

/** The writer of one answer. */
export type Writer = {
  contentType: string
  text(text: string): string
  thinking(text: string): string
  call(index: number, id: string | null, name: string, args: string): string[]
  end(finish: string, usage: Counts | undefined): string
  error(error: unknown): string
  /** The body of an error response. */
  refusal(error: unknown): object
  broken: string
  /** The beginning of a line. */
  lineStart: string
}

/** The API that a path belongs to. */
export function dialectOf(path: string): Dialect {
  if (path.startsWith('/v1/chat/')) return 'openai'
  if (path.startsWith('/v1/responses')) return 'responses'
  if (path.startsWith('/v1/messages')) return 'anthropic'
  return path.startsWith('/v1beta/') ? 'gemini' : 'ollama'
}

/** The model that a request names, in its path or in its body. */
export function modelOf(path: string, body: unknown): string {
  const [, inPath] = /\/models\/([^:?]+):/.exec(path) ?? []
  return inPath === undefined ? String((body as { model?: unknown } | undefined)?.model) : decodeURIComponent(inPath)
}

export function writerOf(dialect: Dialect): Writer {
  return WRITERS[dialect]()
}

const WRITERS: { [Name in Dialect]: () => Writer } = { openai, responses, ollama, anthropic, gemini }

function openai(): Writer {
  return {
    contentType: 'text/event-stream',
    text: (text) => event({ choices: [{ index: 0, delta: { content: text } }] }),
    thinking: (text) => event({ choices: [{ index: 0, delta: { reasoning_content: text } }] }),
    call: (index, id, name, args) => {
      const piece = (call: object): string =>
        event({ choices: [{ index: 0, delta: { tool_calls: [{ index, ...call }] } }] })
      return [
        piece({ ...(id !== null && { id }), type: 'function', function: { name, arguments: '' } }),
        ...piecesOf(args).map((text) => piece({ function: { arguments: text } })),
      ]
    },
    end: (finish, usage) =>
      event({ choices: [{ index: 0, delta: {}, finish_reason: finish }] }) +
      (usage
        ? event({
            choices: [],
            usage: {
              prompt_tokens: usage.input,
              completion_tokens: usage.output,
              prompt_tokens_details: { cached_tokens: 3 },
              completion_tokens_details: { reasoning_tokens: 2 },
            },
          })
        : '') +
      'data: [DONE]\n\n',
    error: (error) => event({ error }),
    refusal: (error) => ({ error: typeof error === 'string' ? { message: error } : error }),
    broken: 'data: {"choices":[{"delta"\n\n',
    lineStart: 'data: ',
  }
}

function ollama(): Writer {
  return {
    contentType: 'application/x-ndjson',
    text: (text) => line({ message: { role: 'assistant', content: text }, done: false }),
    thinking: (text) => line({ message: { role: 'assistant', content: '', thinking: text }, done: false }),
    call: (_index, _id, name, args) => {
      const call = { function: { name, arguments: JSON.parse(args) as unknown } }
      return [line({ message: { role: 'assistant', content: '', tool_calls: [call] }, done: false })]
    },
    end: (finish, usage) =>
      line({
        message: { role: 'assistant', content: '' },
        done: true,
        done_reason: finish,
        ...(usage && { prompt_eval_count: usage.input, eval_count: usage.output, total_duration: 5 }),
      }),
    error: (error) => line({ error }),
    refusal: (error) => ({ error }),
    broken: '{"message":{"con\n',
    lineStart: '{"',
  }
}

const ANTHROPIC_WORDS: { [finish: string]: string } = {
  stop: 'end_turn',
  tool_calls: 'tool_use',
  length: 'max_tokens',
  content_filter: 'refusal',
}

function anthropic(): Writer {
  let index = -1
  let open: 'text' | 'thinking' | 'tool_use' | undefined
  let thought = ''
  let begun = false
  const block = (type: NonNullable<typeof open>, start: object): string => {
    const before = close() + (begun ? '' : begin())
    begun = true
    open = type
    index++
    return before + named({ type: 'content_block_start', index, content_block: { type, ...start } })
  }
  const delta = (piece: object): string => named({ type: 'content_block_delta', index, delta: piece })
  const close = (): string => {
    if (open === undefined) return ''
    const signed = open === 'thinking' ? delta({ type: 'signature_delta', signature: signatureOf(thought) }) : ''
    thought = ''
    open = undefined
    return signed + named({ type: 'content_block_stop', index })
  }
  const begin = (): string =>
    named({
      type: 'message_start',
      message: { type: 'message', role: 'assistant', content: [], usage: { input_tokens: 6, output_tokens: 1 } },
    }) + named({ type: 'ping' })
  return {
    contentType: 'text/event-stream',
    text: (text) => (open === 'text' ? '' : block('text', { text: '' })) + delta({ type: 'text_delta', text }),
    thinking: (text) => {
      const start = open === 'thinking' ? '' : block('thinking', { thinking: '', signature: '' })
      thought += text
      return start + delta({ type: 'thinking_delta', thinking: text })
    },
    call: (_index, id, name, args) => [
      block('tool_use', { id: id ?? '', name, input: {} }),
      ...piecesOf(args).map((text) => delta({ type: 'input_json_delta', partial_json: text })),
    ],
    end: (finish, usage) =>
      close() +
      (begun ? '' : begin()) +
      named({
        type: 'message_delta',
        delta: { stop_reason: ANTHROPIC_WORDS[finish] ?? finish },
        ...(usage && {
          usage: {
            input_tokens: usage.input - 5,
            cache_creation_input_tokens: 2,
            cache_read_input_tokens: 3,
            output_tokens: usage.output,
            output_tokens_details: { thinking_tokens: 2 },
          },
        }),
      }) +
      named({ type: 'message_stop' }),
    error: (error) => named({ type: 'error', error: typeof error === 'string' ? { message: error } : error }),
    refusal: (error) => ({ type: 'error', error: typeof error === 'string' ? { message: error } : error }),
    broken: 'event: content_block_delta\ndata: {"type":"content_block_delta","del\n\n',
    lineStart: 'data: ',
  }
}

const GEMINI_WORDS: { [finish: string]: string } = {
  stop: 'STOP',
  tool_calls: 'STOP',
  length: 'MAX_TOKENS',
  content_filter: 'SAFETY',
}

function gemini(): Writer {
  const chunk = (candidate: object, more: object = {}): string =>
    event({ candidates: [{ index: 0, ...candidate }], ...more })
  const parts = (...list: object[]): string => chunk({ content: { role: 'model', parts: list } })
  return {
    contentType: 'text/event-stream',
    text: (text) => parts({ text }),
    thinking: (text) => parts({ text, thought: true }),
    call: (index, id, name, args) => {
      // Only the first of parallel calls is signed.
      const signed = index === 0 && { thoughtSignature: signatureOf(name) }
      const called = {
        ...(id !== null && !id.startsWith('call_fake') && { id }),
        name,
        args: JSON.parse(args) as unknown,
      }
      return [parts({ functionCall: called, ...signed })]
    },
    end: (finish, usage) =>
      chunk(
        { content: { role: 'model', parts: [{ text: '' }] }, finishReason: GEMINI_WORDS[finish] ?? finish },
        usage && {
          usageMetadata: {
            promptTokenCount: usage.input,
            candidatesTokenCount: usage.output - 2,
            thoughtsTokenCount: 2,
            cachedContentTokenCount: 3,
          },
        },
      ),
    error: (error) => event({ error: typeof error === 'string' ? { message: error } : error }),
    refusal: (error) => ({ error: typeof error === 'string' ? { message: error } : error }),
    broken: 'data: {"candidates":[{"cont\n\n',
    lineStart: 'data: ',
  }
}

function responses(): Writer {
  let index = -1
  let open: { type: 'message' | 'reasoning' | 'function_call'; text: string; item: object } | undefined
  let begun = false
  const begin = (): string => {
    if (begun) return ''
    begun = true
    return named({ type: 'response.created', response: { status: 'in_progress' } })
  }
  const item = (type: NonNullable<typeof open>['type'], start: object): string => {
    const before = begin() + close()
    index++
    open = { type, text: '', item: { type, id: `item_${index}`, ...start } }
    return before + named({ type: 'response.output_item.added', output_index: index, item: open.item })
  }
  const delta = (type: string, text: string): string => {
    // Its last events repeat all that was said, of which no answer has megabytes.
    if (open!.text.length < 1_000_000) open!.text += text
    return named({ type, output_index: index, item_id: `item_${index}`, delta: text })
  }
  const close = (): string => {
    if (open === undefined) return ''
    const { type, text, item: start } = open
    open = undefined
    const rest =
      type === 'message'
        ? { content: [{ type: 'output_text', text, annotations: [] }] }
        : type === 'reasoning'
          ? { summary: [{ type: 'summary_text', text }], encrypted_content: signatureOf(text) }
          : { arguments: text }
    return named({ type: 'response.output_item.done', output_index: index, item: { ...start, ...rest } })
  }
  return {
    contentType: 'text/event-stream',
    text: (text) =>
      (open?.type === 'message' ? '' : item('message', { role: 'assistant', content: [] })) +
      delta('response.output_text.delta', text),
    thinking: (text) =>
      (open?.type === 'reasoning' ? '' : item('reasoning', { summary: [] })) +
      delta('response.reasoning_summary_text.delta', text),
    call: (_index, id, name, args) => [
      item('function_call', { call_id: id ?? '', name, arguments: '' }),
      ...piecesOf(args).map((text) => delta('response.function_call_arguments.delta', text)),
    ],
    end: (finish, usage) => {
      const reason = { length: 'max_output_tokens', content_filter: 'content_filter' }[finish]
      return (
        begin() +
        close() +
        named({
          type: reason ? 'response.incomplete' : 'response.completed',
          response: {
            status: reason ? 'incomplete' : 'completed',
            ...(reason && { incomplete_details: { reason } }),
            ...(usage && {
              usage: {
                input_tokens: usage.input,
                input_tokens_details: { cached_tokens: 3 },
                output_tokens: usage.output,
                output_tokens_details: { reasoning_tokens: 2 },
              },
            }),
          },
        })
      )
    },
    error: (error) => named({ type: 'error', ...(typeof error === 'string' ? { message: error } : (error as object)) }),
    refusal: (error) => ({ error: typeof error === 'string' ? { message: error } : error }),
    broken: 'event: response.output_text.delta\ndata: {"type":"response.outp\n\n',
    lineStart: 'data: ',
  }
}

function piecesOf(args: string): string[] {
  return args.match(/.{1,6}/gs) ?? []
}

function event(chunk: object): string {
  return `data: ${JSON.stringify(chunk)}\n\n`
}

/** An event whose type stands in front of it too. */
function named(chunk: { type: string; [member: string]: unknown }): string {
  return `event: ${chunk.type}\n${event(chunk)}`
}

function line(chunk: object): string {
  return `${JSON.stringify(chunk)}\n`
}
