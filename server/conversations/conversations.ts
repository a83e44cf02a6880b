import { MillraceError } from '../../protocol/errors.ts'
import type { Action } from '../actors/authorize.ts'
import type { Principal } from '../actors/principal.ts'
import type { RunView, ServerView } from '../actors/server-view.ts'
import type { ConversationKey, ConversationStore } from './conversation-store.ts'
import { ConversationUpkeep } from './conversation-upkeep.ts'
import type { MessageTree } from './message-tree.ts'
import { OpenConversation } from './open-conversation.ts'

/** The conversations of one store that something uses at the moment, each once. */
export class Conversations {
  readonly store: ConversationStore
  readonly #view: ServerView
  readonly #open = new Map<string, Entry>()
  /** The conversation of each run that the server may still keep. Those that it does not keep go bit by bit. */
  readonly #runs = new Map<string, string>()

  constructor(store: ConversationStore, view: ServerView) {
    this.store = store
    this.#view = view
  }

  /**
   * Opens a conversation, which need not exist, until the function that it returns is called. It is as it is stored now.
   * @param run Which run does so: it may say what only this conversation may.
   * @throws MillraceError `unavailable` when the store failed.
   */
  async open(key: ConversationKey, run: string): Promise<{ conversation: OpenConversation; release: () => void }> {
    const name = nameOf(key)
    this.#noteRun(run, name)
    const known = this.#open.get(name)
    const entry = known ?? this.#begin(key)
    const { conversation, upkeep, loaded } = entry
    this.#open.set(name, entry)
    conversation.users++
    let isUsed = true
    const release = (): void => {
      if (!isUsed) return
      isUsed = false
      conversation.users--
      if (conversation.users === 0) this.#drop(conversation)
    }
    try {
      // The next one tries again.
      await loaded.catch((error: unknown) => {
        this.#drop(conversation)
        throw error
      })
      if (known && this.store.shared) await upkeep.refresh()
    } catch (error) {
      release()
      throw error
    }
    if (!conversation.isRemoved) return { conversation, release }
    this.#drop(conversation)
    release()
    return this.open(key, run)
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
   * Removes an open conversation.
   * @returns the messages that it had.
   * @throws MillraceError `overloaded` while an answer is under way, and `unavailable`.
   */
  async remove(conversation: OpenConversation): Promise<MessageTree> {
    const tree = await conversation.remove()
    this.#drop(conversation)
    return tree
  }

  /** The server has closed. What it left to the next process changes nothing here any more. */
  close(): void {
    for (const { conversation, upkeep } of this.#open.values()) {
      conversation.close()
      upkeep.close()
    }
  }

  #begin(key: ConversationKey): Entry {
    const view = this.#view
    const conversation: OpenConversation = new OpenConversation(key, this.store, {
      isLive: (run) => view.shared?.goesOn(run) ?? isGoingOn(view.run(run)),
      removedElsewhere: (tree) => {
        this.#drop(conversation)
        view.forget([...runsIn(tree), ...this.runsOf(key)])
      },
    })
    const upkeep = new ConversationUpkeep(conversation, this.store, view)
    return { conversation, upkeep, loaded: upkeep.open() }
  }

  /** One that is opened later under its name is another one. */
  #drop(conversation: OpenConversation): void {
    const name = nameOf(conversation.key)
    const entry = this.#open.get(name)
    if (entry?.conversation !== conversation) return
    this.#open.delete(name)
    entry.upkeep.close()
  }
}

/** A conversation that something uses. */
type Entry = {
  readonly conversation: OpenConversation
  readonly upkeep: ConversationUpkeep
  readonly loaded: Promise<void>
}

function isGoingOn(run: RunView | undefined): boolean {
  return run !== undefined && run.end === undefined
}

/** The runs that have answered in a conversation. */
export function runsIn(tree: MessageTree): string[] {
  return Array.from(tree.all).flatMap(({ run }) => run ?? [])
}

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
