import { MillraceError } from '../../protocol/errors.ts'
import { type Cancel, type Input, type Key, type Notice, TAG } from '../../protocol/frames.ts'
import { CANCEL_CODES } from '../../protocol/receipt.ts'
import { byClient } from '../runs/stop-cause.ts'
import type { GuardedRuntime } from '../runtime.ts'
import type { Registry } from '../sessions/registry.ts'
import { excerpt } from '../text.ts'
import type { WelcomedClient } from './greeting.ts'
import type { Outbox } from './outbox.ts'
import type { Subscription } from './subscription.ts'

/** What a client may need to be allowed to do with a run that it reads. */
export type CommandAction = 'input' | 'approve' | 'govern' | 'cancel'

/** What a principal needs to send an input of that type. An `answer` can be that of a question for approval, too. */
const ACTIONS = new Map<string, CommandAction>([
  ['approve', 'approve'],
  ['answer', 'approve'],
  ['govern', 'govern'],
  ['stop', 'cancel'],
])
const ACTION_WORDS: { readonly [action in CommandAction]: string } = {
  input: 'send the run input',
  approve: 'answer for the run',
  govern: 'govern the run',
  cancel: 'cancel the run',
}
/** Most characters of a client's text that an error message quotes. */
const QUOTED_CHARACTERS = 64
/** The longest text of a client that an answer repeats. */
const MAX_ECHOED_CHARACTERS = 1_024

/** What a principal needs to be allowed to send an input of that type. */
export function actionOf(type: string): CommandAction {
  return ACTIONS.get(type) ?? 'input'
}

/** Says to a client that its principal may not do that. */
export function forbiddenWords(action: CommandAction): string {
  return `this principal may not ${ACTION_WORDS[action]}`
}

/** Says to a client that there is nothing to stop. */
export function nothingCalled(id: string): string {
  return `nothing called ${excerpt(id, QUOTED_CHARACTERS)} is going on in this run`
}

/** What commands take from their connection. */
export type CommandsCallbacks = {
  readonly outbox: Outbox
  readonly runtime: GuardedRuntime
  readonly registry: Registry
  readonly client: WelcomedClient
  isClosed(): boolean
  /** The server itself failed. */
  broke(error: unknown): void
}

/** What one client asks of the runs that it reads, by CANCEL and INPUT: whether it may, and the answer of the run. */
export class Commands {
  readonly #connection: CommandsCallbacks

  constructor(connection: CommandsCallbacks) {
    this.#connection = connection
  }

  /** Stops a run, or one tool call or sub-agent of it. */
  cancel({ sid, code, note, target }: Cancel, subscription: Subscription): void {
    const isNamed = target !== undefined && target.id.length <= MAX_ECHOED_CHARACTERS
    const ref = { tag: TAG.cancel, sid, ...(isNamed ? { detail: [target.type, target.id] } : {}) }
    if (!this.#mayDo('cancel', subscription)) return this.#forbid('cancel', ref)
    const { run } = subscription
    const cause = byClient(code ?? CANCEL_CODES.unspecified, note)
    if (target) {
      const { type, id } = target
      const message = nothingCalled(id)
      return this.#when(type === 'call' ? run.cancelCall(id, cause) : run.cancelAgent(id, cause), (isGoingOn) => {
        if (!isGoingOn) subscription.answer({ kind: 'notice', code: 'not_found', message, ref })
      })
    }
    subscription.skip()
    run.cancel(cause)
  }

  /** @param bytes of the frame. */
  input({ sid, mid, type, data }: Input, bytes: number, subscription: Subscription): void {
    const { outbox, client } = this.#connection
    const action = actionOf(type)
    const ref = { tag: TAG.input, sid, detail: mid }
    if (!this.#mayDo(action, subscription)) return this.#forbid(action, ref)
    const { run, own } = subscription
    const from = { principal: client.principal, instance: own ? subscription.client : undefined }
    this.#when(run.input(midName(mid), { id: mid, type, data }, bytes, from), ({ status, note }) => {
      if (type === 'stop' && status === 'accepted') subscription.skip()
      if (status === 'forbidden' || status === 'stale')
        return outbox.notify({ kind: 'notice', code: status, message: note ?? status, ref })
      outbox.send({ kind: 'input_ack', sid, mid, status, ...(note === undefined ? {} : { note }) })
    })
  }

  #mayDo(action: CommandAction, { run }: Subscription): boolean {
    const { registry, client } = this.#connection
    return registry.permits(client.principal, action, run)
  }

  #forbid(action: CommandAction, ref: Notice['ref'] & object): void {
    this.#connection.outbox.notify({ kind: 'notice', code: 'forbidden', message: forbiddenWords(action), ref })
  }

  /** Passes on the answer of a run: at once if the run is executed here, later if another process has to answer. */
  #when<T>(answer: T | Promise<T>, then: (answer: T) => void): void {
    if (!(answer instanceof Promise)) return then(answer)
    const connection = this.#connection
    answer.then(
      (found) => connection.runtime.enter(() => !connection.isClosed() && then(found)),
      // Another server has the run, or will: the client asks again there.
      (error: unknown) =>
        MillraceError.is(error, 'store_unavailable') ? connection.outbox.moved() : connection.broke(error),
    )
  }
}

/** A message id as the key of a Map. A binary id and a text id are never the same. */
export function midName(mid: Key): string {
  return typeof mid === 'string' ? `s${mid}` : `b${Buffer.from(mid).toString('base64')}`
}
