import type { ConversationFacts, ConversationMessage, ConversationPart } from '../../protocol/conversation.ts'
import type { Message, ToolCall } from '../models/model.ts'
import { excerpt, wellFormed } from '../text.ts'
import type { ConversationRecord } from './message-record.ts'
import type { TreeMessage } from './message-tree.ts'

/** The most characters of the arguments, and of the result, of a call. An event has a largest size. */
const MAX_SHOWN_CHARACTERS = 8_000
/** Containers that may nest in arguments. An event may nest 12, and the message around them takes 6. */
const MAX_SHOWN_DEPTH = 5

/** A conversation as clients see it. */
export function factsOf(record: ConversationRecord, run: string | undefined): ConversationFacts {
  const { owner, id, title, createdAt, updatedAt, leaf, messages, model } = record
  return { id, owner, title, createdAt, updatedAt, leaf, messages, ...(model && { model }), ...(run && { run }) }
}

/** A message as clients see it, with its parts apart: together they may be too large for one event. */
export function viewOf({ n: _, version: __, uploads: ___, said, ...rest }: TreeMessage): {
  head: Omit<ConversationMessage, 'parts'>
  parts: ConversationPart[]
} {
  return { head: rest, parts: partsOf(said) }
}

/** The parts of what the model gets of a message. */
function partsOf(said: readonly Message[]): ConversationPart[] {
  const calls = new Map<string, Extract<ConversationPart, { type: 'call' }>>()
  return said.flatMap((message): ConversationPart[] => {
    switch (message.role) {
      case 'system':
        return []
      case 'user':
        return typeof message.content === 'string' ? [text(message.content)] : message.content.map(partOf)
      case 'assistant': {
        const parts: ConversationPart[] = []
        if (message.thinking) parts.push({ type: 'thinking', text: wellFormed(message.thinking) })
        if (message.content !== '') parts.push(text(message.content))
        for (const call of message.calls ?? []) {
          const part = callOf(call)
          calls.set(call.call, part)
          parts.push(part)
        }
        return parts
      }
      case 'tool': {
        const part = calls.get(message.call)
        if (part) part.result = shortened(message.shown ?? message.content)
        return []
      }
    }
  })
}

type UserPart = Exclude<Extract<Message, { role: 'user' }>['content'], string>[number]

function partOf(part: UserPart): ConversationPart {
  if (part.type === 'text') return text(part.text)
  if ('url' in part) return { type: 'url', url: part.url }
  const { type, mediaType, data } = part
  const name = 'name' in part ? part.name : undefined
  return { type, mediaType, size: data.length, ...(name !== undefined && { name }) }
}

function text(of: string): ConversationPart {
  return { type: 'text', text: wellFormed(of) }
}

function callOf({ call, name, args }: ToolCall): Extract<ConversationPart, { type: 'call' }> {
  return { type: 'call', call: wellFormed(call), name: wellFormed(name), args: shownArgs(args) }
}

/** Arguments as they can travel: a model may have written anything. */
function shownArgs(args: unknown): unknown {
  const json = JSON.stringify(args) ?? ''
  if (json.length > MAX_SHOWN_CHARACTERS || depthOf(args) > MAX_SHOWN_DEPTH) return shortened(json)
  return JSON.parse(json, (_, value: unknown) => (typeof value === 'string' ? wellFormed(value) : withPlainKeys(value)))
}

function withPlainKeys(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [wellFormed(key), one as unknown]))
}

function depthOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0
  return 1 + Math.max(0, ...Object.values(value).map(depthOf))
}

function shortened(of: string): string {
  return wellFormed(excerpt(of, MAX_SHOWN_CHARACTERS))
}
