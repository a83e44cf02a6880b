import type { RunEnd, StreamEvent } from '../protocol/events.ts'
import { addUsage, type Usage } from '../protocol/receipt.ts'
import type { Format } from './format.ts'
import { OpenAiCalls } from './openai-calls.ts'
import { type OpenAiError, openAiError } from './openai-error.ts'
import { jsonOf, textOf } from './plain-text.ts'

/** Why a chat completion ended. */
export type ChatFinishReason = 'stop' | 'length' | 'content_filter' | 'tool_calls'

/** What one chunk adds to the answer. */
export type ChatDelta = {
  role?: 'assistant'
  content?: string
  /** The thinking of the model, as most compatible servers send it. */
  reasoning_content?: string
  tool_calls?: {
    index: number
    id: string
    type: 'function'
    function: { name: string; arguments: string }
  }[]
}

/** The usage of a chat completion. */
export type ChatUsage = {
  prompt_tokens: number
  completion_tokens: number
  total_tokens: number
  prompt_tokens_details?: { cached_tokens: number }
  completion_tokens_details?: { reasoning_tokens: number }
}

/** One chunk of a streamed chat completion. */
export type ChatChunk = {
  id: string
  object: 'chat.completion.chunk'
  created: number
  model: string
  choices: { index: 0; delta: ChatDelta; finish_reason: ChatFinishReason | null }[]
  usage?: ChatUsage | null
}

/** A chat completion as one answer. */
export type ChatCompletion = {
  id: string
  object: 'chat.completion'
  created: number
  model: string
  choices: {
    index: 0
    message: {
      role: 'assistant'
      content: string | null
      refusal: null
      reasoning_content?: string
      tool_calls?: { id: string; type: 'function'; function: { name: string; arguments: string } }[]
    }
    finish_reason: ChatFinishReason
    logprobs: null
  }[]
  usage?: ChatUsage
}

/** The options of `ChatChunks`. */
export type ChatChunkOptions = {
  /** The id of the run, which becomes that of the completion. */
  readonly run: string
  /** The name of the actor, which is that of the model. */
  readonly model: string
  /** In seconds since 1970. */
  readonly created: number
  /** The name under which the client's tools are declared. Default: it has none. */
  readonly client?: string | undefined
  /** Whether a last chunk has the usage. Default false. */
  readonly includeUsage?: boolean | undefined
}

/**
 * A run as the chunks of OpenAI's chat completions. The text of the run is the content. Of its tool calls the client sees
 * those that it has to run; the answer is over then. A run that fails or is cancelled ends with an error, and never with
 * a reason to stop.
 */
export class ChatChunks implements Format<ChatChunk | OpenAiError> {
  isOver = false
  readonly #options: ChatChunkOptions
  readonly #calls: OpenAiCalls
  #given = 0
  #usage: Usage | undefined
  #hasText = false

  constructor(options: ChatChunkOptions) {
    this.#options = options
    this.#calls = new OpenAiCalls(options.run, options.client ?? '')
  }

  begin(): ChatChunk[] {
    return [this.#chunk({ role: 'assistant', content: '' })]
  }

  take(event: StreamEvent): (ChatChunk | OpenAiError)[] {
    if (this.isOver) return []
    const { agent } = event as { agent?: string }
    if (event.type === 'gap' && event.reason !== 'policy') return this.#lost()
    if (event.type === 'usage') addUsage((this.#usage ??= { input: 0, output: 0 }), event)
    if (event.type === 'token' && agent === undefined) {
      this.#hasText = true
      return [this.#chunk({ content: textOf(event.text) })]
    }
    if (event.type === 'thinking' && agent === undefined)
      return [this.#chunk({ reasoning_content: textOf(event.text) })]
    const pieces: ChatChunk[] = []
    const call = this.#calls.take(event)
    if (call) {
      const { id, name, args } = call
      const given = { index: this.#given++, id, type: 'function' as const, function: { name, arguments: args } }
      pieces.push(this.#chunk({ tool_calls: [given] }))
    }
    return this.#calls.isWaiting ? [...pieces, ...this.#finish('tool_calls')] : pieces
  }

  end(how: RunEnd): (ChatChunk | OpenAiError)[] {
    if (this.isOver) return []
    if (how.usage) this.#usage = how.usage
    if (how.outcome !== 'done') {
      this.isOver = true
      const { code, message } = how.error ?? { code: 'cancelled', message: 'the run was cancelled' }
      return [openAiError(textOf(code), textOf(message))]
    }
    const answer = this.#hasText || how.result === undefined ? [] : [this.#chunk({ content: answerOf(how.result) })]
    return [...answer, ...this.#finish(reasonOf(how.stop))]
  }

  /** The answer is incomplete, and the reader must not take it for a whole one. */
  #lost(): OpenAiError[] {
    this.isOver = true
    return [openAiError('truncated', 'a part of the answer is no longer kept: ask again')]
  }

  #finish(reason: ChatFinishReason): ChatChunk[] {
    this.isOver = true
    const last = this.#chunk({}, reason)
    const { includeUsage } = this.#options
    return includeUsage ? [last, { ...last, choices: [], usage: chatUsage(this.#usage) }] : [last]
  }

  #chunk(delta: ChatDelta, reason: ChatFinishReason | null = null): ChatChunk {
    const { run, model, created, includeUsage } = this.#options
    return {
      id: run,
      object: 'chat.completion.chunk',
      created,
      model,
      choices: [{ index: 0, delta, finish_reason: reason }],
      ...(includeUsage && { usage: null }),
    }
  }
}

/** Puts chunks together to one answer. */
export class ChatAnswer {
  #first: ChatChunk | undefined
  #text: string | undefined
  #thinking = ''
  readonly #calls: NonNullable<ChatCompletion['choices'][0]['message']['tool_calls']> = []
  #reason: ChatFinishReason = 'stop'
  #usage: ChatUsage | undefined

  /** The length of the text so far. */
  get length(): number {
    return (this.#text?.length ?? 0) + this.#thinking.length
  }

  add(chunk: ChatChunk): void {
    this.#first ??= chunk
    if (chunk.usage) this.#usage = chunk.usage
    const [choice] = chunk.choices
    if (!choice) return
    const { content, reasoning_content: thinking, tool_calls: calls } = choice.delta
    if (content !== undefined && content !== '') this.#text = (this.#text ?? '') + content
    this.#thinking += thinking ?? ''
    for (const { index: _, ...call } of calls ?? []) this.#calls.push(call)
    if (choice.finish_reason) this.#reason = choice.finish_reason
  }

  completion(): ChatCompletion {
    const { id = '', created = 0, model = '' } = this.#first ?? {}
    const message = {
      role: 'assistant' as const,
      content: this.#text ?? (this.#calls.length > 0 ? null : ''),
      refusal: null,
      ...(this.#thinking !== '' && { reasoning_content: this.#thinking }),
      ...(this.#calls.length > 0 && { tool_calls: this.#calls }),
    }
    return {
      id,
      object: 'chat.completion',
      created,
      model,
      choices: [{ index: 0, message, finish_reason: this.#reason, logprobs: null }],
      ...(this.#usage && { usage: this.#usage }),
    }
  }
}

/** The value that an actor returned, as the text of an answer. */
export function answerOf(result: unknown): string {
  return typeof result === 'string' ? result : jsonOf(result)
}

function reasonOf(stop: string | undefined): ChatFinishReason {
  if (stop === 'length') return 'length'
  return stop === 'content_filter' ? 'content_filter' : 'stop'
}

function chatUsage(usage: Usage = { input: 0, output: 0 }): ChatUsage {
  const { input, output, cached, thinking } = usage
  return {
    prompt_tokens: input,
    completion_tokens: output,
    total_tokens: input + output,
    ...(cached !== undefined && { prompt_tokens_details: { cached_tokens: cached } }),
    ...(thinking !== undefined && { completion_tokens_details: { reasoning_tokens: thinking } }),
  }
}
