import { MillraceError } from '../../protocol/errors.ts'
import type { Action } from '../actors/authorize.ts'
import type { Principal } from '../actors/principal.ts'
import type { ServerView } from '../actors/server-view.ts'
import type { ConversationKey, ConversationStore } from './conversation-store.ts'
import type { MessageTree } from './message-tree.ts'
import { OpenConversation } from './open-conversation.ts'

/** The conversations of one store that something uses at the moment, each once. */
export class Conversations {
  readonly store: ConversationStore
  readonly #view: ServerView
  readonly #open = new Map<string, { conversation: OpenConversation; loaded: Promise<void> }>()
  /** The conversation of each run that the server may still keep. Those that it does not keep go bit by bit. */
  readonly #runs = new Map<string, string>()

  constructor(store: ConversationStore, view: ServerView) {
    this.store = store
    this.#view = view
  }

  /**
   * Opens a conversation, which need not exist, until the function that it returns is called.
   * @param run Which run does so: it may say what only this conversation may.
   * @throws MillraceError `unavailable` when the store failed.
   */
  async open(key: ConversationKey, run: string): Promise<{ conversation: OpenConversation; release: () => void }> {
    const name = nameOf(key)
    this.#noteRun(run, name)
    const entry = this.#open.get(name) ?? this.#begin(key)
    const { conversation, loaded } = entry
    this.#open.set(name, entry)
    conversation.users++
    let isUsed = true
    const release = (): void => {
      if (!isUsed) return
      isUsed = false
      conversation.users--
      if (conversation.users === 0 && this.#open.get(name) === entry) this.#open.delete(name)
    }
    try {
      await loaded
    } catch (error) {
      // The next one tries again.
      if (this.#open.get(name) === entry) this.#open.delete(name)
      release()
      throw error
    }
    return { conversation, release }
  }

  /** The run that answers in a conversation, if it is open and one does. */
  runOf(key: ConversationKey): string | undefined {
    return this.#open.get(nameOf(key))?.conversation.run
  }

  /** The runs that have used a conversation and that the server may still keep. */
  runsOf(key: ConversationKey): string[] {
    const name = nameOf(key)
    return [...this.#runs].filter(([, used]) => used === name).map(([run]) => run)
  }

  /** With each run that is noted, two of the oldest are looked at: there are never many more than the server keeps. */
  #noteRun(run: string, name: string): void {
    let left = 2
    for (const [known, used] of this.#runs) {
      if (left-- === 0) break
      this.#runs.delete(known)
      if (this.#view.run(known)) this.#runs.set(known, used)
    }
    this.#runs.set(run, name)
  }

  /**
   * Removes an open conversation. One that is opened later under its name is another one.
   * @returns the messages that it had.
   * @throws MillraceError `overloaded` while an answer is under way, and `unavailable`.
   */
  async remove(conversation: OpenConversation): Promise<MessageTree> {
    const tree = await conversation.remove()
    const name = nameOf(conversation.key)
    if (this.#open.get(name)?.conversation === conversation) this.#open.delete(name)
    return tree
  }

  /** The server has closed. What it left to the next process changes nothing here any more. */
  close(): void {
    for (const { conversation } of this.#open.values()) conversation.close()
  }

  #begin(key: ConversationKey): { conversation: OpenConversation; loaded: Promise<void> } {
    const conversation = new OpenConversation(key, this.store)
    return { conversation, loaded: conversation.load().then(() => this.#mend(conversation)) }
  }

  /**
   * An answer whose run waited when its process died is under way. The others of a process that is gone will not go on:
   * they have failed, with the text that was stored.
   */
  async #mend(conversation: OpenConversation): Promise<void> {
    for (const { status, run } of conversation.tree.all)
      if (status === 'streaming' && this.#isLive(run)) conversation.run ??= run
    const isLost = ({ status, run }: { status: string; run?: string | undefined }): boolean =>
      status === 'streaming' && !this.#isLive(run)
    if (!Array.from(conversation.tree.all).some(isLost)) return
    await conversation.change((draft) => {
      for (const message of [...draft.tree.all])
        if (isLost(message)) draft.put({ ...message, status: 'failed', error: INTERRUPTED.toJSON() })
    })
  }

  #isLive(run: string | undefined): boolean {
    const view = run === undefined ? undefined : this.#view.run(run)
    return view !== undefined && view.end === undefined
  }
}

const INTERRUPTED = new MillraceError(
  'interrupted',
  'the server ended before the answer was complete: retry or continue',
)

/** All conversation actors of one server that use one store share what is open. */
const ALL = new WeakMap<ServerView, WeakMap<ConversationStore, Conversations>>()

export function conversationsOf(store: ConversationStore, view: ServerView): Conversations {
  const known = ALL.get(view) ?? new WeakMap<ConversationStore, Conversations>()
  ALL.set(view, known)
  const conversations = known.get(store) ?? new Conversations(store, view)
  known.set(store, conversations)
  return conversations
}

/**
 * Checks what a principal may do with a conversation, before it learns whether there is one.
 * @throws MillraceError `forbidden`.
 */
export function permit(
  view: ServerView,
  principal: Principal,
  action: 'read' | 'write',
  actor: string,
  key: ConversationKey,
): void {
  const isOwn = principal.id === key.owner
  const asked: Action = action === 'write' ? 'input' : isOwn ? 'attach' : 'observe'
  const owner = isOwn ? principal : { id: key.owner }
  if (view.permits(principal, asked, { type: 'conversation', conversation: key.id, actor, owner })) return
  throw new MillraceError('forbidden', `this principal may not ${action} this conversation`)
}

/** Ids cannot have it: no two keys have the same name. */
function nameOf({ owner, id }: ConversationKey): string {
  return `${id}\n${owner}`
}
