import { MillraceError } from '../../protocol/errors.ts'
import type { WireMap } from '../../protocol/frames.ts'
import type { Receipt } from '../../protocol/receipt.ts'
import type { ActorContext, ModelCall, Question, RunInput, RunModel } from '../actors/actor.ts'
import { AnswerCheck, modelError } from '../models/answer-check.ts'
import type { Model, ModelEvent, StopReason } from '../models/model.ts'
import { ModelFailure } from '../models/model-failure.ts'
import { requestTokens } from '../models/request-tokens.ts'
import { bindTools, type ToolCallbacks } from '../tools/tool-runner.ts'
import type { Orders } from './orders.ts'

/** An open request to a provider. */
export type OpenProvider = {
  /** The provider's usage is logged, or will not be stated. */
  readonly stated: () => void
  /** The socket is closed. */
  readonly closed: () => void
  /** The actor has cut the answer off, and the run goes on. Call it before the others. */
  readonly cut: () => void
}

/** What a run offers to the context of its actor. */
export interface ContextCallbacks extends ToolCallbacks {
  readonly actorName: string
  readonly meta: WireMap | undefined
  readonly inputs: AsyncIterable<RunInput>
  takeInputs(): RunInput[]
  onInput(callback: (input: RunInput) => void): void
  refuseInputs(): void
  request(question: Question): Promise<unknown>
  findModel(which: string | Model | undefined): Model
  /**
   * Adds a provider request to the open work of the run.
   * @param inputTokens about how many tokens it sends. Called only if they are not stated.
   */
  openProvider(inputTokens: () => number): OpenProvider
  /** What the run and its children have cost so far. */
  spent(): Receipt['usage']
  /** What clients have ordered of it. */
  readonly orders: Orders
  /** A model's answer is complete. `stop`: why it ended. */
  answered(stop: StopReason): void
}

/** Makes the context that an actor receives with its input. */
export function createContext(run: ContextCallbacks): ActorContext {
  return {
    get signal() {
      return run.signal
    },
    run: { id: run.id, actor: run.actorName, meta: run.meta },
    principal: run.principal,
    get inputs() {
      return run.inputs
    },
    takeInputs: () => run.takeInputs(),
    onInput: (callback) => run.onInput(callback),
    refuseInputs: () => run.refuseInputs(),
    tools: (tools, ...[context]) => bindTools(run, tools, context),
    get usage() {
      return run.spent()
    },
    emit: (event) => run.emit(event),
    request: (question) => run.request(question),
    spawn: (actor, input, options) => run.spawn(actor, input, options),
    model: (which) => bind(run, run.findModel(which)),
    reportError: (error) => run.failed(error),
    get fence() {
      return { run: run.id, gen: run.gen() }
    },
  }
}

/** A model whose requests count as open work of the run, and end with its signal. */
function bind(run: ContextCallbacks, model: Model): RunModel {
  const { orders } = run
  async function* stream(call: ModelCall): AsyncGenerator<ModelEvent, void> {
    run.signal.throwIfAborted()
    call.signal?.throwIfAborted()
    const signal = call.signal ? AbortSignal.any([run.signal, call.signal]) : run.signal
    // Another order may have come while it waited for one.
    for (let wait = orders.hold(signal); wait; wait = orders.hold(signal)) await wait
    const open = run.openProvider(() => requestTokens(call))
    const answer = new AnswerCheck()
    try {
      for await (const event of model.stream({ ...call, signal })) {
        if (!answer.accepts(event)) continue
        if (event.type === 'finish') run.answered(event.stop)
        yield event
        // Whoever pulls the next event has logged this one.
        if (event.type === 'usage') {
          open.stated()
          orders.spentMore()
        } else if (event.type !== 'finish') {
          const wait = orders.pace(signal)
          if (wait) await wait
        }
      }
      signal.throwIfAborted()
      answer.end()
    } catch (thrown) {
      if (!MillraceError.is(thrown) || signal.aborted) throw thrown
      const error = modelError(thrown)
      run.failed(new ModelFailure(model.id, error))
      throw error
    } finally {
      if (signal.aborted && !run.signal.aborted) open.cut()
      if (!run.signal.aborted) open.stated()
      open.closed()
    }
  }

  async function* text(call: ModelCall | string): AsyncGenerator<string, void> {
    const asked: ModelCall = typeof call === 'string' ? { messages: [{ role: 'user', content: call }] } : call
    for await (const event of stream(asked)) {
      if (event.type === 'text') yield event.text
      else if (event.type === 'tool.call') {
        const { extra: _, ...call } = event
        await run.emit(call)
      } else if (event.type !== 'finish') await run.emit(event)
    }
  }

  return { id: model.id, provider: model.provider, structured: model.structured ?? 'none', stream, text }
}
