import { MillraceError } from '../../protocol/errors.ts'
import type { ServerView } from '../actors/server-view.ts'
import type { ConversationStore } from './conversation-store.ts'
import type { OpenConversation } from './open-conversation.ts'

/**
 * Keeps an open conversation true while it is used: an answer whose process has died has failed, and what other servers
 * do with it is seen here.
 */
export class ConversationUpkeep {
  readonly #conversation: OpenConversation
  readonly #store: ConversationStore
  readonly #view: ServerView
  #stop = (): void => {}
  /** The run of another server that answers, and what ends following it. */
  #followed: { readonly run: string; stop: () => void } | undefined
  #isClosed = false

  constructor(conversation: OpenConversation, store: ConversationStore, view: ServerView) {
    this.#conversation = conversation
    this.#store = store
    this.#view = view
  }

  /** Reads the conversation. @throws MillraceError `unavailable` when the store failed. */
  async open(): Promise<void> {
    const { shared } = this.#store
    const conversation = this.#conversation
    if (shared) this.#use((await shared.follow(conversation.key, (version) => this.#changed(version))) ?? (() => {}))
    await conversation.load()
    await this.#look()
  }

  /**
   * Reads what other servers have done. @throws MillraceError `unavailable` when the store failed.
   * @param version what is stored, if it is known.
   */
  async refresh(version?: number): Promise<void> {
    await this.#conversation.refresh(version)
    await this.#look()
  }

  close(): void {
    this.#isClosed = true
    this.#stop()
    this.#followed?.stop()
    this.#followed = undefined
  }

  #use(stop: () => void): void {
    if (this.#isClosed) stop()
    else this.#stop = stop
  }

  /** A store that fails is asked again the next time. */
  #changed(version?: number): void {
    if (!this.#isClosed) this.refresh(version).catch(() => {})
  }

  async #look(): Promise<void> {
    await this.#conversation.mend(INTERRUPTED)
    await this.#followRun()
  }

  /** A server that dies says nothing: its run ends, and the conversation stays as it is. */
  async #followRun(): Promise<void> {
    const { run } = this.#conversation
    if (this.#isClosed || this.#followed?.run === run) return
    this.#followed?.stop()
    this.#followed = undefined
    const { shared } = this.#view
    if (run === undefined || !shared || this.#view.run(run)) return
    const followed = { run, stop: () => {} }
    this.#followed = followed
    try {
      const stop = await shared.follow(run, () => this.#changed())
      if (this.#followed === followed) followed.stop = stop
      else stop()
    } catch (error) {
      if (this.#followed === followed) this.#followed = undefined
      throw error
    }
  }
}

const INTERRUPTED = new MillraceError(
  'interrupted',
  'the server ended before the answer was complete: retry or continue',
)
