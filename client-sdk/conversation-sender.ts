import { MillraceError } from '../protocol/errors.ts'
import type { RunEnd } from '../protocol/events.ts'
import type { ConversationReader, ReadAnswer } from './conversation-reader.ts'
import type { SendOptions, ShownMessage } from './conversation-types.ts'
import { systemRuntime } from './runtime.ts'
import type { SentInput } from './stream.ts'

/** How often a message changes its way: each time an answer began or ended meanwhile. */
const MAX_TRIES = 8

/** A message of the user, and where it goes. */
type Sent = {
  readonly id: string
  readonly mode: 'after' | 'next' | 'now'
  readonly content: unknown
  /** Undefined: behind whatever is the last message when it arrives. */
  readonly parent: string | null | undefined
}

/** Sends the messages of the user, each until the server has stored it, and shows them meanwhile. */
export class ConversationSender {
  readonly #reader: ConversationReader
  /** Messages that were not sent. */
  readonly #unsent = new Map<string, Sent>()

  constructor(reader: ConversationReader) {
    this.#reader = reader
  }

  /** Sends a message. Resolves with its id when it is stored. */
  async send(content: unknown, { mode = 'after', parent, id = newId() }: SendOptions = {}): Promise<string> {
    return this.#send({ id, mode, parent, content })
  }

  /** Sends a message again that was not sent. Undefined: this is none. */
  again(id: string): Promise<string> | undefined {
    const sent = this.#reader.state.local.has(id) ? this.#unsent.get(id) : undefined
    return sent && this.#send(sent)
  }

  /** Starts the run of an answer. Resolves when what it answers is stored. */
  async ask(input: object): Promise<void> {
    const { begun, over } = this.#reader.read(this.#reader.start(input, { onDetach: 'continue' }))
    await Promise.race([begun, over])
  }

  async #send(sent: Sent): Promise<string> {
    const reader = this.#reader
    const { state } = reader
    const { id } = sent
    // One that is sent again must not follow itself.
    const { parent = reader.snapshot.messages.at(-1)?.id ?? null } = state.local.get(id) ?? sent
    const shown = { id, parent, role: 'user' as const, at: systemRuntime.wallClock(), parts: partsOf(sent.content) }
    state.local.set(id, { ...shown, status: 'sending' })
    state.localLeaf = id
    this.#unsent.set(id, sent)
    reader.changed()
    try {
      await this.#deliver(sent)
      this.#unsent.delete(id)
      return id
    } catch (thrown) {
      const error = MillraceError.from(thrown).toJSON()
      if (state.local.has(id)) state.local.set(id, { ...shown, status: 'failed', error })
      throw thrown
    }
  }

  /** While an answer is under way, a message goes to its run. */
  async #deliver({ id, mode, parent, content }: Sent): Promise<void> {
    const reader = this.#reader
    const behind = parent === undefined ? {} : { parent }
    /** Its run was stopped before it took the message, which is to be kept all the same. */
    let isStopped = false
    for (let tries = 1; ; tries++) {
      const to: ReadAnswer | undefined = parent === undefined && !isStopped ? reader.live : undefined
      try {
        if (!to) {
          const message = { type: 'send', id, content, ...behind }
          if (isStopped) await reader.command({ ...message, answer: false })
          else await this.ask(message)
          return
        }
        const input: SentInput = to.run.send(mode === 'next' ? 'message' : `message.${mode}`, { id, content })
        await input
        if (!('lost' in (await input.delivery))) return
        // A message that was taken all the same is stored once, by its id.
        isStopped = ((await to.run.end.catch(() => undefined)) as RunEnd | undefined)?.outcome === 'cancelled'
      } catch (thrown) {
        const { code, details } = MillraceError.from(thrown)
        const { run } = Object(details) as { run?: string }
        // The answer ended before it took the message, or took it without a word: the server knows by its id.
        const isLate = to !== undefined && (code === 'not_found' || code === 'connection_lost')
        const isEarly = to === undefined && parent === undefined && code === 'overloaded' && run !== undefined
        if (tries >= MAX_TRIES || !(isLate || isEarly)) throw thrown
        // That of another client began before this one.
        isStopped = false
        if (isEarly) reader.attach(run)
      }
      await to?.over.catch(() => {})
    }
  }
}

/** A random id of a message. */
export function newId(): string {
  return `m_${Array.from(systemRuntime.randomBytes(12), (byte) => (byte + 256).toString(16).slice(1)).join('')}`
}

/** What a message shows before the server has it. */
function partsOf(content: unknown): ShownMessage['parts'] {
  const parts = typeof content === 'string' ? [{ type: 'text', text: content }] : (content as { type: string }[])
  return parts.filter(({ type }) => type === 'text') as unknown as ShownMessage['parts']
}
