import type { ConversationFacts, ConversationMessage, ConversationUpdate } from '../protocol/conversation.ts'
import { joined, type LiveAnswer } from './conversation-answer.ts'
import type { ConversationSnapshot, ShownMessage } from './conversation-types.ts'

/** A message as it is before it is shown. */
type Source = Omit<ShownMessage, 'text' | 'versions'>

/** What a client knows of a conversation: what the server has told, and what it is about to send. */
export class ConversationState {
  facts: ConversationFacts | undefined
  /** What the server has told is complete up to here. -1: it has told nothing. */
  version = -1
  /** Messages that the server may not have yet. */
  readonly local: Map<string, Source> = new Map()
  /** The one of them that the active branch ends with. */
  localLeaf: string | undefined
  isRemoved = false
  readonly #messages = new Map<string, ConversationMessage>()
  /** A change that is not complete. */
  readonly #coming = new Map<string, ConversationMessage>()
  #comingFacts: ConversationFacts | undefined
  #isReset = false
  readonly #shown = new WeakMap<object, ShownMessage>()

  /** Takes a piece of a change. Returns whether the change is complete: only then it can be seen. */
  take({ reset, conversation, messages = [], removed, version, more }: ConversationUpdate): boolean {
    if (reset ?? removed) {
      this.lost()
      this.#isReset = true
    }
    this.#comingFacts = conversation ?? this.#comingFacts
    for (const message of messages) {
      const parts = joined(this.#coming.get(message.id)?.parts ?? [], message.parts)
      this.#coming.set(message.id, { ...message, parts })
    }
    if (more) return false
    if (this.#isReset) this.#messages.clear()
    this.facts = this.#comingFacts ?? (this.#isReset ? undefined : this.facts)
    for (const [id, message] of this.#coming) {
      this.#messages.set(id, message)
      this.local.delete(id)
    }
    this.lost()
    this.isRemoved = !!removed
    this.version = version
    return true
  }

  /** Forgets a change of which only a part has come. */
  lost(): void {
    this.#coming.clear()
    this.#comingFacts = undefined
    this.#isReset = false
  }

  /** All messages by id, and those of the active branch. */
  show(live: LiveAnswer | undefined): Pick<ConversationSnapshot, 'all' | 'messages'> {
    const sources = new Map<string, Source>([...this.#messages, ...this.local])
    const versions = new Map<string | null, string[]>()
    for (const { id, parent } of sources.values()) {
      const all = versions.get(parent)
      if (all) all.push(id)
      else versions.set(parent, [id])
    }
    const all = new Map<string, ShownMessage>()
    for (const [id, source] of sources) all.set(id, this.#show(source, live, versions.get(source.parent)!))
    const messages: ShownMessage[] = []
    const leaf = this.local.has(this.localLeaf!) ? this.localLeaf : this.facts?.leaf
    for (let at = all.get(leaf!); at; at = all.get(at.parent!)) messages.unshift(at)
    return { all, messages }
  }

  /** The same object as before, if nothing of it has changed. */
  #show(source: Source, live: LiveAnswer | undefined, versions: readonly string[]): ShownMessage {
    const { parts = source.parts } = { parts: source.status === 'streaming' ? live?.parts.get(source.id) : undefined }
    const key = parts === source.parts ? source : parts
    const before = this.#shown.get(key)
    if (String(before?.versions) === String(versions)) return before!
    const text = parts.map((part) => (part.type === 'text' ? part.text : '')).join('')
    const shown = { ...source, parts, text, versions }
    this.#shown.set(key, shown)
    return shown
  }
}
