import type { Usage } from '../../protocol/receipt.ts'

/** One message of a conversation, in the form every provider can be given. */
export type Message =
  | { role: 'system' | 'user'; content: string }
  | { role: 'assistant'; content: string; thinking?: string; calls?: ToolCall[] }
  /** The result of one tool call, as the model is to see it. */
  | { role: 'tool'; call: string; name: string; content: string }

/** A complete tool call of a model. `args` is JSON as the model wrote it, parsed. */
export type ToolCall = { call: string; name: string; args: unknown }

/** A tool as a model is told of it. `parameters` is JSON Schema of the input. */
export type ToolSpec = { name: string; description: string; parameters: unknown }

export type ModelRequest = {
  messages: readonly Message[]
  tools?: readonly ToolSpec[]
  /** Aborting it closes the provider's socket, whatever the request is doing. */
  signal: AbortSignal
  temperature?: number
  /** Most tokens of the answer. */
  maxTokens?: number
}

/** Why a model stopped: it was finished, wants its tools called, or reached its length. */
export type StopReason = 'stop' | 'tool_calls' | 'length'

/** One thing a model says. The last one of a complete answer is `finish`; after a `retry` the answer begins anew. */
export type ModelEvent =
  | { type: 'text'; text: string }
  | { type: 'thinking'; text: string }
  /** Arguments as they are written. `call` is the id under which the complete call follows. */
  | { type: 'tool.args'; call: string; name: string; text: string }
  | { type: 'tool.call'; call: string; name: string; args: unknown }
  | ({ type: 'usage' } & Usage)
  | { type: 'retry'; attempt: number; delayMs: number; code: string }
  /** Something was wrong with the answer but it goes on: a malformed line was skipped. */
  | { type: 'warning'; code: string; message: string }
  | { type: 'finish'; stop: StopReason }

/** One configured model of a provider. Endpoints and keys come from the server's configuration only. */
export interface Model {
  /** `provider:name`, as a person writes it. */
  readonly id: string
  readonly provider: string
  /**
   * Asks the model. The request is sent when the first event is pulled. Not pulling leaves the provider's socket unread.
   * Aborting `signal` closes the socket, then the iterator throws the signal's reason; a clean end without the
   * provider's end marker throws `truncated`. Throws `MillraceError` only (`provider_error`, `provider_rate_limited`,
   * `provider_overloaded`, `unauthenticated`, `context_too_long`, `content_filtered`, `truncated`, `bad_request`), never
   * with text of the provider's answer in its message.
   */
  stream(request: ModelRequest): AsyncIterable<ModelEvent>
}
