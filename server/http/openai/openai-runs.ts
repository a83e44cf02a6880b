import { hash } from 'node:crypto'
import { MillraceError } from '../../../protocol/errors.ts'
import type { OnDetach, WireMap } from '../../../protocol/frames.ts'
import type { Actor } from '../../actors/actor.ts'
import { validate } from '../../actors/standard-schema.ts'
import type { ReadableRun } from '../../runs/readable-run.ts'
import { excerpt } from '../../text.ts'
import type { Caller } from '../caller.ts'
import type { RunAccess } from '../run-access.ts'
import { lastText, type OpenAiRequest } from './openai-input.ts'

/** The name under which the tools of a client are declared to its run. */
export const OPENAI_CLIENT = 'openai'
const QUOTED_CHARACTERS = 64
const PROBE = { messages: [{ role: 'user', content: 'x' }] }

/** A run that answers a request, and the position at which the answer begins. */
export type AnsweringRun = {
  readonly run: ReadableRun
  readonly own: boolean
  readonly after: number
  /** The client instance that has the tools. */
  readonly client: string
}

/** Starts the runs that answer requests to OpenAI's API, or goes on with those that wait for the output of a tool. */
export class OpenAiRuns {
  readonly #actors: ReadonlyMap<string, Actor>
  readonly #access: RunAccess
  readonly #takesConversation = new Map<Actor, boolean>()

  constructor(actors: ReadonlyMap<string, Actor>, access: RunAccess) {
    this.#actors = actors
    this.#access = access
  }

  /** @throws MillraceError the reason of a refusal. */
  async begin(
    caller: Caller,
    model: string,
    request: OpenAiRequest,
    options: { readonly onDetach: OnDetach; readonly meta?: WireMap },
  ): Promise<AnsweringRun> {
    return (await this.#goOn(caller, request)) ?? (await this.#start(caller, model, request, options))
  }

  /** The run that waits for these outputs, once it has them. Undefined: none does, and a new one gets all messages. */
  async #goOn(caller: Caller, { outputs }: OpenAiRequest): Promise<AnsweringRun | undefined> {
    const [first] = outputs
    if (!first || outputs.some(({ run }) => run !== first.run)) return undefined
    const found = await this.#access.find(caller, first.run).catch((error: unknown) => {
      if (MillraceError.is(error, 'not_found')) return undefined
      throw error
    })
    if (!found || found.run.end) return undefined
    caller.quota.takeStart()
    const after = found.run.log.last
    const client = instanceOf(found.run)
    let isTaken = false
    for (const { call, output } of outputs) {
      const input = { id: hash('sha256', call, 'hex').slice(0, 32), type: 'tool.result', data: { call, output } }
      const { status } = await this.#access.input(caller, found, input, client)
      if (status === 'accepted') isTaken = true
    }
    return isTaken ? { ...found, after, client } : undefined
  }

  async #start(
    caller: Caller,
    model: string,
    { messages, tools }: OpenAiRequest,
    options: { readonly onDetach: OnDetach; readonly meta?: WireMap },
  ): Promise<AnsweringRun> {
    const actor = this.#actors.get(model)
    if (tools.length > 0 && actor && !actor.clientTools)
      throw new MillraceError(
        'bad_request',
        `the actor ${excerpt(model, QUOTED_CHARACTERS)} takes no tools of clients: leave tools out, or set clientTools of the agent`,
      )
    const input = actor && (await this.#inputOf(actor, messages))
    const data = { id: OPENAI_CLIENT, tools }
    const { length } = this.#access.check(data)
    let refused: string | undefined
    const declare = (run: ReadableRun): void => {
      if (tools.length === 0) return
      const from = { principal: caller.principal, instance: instanceOf(run) }
      const answer = run.input('sopenai tools', { id: 'tools', type: 'tools', data }, length, from)
      if (!(answer instanceof Promise) && answer.status !== 'accepted') refused = answer.note ?? answer.status
    }
    const found = await this.#access.start(caller, { actor: model, input, options }, declare)
    if (refused !== undefined) {
      await this.#access.cancel(caller, found, 'policy', 'its tools were refused')
      throw new MillraceError('bad_request', refused)
    }
    return { ...found, after: 0, client: instanceOf(found.run) }
  }

  /** What an actor gets: the conversation if its schema takes one, and else the text of the last message. */
  async #inputOf(actor: Actor, messages: OpenAiRequest['messages']): Promise<unknown> {
    const known = this.#takesConversation.get(actor) ?? (await accepts(actor, PROBE))
    this.#takesConversation.set(actor, known)
    if (known) return { messages }
    const text = lastText(messages)
    if (!actor.input || (await accepts(actor, text))) return text
    try {
      const value: unknown = JSON.parse(text)
      return value
    } catch {
      return text
    }
  }
}

/** The instance under which the tools of a run are declared: its calls are of no other client. */
function instanceOf({ id }: ReadableRun): string {
  return `openai ${id}`
}

async function accepts({ input }: Actor, value: unknown): Promise<boolean> {
  if (!input) return false
  try {
    return !(await validate(input, value)).issues
  } catch {
    return false
  }
}
