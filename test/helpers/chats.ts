import {
  type Conversation,
  type ConversationOptions,
  type ConversationSnapshot,
  conversation as open,
} from '../../client-sdk/conversation.ts'
import { type Client, createClient } from '../../client-sdk/node.ts'
import { packMessage, unpackMessage } from '../../server/conversations/message-record.ts'
import {
  type AgentDefinition,
  agent,
  type ConversationDefinition,
  conversation,
  type LoadedMessage,
  type ServerOptions,
} from '../../server/index.ts'
import { type ScriptedAnswer, scriptedModel } from './scripted-model.ts'
import { testServer } from './server.ts'

export type ChatActors = { chat: ReturnType<typeof conversation> }

export interface Chats extends AsyncDisposable {
  readonly model: ReturnType<typeof scriptedModel>
  readonly errors: unknown[]
  readonly url: string
  /** A client of that person, by default alice. */
  client(token?: string): Client<ChatActors>
  /** A conversation that reads until the end of the test. */
  open(id?: string, client?: Client<ChatActors>, options?: ConversationOptions): Conversation
}

/** A server with conversations whose model gives these answers. */
export async function chats(
  answers: ScriptedAnswer[],
  definition: Partial<ConversationDefinition> & { of?: Partial<AgentDefinition> } = {},
  options: Partial<ServerOptions<ChatActors>> = {},
): Promise<Chats> {
  const model = scriptedModel(...answers)
  const { of, ...rest } = definition
  const chat = conversation({ agent: agent({ model, ...of }), ...rest })
  const served = await testServer({ chat }, options)
  const clients: Client<ChatActors>[] = []
  const client = (token = 'alice'): Client<ChatActors> => {
    const made = createClient<ChatActors>(served.url, { token })
    clients.push(made)
    return made
  }
  return {
    model,
    errors: served.errors,
    url: served.url,
    client,
    open(id = 'first', by = client(), opened: ConversationOptions = {}) {
      const made = open(by, id, opened as ConversationOptions<'chat'>)
      made.subscribe(() => {})
      return made
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(clients.map((one) => one.close()))
      await served[Symbol.asyncDispose]()
    },
  }
}

/** The first snapshot for which something holds. */
export async function until(
  chat: Conversation,
  holds: (now: ConversationSnapshot) => boolean,
): Promise<ConversationSnapshot> {
  for await (const now of chat) if (holds(now)) return now
  throw new Error('the conversation was closed')
}

export const isReady = ({ status }: ConversationSnapshot): boolean => status === 'ready'

/** What a page would show: who, how it stands, and the text. */
export function shown({ messages }: ConversationSnapshot): string[] {
  return messages.map(({ role, status, text }) => `${role} ${status}: ${text}`)
}

/** The text that a search would look into, of a message as it is loaded. */
export function storedTextOf(message: LoadedMessage | undefined): string {
  return message ? packMessage(unpackMessage(message)).text : ''
}

/** A model that says some words and then waits for its signal. */
export const hangs = (...words: string[]): ScriptedAnswer =>
  async function* ({ signal }) {
    for (const text of words) yield { type: 'text', text }
    await new Promise((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
    })
  }
