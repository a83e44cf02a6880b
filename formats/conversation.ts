import { bytesOf } from './plain-text.ts'

/** A part of a message of the user. */
export type UserPart =
  | { type: 'text'; text: string }
  | { type: 'image'; mediaType: string; data: Uint8Array }
  | { type: 'file'; mediaType: string; data: Uint8Array }
  | { type: 'image'; url: string }

/** A message as agents take them: what the chat messages of other protocols become. */
export type ConversationMessage =
  | { role: 'system'; content: string }
  | { role: 'user'; content: string | UserPart[] }
  | {
      role: 'assistant'
      content: string
      thinking?: string
      calls?: { call: string; name: string; args: unknown }[]
    }
  | { role: 'tool'; call: string; name: string; content: string }

/** The input of an agent that continues a conversation. */
export type ConversationInput = { messages: ConversationMessage[] }

/** What a client sends to a run that waits: an approval, an answer, or the output of a tool that the page ran. */
export type RunAnswer =
  | { type: 'answer'; data: { request: string; value: unknown } }
  | { type: 'approve'; data: { call: string; ok: boolean; note?: string } }
  | { type: 'tool.result'; data: { call: string; output?: unknown; error?: string } }

/** The content of a message of the user: text alone as a string. */
export function contentOf(parts: UserPart[]): string | UserPart[] {
  return parts.every((part) => part.type === 'text') ? parts.map(({ text }) => text).join('') : parts
}

/** A file of a message of the user. @throws an error for data that is not base64. */
export function filePart(isImage: boolean, mediaType: string, base64: string): UserPart {
  const data = bytesOf(base64)
  return isImage ? { type: 'image', mediaType, data } : { type: 'file', mediaType, data }
}
