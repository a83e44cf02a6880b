import type { ErrorShape } from './errors.ts'
import type { Usage } from './receipt.ts'

/**
 * How far a message is. `streaming`: a run writes it. `sent`: it is complete. `failed` and `cancelled`: it has the text
 * up to there, or none.
 */
export type MessageStatus = 'streaming' | 'sent' | 'failed' | 'cancelled'

/** One part of a message, in the order in which it was said. */
export type ConversationPart =
  | { type: 'text'; text: string }
  | { type: 'thinking'; text: string }
  /** A tool call. `result` is what the model got for it, absent until it is there. Long arguments are text. */
  | { type: 'call'; call: string; name: string; args: unknown; result?: string }
  /** An image or a file that the user sent. Its bytes stay on the server; `size` counts them. */
  | { type: 'image' | 'file'; mediaType: string; size: number; name?: string }
  /** An image that the user named by its address. */
  | { type: 'url'; url: string }

/** One message of a conversation, as a client gets it. */
export type ConversationMessage = {
  /** Names it in its conversation. The client that sends a message chooses its id. */
  id: string
  /** The message that it follows; null for a first one. Messages of the same parent are versions of each other. */
  parent: string | null
  /** `summary`: it stands for earlier messages in what the model gets. */
  role: 'user' | 'assistant' | 'summary'
  /** How far it is. */
  status: MessageStatus
  /** When it was begun, in epoch milliseconds. */
  at: number
  /** What it says. */
  parts: readonly ConversationPart[]
  /** The run that answers with it, or did. */
  run?: string
  /** The id of the model that was asked. */
  model?: string
  /** What its run has cost, as far as it is known. */
  usage?: Usage
  /** Why it failed. */
  error?: ErrorShape
  /** The principal that wrote it, if that is not the owner of the conversation. */
  by?: string
  /** The server wrote it to go on with an answer that was cut short. */
  auto?: true
  /** Of a summary: the last message that it stands for. */
  through?: string
}

/** What a client gets to know of a conversation besides its messages. */
export type ConversationFacts = {
  /** Its id, unique among the conversations of its owner. */
  id: string
  /** The id of the principal that it belongs to. */
  owner: string
  /** Its title: as a client named it, or the beginning of its first message. */
  title: string
  /** When it was begun, in epoch milliseconds. */
  createdAt: number
  /** When its last message was begun, in epoch milliseconds. */
  updatedAt: number
  /** The last message of the active branch; null while there is none. The next message follows it. */
  leaf: string | null
  /** The number of its messages, of all branches. */
  messages: number
  /** The model that answers, if one was chosen for this conversation. */
  model?: string
  /** The run of the answer that is under way. */
  run?: string
}

/**
 * A change of a conversation. It is complete with the update whose `more` is false: a client applies all of them then,
 * at once.
 */
export type ConversationUpdate = {
  /** Everything before is void: the conversation is another one, or was not known. */
  reset?: true
  /** Its facts, if they have changed. */
  conversation?: ConversationFacts
  /**
   * Messages that are new or have changed, in the order in which they were begun. One that comes again in the same change
   * has further parts. Text that meets text of the same type is one part.
   */
  messages?: ConversationMessage[]
  /** The conversation was removed. */
  removed?: true
  /** What a client passes as `since` to continue behind this change. */
  version: number
  /** Whether further updates belong to this change. */
  more: boolean
}

/** A page of the conversations of a principal, the one with the latest message first. */
export type ConversationPage = {
  /** Its conversations. */
  conversations: ConversationFacts[]
  /** Pass it as `before` to get the next page. Absent on the last one. */
  next?: string
}

/** A message that a search has found. */
export type FoundMessage = {
  /** The id of its conversation. */
  conversation: string
  /** The title of its conversation. */
  title: string
  /** The id of the message. */
  message: string
  /** When it was begun, in epoch milliseconds. */
  at: number
  /** Some of its text, around the words that were searched for. */
  excerpt: string
}

/** What a search has found, the latest message first. */
export type FoundPage = {
  /** The messages. */
  found: FoundMessage[]
}

/** Which message the following items of a run belong to. A run that takes messages of clients begins further answers. */
export type AnswerBegun = {
  /** The id of the answer. */
  answer: string
}
