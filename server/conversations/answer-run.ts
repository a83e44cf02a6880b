import type { AnswerBegun } from '../../protocol/conversation.ts'
import { MillraceError } from '../../protocol/errors.ts'
import type { ActorContext, RunInput } from '../actors/actor.ts'
import type { ServerView } from '../actors/server-view.ts'
import { AgentLoop, type AgentState, type LoopDefinition } from '../agents/agent-loop.ts'
import { ConversationFiles } from '../agents/client-files.ts'
import { validConversation } from '../agents/conversation.ts'
import { messageOf } from '../agents/message-input.ts'
import type { TurnOutput } from '../agents/turn.ts'
import type { Message } from '../models/model.ts'
import { begun } from '../streams/begun.ts'
import { untilAborted } from '../streams/until-aborted.ts'
import { Answer, type AnswerEnd, type KeptAnswer } from './answer.ts'
import { type AnswerCheckpoint, answerCheckpoint, restoredAnswer } from './answer-checkpoint.ts'
import { type AnswerRequest, beginAnswer } from './answer-request.ts'
import { type AnswerInput, sentMessage, uploadsIn } from './conversation-input.ts'
import type { conversationLimits } from './conversation-limits.ts'
import { type Conversations, permit } from './conversations.ts'
import type { HistoryContext, SummaryPolicy, WindowPolicy } from './history-policy.ts'
import { type HistoryEntry, historyOf, type TreeMessage } from './message-tree.ts'
import type { OpenConversation } from './open-conversation.ts'

/** Ids of messages that the server names have 96 random bits. */
const ID_BYTES = 12

/** What all answers of one conversation actor have in common. */
export type AnswerSettings = {
  readonly agent: LoopDefinition
  readonly view: ServerView
  readonly conversations: Conversations
  readonly limits: ReturnType<typeof conversationLimits>
  readonly continueWith: string
  readonly window: WindowPolicy | undefined
  readonly summary: SummaryPolicy | undefined
  /** Whether a conversation may have chosen this model. */
  readonly allowsModel: (model: string) => boolean
}

/** What the run of an answer yields: where an answer begins, and what its agent says. */
export type AnswerOutput = TurnOutput | { type: 'data'; name: 'answer'; value: AnswerBegun }

/**
 * Begins the run of an answer at once, before its first item is asked for: a stop that comes right behind the start finds
 * the message stored.
 */
export function answerRun(
  input: AnswerInput,
  context: ActorContext,
  settings: AnswerSettings,
): AsyncIterable<AnswerOutput, undefined> {
  return begun(new AnswerRun(input, context, settings).items())
}

/** One run that answers a message of a conversation. */
class AnswerRun {
  readonly #input: AnswerInput
  readonly #context: ActorContext
  readonly #settings: AnswerSettings
  /** A message of the conversation names it. */
  #isNamed: boolean

  constructor(input: AnswerInput, context: ActorContext, settings: AnswerSettings) {
    this.#input = input
    this.#context = context
    this.#settings = settings
    this.#isNamed = context.restored !== undefined
  }

  async *items(): AsyncGenerator<AnswerOutput, undefined> {
    try {
      return yield* this.#items()
    } finally {
      // Nothing would find it, and its input, when the conversation is removed.
      if (!this.#isNamed) await this.#settings.view.removeStored(this.#context.run.id)
    }
  }

  async *#items(): AsyncGenerator<AnswerOutput, undefined> {
    const { conversations, view } = this.#settings
    const { principal, run } = this.#context
    const key = { owner: this.#input.owner ?? principal.id, id: this.#input.conversation }
    permit(view, principal, 'write', run.actor, key)
    const { conversation, release } = await conversations.open(key, run.id)
    try {
      const restored = restoredAnswer(this.#context, conversation)
      if (restored) return yield* this.#goOn(conversation, restored)
      const begun = await this.#begin(conversation)
      if (begun) yield* this.#answer(conversation, begun)
      return undefined
    } finally {
      if (conversation.run === run.id) {
        conversation.run = undefined
        conversation.tell()
      }
      release()
    }
  }

  /** Stores the message and its answer, which is empty. Undefined: this was asked before. */
  async #begin(conversation: OpenConversation): Promise<TreeMessage | undefined> {
    const { conversations, view, agent, limits, continueWith } = this.#settings
    const { principal, run, signal } = this.#context
    const { owner } = conversation.key
    // Other servers would find the message before its run, and take it for that of a server that has died.
    // One that is stopped meanwhile is stored all the same.
    if (view.shared && conversations.store.shared)
      await untilAborted(view.shared.whenStored(run.id), signal).catch(() => {})
    if (!conversation.record && (await conversations.store.count(owner)) >= limits.maxConversations)
      throw new MillraceError('overloaded', `at most ${limits.maxConversations} conversations: remove one`, {
        retryable: false,
      })
    const begun = await conversation.change((draft) => {
      const request: AnswerRequest = {
        input: this.#input,
        principal,
        owner,
        run: run.id,
        underWay: conversation.run === run.id ? undefined : conversation.run,
        newId: this.#newId(),
        now: view.runtime.wallClock(),
        files: agent.files,
        limits,
        continueWith,
        allowsModel: this.#settings.allowsModel,
      }
      const begun = beginAnswer(draft, request)
      if (begun) conversation.run = run.id
      return begun
    })
    this.#isNamed = Array.from(conversation.tree.all).some((message) => message.run === run.id)
    return begun
  }

  async *#answer(conversation: OpenConversation, begun: TreeMessage): AsyncGenerator<AnswerOutput, undefined> {
    const answer = this.#record(conversation, Answer.begun(begun))
    const inputs = this.#inputs(conversation)
    yield* this.#ended(answer, inputs, async function* (this: AnswerRun) {
      yield beginning(answer.id)
      const entries = await this.#history(conversation, begun, answer)
      const messages = await this.#window(conversation, entries)
      const known = validConversation(messages).length
      yield* this.#loop(conversation, answer, { inputs, messages, known })
    })
    return undefined
  }

  /** Goes on with an answer that waited when its process died. */
  async *#goOn(
    conversation: OpenConversation,
    { agent, answer: kept, known, ids, after }: AnswerCheckpoint,
  ): AsyncGenerator<AnswerOutput, undefined> {
    const answer = this.#record(conversation, kept)
    for (const [at, id] of ids) {
      const message = agent.conversation[at]
      if (message) answer.knows(id, message)
    }
    agent.after.forEach((input, at) => this.#ids.set(input, after[at] ?? this.#newId()))
    const inputs = this.#inputs(conversation)
    yield* this.#ended(answer, inputs, () =>
      this.#loop(conversation, answer, { inputs, messages: [], known, restored: agent }),
    )
    return undefined
  }

  /** Yields what `items` gives. However that ends, the answer does, too. */
  async *#ended(
    answer: Answer,
    inputs: ActorContext,
    items: (this: AnswerRun) => AsyncGenerator<AnswerOutput, void>,
  ): AsyncGenerator<AnswerOutput, void> {
    let failure: { error: unknown } | undefined
    try {
      yield* items.call(this)
    } catch (error) {
      failure = { error }
      throw error
    } finally {
      if (!answer.isOver) await this.#endEarly(answer, failure, inputs)
    }
  }

  /** What its agent says. */
  async *#loop(
    conversation: OpenConversation,
    answer: Answer,
    {
      inputs,
      messages,
      known,
      restored,
    }: { inputs: ActorContext; messages: Message[]; known: number; restored?: AgentState },
  ): AsyncGenerator<AnswerOutput, void> {
    const { agent } = this.#settings
    this.#seedApprovals(conversation)
    const context = withMembers(inputs, {
      restored,
      checkpoint: answerCheckpoint(inputs, { answer, known, idOf: (input) => this.#idOf(input) }),
    })
    const loop: LoopDefinition = {
      ...agent,
      ...this.#model(conversation),
      onTaken: (input, message) => {
        agent.onTaken?.(input, message)
        answer.taken({ id: this.#idOf(input), message, uploads: uploadsIn(input.data) })
      },
      onStep: async (step) => {
        await answer.step(step.messages, step.model)
        await agent.onStep?.(step)
      },
      onFinish: async (all, end) => {
        await answer.end(endOf(end.outcome, end.error), all.slice(known))
        await agent.onFinish?.(all, end)
      },
    }
    for await (const item of new AgentLoop(loop, { messages, settings: {} }, context).run()) {
      if (answer.hasTaken) {
        await answer.split(() => this.#newId())
        yield beginning(answer.id)
      }
      answer.take(item)
      yield item
    }
  }

  /** Ends an answer whose agent has not begun. What clients have sent to the run is kept. */
  async #endEarly(answer: Answer, failure: { error: unknown } | undefined, inputs: ActorContext): Promise<void> {
    inputs.refuseInputs()
    const files = new ConversationFiles(this.#settings.agent.files, inputs.principal)
    for (const input of inputs.takeInputs()) {
      const message = messageOf(input, files)
      if ('role' in message) answer.taken({ id: this.#idOf(input), message, uploads: uploadsIn(input.data) })
    }
    try {
      await answer.end(this.#endWith(failure))
    } finally {
      files.release()
    }
  }

  #record(conversation: OpenConversation, kept: KeptAnswer): Answer {
    const { view, agent } = this.#settings
    const names = new Map(Object.entries(agent.tools).map(([name, tool]) => [tool as object, name]))
    const own = { runtime: view.runtime, toolName: (tool: object) => names.get(tool) }
    return new Answer(conversation, withMembers(this.#context, own), kept)
  }

  #endWith(failure: { error: unknown } | undefined): AnswerEnd {
    const { signal } = this.#context
    if (signal.aborted && MillraceError.is(signal.reason, 'cancelled')) return endOf('cancelled')
    const thrown: unknown = signal.aborted ? signal.reason : failure?.error
    // A loop that was left without a reason was stopped.
    return thrown === undefined
      ? endOf('cancelled')
      : endOf('error', MillraceError.from(thrown, 'actor_failed', FAILED))
  }

  /** The history that is to be answered, in which a summary may have taken the place of the earlier messages. */
  async #history(conversation: OpenConversation, begun: TreeMessage, answer: Answer): Promise<HistoryEntry[]> {
    const { summary } = this.#settings
    const entries = historyOf(conversation.tree.pathTo(begun.parent))
    if (!summary) return entries
    const made = await this.#summaryOf(entries, summary, conversation)
    if (!made) return entries
    const id = this.#newId()
    const said: Message[] = [{ role: 'user', content: `Summary of the conversation so far:\n\n${made.text}` }]
    await answer.summarize({ id, said, through: made.through })
    const rest = entries.slice(entries.findIndex((entry) => entry.id === made.through) + 1)
    return [{ id, role: 'summary', said }, ...rest]
  }

  async #summaryOf(entries: readonly HistoryEntry[], policy: SummaryPolicy, conversation: OpenConversation) {
    try {
      const made = await policy(entries, this.#historyContext(conversation))
      const at = entries.findIndex(({ id }) => id === made?.through)
      if (made && (at < 0 || at === entries.length - 1))
        throw new TypeError('the summary of a conversation must name an earlier message of its branch as `through`')
      return made
    } catch (error) {
      // A conversation that is long can still be answered, or fails with what its model says.
      this.#context.signal.throwIfAborted()
      this.#context.reportError(error)
      return undefined
    }
  }

  async #window(conversation: OpenConversation, entries: readonly HistoryEntry[]): Promise<Message[]> {
    const all = entries.flatMap(({ said }) => [...said])
    const chosen = (await this.#settings.window?.(all, this.#historyContext(conversation))) ?? all
    const first = chosen.findIndex(({ role }) => role === 'user')
    if (first < 0) throw new TypeError('the window of a conversation must keep the message that is to be answered')
    return validConversation(chosen.slice(first))
  }

  #historyContext(conversation: OpenConversation): HistoryContext {
    const context = this.#context
    const { signal } = context
    const own = this.#model(conversation).model ?? this.#settings.agent.model
    return {
      conversation: conversation.key,
      signal,
      async ask(messages, model = own) {
        let text = ''
        for await (const event of context.model(model).stream({ messages })) {
          if (event.type === 'text') text += event.text
          // It must be logged before the next event: the tally counts it then.
          else if (event.type === 'usage') await context.emit(event)
        }
        return text
      },
    }
  }

  /** The model that was chosen for the conversation, if it may still be. */
  #model({ record }: OpenConversation): Pick<LoopDefinition, 'model'> {
    const model = record?.model
    return model !== undefined && this.#settings.allowsModel(model) ? { model } : {}
  }

  #seedApprovals({ record }: OpenConversation): void {
    for (const { tool: name, by } of record?.approved ?? []) {
      const tool = Object.hasOwn(this.#settings.agent.tools, name) ? this.#settings.agent.tools[name] : undefined
      // Rights may have been taken away since: only who it was is kept.
      if (tool) this.#context.approved.set(tool, by === undefined ? undefined : { id: by })
    }
  }

  /** The ids that clients gave to the messages that they sent to this run. */
  readonly #ids = new Map<RunInput, string>()

  /** The context of the run. Messages that its clients send have their ids beside their contents, and each counts once. */
  #inputs(conversation: OpenConversation): ActorContext {
    const takeInputs = (): RunInput[] =>
      this.#context.takeInputs().flatMap((input) => {
        const { data } = sentMessage.safeParse(input.data)
        if (!input.type.startsWith('message') || !data) return [input]
        if (conversation.tree.get(data.id) || [...this.#ids.values()].includes(data.id)) return []
        const message = { ...input, data: data.content }
        this.#ids.set(message, data.id)
        return [message]
      })
    return withMembers(this.#context, { takeInputs })
  }

  #idOf(input: RunInput): string {
    const id = this.#ids.get(input) ?? this.#newId()
    this.#ids.set(input, id)
    return id
  }

  #newId(): string {
    return `m_${Buffer.from(this.#settings.view.runtime.randomBytes(ID_BYTES)).toString('base64url')}`
  }
}

const FAILED = 'the answer failed'

function endOf(outcome: 'done' | 'error' | 'cancelled', error?: MillraceError): AnswerEnd {
  if (outcome === 'error') return { status: 'failed', error: error?.toJSON() }
  return { status: outcome === 'done' ? 'sent' : 'cancelled' }
}

function beginning(answer: string): AnswerOutput {
  return { type: 'data', name: 'answer', value: { answer } }
}

/** The same context with other members. Its accessors are read when they are asked for. */
function withMembers<Members extends object>(context: ActorContext, members: Members): ActorContext & Members {
  const all = { ...Object.getOwnPropertyDescriptors(context), ...Object.getOwnPropertyDescriptors(members) }
  return Object.defineProperties({}, all as PropertyDescriptorMap) as ActorContext & Members
}
