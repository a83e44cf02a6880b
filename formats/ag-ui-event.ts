/** A question that ends the run of AG-UI, and that its next run answers. */
export type AgUiInterrupt = {
  id: string
  reason: string
  message?: string
  toolCallId?: string
  responseSchema?: Record<string, unknown>
  expiresAt?: string
  subagentRunId?: string
}

type AgUiUsage = {
  inputTokens: number
  outputTokens: number
  totalTokens: number
  cachedInputTokens?: number
  reasoningTokens?: number
}

/** The sub-agent that an event belongs to. Absent: the agent itself. */
type Tagged = { subagentRunId?: string }

/** An event of AG-UI, as far as runs become such events. Only version 1 knows the outcome
 * `cancelled`, and the calls that are left to the page. */
export type AgUiEvent =
  | { type: 'RUN_STARTED'; threadId: string; runId: string }
  | {
      type: 'RUN_FINISHED'
      threadId: string
      runId: string
      result?: unknown
      outcome:
        | { type: 'success'; pendingToolCallIds?: string[] }
        | { type: 'interrupt'; interrupts: AgUiInterrupt[] }
        | { type: 'cancelled' }
      usage?: AgUiUsage[]
    }
  | { type: 'RUN_ERROR'; message: string; code?: string; usage?: AgUiUsage[] }
  | ({ type: 'STEP_STARTED' | 'STEP_FINISHED'; stepName: string } & Tagged)
  | ({ type: 'TEXT_MESSAGE_START'; messageId: string; role: 'assistant' } & Tagged)
  | ({ type: 'TEXT_MESSAGE_CONTENT'; messageId: string; delta: string } & Tagged)
  | ({ type: 'TEXT_MESSAGE_END'; messageId: string } & Tagged)
  | ({ type: 'REASONING_START' | 'REASONING_END' | 'REASONING_MESSAGE_END'; messageId: string } & Tagged)
  | ({ type: 'REASONING_MESSAGE_START'; messageId: string; role: 'reasoning' } & Tagged)
  | ({ type: 'REASONING_MESSAGE_CONTENT'; messageId: string; delta: string } & Tagged)
  | ({ type: 'TOOL_CALL_START'; toolCallId: string; toolCallName: string; parentMessageId: string } & Tagged)
  | ({ type: 'TOOL_CALL_ARGS'; toolCallId: string; delta: string } & Tagged)
  | ({ type: 'TOOL_CALL_END'; toolCallId: string } & Tagged)
  | ({ type: 'TOOL_CALL_RESULT'; messageId: string; toolCallId: string; content: string; role: 'tool' } & Tagged)
  | { type: 'SUBAGENT_STARTED'; subagentRunId: string; name: string; parentSubagentRunId?: string }
  | {
      type: 'SUBAGENT_FINISHED'
      subagentRunId: string
      outcome: { type: 'success'; pendingToolCallIds?: string[] } | { type: 'suspended'; interruptIds: string[] }
    }
  | { type: 'SUBAGENT_ERROR'; subagentRunId: string; message: string; code?: string }
  | { type: 'MESSAGES_SNAPSHOT'; messages: unknown[] }
  | ({ type: 'CUSTOM'; name: string; value: unknown } & Tagged)
