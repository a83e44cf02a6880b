import type { ActorMap, DataOf, InputOf } from '../protocol/actors.ts'
import type { ConversationFacts, ConversationMessage, MessageStatus } from '../protocol/conversation.ts'
import type { MillraceError } from '../protocol/errors.ts'
import type { StreamEvent } from '../protocol/events.ts'
import type { CancelResult } from './cancel.ts'
import type { Client } from './client.ts'
import type { Run } from './run.ts'

/** The names of the actors of a server that are conversations: made by `conversation()` of `millrace/server`. */
export type ConversationNames<Actors extends ActorMap> = {
  [Name in keyof Actors & string]: 'conversation' extends DataOf<Actors[Name]>['name'] ? Name : never
}[keyof Actors & string]

/** What a message of the user may be: a text, or a list of its parts with images and files. */
export type MessageContent<Actors extends ActorMap = ActorMap> =
  Extract<InputOf<Actors[ConversationNames<Actors>]>, { type: 'send' }> extends { content: infer Content }
    ? Content
    : string | readonly object[]

/** A message as a page shows it. */
export type ShownMessage = Omit<ConversationMessage, 'status' | 'parts'> & {
  /** `sending`: the server does not have it yet, and it is shown in advance. `failed` with no `run`: it was not sent. */
  readonly status: MessageStatus | 'sending'
  /** What it says, in order. Those of an answer grow while it is written. */
  readonly parts: readonly Readonly<ConversationMessage['parts'][number]>[]
  /** All of its text, without thinking and calls. */
  readonly text: string
  /** The ids of all versions of it, the oldest first: its own, and those of the other messages of its parent. */
  readonly versions: readonly string[]
}

/** A question that the answer under way waits for, such as an approval. */
export type OpenRequest = Omit<Extract<StreamEvent, { type: 'request' }>, 'type' | 'seq' | 'at'>

/** A conversation, at one moment. It never changes; parts that stay as they were stay the same objects. */
export type ConversationSnapshot = {
  /** Its id. */
  readonly id: string
  /**
   * `loading`: nothing is known yet. `ready`: no answer is under way. `answering`: one is, or is about to be.
   * `stopping`: it is being stopped. `removed`: the conversation is no more. `failed`: it cannot be read; `error` says why.
   */
  readonly status: 'loading' | 'ready' | 'answering' | 'stopping' | 'removed' | 'failed'
  /** Its title. Empty while it has none. */
  readonly title: string
  /** The messages of the active branch, the first one first. */
  readonly messages: readonly ShownMessage[]
  /** The messages of all branches, by id. */
  readonly all: ReadonlyMap<string, ShownMessage>
  /** The questions that the answer under way waits for. */
  readonly requests: readonly OpenRequest[]
  /** Its facts, once they are known: the model that was chosen, when it was begun. Undefined before its first message. */
  readonly facts: ConversationFacts | undefined
  /** Why it cannot be read, or why the last call failed. Undefined after a call that succeeded. */
  readonly error: MillraceError | undefined
}

/** The options of `conversation`. */
export type ConversationOptions<Name extends string = string> = {
  /** The name of the actor that the server registered. Default `chat`. */
  actor?: Name | undefined
  /** The id of the principal that the conversation belongs to. Default: the client's own. */
  owner?: string | undefined
  /**
   * Reads the run of an answer, and yields its events: `(run) => clientTools(run, { ... })`. Default: the run itself.
   */
  read?: ((run: Run) => AsyncIterable<StreamEvent, unknown>) | undefined
}

/** The options of `send`. */
export type SendOptions = {
  /**
   * What a message does that is sent while an answer is under way. `after`: it comes behind the answer. `next`: in the
   * next turn of the agent. `now`: it cuts the answer short. Default `after`.
   */
  mode?: 'after' | 'next' | 'now' | undefined
  /** The message that it follows; null begins another branch at the beginning. Default: the last of the active branch. */
  parent?: string | null | undefined
  /** Its id, 8 to 64 of the characters `a-z A-Z 0-9 _ -`. The same id twice is one message. Default: a random one. */
  id?: string | undefined
}

/**
 * One conversation that a server keeps, as all clients that open it see it: its messages in order, and the answer under
 * way as it is written. It is an external store: `subscribe` and `getSnapshot` are what `useSyncExternalStore` of React
 * takes, and `for await` yields one snapshot after another.
 *
 * It reads from the server while something subscribes to it, and until a call that it has sent is answered. A lost
 * connection does not end that. An answer goes on without any reader; `stop` stops it. What a client sends is shown at
 * once, under the id that it has on the server.
 *
 * Promises of its methods reject with a `MillraceError`. A rejection that nobody handles ends no process; `error` of the
 * snapshot has it too.
 */
export interface Conversation<Content = MessageContent> extends AsyncIterable<ConversationSnapshot, undefined> {
  /** Its id. */
  readonly id: string
  /** The run of the answer that this client reads. Undefined while none is under way. It is read already. */
  readonly run: Run | undefined
  /** Calls back after each change. Returns a function that ends it. An error that the listener throws is reported. */
  readonly subscribe: (listener: () => void) => () => void
  /** The present state. The same object until something changes. */
  readonly getSnapshot: () => ConversationSnapshot
  /** Yields the present state, and the newest one after each change. Ends when the conversation is closed or removed. */
  [Symbol.asyncIterator](): AsyncIterableIterator<ConversationSnapshot, undefined>
  /**
   * Sends a message, and asks for an answer to it. While an answer is under way, the message goes to its run. Resolves
   * with the id of the message when the server has stored it.
   *
   * Rejects with `invalid_input` for content that the agent does not take, with `overloaded` for a conversation that is
   * full, with `forbidden`, and with `connection_lost` when it is not known what became of it: send it again with the
   * same id. The message is then shown as `failed`.
   */
  send(content: Content, options?: SendOptions): Promise<string>
  /**
   * Stops the answer under way. What it has said is kept. Resolves with the receipt of its run; undefined if there was
   * none. Never rejects.
   */
  stop(): Promise<CancelResult | undefined>
  /**
   * Asks for another answer to the same message, beside the one that is there. A message that was not sent is sent again.
   * @param message An answer, or a message of the user. Default: the last of the active branch.
   */
  retry(message?: string): Promise<string>
  /**
   * Asks the model to go on with an answer that was cut short.
   * @param message The answer. Default: the last of the active branch.
   */
  continue(message?: string): Promise<string>
  /** Sends another version of a message of the user, and asks for an answer to it. Both versions are kept. */
  edit(message: string, content: Content): Promise<string>
  /** Makes a message the last of the active branch. The next message follows it. null: before the first message. */
  branch(message: string | null): Promise<void>
  /** Shows the branch that a message is part of, to its newest end. */
  select(message: string): Promise<void>
  /** Changes the title. */
  rename(title: string): Promise<void>
  /** Chooses the model that answers, of those that the server allows. null: that of the agent. */
  use(model: string | null): Promise<void>
  /** Removes the conversation with all its messages. An answer under way is stopped first. */
  remove(): Promise<void>
  /** Answers a question of the answer under way. Rejects with `not_found` when somebody else has. */
  answer(request: string, value: unknown): Promise<void>
  /**
   * Approves or refuses a tool call.
   * @param call The id of the call.
   * @param decision true, false, or `{ ok, note, args, remember }`. `remember` approves the tool in all later answers of
   * this conversation.
   */
  approve(
    call: string,
    decision: boolean | { ok: boolean; note?: string; args?: object; remember?: boolean },
  ): Promise<void>
  /** Stops reading. An answer under way goes on. */
  close(): void
}

/** The part of a client that a conversation uses. */
export type ConversationClient<Actors extends ActorMap> = Pick<Client<Actors>, 'start' | 'attach' | 'ask' | 'status'>
