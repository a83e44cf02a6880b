import type { RunAnswer } from '../../formats/conversation.ts'
import { MillraceError } from '../../protocol/errors.ts'
import type { ListedFacts } from '../../protocol/frames.ts'
import type { Runtime } from '../../protocol/runtime.ts'
import { BEGINNING, type StartPosition } from '../log/cursor.ts'
import type { FoundRun } from '../sessions/registry.ts'
import type { Caller } from './caller.ts'
import type { RunAccess } from './run-access.ts'

const INPUT_ID_BYTES = 16
/** What an answer gets that is too late, or has been given already. */
const NOT_WANTED = 'unwanted'

/** The runs of a chat or thread of another protocol: those whose `meta` has its id as `chat`. */
export class ChatRuns {
  readonly #access: RunAccess
  readonly #runtime: Pick<Runtime, 'randomBytes'>

  constructor(access: RunAccess, runtime: Pick<Runtime, 'randomBytes'>) {
    this.#access = access
    this.#runtime = runtime
  }

  /** The newest run of a chat that goes on. */
  active(caller: Caller, actor: string, chat: string): ({ run: string } & ListedFacts) | undefined {
    for (const facts of this.#access.list(caller))
      if (facts.actor === actor && facts.meta?.['chat'] === chat && facts.outcome === undefined) return facts
    return undefined
  }

  /** Starts a run for a chat. @throws MillraceError the reason of the refusal. */
  start(caller: Caller, actor: string, chat: string, input: unknown): Promise<FoundRun> {
    return this.#access.start(caller, { actor, input, options: { onDetach: 'pause', meta: { chat } } })
  }

  /** Finds a run by its id. @throws MillraceError `not_found` when it is none of the actor, or not readable. */
  async find(caller: Caller, actor: string, id: string, from: StartPosition): Promise<FoundRun> {
    const found = await this.#access.find(caller, id, from)
    if (found.run.actorName !== actor) throw new MillraceError('not_found', 'this run is one of another actor')
    return found
  }

  /**
   * Sends a run what a person or a page has answered. An answer that the run no longer waits for was given already.
   * @throws MillraceError `forbidden`; `invalid_input`; `overloaded`.
   */
  async answer(caller: Caller, found: FoundRun, answers: readonly RunAnswer[]): Promise<void> {
    for (const { type, data } of answers) {
      const { status, note } = await this.#access.input(caller, found, { id: this.#newId(), type, data })
      if (status === 'invalid') throw new MillraceError('invalid_input', note ?? 'the run does not take this answer')
      if (status === 'busy') throw new MillraceError('overloaded', note ?? 'too many inputs wait: try again later')
    }
  }

  /** Declares the tools of a page. The run of an agent that takes none goes on without them. */
  async declare(caller: Caller, found: FoundRun, page: string, tools: readonly object[]): Promise<void> {
    if (tools.length === 0 || caller.instance === undefined) return
    const input = { id: this.#newId(), type: 'tools', data: { id: page.slice(-64), tools } }
    const { status } = await this.#access.input(caller, found, input)
    if (status === NOT_WANTED) throw new MillraceError('not_found', 'the run is over')
  }

  /** Whether another server executes a run, which may then be set back while it is read here. */
  isElsewhere(found: FoundRun): boolean {
    return !found.run.end && !this.#access.isHere(found)
  }

  /** The chat goes on without an answer to the run that waits for one. */
  async supersede(caller: Caller, actor: string, id: string): Promise<void> {
    const found = await this.find(caller, actor, id, BEGINNING).catch(() => undefined)
    if (found && !found.run.end) await this.#access.cancel(caller, found, 'superseded')
  }

  #newId(): string {
    return Buffer.from(this.#runtime.randomBytes(INPUT_ID_BYTES)).toString('base64url')
  }
}
