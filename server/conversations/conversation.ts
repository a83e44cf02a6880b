import type { AnswerBegun, ConversationPage, ConversationUpdate, FoundPage } from '../../protocol/conversation.ts'
import { MillraceError } from '../../protocol/errors.ts'
import { checkOptions, type OptionKinds } from '../../protocol/options.ts'
import { type Actor, type ActorContext, actor } from '../actors/actor.ts'
import type { ServerView } from '../actors/server-view.ts'
import { loopOf } from '../agents/agent.ts'
import type { AgentInput } from '../agents/agent-input.ts'
import { type AnswerOutput, type AnswerSettings, answerRun } from './answer-run.ts'
import { changeConversation } from './conversation-change.ts'
import { type ConversationInput, conversationInput } from './conversation-input.ts'
import { type ConversationLimits, conversationLimits } from './conversation-limits.ts'
import { listConversations, searchConversations } from './conversation-list.ts'
import type { ConversationStore } from './conversation-store.ts'
import { type Conversations, conversationsOf } from './conversations.ts'
import type { SummaryPolicy, WindowPolicy } from './history-policy.ts'
import { memoryConversations } from './memory-store.ts'
import { type UpdateEvent, watch } from './watch.ts'

/** The options of `conversation()`. */
export type ConversationDefinition = {
  /** The agent that answers, made by `agent()`. */
  agent: Actor<AgentInput, unknown, never>
  /** Where conversations are kept. Default: in memory, as `memoryConversations()` does. */
  store?: ConversationStore | undefined
  /**
   * The models that a client may choose for a conversation, such as `openai:gpt-5-mini`. The server must have them.
   * Default: none.
   */
  models?: readonly string[] | undefined
  /** Chooses what the model gets of a long branch, as `lastTurns` does. Default: all of it. */
  window?: WindowPolicy | undefined
  /** Puts a summary in the place of earlier messages, as `summarize` does. Default: none. */
  summary?: SummaryPolicy | undefined
  /**
   * What the model is told to make it go on with an answer that was cut short. Default: `Continue exactly where you
   * stopped.`
   */
  continueWith?: string | undefined
  /** Limits of conversations. */
  limits?: ConversationLimits | undefined
}

const OPTIONS: OptionKinds<ConversationDefinition> = {
  agent: 'an object',
  store: 'an object',
  models: 'a list',
  window: 'a function',
  summary: 'a function',
  continueWith: 'a string',
  limits: 'an object',
}

const CONTINUE = 'Continue exactly where you stopped.'
const OTHER_STORE =
  'the store of this conversation is shared between servers: give createServer() the store of runs that it was made of'
const DESCRIPTION = 'Keeps conversations, and answers their messages.'

/** The `data` events of a conversation actor. */
export type ConversationData =
  | { name: 'conversation'; value: ConversationUpdate }
  | { name: 'answer'; value: AnswerBegun }

/** What a conversation actor returns: a page of a list or of a search. */
export type ConversationResult = ConversationPage | FoundPage | null

/**
 * Makes an actor that keeps conversations: the messages of users and the answers of an agent, as a tree with one active
 * branch. Clients use it with `conversation()` of `millrace/conversation`. A message is stored before the model is asked.
 * Each answer is a run of this actor; what it says is stored however it ends. A conversation has one answer at a time.
 *
 * A conversation belongs to a principal. Others may read or change it only if the server's `authorize` allows it, with
 * the target `conversation`.
 * @throws MillraceError `bad_request` for an unknown or invalid option, and for an agent that `agent()` has not made.
 *   `createServer` throws `not_found` for a model that the server does not have, and `bad_request` where the
 *   conversations are shared between servers and the runs are not.
 */
export function conversation(
  definition: ConversationDefinition,
): Actor<ConversationInput, ConversationResult, ConversationData> {
  checkOptions('conversation()', definition, OPTIONS)
  const { agent, store = memoryConversations(), models = [], continueWith = CONTINUE } = definition
  const loop = loopOf(Object(agent) as object)
  if (!loop) throw new MillraceError('bad_request', 'conversation() needs an `agent` that was made by agent()')
  const limits = conversationLimits(definition.limits)
  const { interactive } = agent
  const made = (stream: Parameters<typeof definitionOf>[1]): Actor => definitionOf(interactive, stream) as Actor
  const unregistered = made(async function* () {
    yield* []
    throw new MillraceError(
      'bad_request',
      'a conversation must be an actor of a server: register it with createServer({ actors: { chat: conversation({ agent }) } })',
    )
  })
  const opened = new Set<Conversations>()
  const own = {
    clientTools: agent.clientTools,
    onRegister(view: ServerView): Actor {
      agent.onRegister?.(view)
      for (const model of models) view.findModel(model)
      if (store.shared && store.shared.runs !== view.shared?.store) throw new MillraceError('bad_request', OTHER_STORE)
      const conversations = conversationsOf(store, view)
      opened.add(conversations)
      const settings: AnswerSettings = {
        agent: loop,
        view,
        conversations,
        limits,
        continueWith,
        window: definition.window,
        summary: definition.summary,
        allowsModel: (model) => models.includes(model),
      }
      return { ...made((input, context) => serve(input, context, settings)), clientTools: agent.clientTools }
    },
    async close(): Promise<void> {
      for (const conversations of opened) conversations.close()
      await agent.close?.()
      await store.close?.()
    },
  }
  return Object.assign(unregistered, own) as Actor<ConversationInput, ConversationResult, ConversationData>
}

/** Whether an actor was made by `conversation()`. */
export function keepsConversations({ input }: Pick<Actor, 'input'>): boolean {
  return input === conversationInput
}

type Item = AnswerOutput | UpdateEvent

function definitionOf(
  interactive: boolean,
  stream: (input: ConversationInput, context: ActorContext) => AsyncIterable<Item, ConversationResult | undefined>,
): unknown {
  const made = actor<typeof conversationInput, Item, ConversationResult | undefined>({
    description: DESCRIPTION,
    interactive,
    input: conversationInput,
    stream: stream as never,
  })
  return { ...made, stored: isAnswer, listed: isAnswer }
}

/** A watch would store what the conversation keeps once more for each reader, and nobody comes back to it. */
function isAnswer(input: unknown): boolean {
  return ['send', 'retry', 'continue'].includes((input as ConversationInput | null)?.type ?? '')
}

/** Does what a client asks. */
function serve(
  input: ConversationInput,
  context: ActorContext,
  settings: AnswerSettings,
): AsyncIterable<Item, ConversationResult | undefined> {
  const { view, conversations, limits } = settings
  switch (input.type) {
    case 'send':
    case 'retry':
    case 'continue':
      return answerRun(input, context, settings)
    case 'watch':
      return watch(input, context, { view, conversations, maxWatchers: limits.maxWatchers })
    case 'list':
      return once(context, () => listConversations(input, context.principal, conversations))
    case 'search':
      return once(context, () => searchConversations(input, context.principal, conversations))
    case 'branch':
    case 'select':
    case 'rename':
    case 'model':
    case 'remove':
      return once(context, () => changeConversation(input, context, settings))
  }
}

/** A run that returns a result, and says nothing. */
async function* once<Result>(
  { refuseInputs }: ActorContext,
  work: () => Promise<Result>,
): AsyncGenerator<never, Result> {
  refuseInputs()
  yield* []
  return work()
}
