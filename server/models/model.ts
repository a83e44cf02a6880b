import type { Usage } from '../../protocol/receipt.ts'
import type { Part } from './message-parts.ts'
import type { ModelSettings } from './model-settings.ts'

/** One message of a conversation, in a form that works with every provider. */
export type Message =
  | { role: 'system'; content: string }
  /** A list of parts has images and files besides text. */
  | { role: 'user'; content: string | readonly Part[] }
  | {
      role: 'assistant'
      content: string
      thinking?: string | undefined
      calls?: ToolCall[] | undefined
      extra?: Extra | undefined
    }
  /** The result of one tool call, as the model sees it. `shown`: what people see in its place. */
  | { role: 'tool'; call: string; name: string; content: string; shown?: string | undefined }

/** A complete tool call of a model. `args` is the parsed JSON, or the text itself if that is not JSON. */
export type ToolCall = {
  /** The id of the call. */
  call: string
  /** The name of the tool. */
  name: string
  /** The arguments. */
  args: unknown
  /** What the provider wants back with this call. */
  extra?: Extra | undefined
}

/**
 * What a provider sends with an answer or a call and wants back in the next request, such as a signature. Only the
 * adapter that made it reads it. Keep it with the message, unchanged.
 */
export type Extra = { readonly [key: string]: unknown }

/** The description of a tool for a model. `parameters` is the JSON Schema of the input. */
export type ToolSpec = {
  /** The name by which the model calls it. */
  name: string
  /** What the tool does and when to use it. */
  description: string
  /** JSON Schema. */
  parameters: unknown
}

/**
 * Whether a model keeps to a JSON Schema: its provider enforces it, or the model tries to, or it cannot be sent one.
 */
export type Structured = 'enforced' | 'best-effort' | 'none'

/** The form that the answer of a model is to have: a JSON object. */
export type OutputFormat = {
  /** A name of 1 to 64 of the characters `a-z A-Z 0-9 _ -`, for providers that want one. */
  readonly name: string
  /** Its JSON Schema. */
  readonly schema: unknown
}

/** One request to a model. A setting that it does not support becomes a `warning`, and is never dropped in silence. */
export type ModelRequest = ModelSettings & {
  /** The conversation. The model answers its last message. */
  messages: readonly Message[]
  /** Tools that the model may call. Default: none. */
  tools?: readonly ToolSpec[] | undefined
  /** The form of the answer. Only for a model whose `structured` is not `none`. Default: text. */
  output?: OutputFormat | undefined
  /** Aborting it closes the provider's socket in every state of the request. */
  signal: AbortSignal
}

/**
 * Why a model stopped: its answer is complete, it calls tools, it reached the maximum length, or the provider gave a
 * reason that millrace does not know. Before the last, a `warning` names it.
 */
export type StopReason = 'stop' | 'tool_calls' | 'length' | 'other'

/**
 * One event of a model's answer. A complete answer ends with `finish`. A `retry` stands before all text, thinking,
 * arguments and calls: what readers have seen cannot be taken back. One that comes later ends the answer as `truncated`.
 */
export type ModelEvent =
  | { type: 'text'; text: string }
  | { type: 'thinking'; text: string }
  /** A piece of the arguments, as the model writes them. The complete call follows with the same id in `call`. */
  | { type: 'tool.args'; call: string; name: string; text: string }
  | { type: 'tool.call'; call: string; name: string; args: unknown; extra?: Extra | undefined }
  | ({ type: 'usage' } & Usage)
  /** An attempt failed with `code`. Retry number `attempt`, counted from 1, follows after `delayMs` milliseconds. */
  | { type: 'retry'; attempt: number; delayMs: number; code: string }
  /** A problem that does not end the answer, such as a malformed line that was skipped. */
  | { type: 'warning'; code: string; message: string }
  /** `extra` belongs to the answer, and goes into its message. */
  | { type: 'finish'; stop: StopReason; extra?: Extra | undefined }

/** What a model costs per million tokens, in the currency of the server's configuration. */
export type Prices = {
  /** Of input. */
  readonly input: number
  /** Of output, thinking included. */
  readonly output: number
  /** Of input that the provider had cached. Default: as `input`. */
  readonly cached?: number | undefined
}

/** One configured model of a provider. Endpoints and keys come only from the server's configuration. */
export interface Model {
  /** The id by which actors and the command line name the model: `provider:name`. */
  readonly id: string
  /** The name of the provider, such as `openai`. */
  readonly provider: string
  /** Whether it takes the `output` of a request. Default `none`: it is told of the form in words. */
  readonly structured?: Structured | undefined
  /** With what the cost of an answer that was cut off is estimated. `priced` sets them. Default: not at all. */
  readonly prices?: Prices | undefined
  /**
   * Asks the model. The first `next()` sends the request. While no event is pulled, the provider's socket stays unread.
   * Aborting `signal` closes the socket, and then the iterator throws the signal's reason.
   * @throws MillraceError, and nothing else. Its code is `provider_error`, `provider_rate_limited`,
   * `provider_overloaded`, `context_too_long`, `content_filtered`, `bad_request`, or `truncated` for
   * an answer without the provider's end marker. Its message never quotes the provider's response. A part of a message
   * that the provider does not take is `bad_request`, before anything is sent.
   */
  stream(request: ModelRequest): AsyncIterable<ModelEvent>
}
