import { messagesRequest } from '../../server/models/anthropic/messages-request.ts'
import { generateContentRequest } from '../../server/models/gemini/generate-content-request.ts'
import type { Message, ModelRequest, ToolSpec } from '../../server/models/model.ts'
import { chatRequest } from '../../server/models/openai/chat-request.ts'
import { responsesRequest } from '../../server/models/openai/responses-request.ts'
import { problemIn } from './strict-request.ts'

/** The rule of a provider that a request with this conversation would break, if any does. */
export function refusalOf(messages: readonly Message[], tools: readonly ToolSpec[] = []): string | undefined {
  const request: ModelRequest = { messages, tools, signal: new AbortController().signal }
  const bodies = {
    openai: chatRequest(request, true),
    responses: responsesRequest('gpt-5', request),
    anthropic: messagesRequest(request),
    gemini: generateContentRequest('gemini-3', request),
  }
  for (const [dialect, body] of Object.entries(bodies)) {
    const problem = problemIn(dialect as keyof typeof bodies, body)
    if (problem !== undefined) return `${dialect}: ${problem}`
  }
  return undefined
}
