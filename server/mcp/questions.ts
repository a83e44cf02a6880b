import {
  type ClientCapabilities,
  type ElicitResult,
  type InputRequiredResult,
  inputRequired,
  inputResponse,
  type ServerContext,
} from '@modelcontextprotocol/server'
import { z } from 'zod'
import { MillraceError } from '../../protocol/errors.ts'
import { excerpt } from '../text.ts'
import { type Elicitation, elicitationOf } from './elicitation.ts'
import { readRun, type Waiting } from './reading.ts'
import type { ClientRun, RunClient } from './run-client.ts'

/** How many questions one call may ask in the newer protocol. Its clients give up after 10. */
const MAX_ROUNDS = 8
/** The longest time that a timer takes: a person answers in their own time. */
const NEVER_MS = 2 ** 31 - 1
const MAX_WHY_CHARACTERS = 256
/** The name of the one form of a round. */
const FORM = 'question'
/** What a client is told of a form that nobody waits for any more. */
const WITHDRAWN = 'no longer asked'

/**
 * Where a call in the newer protocol goes on, as its client brings it back with the form. It needs no seal: whoever may not
 * read or answer the run that it names is refused, as with the tools for runs.
 */
export type CallState = {
  readonly run: string
  /** The request that the form is for, and its item. */
  readonly request: string
  readonly seq: number
  /** How many questions the call has asked. */
  readonly round: number
}

const STATE: z.ZodType<CallState> = z.object({
  run: z.string(),
  request: z.string(),
  seq: z.int().min(0),
  round: z.int().min(1),
})

/** Reads the state of a call. @throws MillraceError `invalid_input` for what is none. */
export function callStateOf(text: string | undefined): CallState | undefined {
  if (text === undefined) return undefined
  try {
    return STATE.parse(JSON.parse(text))
  } catch {
    throw new MillraceError('invalid_input', 'requestState is not what this tool gave: call it without')
  }
}

/** The call that asks, and its client. */
export type QuestionsOptions = {
  readonly client: RunClient
  readonly run: ClientRun
  readonly mcpReq: ServerContext['mcpReq']
  /** What the client of the call can do. Undefined: it did not say. */
  readonly capabilities: ClientCapabilities | undefined
  /** Aborts when the call is to stop. */
  readonly signal: AbortSignal
  readonly state: CallState | undefined
}

/**
 * Gives what a run asks during one call to the user of the MCP client. In the older protocol, the form goes to the client
 * at once, and the call waits. In the newer one the call ends with the form, and the client calls again when it is filled in.
 */
export class Questions {
  readonly #options: QuestionsOptions
  readonly #answered = new Set<string>()
  #why: string | undefined
  #next: InputRequiredResult | undefined

  constructor(options: QuestionsOptions) {
    this.#options = options
  }

  /** Why the user was not asked, or gave no answer. */
  get why(): string | undefined {
    return this.#why
  }

  /** What the call ends with, so that the client calls again. */
  get next(): InputRequiredResult | undefined {
    return this.#next
  }

  /** Asks the user. @returns whether the run has its answer, so that reading goes on. */
  async take(question: Waiting, seq: number): Promise<boolean> {
    const { state, mcpReq, capabilities } = this.#options
    // Asked in an earlier round, and answered since.
    if (this.#answered.has(question.request)) return true
    if (state && question.request !== state.request && seq < state.seq) return true
    const elicitation = elicitationOf(question)
    if (!takesForms(capabilities)) return this.#leave('the client takes no questions for its user (elicitation)')
    if (!elicitation) return this.#leave('no form has room for the answer')
    if (mcpReq.envelope === undefined) {
      const result = await this.#ask(elicitation, question, seq)
      return result ? await this.#answer(question, elicitation, result) : this.#why === undefined
    }
    const brought = question.request === state?.request ? inputResponse(mcpReq.inputResponses, FORM) : undefined
    if (brought?.kind === 'elicit') return this.#answer(question, elicitation, brought as ElicitResult)
    return await this.#askLater(elicitation, question, seq)
  }

  /** Lets the run have the answer of the user. @returns whether reading goes on. */
  async #answer({ request }: Waiting, elicitation: Elicitation, result: ElicitResult): Promise<boolean> {
    const answer = elicitation.answerTo(result)
    if (!answer) return this.#leave(result.action === 'cancel' ? 'the user gave no answer' : 'the answer does not fit')
    this.#answered.add(request)
    try {
      await this.#options.run.send('answer', { request, value: answer.value })
      return true
    } catch (error) {
      const { code, message } = MillraceError.from(error)
      // Somebody was faster, nothing waits any more, or the run is over: what comes next says it.
      if (code === 'not_found' || code === 'connection_lost') return true
      return this.#leave(`the answer was refused: ${message}`)
    }
  }

  /** Asks in the older protocol. @returns undefined when there is no answer: `why` says it, unless nobody waits for one. */
  async #ask({ form }: Elicitation, question: Waiting, seq: number): Promise<ElicitResult | undefined> {
    const { client, run, mcpReq, signal } = this.#options
    const { id } = await run.opened
    await using watch = watchEnd(client, id, seq, question)
    try {
      return await mcpReq.send(
        { method: 'elicitation/create', params: form },
        { signal: AbortSignal.any([signal, watch.signal]), timeout: NEVER_MS },
      )
    } catch (error) {
      if (!signal.aborted && !watch.signal.aborted)
        this.#leave(`the client could not ask its user: ${excerpt((error as Error).message, MAX_WHY_CHARACTERS)}`)
      return undefined
    }
  }

  /** Asks in the newer protocol: the call ends with the form. */
  async #askLater({ form }: Elicitation, { request }: Waiting, seq: number): Promise<boolean> {
    const { run, state } = this.#options
    const round = (state?.round ?? 0) + 1
    if (round > MAX_ROUNDS) return this.#leave(`one call asks no more than ${MAX_ROUNDS} questions`)
    const { id } = await run.opened
    const next: CallState = { run: id, request, seq, round }
    this.#next = inputRequired({
      inputRequests: { [FORM]: inputRequired.elicit(form) },
      requestState: JSON.stringify(next),
    })
    return false
  }

  #leave(why: string): false {
    this.#why = why
    return false
  }
}

/** Whether a client shows forms to its user. One that names no mode does. */
function takesForms(capabilities: ClientCapabilities | undefined): boolean {
  const { elicitation } = capabilities ?? {}
  return elicitation !== undefined && (elicitation.form !== undefined || elicitation.url === undefined)
}

/** Reads on in a run while its user is asked. Its signal aborts when the run has ended, or the call that asks. */
function watchEnd(
  client: RunClient,
  id: string,
  after: number,
  { call }: Waiting,
): AsyncDisposable & { readonly signal: AbortSignal } {
  const over = new AbortController()
  const leave = new AbortController()
  const end = (): void => over.abort(WITHDRAWN)
  const reading = readRun(client.attach('', id, { after, policy: 'log' }), leave.signal, {
    onEvent(event) {
      if (event.type === 'tool.result' && event.call === call) end()
    },
    onQuestion: () => true,
  }).then(
    (read) => {
      if (read.end) end()
    },
    () => {},
  )
  return {
    signal: over.signal,
    async [Symbol.asyncDispose]() {
      leave.abort()
      await reading
    },
  }
}
