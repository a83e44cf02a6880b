import type { ActorMap } from '../protocol/actors.ts'
import { MillraceError } from '../protocol/errors.ts'
import type { CancelResult } from './cancel.ts'
import { ConversationReader } from './conversation-reader.ts'
import { ConversationSender, newId } from './conversation-sender.ts'
import type {
  Conversation,
  ConversationClient,
  ConversationNames,
  ConversationOptions,
  ConversationSnapshot,
  MessageContent,
  ShownMessage,
} from './conversation-types.ts'
import { quiet } from './deferred.ts'

export type {
  ConversationFacts,
  ConversationMessage,
  ConversationPage,
  ConversationPart,
  FoundMessage,
  FoundPage,
  MessageStatus,
} from '../protocol/conversation.ts'
export type { ListOptions } from './conversation-list.ts'
export { listConversations, searchConversations } from './conversation-list.ts'
export type {
  Conversation,
  ConversationClient,
  ConversationNames,
  ConversationOptions,
  ConversationSnapshot,
  MessageContent,
  OpenRequest,
  SendOptions,
  ShownMessage,
} from './conversation-types.ts'

/**
 * Opens a conversation of a server that has `conversation()` among its actors. Nothing is sent until it is used.
 *
 * @param client A client, whose connection it shares with all its runs.
 * @param id Names the conversation among those of its owner, in at most 128 characters. One that the server does not know
 *   begins with its first message.
 */
export function conversation<Actors extends ActorMap = ActorMap>(
  client: ConversationClient<Actors>,
  id: string,
  options: ConversationOptions<ConversationNames<Actors>> = {},
): Conversation<MessageContent<Actors>> {
  const reader = new ConversationReader(client, id, options)
  const sender = new ConversationSender(reader)
  /** End the loops over the snapshots. */
  const loops = new Set<() => void>()

  /** Makes a call, during which the conversation is read. Its error is in the snapshot too. */
  function call<Result>(work: () => Promise<Result>): Promise<Result> {
    const release = reader.use()
    const end = (error?: MillraceError): void => {
      const isNews = reader.error !== error
      reader.error = error
      if (isNews) reader.changed()
      release()
    }
    return quiet(
      work().then(
        (result) => {
          end()
          return result
        },
        (thrown: unknown) => {
          const error = MillraceError.from(thrown)
          end(error)
          throw error
        },
      ),
    )
  }

  function change(input: object): Promise<void> {
    reader.state.localLeaf = undefined
    return call(() => reader.command(input))
  }

  async function stop(): Promise<CancelResult | undefined> {
    let receipt: CancelResult | undefined
    reader.follow()
    for (let { live } = reader; live && !receipt; { live } = reader) {
      reader.isStopping = true
      reader.changed()
      // Nothing is asked of a model before the message is stored, and it is to be stored.
      const isBegun = await Promise.race([live.begun.then(() => true), live.over.catch(() => {})])
      if (isBegun) receipt = await live.run.cancel()
    }
    reader.isStopping = false
    reader.changed()
    return receipt
  }

  /** A message, or the last of the active branch. */
  function find(message?: string): ShownMessage {
    const { all, messages } = reader.snapshot
    const found = message === undefined ? messages.at(-1) : all.get(message)
    if (!found) throw new MillraceError('not_found', 'unknown message')
    return found
  }

  /** Asks for an answer under a new id. */
  async function ask(type: 'retry' | 'continue', message: string): Promise<string> {
    const own = newId()
    await sender.ask({ type, id: own, message })
    return own
  }

  /** Answers a question: `which` is its id, or the call that it is about. */
  async function respond(type: 'answer' | 'approve', which: string, data: object): Promise<void> {
    const { live } = reader
    if (!live) throw new MillraceError('not_found', 'no answer')
    await live.run.send(type, data)
    live.answer.answered(which)
    reader.changed()
  }

  return {
    id,

    get run() {
      return reader.live?.run
    },

    subscribe: (listener) => reader.use(listener),
    getSnapshot: () => reader.snapshot,
    [Symbol.asyncIterator]: () => snapshotsOf(reader, loops),

    send: (content, sent) => call(() => sender.send(content, sent)),
    stop: () => call(stop),
    retry: (message) =>
      call(async () => {
        const which = find(message).id
        return sender.again(which) ?? ask('retry', which)
      }),
    continue: (message) => call(async () => ask('continue', find(message).id)),
    edit: (message, content) => call(async () => sender.send(content, { parent: find(message).parent })),

    branch: (message) => change({ type: 'branch', message }),
    select: (message) => change({ type: 'select', message }),
    rename: (title) => change({ type: 'rename', title }),
    use: (model) => change({ type: 'model', model }),
    remove: () =>
      call(async () => {
        await stop()
        await reader.command({ type: 'remove' })
      }),

    answer: (request, value) => call(() => respond('answer', request, { request, value })),
    approve: (about, decision) =>
      call(() =>
        respond('approve', about, { call: about, ...(typeof decision === 'boolean' ? { ok: decision } : decision) }),
      ),

    close() {
      for (const end of [...loops]) end()
      reader.close()
    },
  }
}

/** The present snapshot, and the newest one after each change. */
function snapshotsOf(
  reader: ConversationReader,
  loops: Set<() => void>,
): AsyncIterableIterator<ConversationSnapshot, undefined> {
  let seen: ConversationSnapshot | undefined
  let isOver = false
  let wake: () => void = () => {}
  const unsubscribe = reader.use(() => {
    wake()
  })
  const end = (): void => {
    isOver = true
    loops.delete(end)
    unsubscribe()
    wake()
  }
  loops.add(end)
  return {
    async next() {
      if (seen?.status === 'removed') end()
      while (!isOver && seen === reader.snapshot)
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      if (isOver) return { value: undefined, done: true }
      seen = reader.snapshot
      return { value: seen, done: false }
    },
    async return() {
      end()
      return { value: undefined, done: true }
    },
    [Symbol.asyncIterator]() {
      return this
    },
  }
}
