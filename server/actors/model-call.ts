import type { ModelCall } from './actor.ts'

/** A request to a model. A string is a single user message. */
export function modelCall(asked: ModelCall | string): ModelCall {
  return typeof asked === 'string' ? { messages: [{ role: 'user', content: asked }] } : asked
}
