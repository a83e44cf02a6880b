import { Packr } from 'msgpackr'
import { textOf } from '../models/message-parts.ts'
import type { LoadedMessage, StoredConversation, StoredMessage } from './conversation-store.ts'
import type { TreeMessage } from './message-tree.ts'

/** Bytes in a store outlive this version of the package: what is added later must have a default here. */
const packr = new Packr({ useRecords: false, variableMapSize: true, int64AsType: 'number', copyBuffers: true })

/** What a conversation has besides what its store can read. */
export type ConversationRecord = Omit<StoredConversation, 'data'> & {
  /** The last message of the active branch. */
  readonly leaf: string | null
  /** The number of its messages. */
  readonly messages: number
  /** The bytes that its messages take in the store. */
  readonly bytes: number
  /** The model that was chosen for it. */
  readonly model?: string | undefined
  /** The tools of which all calls are approved, each with the id of the principal that did so, if it is known. */
  readonly approved: readonly { readonly tool: string; readonly by?: string | undefined }[]
}

/** A conversation for its store. */
export function packConversation(record: ConversationRecord): StoredConversation {
  const { owner, id, title, createdAt, updatedAt, version, ...rest } = record
  return { owner, id, title, createdAt, updatedAt, version, data: packr.pack(rest) }
}

/** A conversation from its store. */
export function unpackConversation(stored: StoredConversation): ConversationRecord {
  const { owner, id, title, createdAt, updatedAt, version, data } = stored
  const rest = packr.unpack(data) as Omit<ConversationRecord, keyof StoredConversation>
  return Object.assign(rest, { owner, id, title, createdAt, updatedAt, version })
}

/** A message for its store. */
export function packMessage({ id, n, at, ...rest }: TreeMessage): StoredMessage {
  return { id, n, at, text: searchableText(rest), data: packr.pack(rest) }
}

/** A message from its store. */
export function unpackMessage({ id, n, at, data }: LoadedMessage): TreeMessage {
  return Object.assign(packr.unpack(data) as Omit<TreeMessage, 'id' | 'n' | 'at'>, { id, n, at })
}

/** What a search looks into: the texts of users and models, without the results of tools. */
function searchableText({ role, said }: Pick<TreeMessage, 'role' | 'said'>): string {
  if (role === 'summary') return ''
  return said
    .filter((message) => message.role === 'user' || message.role === 'assistant')
    .map(textOf)
    .filter((text) => text !== '')
    .join('\n')
}
