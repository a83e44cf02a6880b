import { expect } from 'vitest'
import type { Message } from '../../server/models/model.ts'

/** The API of a provider, as its requests and responses are written. */
export type Dialect = 'openai' | 'ollama'

type WireCall = { id?: unknown; function: { name?: unknown; arguments?: unknown } }
type WireMessage = {
  role: string
  content: unknown
  tool_calls?: WireCall[]
  tool_call_id?: unknown
  tool_name?: unknown
}
type WireTool = { function: { name: unknown; parameters: unknown } }

const NAME = /^[a-zA-Z0-9_-]{1,64}$/

/** Fails for a request that some server of that dialect refuses: vLLM, llama.cpp, Mistral and OpenAI check the most. */
export function checkRequest(dialect: Dialect, body: unknown): void {
  const { messages, tools = [] } = body as { messages: WireMessage[]; tools?: WireTool[] }
  for (const { function: described } of tools) {
    expect(described.name).toMatch(NAME)
    expect(described.parameters).toMatchObject({ type: 'object', properties: expect.any(Object) })
  }
  messages.forEach((message, at) => {
    const { role, content, tool_calls: calls = [] } = message
    if (role !== 'assistant') return expect(content).toEqual(expect.any(String))
    if (calls.length === 0) return expect(content).toEqual(expect.stringMatching(/./))
    for (const [n, call] of calls.entries()) {
      const { name, arguments: given } = call.function
      expect(name).toMatch(NAME)
      const answer = messages[at + 1 + n]
      if (dialect === 'openai') {
        expect(given).toEqual(expect.any(String))
        expect(call.id).toEqual(expect.stringMatching(/./))
        expect(answer).toMatchObject({ role: 'tool', tool_call_id: call.id })
      } else {
        expect(answer).toMatchObject({ role: 'tool', tool_name: name })
      }
      expect(isObject(dialect === 'openai' ? JSON.parse(given as string) : given)).toBe(true)
    }
    expect(messages[at + 1 + calls.length]?.role).not.toBe('tool')
  })
}

/** Fails for a conversation that cannot be sent as it is: arguments are objects, names are names, each call is answered. */
export function checkConversation(conversation: readonly Message[]): void {
  conversation.forEach((message, at) => {
    if (message.role !== 'assistant') return
    const { calls = [] } = message
    expect(message.content !== '' || calls.length > 0).toBe(true)
    for (const [n, { call, name, args }] of calls.entries()) {
      expect(name).toMatch(NAME)
      expect(isObject(args)).toBe(true)
      expect(conversation[at + 1 + n]).toMatchObject({ role: 'tool', call, name })
    }
  })
}

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
