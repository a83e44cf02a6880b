import { MillraceError } from '../../protocol/errors.ts'
import type { ActorContext, RunInput } from '../actors/actor.ts'
import type { Message } from '../models/model.ts'
import type { ConversationFiles } from './client-files.ts'
import { messageOf } from './message-input.ts'
import type { TurnOutput } from './turn.ts'

/** What a message in mode `now` does to the answer that the model gives. */
const CUT = new MillraceError('cancelled', 'a message cut the answer short')

/** Receives each input of a client that became a message, before a turn answers it, or with none to come. */
export type OnTaken = (input: RunInput, message: Message) => void

/**
 * The messages that clients send to a run of an agent: in its next turn (`message`), at once (`message.now`), or behind
 * the answer that the model gives (`message.after`).
 */
export class AgentMessages {
  readonly #context: ActorContext
  readonly #files: ConversationFiles
  readonly #after: RunInput[] = []
  /** Those in the conversation that no request to the model has had. */
  #taken: RunInput[] = []
  #cut = new AbortController()
  readonly #onTaken: OnTaken | undefined

  constructor(context: ActorContext, files: ConversationFiles, onTaken: OnTaken | undefined) {
    this.#context = context
    this.#files = files
    this.#onTaken = onTaken
    context.onInput(({ type }) => {
      if (type === 'message.now') this.#cut.abort(CUT)
    })
  }

  /** The messages that wait for the end of an answer. */
  get after(): readonly RunInput[] {
    return [...this.#after]
  }

  /** The messages that are in the conversation, and that no request to the model has had. */
  get taken(): readonly RunInput[] {
    return [...this.#taken]
  }

  /** Goes on with those of another process. */
  restore({ after, taken }: Pick<AgentMessages, 'after' | 'taken'>): void {
    this.#after.push(...after)
    this.#taken.push(...taken)
  }

  /** Returns a signal that aborts with the next message that cuts the answer short. */
  uncut(): AbortSignal {
    if (this.#cut.signal.aborted) this.#cut = new AbortController()
    return this.#cut.signal
  }

  /**
   * Adds the messages that wait to a conversation, and warns about other inputs. More may arrive while a warning waits
   * for a slow reader, and the run may stop there: messages are kept first.
   */
  *takeInto(conversation: Message[]): Generator<TurnOutput> {
    for (let inputs = this.#context.takeInputs(); inputs.length > 0; inputs = this.#context.takeInputs()) {
      const later = inputs.filter(({ type }) => type === 'message.after')
      this.#after.push(...later)
      yield* this.#add(
        inputs.filter((input) => !later.includes(input)),
        conversation,
      )
    }
  }

  /** Adds the messages that waited for the end of an answer. Returns whether there are any. */
  *takeAfterInto(conversation: Message[]): Generator<TurnOutput, boolean> {
    const before = conversation.length
    yield* this.#add(this.#after.splice(0), conversation)
    return conversation.length > before
  }

  /** Reports the messages that the request of turn `n` is the first to have. Call it once that is sent. */
  *report(n: number): Generator<TurnOutput> {
    const taken = this.#taken
    this.#taken = []
    for (const { id } of taken) yield { type: 'notice', code: 'input_taken', input: id, n }
  }

  /** Those that no turn will answer. */
  rest(): Message[] {
    const rest: Message[] = []
    this.#add([...this.#after, ...this.#context.takeInputs()], rest)
    return rest
  }

  /** Returns the warnings about what is no message. */
  #add(inputs: readonly RunInput[], conversation: Message[]): TurnOutput[] {
    const warnings: TurnOutput[] = []
    for (const input of inputs) {
      const message = messageOf(input, this.#files)
      if ('role' in message) {
        conversation.push(message)
        this.#taken.push(input)
        this.#onTaken?.(input, message)
      } else warnings.push(message)
    }
    return warnings
  }
}
