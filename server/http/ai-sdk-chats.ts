import { type UiChunkOptions, UiChunks } from '../../formats/ai-sdk-chunks.ts'
import {
  checkedMessages,
  continuationOf,
  conversationOf,
  factsOf,
  type UiMessage,
} from '../../formats/ai-sdk-messages.ts'
import { BEGINNING } from '../log/cursor.ts'
import type { FoundRun } from '../sessions/registry.ts'
import type { Caller } from './caller.ts'
import type { ChatRuns } from './chat-runs.ts'

/** A request of a chat of the AI SDK. */
export type ChatSend = {
  /** The id of the chat. */
  readonly id: string
  readonly messages: unknown
  readonly trigger?: 'submit-message' | 'regenerate-message' | undefined
}

/** A run that answers a chat, where its reader begins, and the chunks it becomes. */
export type ChatAnswer = {
  readonly found: FoundRun
  readonly from: { readonly after: number; readonly gen: number | undefined }
  readonly format: UiChunks
}

/** What chats of the AI SDK ask of the server, over whichever wire: an answer, and an answer from its beginning. */
export class AiSdkChats {
  readonly #chats: ChatRuns

  constructor(chats: ChatRuns) {
    this.#chats = chats
  }

  /**
   * Starts a run for the messages of a chat; or, where the last message answers a run that waits, continues that run.
   * @throws MillraceError `invalid_input` for messages of another form; the reason of a refusal.
   */
  async send(caller: Caller, actor: string, { id, messages, trigger }: ChatSend, version: 6 | 7): Promise<ChatAnswer> {
    const checked = checkedMessages(messages)
    const continued = trigger === 'regenerate-message' ? undefined : continuationOf(checked)
    if (continued) {
      const { run, seq, gen, answers, known, refused } = continued
      const from = { after: seq, gen: gen ?? 1 }
      const found = await this.#chats.find(caller, actor, run, from)
      await this.#chats.answer(caller, found, answers)
      return { found, from, format: this.#formatOf(found, version, { known, refused }) }
    }
    const waiting = waitingRun(checked)
    if (waiting !== undefined) await this.#chats.supersede(caller, actor, waiting)
    const found = await this.#chats.start(caller, actor, id, { messages: conversationOf(checked) })
    return { found, from: BEGINNING, format: this.#formatOf(found, version, {}) }
  }

  /** The whole answer of the chat's run that goes on. Undefined: none does. */
  async resume(caller: Caller, actor: string, chat: string, version: 6 | 7): Promise<ChatAnswer | undefined> {
    const active = this.#chats.active(caller, actor, chat)
    if (!active) return undefined
    const found = await this.#chats.find(caller, actor, active.run, BEGINNING)
    return { found, from: BEGINNING, format: this.#formatOf(found, version, { past: active.seq }) }
  }

  #formatOf(found: FoundRun, version: 6 | 7, more: Pick<UiChunkOptions, 'known' | 'refused' | 'past'>): UiChunks {
    const { run } = found
    // A run of this process is set back by a restart, which ends this stream as well: nothing is kept for that.
    const resets = this.#chats.isElsewhere(found) ? undefined : false
    return new UiChunks({ run: run.id, version, resets, gen: () => run.log.gen, ...more })
  }
}

/** The run that the chat last heard of, if that waited for an answer. */
function waitingRun(messages: readonly UiMessage[]): string | undefined {
  const asked = messages.findLast(({ role }) => role === 'assistant')
  const facts = asked && factsOf(asked)
  return facts?.seq !== undefined && facts.outcome === undefined ? facts.run : undefined
}
