import type { ConversationMessage } from '../../protocol/conversation.ts'
import type { Message } from '../models/model.ts'

/**
 * One message of a conversation, as the server has it: what clients see of it, and what the model gets. It never changes;
 * a change puts another one in its place.
 */
export type TreeMessage = Readonly<Omit<ConversationMessage, 'parts'>> & {
  /** Its number, from 1, in the order in which messages were begun. */
  readonly n: number
  /** The version of the conversation with which it last changed. */
  readonly version: number
  /** The ids of the uploads that it names, with which its client sent it. Absent: none. */
  readonly uploads?: readonly string[] | undefined
  /** What the model gets of it. An answer has the messages of all its turns, and may have none. */
  readonly said: readonly Message[]
}

/** The messages of one conversation. Each follows another one, or begins a branch of its own. */
export class MessageTree {
  readonly #messages = new Map<string, TreeMessage>()

  constructor(messages: Iterable<TreeMessage> = []) {
    for (const message of messages) this.put(message)
  }

  get size(): number {
    return this.#messages.size
  }

  /** All of them, in the order in which they were begun. */
  get all(): Iterable<TreeMessage> {
    return this.#messages.values()
  }

  get(id: string): TreeMessage | undefined {
    return this.#messages.get(id)
  }

  put(message: TreeMessage): void {
    this.#messages.set(message.id, message)
  }

  /** The messages from the first one to this one. */
  pathTo(id: string | null): TreeMessage[] {
    const path: TreeMessage[] = []
    for (let at = id; at !== null; ) {
      const message = this.#messages.get(at)
      if (!message) break
      path.push(message)
      at = message.parent
    }
    return path.reverse()
  }

  /** The messages that follow this one directly, the oldest first. */
  childrenOf(id: string | null): TreeMessage[] {
    return [...this.#messages.values()].filter(({ parent }) => parent === id)
  }

  /** The end of the newest branch through this message. */
  endBelow(id: string): string {
    const newest = new Map<string | null, string>()
    for (const { id: child, parent } of this.#messages.values()) newest.set(parent, child)
    let end = id
    for (let next = newest.get(end); next !== undefined; next = newest.get(end)) end = next
    return end
  }
}

/** A piece of what the model gets: the messages of one message of the conversation. */
export type HistoryEntry = Pick<TreeMessage, 'id' | 'role' | 'said'>

/**
 * What the model gets of a branch. The last summary stands for the messages up to the one that it names; those between
 * that and the summary itself follow it.
 */
export function historyOf(path: readonly TreeMessage[]): HistoryEntry[] {
  const summary = path.findLast(({ role }) => role === 'summary')
  const from = summary ? path.findIndex(({ id }) => id === summary.through) + 1 : 0
  const rest = path.slice(from).filter(({ role }) => role !== 'summary')
  return summary ? [summary, ...rest] : rest
}
