import type { ConversationPart } from '../protocol/conversation.ts'
import type { StreamEvent } from '../protocol/events.ts'
import type { OpenRequest } from './conversation-types.ts'

/** What the run of an answer has said, as far as this client has read it: the parts of each of its answers. */
export class LiveAnswer {
  /** By the id of the answer. */
  readonly parts: Map<string, readonly ConversationPart[]> = new Map()
  /** The questions that wait. */
  readonly requests: Map<string, OpenRequest> = new Map()
  /** The answer that the run writes. Undefined: not known, or text is missing. */
  #id: string | undefined

  take(event: StreamEvent): void {
    if (event.type === 'gap') {
      // What is shown must not lack something in the middle: the server has all of it in the end.
      if (this.#id !== undefined) this.parts.delete(this.#id)
      this.#id = undefined
    } else if (event.type === 'request') {
      const { type: _, seq: __, at: ___, ...request } = event
      this.requests.set(event.id, request)
    } else if (event.agent === undefined) this.#add(event)
  }

  /** A question has its answer: the one of that id, or about that call. */
  answered(which: string | undefined): void {
    for (const [id, { call }] of this.requests) if (which === id || which === call) this.requests.delete(id)
  }

  #add(event: Exclude<StreamEvent, { type: 'gap' | 'request' }>): void {
    if (event.type === 'data' && event.name === 'answer') {
      this.#id = (event.value as { answer: string }).answer
      this.parts.set(this.#id, [])
    }
    if ('call' in event && event.type !== 'tool.call' && event.type !== 'tool.args') this.answered(event.call)
    const parts = this.#id === undefined ? undefined : this.parts.get(this.#id)
    if (!parts) return
    const next = added(parts, event)
    if (next) this.parts.set(this.#id!, next)
  }
}

/** The parts with what an event adds to them. Undefined: nothing. */
function added(
  parts: readonly ConversationPart[],
  event: Exclude<StreamEvent, { type: 'gap' | 'request' }>,
): readonly ConversationPart[] | undefined {
  switch (event.type) {
    case 'token':
    case 'thinking':
      return joined(parts, [{ type: event.type === 'token' ? 'text' : 'thinking', text: event.text }])
    case 'tool.call': {
      const { call, name, args } = event
      return [...parts, { type: 'call', call, name, args }]
    }
    case 'tool.result': {
      const { output, error } = event
      const result = error ?? (typeof output === 'string' ? output : (JSON.stringify(output) ?? ''))
      return parts.map((part) => (part.type === 'call' && part.call === event.call ? { ...part, result } : part))
    }
    default:
      return undefined
  }
}

/** All parts, with adjacent text of one type as one part. */
export function joined(
  parts: readonly ConversationPart[],
  more: readonly ConversationPart[],
): readonly ConversationPart[] {
  const all = [...parts]
  for (const part of more) {
    const last = all.at(-1)
    if (last && 'text' in last && 'text' in part && last.type === part.type)
      all[all.length - 1] = { type: part.type, text: last.text + part.text }
    else all.push(part)
  }
  return all
}
