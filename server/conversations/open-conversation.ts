import { MillraceError } from '../../protocol/errors.ts'
import type { ConversationKey, ConversationStore, SharedConversations, StoredMessage } from './conversation-store.ts'
import {
  type ConversationRecord,
  packConversation,
  packMessage,
  unpackConversation,
  unpackMessage,
} from './message-record.ts'
import { MessageTree, type TreeMessage } from './message-tree.ts'

/** What a change puts into a conversation. `n` and `version` follow from the conversation. */
export type NewMessage = Omit<TreeMessage, 'n' | 'version'>

/** What a change sees and does. It must not wait: it may be made again, on what another process has stored. */
export interface Draft {
  /** The conversation. Undefined: there is none yet. */
  readonly record: ConversationRecord | undefined
  /** Its messages, with those that this change has put. */
  readonly tree: MessageTree
  /** Adds a message, or puts it in the place of the one with its id. */
  put(message: NewMessage): void
  /** Changes the conversation. */
  set(
    facts: Partial<Pick<ConversationRecord, 'leaf' | 'title' | 'model' | 'approved' | 'createdAt' | 'updatedAt'>>,
  ): void
}

/** How a change is made. */
export type ChangeOptions = {
  /** Clients do not learn of it: the text of an answer under way, which they read in its run. */
  readonly quietly?: boolean | undefined
}

/** What an open conversation asks of its server. */
export type OpenConversationCallbacks = {
  /** Whether a run goes on, here or elsewhere. */
  isLive(run: string): boolean | Promise<boolean>
  /** Another process has removed it: these messages are gone. */
  removedElsewhere(tree: MessageTree): void
}

/** What an open conversation has read: undefined where there is none. */
type State = { readonly record: ConversationRecord | undefined; readonly tree: MessageTree }

/**
 * One conversation while something uses it: its messages in memory, and its changes one after the other. A change is
 * stored before anybody sees it.
 */
export class OpenConversation {
  readonly key: ConversationKey
  readonly #store: ConversationStore
  readonly #callbacks: OpenConversationCallbacks
  readonly #watchers = new Set<() => void>()
  #state: State = { record: undefined, tree: new MessageTree() }
  /** The bytes that messages take in the store, of those that were stored since it was read. */
  readonly #bytes = new Map<string, number>()
  /** Resolves when the last change that was asked for is made. */
  #last: Promise<unknown> = Promise.resolve()
  /** The runs of answers that will not go on, as of the last time that it was read. */
  #lost: ReadonlySet<string | undefined> = new Set()
  #isRemoved = false
  #isClosed = false
  /** The run that answers, while one does. */
  run: string | undefined
  /** How many use it. */
  users = 0

  constructor(key: ConversationKey, store: ConversationStore, callbacks: OpenConversationCallbacks) {
    this.key = key
    this.#store = store
    this.#callbacks = callbacks
  }

  get record(): ConversationRecord | undefined {
    return this.#state.record
  }

  get tree(): MessageTree {
    return this.#state.tree
  }

  get isRemoved(): boolean {
    return this.#isRemoved
  }

  /** The number of those that wait for changes. */
  get watchers(): number {
    return this.#watchers.size
  }

  /** Reads it from the store. */
  load(): Promise<void> {
    return this.#inTurn(() => this.#load())
  }

  /**
   * Reads what other processes have stored, where they share the store, and tells the watchers of it.
   * @param version what is stored, 0 for nothing. Undefined: it is not known.
   */
  refresh(version?: number): Promise<void> {
    const { shared } = this.#store
    if (!shared) return Promise.resolve()
    return this.#inTurn(async () => {
      if (this.#isRemoved || this.#isClosed) return
      // It was this process that stored it.
      if (version && version <= (this.record?.version ?? 0)) return
      const { run } = this
      const before = this.#state
      await this.#catchUp(shared)
      // What is lost is mended next, and told with that.
      if (this.#lost.size === 0 && (before !== this.#state || run !== this.run)) this.tell()
    })
  }

  /** Those of its answers that no run writes any more have failed, with the text that was stored. */
  async mend(error: MillraceError): Promise<void> {
    const isLost = ({ status, run }: TreeMessage): boolean => status === 'streaming' && this.#lost.has(run)
    if (!Array.from(this.tree.all).some(isLost)) return
    await this.change((draft) => {
      for (const message of [...draft.tree.all])
        if (isLost(message)) draft.put({ ...message, status: 'failed', error: error.toJSON() })
    })
  }

  /**
   * Makes a change, stores it and tells the watchers. Changes are made in the order of the calls.
   * @returns what `make` returns.
   * @throws what `make` throws, and then nothing has changed; MillraceError `unavailable` when the store failed, `stale`
   *   when another process changes the conversation all the time, and `not_found` once it was removed.
   */
  change<Result>(make: (draft: Draft) => Result, { quietly = false }: ChangeOptions = {}): Promise<Result> {
    return this.#inTurn(async () => {
      for (let tries = 0; tries < MAX_TRIES; tries++) {
        if (this.#isRemoved) throw removed()
        if (this.#isClosed) throw new MillraceError('interrupted', 'the server has closed')
        const changed = await this.#try(make, quietly)
        if (changed) return changed.result
        // Another process has changed it.
        await this.#load()
        this.tell()
      }
      throw changedAllTheTime()
    })
  }

  /** The server has closed: another process may change it from now on. */
  close(): void {
    this.#isClosed = true
  }

  /** Removes it. Gives the messages that it had. @throws MillraceError `overloaded` while an answer is under way. */
  remove(): Promise<MessageTree> {
    return this.#inTurn(async () => {
      for (let tries = 0; tries < MAX_TRIES; tries++) {
        if (this.run !== undefined)
          throw new MillraceError('overloaded', 'an answer of this conversation is under way: stop its run first', {
            details: { run: this.run },
          })
        const { tree } = this
        if (this.#isRemoved || (await this.#removeStored())) {
          this.#becomeRemoved()
          return tree
        }
        await this.#load()
      }
      throw changedAllTheTime()
    })
  }

  /** False: another process has changed it. It may have an answer under way now. */
  async #removeStored(): Promise<boolean> {
    const { shared } = this.#store
    if (shared && this.record) return shared.removeAt(this.key, this.record.version)
    await this.#store.remove(this.key)
    return true
  }

  #becomeRemoved(): void {
    this.#isRemoved = true
    this.#state = { record: undefined, tree: new MessageTree() }
    this.run = undefined
    this.tell()
  }

  /** Calls back after each change, until the returned function is called. */
  watch(changed: () => void): () => void {
    this.#watchers.add(changed)
    return () => void this.#watchers.delete(changed)
  }

  /** Tells the watchers that something has changed. */
  tell(): void {
    for (const changed of [...this.#watchers]) changed()
  }

  #inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const done = this.#last.then(work)
    this.#last = done.catch(() => {})
    return done
  }

  async #load(): Promise<void> {
    const stored = await this.#store.load(this.key)
    if (this.record && stored?.conversation.createdAt !== this.record.createdAt) {
      this.#loseIt()
      return
    }
    this.#bytes.clear()
    this.#state = {
      record: stored && unpackConversation(stored.conversation),
      tree: new MessageTree(stored?.messages.map(unpackMessage)),
    }
    await this.#findRun()
  }

  /** Reads what has changed since. */
  async #catchUp(shared: SharedConversations): Promise<void> {
    const { record, tree } = this.#state
    if (!record) return this.#load()
    const news = await shared.loadSince(this.key, record.version)
    if (news?.conversation.createdAt !== record.createdAt) {
      this.#loseIt()
      return
    }
    // The store was set back to an earlier time.
    if (news.conversation.version < record.version) return this.#load()
    if (news.conversation.version > record.version) {
      this.#bytes.clear()
      const next = new MessageTree(tree.all)
      for (const message of [...news.messages].sort((one, other) => one.n - other.n)) next.put(unpackMessage(message))
      this.#state = { record: unpackConversation(news.conversation), tree: next }
    }
    await this.#findRun()
  }

  /** The bytes that a message takes in the store. 0: it is not there. */
  #bytesOf(id: string): number {
    const message = this.tree.get(id)
    return this.#bytes.get(id) ?? (message ? sizeOf(packMessage(message)) : 0)
  }

  /** It is gone. What is stored under its name is another one. */
  #loseIt(): void {
    const { tree } = this
    this.#becomeRemoved()
    this.#callbacks.removedElsewhere(tree)
  }

  /** Finds the run that answers. It may be one of another process, or that of a process that has died. */
  async #findRun(): Promise<void> {
    const lost = new Set<string | undefined>()
    let live: string | undefined
    for (const { status, run } of this.tree.all) {
      if (status !== 'streaming') continue
      if (run !== undefined && (await this.#callbacks.isLive(run))) live ??= run
      else lost.add(run)
    }
    this.run = live
    this.#lost = lost
  }

  /** Undefined: what is stored is not what it was made on. */
  async #try<Result>(make: (draft: Draft) => Result, quietly: boolean): Promise<{ result: Result } | undefined> {
    const { record, tree } = this.#state
    const draft = new OpenDraft(this.key, record, new MessageTree(tree.all), quietly)
    const result = make(draft)
    const next = draft.record
    if (!next || !draft.hasChanged) return { result }
    const stored = draft.changed.map((id) => packMessage(draft.tree.get(id) as TreeMessage))
    let { bytes } = next
    for (const message of stored) bytes += sizeOf(message) - this.#bytesOf(message.id)
    const made = { ...next, bytes, messages: draft.tree.size }
    if (!(await this.#store.save(packConversation(made), stored, record?.version ?? 0, quietly))) return undefined
    for (const message of stored) this.#bytes.set(message.id, sizeOf(message))
    this.#state = { record: made, tree: draft.tree }
    if (!quietly) this.tell()
    return { result }
  }
}

/** How often a change is made before it is given up: each time another process was faster. */
const MAX_TRIES = 5

class OpenDraft implements Draft {
  record: ConversationRecord | undefined
  readonly tree: MessageTree
  hasChanged = false
  /** The ids of the messages that it has put. */
  readonly #ids = new Set<string>()
  readonly #key: ConversationKey
  readonly #version: number
  readonly #quietly: boolean

  constructor(key: ConversationKey, record: ConversationRecord | undefined, tree: MessageTree, quietly: boolean) {
    this.record = record
    this.tree = tree
    this.#key = key
    this.#version = (record?.version ?? 0) + 1
    this.#quietly = quietly
  }

  get changed(): readonly string[] {
    return [...this.#ids]
  }

  put(message: NewMessage): void {
    const old = this.tree.get(message.id)
    const version = this.#quietly && old ? old.version : this.#version
    this.tree.put({ ...message, n: old?.n ?? this.tree.size + 1, version })
    this.#ids.add(message.id)
    this.set({})
  }

  set(facts: Partial<ConversationRecord>): void {
    const record = this.record ?? {
      ...this.#key,
      title: '',
      createdAt: 0,
      updatedAt: 0,
      leaf: null,
      messages: 0,
      bytes: 0,
      approved: [],
    }
    this.record = { ...record, ...facts, version: this.#version }
    this.hasChanged = true
  }
}

function sizeOf({ text, data }: StoredMessage): number {
  return data.length + text.length
}

function changedAllTheTime(): MillraceError {
  return new MillraceError('stale', 'another process changes this conversation at the same time: try again')
}

function removed(): MillraceError {
  return new MillraceError('not_found', 'the conversation was removed')
}
