import type { ActorMap } from '../protocol/actors.ts'
import type { ConversationPage, FoundPage } from '../protocol/conversation.ts'
import type { ConversationClient, ConversationNames } from './conversation-types.ts'

/** The options of `listConversations` and `searchConversations`. */
export type ListOptions<Name extends string = string> = {
  /** The name of the actor that the server registered. Default `chat`. */
  actor?: Name | undefined
  /** Most entries of the page: 1 to 50 of a list, 1 to 20 of a search. Default: the most. */
  most?: number | undefined
}

/**
 * Lists the conversations of this client's principal, a page at a time, the one with the latest message first.
 * Rejects with the errors of a run.
 * @param options `before`: the `next` of the page before. Default: the first page.
 */
export function listConversations<Actors extends ActorMap>(
  client: ConversationClient<Actors>,
  { actor, ...options }: ListOptions<ConversationNames<Actors>> & { before?: string | undefined } = {},
): Promise<ConversationPage> {
  return ask(client, actor, { type: 'list', ...options }) as Promise<ConversationPage>
}

/**
 * Searches the messages of this client's principal for all words of a text. A word also finds longer ones that begin with
 * it. Rejects with `invalid_input` for a text without letters and digits, and with the errors of a run.
 */
export function searchConversations<Actors extends ActorMap>(
  client: ConversationClient<Actors>,
  text: string,
  { actor, ...options }: ListOptions<ConversationNames<Actors>> = {},
): Promise<FoundPage> {
  return ask(client, actor, { type: 'search', text, ...options }) as Promise<FoundPage>
}

function ask(client: ConversationClient<ActorMap>, actor = 'chat', input: object): Promise<unknown> {
  return client.ask(actor, input)
}
