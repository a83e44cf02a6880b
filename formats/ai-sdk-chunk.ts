import type { RunEnd } from '../protocol/events.ts'
import type { Receipt, Usage } from '../protocol/receipt.ts'

/** What a message of the AI SDK has under `metadata.millrace`: the run that wrote it, and how far it has come. */
export type MessageFacts = {
  /** The id of the run. It is also the id of the message. */
  run: string
  /** The number of the run's last item that the message has. A later request continues behind it. */
  seq?: number
  /** The life of the run that `seq` belongs to. Absent for the first one. */
  gen?: number
  /** How the run ended. Absent while it goes on, also where it waits for an approval or a tool output. */
  outcome?: RunEnd['outcome']
  /** What the run has used so far. */
  usage?: Usage
  /** The receipt of a cancel. */
  receipt?: Receipt
}

/** The metadata that goes into a message. */
type Metadata = { millrace: MessageFacts }

/** What our chunks say about a tool call beyond the AI SDK's own words: the sub-agent that made it. */
type CallMetadata = { millrace: { agent: string } }

/** A data part. One with the `id` of an earlier part replaces it; a transient one is no part of the message. */
export type DataChunk = { type: `data-${string}`; id?: string; data: unknown; transient?: boolean }

/**
 * A UI message chunk of the AI SDK, as far as runs become such chunks. All types but `reset-step` and
 * `tool-approval-response` are known to `ai` 6 and to `ai` 7.
 */
export type UiChunk =
  | { type: 'start'; messageId: string; messageMetadata: Metadata }
  | { type: 'start-step' }
  | { type: 'text-start'; id: string }
  | { type: 'text-delta'; id: string; delta: string }
  | { type: 'text-end'; id: string }
  | { type: 'reasoning-start'; id: string }
  | { type: 'reasoning-delta'; id: string; delta: string }
  | { type: 'reasoning-end'; id: string }
  | {
      type: 'tool-input-start'
      toolCallId: string
      toolName: string
      dynamic?: boolean
    }
  | { type: 'tool-input-delta'; toolCallId: string; inputTextDelta: string }
  | {
      type: 'tool-input-available'
      toolCallId: string
      toolName: string
      input: unknown
      dynamic?: boolean
      providerMetadata?: CallMetadata
    }
  | {
      type: 'tool-input-error'
      toolCallId: string
      toolName: string
      input: unknown
      errorText: string
      dynamic?: boolean
    }
  | { type: 'tool-approval-request'; approvalId: string; toolCallId: string }
  | { type: 'tool-approval-response'; approvalId: string; approved: boolean }
  | { type: 'tool-output-available'; toolCallId: string; output: unknown; preliminary?: boolean; dynamic?: boolean }
  | { type: 'tool-output-error'; toolCallId: string; errorText: string; dynamic?: boolean }
  | { type: 'tool-output-denied'; toolCallId: string }
  | DataChunk
  | { type: 'message-metadata'; messageMetadata: Metadata }
  | { type: 'finish-step' }
  | { type: 'reset-step' }
  | { type: 'error'; errorText: string }
  | { type: 'abort'; reason?: string }
  | {
      type: 'finish'
      finishReason: 'stop' | 'length' | 'content-filter' | 'tool-calls' | 'error' | 'other' | 'interrupted'
      messageMetadata: Metadata
    }
