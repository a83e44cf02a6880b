import { expect } from 'vitest'
import type { Message } from '../../server/models/model.ts'

const NAME = /^[a-zA-Z0-9_-]{1,64}$/

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
