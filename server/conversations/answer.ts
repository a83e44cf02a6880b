import type { MessageStatus } from '../../protocol/conversation.ts'
import { type ErrorShape, MillraceError } from '../../protocol/errors.ts'
import type { RunUsage, Usage } from '../../protocol/receipt.ts'
import type { Timer } from '../../protocol/runtime.ts'
import type { ActorContext } from '../actors/actor.ts'
import type { ServerView } from '../actors/server-view.ts'
import type { TurnOutput } from '../agents/turn.ts'
import type { Message } from '../models/model.ts'
import type { TreeMessage } from './message-tree.ts'
import type { Draft, OpenConversation } from './open-conversation.ts'

/** How long text of an answer may be in memory only, in milliseconds. */
const SAVE_MS = 1_000

/** A message that a run adds to its conversation, in the order in which they follow each other. */
type Part = Pick<TreeMessage, 'id' | 'role' | 'at' | 'said' | 'by' | 'uploads' | 'through' | 'model'>

/** From what an answer goes on in another process. */
export type KeptAnswer = {
  readonly parent: string | null
  readonly parts: readonly Part[]
  readonly text: string
  readonly thinking: string
}

/** How an answer ends. */
export type AnswerEnd = {
  readonly status: Exclude<MessageStatus, 'streaming'>
  readonly error?: ErrorShape | undefined
}

/** The input of a run that became a message. `id`: the one that its client gave it; `uploads`: those that it names. */
type TakenMessage = { readonly id: string; readonly message: Message; readonly uploads: readonly string[] }

/** What an answer takes from its run. */
export type AnswerCallbacks = Pick<ActorContext, 'run' | 'principal' | 'reportError' | 'usage' | 'approved'> & {
  readonly runtime: ServerView['runtime']
  /** The names of the tools whose approvals are kept. */
  toolName(tool: object): string | undefined
}

/**
 * What one run adds to a conversation: its answer, kept while it is written, and the messages that clients send to the run
 * in between, each with an answer of its own.
 */
export class Answer {
  readonly #conversation: OpenConversation
  readonly #run: AnswerCallbacks
  /** The message that the first of the parts follows. */
  readonly #parent: string | null
  readonly #parts: Part[]
  /** Messages of clients that are not among the parts yet. */
  #taken: TakenMessage[] = []
  /** The ids of all messages of clients. */
  readonly #ids = new Map<Message, string>()
  /** What the current turn has said so far. */
  #text: string
  #thinking: string
  #timer: Timer | undefined
  #isOver = false

  constructor(conversation: OpenConversation, run: AnswerCallbacks, { parent, parts, text, thinking }: KeptAnswer) {
    this.#conversation = conversation
    this.#run = run
    this.#parent = parent
    this.#parts = [...parts]
    this.#text = text
    this.#thinking = thinking
  }

  /** An answer that begins. */
  static begun({ id, at, parent }: Pick<TreeMessage, 'id' | 'at' | 'parent'>): KeptAnswer {
    return { parent, parts: [{ id, role: 'assistant', at, said: [] }], text: '', thinking: '' }
  }

  /** From what another process goes on with it. Undefined: messages of clients are not among its parts yet. */
  get kept(): KeptAnswer | undefined {
    if (this.hasTaken) return undefined
    return { parent: this.#parent, parts: [...this.#parts], text: this.#text, thinking: this.#thinking }
  }

  /** The id of the answer that is being written. */
  get id(): string {
    return this.#last('assistant').id
  }

  /** It has ended, and takes nothing more. */
  get isOver(): boolean {
    return this.#isOver
  }

  /** Whether messages of clients wait for `split`. */
  get hasTaken(): boolean {
    return this.#taken.length > 0
  }

  /** Puts a summary before the answer. */
  async summarize(summary: Pick<TreeMessage, 'id' | 'said' | 'through'>): Promise<void> {
    this.#parts.unshift({ ...summary, role: 'summary', at: this.#run.runtime.wallClock() })
    await this.#write()
  }

  /** Takes what the agent says. */
  take(said: TurnOutput): void {
    if (typeof said === 'string') this.#text += said
    else if (said.type === 'thinking' && said.agent === undefined) this.#thinking += said.text
    else return
    this.#timer ??= this.#run.runtime.setTimer(SAVE_MS, () => void this.#save())
  }

  /** A turn is complete: these are its messages. */
  async step(said: readonly Message[], model: string): Promise<void> {
    const answer = this.#last('assistant')
    this.#replace({ ...answer, model, said: [...answer.said, ...said] })
    this.#text = ''
    this.#thinking = ''
    await this.#save()
  }

  /** A message of a client has become part of the conversation of the run. */
  taken(taken: TakenMessage): void {
    this.knows(taken.id, taken.message)
    this.#taken.push(taken)
  }

  /** A message of the run is that of a client. */
  knows(id: string, message: Message): void {
    this.#ids.set(message, id)
  }

  /** The id of a message of a client. Undefined for others. */
  idOf(message: Message): string | undefined {
    return this.#ids.get(message)
  }

  /**
   * Messages of clients came in: the answer so far is complete, and another one follows them.
   * @throws MillraceError when it cannot be stored: their clients must not learn that they were taken.
   */
  async split(newId: () => string): Promise<void> {
    const messages = this.#takeMessages()
    const answer = this.#last('assistant')
    if (answer.said.length > 0)
      this.#parts.push(...messages, { id: newId(), role: 'assistant', at: this.#now(), said: [] })
    // Nothing was said: it answers these as well.
    else this.#parts.splice(this.#parts.indexOf(answer), 0, ...messages)
    await this.#write()
  }

  /**
   * The run is over.
   * @param all All messages of the run that follow those it began with. Undefined: what is known already is all.
   * @throws MillraceError when it cannot be stored.
   */
  async end(end: AnswerEnd, all?: readonly Message[]): Promise<void> {
    if (this.#isOver) return
    this.#isOver = true
    this.#timer?.clear()
    this.#parts.push(...this.#takeMessages())
    if (all) this.#sort(all)
    else this.#keepUnfinished()
    const { usage } = this.#run
    await this.#conversation.change((draft) => {
      this.#conversation.run = undefined
      this.#put(draft, end, usage)
      this.#keepApprovals(draft)
    })
  }

  /** Gives each message of the run to the part that it belongs to. */
  #sort(all: readonly Message[]): void {
    const said = new Map(this.#parts.map(({ id }) => [id, [] as Message[]]))
    let at = 0
    for (const message of all) {
      const id = this.#ids.get(message)
      if (id !== undefined) at = this.#parts.findIndex((part) => part.id === id)
      else while (at < this.#parts.length - 1 && this.#parts[at]!.role !== 'assistant') at++
      said.get(this.#parts[at]!.id)!.push(message)
    }
    for (const part of [...this.#parts])
      if (part.role !== 'summary') this.#replace({ ...part, said: said.get(part.id)! })
  }

  #keepUnfinished(): void {
    const answer = this.#last('assistant')
    this.#replace({ ...answer, said: [...answer.said, ...this.#unfinished()] })
  }

  /** What the current turn has said. */
  #unfinished(): Message[] {
    if (this.#text === '' && this.#thinking === '') return []
    return [{ role: 'assistant', content: this.#text, ...(this.#thinking !== '' && { thinking: this.#thinking }) }]
  }

  /** Stores what has been said since, without telling anybody: clients read it in the run. */
  async #save(): Promise<void> {
    this.#timer?.clear()
    this.#timer = undefined
    if (this.#isOver) return
    await this.#conversation
      .change(
        (draft) => {
          if (!this.#isOver) this.#put(draft)
        },
        { quietly: true },
      )
      .catch((error: unknown) => this.#run.reportError(error))
  }

  #write(): Promise<void> {
    return this.#conversation.change((draft) => this.#put(draft))
  }

  /** @param end Absent while the run goes on. */
  #put(draft: Draft, end?: AnswerEnd, usage?: Usage): void {
    if (!this.#isStillOurs(draft)) {
      this.#isOver = true
      throw new MillraceError('interrupted', 'another server has ended this answer')
    }
    const answer = this.#last('assistant')
    let parent = this.#parent
    for (const part of this.#parts) {
      const isLast = part === answer
      const said = isLast && !end ? [...part.said, ...this.#unfinished()] : part.said
      const ending = end && isLast ? { status: end.status, ...(end.error && { error: end.error }) } : undefined
      draft.put({
        ...part,
        parent,
        said,
        status: isLast && !end ? 'streaming' : 'sent',
        ...(part.role === 'assistant' && { run: this.#run.run.id }),
        ...(end && isLast && usage && { usage: plainUsage(usage) }),
        ...ending,
      })
      parent = part.id
    }
    const { leaf } = draft.record!
    const hasLeaf = leaf === this.#parent || this.#parts.some(({ id }) => id === leaf)
    draft.set({ updatedAt: this.#parts.at(-1)!.at, ...(hasLeaf && { leaf: parent }) })
  }

  /** A server that stood still may find that others have ended what it writes. */
  #isStillOurs({ tree }: Draft): boolean {
    const { id: run } = this.#run.run
    return Array.from(tree.all).some((message) => message.run === run && message.status === 'streaming')
  }

  /** Approvals that were to be remembered hold for the next answers of the conversation. */
  #keepApprovals(draft: Draft): void {
    const approved = [...(draft.record?.approved ?? [])]
    for (const [tool, by] of this.#run.approved) {
      const name = this.#run.toolName(tool)
      if (name === undefined || approved.some((one) => one.tool === name)) continue
      approved.push({ tool: name, ...(by && { by: by.id }) })
    }
    draft.set({ approved })
  }

  #takeMessages(): Part[] {
    const { principal } = this.#run
    const by = principal.id === this.#conversation.key.owner ? {} : { by: principal.id }
    const taken = this.#taken.map(
      ({ id, message, uploads }): Part => ({
        id,
        role: 'user',
        at: this.#now(),
        said: [message],
        ...by,
        ...(uploads.length > 0 && { uploads }),
      }),
    )
    this.#taken = []
    return taken
  }

  #last(role: Part['role']): Part {
    return this.#parts.findLast((part) => part.role === role)!
  }

  #replace(part: Part): void {
    this.#parts[this.#parts.findIndex(({ id }) => id === part.id)] = part
  }

  #now(): number {
    return this.#run.runtime.wallClock()
  }
}

function plainUsage({ ...usage }: RunUsage): Usage {
  delete usage.exact
  return usage
}
