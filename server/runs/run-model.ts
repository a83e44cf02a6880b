import { MillraceError } from '../../protocol/errors.ts'
import type { RunEvent } from '../../protocol/events.ts'
import type { ModelCall, RunModel } from '../actors/actor.ts'
import { modelCall } from '../actors/model-call.ts'
import { AnswerCheck, modelError } from '../models/answer-check.ts'
import type { Model, ModelEvent } from '../models/model.ts'
import { ModelFailure } from '../models/model-failure.ts'
import { requestTokens } from '../models/request-tokens.ts'
import { untilAborted } from '../streams/until-aborted.ts'
import type { ModelTrace } from '../tracing/tracing.ts'
import type { OpenWork } from './open-work.ts'
import type { Orders } from './orders.ts'
import type { Producer } from './producer.ts'
import type { UsageTally } from './usage-tally.ts'

/** What a model takes from the run that asks it. */
export type RunModelCallbacks = {
  /** Aborts when the run is over. */
  signal(): AbortSignal
  readonly producer: Producer
  readonly openWork: OpenWork
  readonly usage: UsageTally
  orders(): Orders
  /** Begins the trace of a request. Undefined: nothing is traced. */
  trace(model: Model): ModelTrace | undefined
  /** Waits for what a client gives. The run may be parked meanwhile. */
  wait<T>(what: Promise<T>): Promise<T>
  /** Something new begins: a run that was parked goes on. Undefined: it need not wait for that. */
  goOn(): Promise<void> | undefined
  /** Logs an event. Rejects when the run is over. */
  emit(event: RunEvent): Promise<number>
  /** Reports an error that clients must not see. */
  failed(error: unknown): void
}

/** A model as an actor asks it: its requests are open work of the run, follow its orders, and end with its signal. */
export function runModel(run: RunModelCallbacks, model: Model): RunModel {
  const { producer, openWork, usage } = run
  const orders = run.orders()

  async function* stream(call: ModelCall): AsyncGenerator<ModelEvent, void> {
    run.signal().throwIfAborted()
    call.signal?.throwIfAborted()
    const signal = call.signal ? AbortSignal.any([run.signal(), call.signal]) : run.signal()
    // Another order may have come while it waited for one.
    for (let wait = orders.hold(signal); wait; wait = orders.hold(signal)) await run.wait(wait)
    const goesOn = run.goOn()
    if (goesOn) await untilAborted(goesOn, signal)
    const request = usage.asked(() => requestTokens(call), model.prices)
    const closed = openWork.openProvider()
    const answer = new AnswerCheck()
    const trace = run.trace(model)
    let isWhole = false
    let failure: string | undefined
    try {
      for await (const event of model.stream({ ...call, signal })) {
        if (!answer.accepts(event)) continue
        trace?.said(event)
        if (event.type === 'finish') usage.answered(event.stop)
        yield event
        // Whoever pulls the next event has logged this one.
        if (event.type === 'usage') {
          request.stated()
          orders.spentMore()
        } else if (event.type !== 'finish') {
          const wait = orders.pace(signal)
          if (wait) await wait
        }
      }
      signal.throwIfAborted()
      answer.end()
      isWhole = true
    } catch (thrown) {
      if (!signal.aborted) failure = MillraceError.is(thrown) ? thrown.code : 'internal'
      if (!MillraceError.is(thrown) || signal.aborted) throw thrown
      const error = modelError(thrown)
      run.failed(new ModelFailure(model.id, error))
      throw error
    } finally {
      if (!run.signal().aborted) {
        // The actor has cut the answer off or left it, or it broke off. A request that was refused costs nothing.
        if (!isWhole && (signal.aborted || answer.hasSaid)) {
          request.cut(producer.texts)
          orders.spentMore()
        } else request.stated()
      }
      closed()
      trace?.ended({ outcome: isWhole ? 'done' : failure === undefined ? 'cut' : 'error', code: failure })
    }
  }

  async function* text(call: ModelCall | string): AsyncGenerator<string, void> {
    for await (const event of stream(modelCall(call))) {
      if (event.type === 'text') yield event.text
      else if (event.type === 'tool.call') {
        const { extra: _, ...call } = event
        await run.emit(call)
      } else if (event.type !== 'finish') await run.emit(event)
    }
  }

  return { id: model.id, provider: model.provider, structured: model.structured ?? 'none', stream, text }
}
