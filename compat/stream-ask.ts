import { addUsage, MillraceError, type Run, type RunEnd, type StreamEvent, type Usage } from '../client-sdk/index.ts'
import { systemRuntime } from '../client-sdk/runtime.ts'
import { CANCELLED, type FailureFacts, failureOf } from './chunks.ts'

/** The last event of an answer that is complete. */
export type DoneEvent = {
  /** Always `done`. */
  type: 'done'
  /** All text of the answer, without that of sub-agents. */
  content: string
  /** What the actor returned; undefined if it returned only text. */
  result: unknown
  /** The number of turns of an agent. 0 for other actors. */
  iterations: number
  /** How long it took, in milliseconds. */
  ms: number
  /** Tokens that the model read, as far as they are known. */
  inputTokens: number
  /** Tokens that the model wrote, as far as they are known. */
  outputTokens: number
  /** In epoch milliseconds. */
  timestamp: number
}

/** The last event of an answer that failed, was cancelled, or could not begin. */
export type ErrorEvent = {
  /** Always `error`. */
  type: 'error'
  /** The error: `code` to branch on, `message` for people. */
  error: FailureFacts
  /** The text up to there. */
  content: string
  /** In epoch milliseconds. */
  timestamp: number
}

/** An event of an answer: those of a run, and one that ends it. */
export type AskEvent = (StreamEvent & { timestamp: number }) | DoneEvent | ErrorEvent

/** The options of `streamAsk`. */
export type StreamAskOptions = {
  /** Called with each event, in order, and last with `done` or `error`. The run waits for a returned promise. */
  onChunk?: ((event: AskEvent) => void | Promise<void>) | undefined
  /** Milliseconds after which the answer fails with `timeout`. Default: the server's limit. */
  timeout?: number | undefined
  /** Aborting it cancels the run, which is then an error of the code `cancelled`. Default: none. */
  signal?: AbortSignal | undefined
}

/** What `streamAsk` takes of the router of a server. */
export interface AskRouter {
  /** `server.router.streamAsk`. */
  streamAsk(
    address: string,
    type: 'ask' | 'stream',
    payload: unknown,
    options: {
      onChunk: (event: StreamEvent) => Promise<void>
      timeout?: number | undefined
      signal?: AbortSignal | undefined
    },
  ): Promise<unknown>
}

/** What `streamAsk` takes of a client of `createClient`. */
export interface AskClient {
  /** `client.start`. */
  start(
    actor: string,
    input: unknown,
    options: { timeoutMs?: number | undefined; signal?: AbortSignal | undefined },
  ): Run
  /** `client.ask`. */
  ask(
    actor: string,
    input: unknown,
    options: { timeoutMs?: number | undefined; signal?: AbortSignal | undefined },
  ): Promise<unknown>
}

/** Where an actor is found by its address: the router of a server in this process, or a client of any server. */
export type AskTarget = AskRouter | AskClient

/**
 * Asks an actor, and hands each event to `onChunk`, as `router.streamAsk` does; and one more at the end, `done` or `error`.
 * It never rejects: a wrong payload, an unknown address, a lost connection and an `onChunk` that throws are errors like a
 * model that fails.
 * @param target `server.router`, or what `createClient` returns.
 * @param address The name of the actor.
 * @param type `ask` for one answer, `stream` for events. Over a client, an `ask` has no events but its end, and its tokens
 *   are not known.
 * @returns the last event.
 */
export async function streamAsk(
  target: AskTarget,
  address: string,
  type: 'ask' | 'stream',
  payload: unknown,
  options: StreamAskOptions = {},
): Promise<DoneEvent | ErrorEvent> {
  const { onChunk, timeout, signal } = options
  const answer = new Answer()
  const give = async (event: StreamEvent): Promise<void> => {
    answer.take(event)
    await onChunk?.({ ...event, timestamp: event.at })
  }
  let last: DoneEvent | ErrorEvent
  try {
    if ('streamAsk' in target) {
      const result = await target.streamAsk(address, type, payload, { onChunk: give, timeout, signal })
      last = answer.done(result)
    } else last = await overClient(target, address, type, payload, { timeoutMs: timeout, signal }, answer, give)
    await onChunk?.(last)
    return last
  } catch (thrown) {
    last = answer.failed(thrown)
  }
  try {
    await onChunk?.(last)
  } catch {
    // It may be what has thrown before, and there is nobody else to be told.
  }
  return last
}

async function overClient(
  client: AskClient,
  address: string,
  type: 'ask' | 'stream',
  payload: unknown,
  options: { timeoutMs: number | undefined; signal: AbortSignal | undefined },
  answer: Answer,
  give: (event: StreamEvent) => Promise<void>,
): Promise<DoneEvent> {
  if (options.signal?.aborted) throw CANCELLED
  if (type === 'ask') return answer.done(await client.ask(address, payload, options))
  const run = client.start(address, payload, options)
  for await (const event of run) await give(event)
  const end = await run.end
  // The loop does not throw what was cancelled from here.
  if (end.outcome === 'cancelled') throw new MillraceError('cancelled', CANCELLED.message, { receipt: end.receipt })
  return answer.done(end.result, end)
}

/** What is known of an answer so far. */
class Answer {
  readonly #startedAt = systemRuntime.now()
  readonly #usage: Usage = { input: 0, output: 0 }
  #content = ''
  #iterations = 0

  take(event: StreamEvent): void {
    if (event.type === 'token' && event.agent === undefined) this.#content += event.text
    else if (event.type === 'usage') addUsage(this.#usage, event)
    else if (event.type === 'iteration' && event.agent === undefined) this.#iterations = event.n
  }

  /** @param end of a run, which knows more than its events say. */
  done(result: unknown, end?: RunEnd): DoneEvent {
    const { input, output } = end?.usage ?? this.#usage
    const isText = typeof result === 'string' && (this.#content === '' || this.#content === result)
    return {
      type: 'done',
      content: isText ? result : this.#content,
      result: isText ? undefined : result,
      iterations: end?.iterations ?? this.#iterations,
      ms: Math.round(systemRuntime.now() - this.#startedAt),
      inputTokens: input,
      outputTokens: output,
      timestamp: systemRuntime.wallClock(),
    }
  }

  failed(thrown: unknown): ErrorEvent {
    return {
      type: 'error',
      error: failureOf(thrown),
      content: this.#content,
      timestamp: systemRuntime.wallClock(),
    }
  }
}
