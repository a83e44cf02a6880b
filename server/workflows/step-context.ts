import type { Progress } from '../../protocol/events.ts'
import type { ActorContext, ModelCall, RunModel } from '../actors/actor.ts'
import { modelCall } from '../actors/model-call.ts'
import type { RunTools } from '../actors/tool.ts'
import { untilAborted } from '../streams/until-aborted.ts'

/**
 * The second argument of a step: the context of its run, and where in the workflow it is. In a step, `checkpoint` has no
 * effect and `restored` is undefined: the workflow keeps what its steps have given.
 */
export interface StepContext<Input = unknown> extends ActorContext {
  /** The input of the workflow. */
  readonly input: Input
  /**
   * The step. `id` is its place, such as `material/facts` or `review[2]/check`. It is the same in each attempt and after
   * a restart: a key, with `fence.run`, for what must not happen twice. `attempt` counts from 1.
   */
  readonly step: { readonly id: string; readonly name: string; readonly attempt: number }
  /** Reports how far the step is, as a `progress` event that names it. Await it. */
  readonly progress: (progress: Progress) => Promise<number>
}

/**
 * The context of one step.
 * @param run that of its run. Its members are accessors, which are read when they are asked for.
 * @param signal stops this step alone. Undefined: only the run stops it.
 */
export function stepContext(
  run: ActorContext,
  input: unknown,
  step: StepContext['step'],
  signal: AbortSignal | undefined,
): StepContext {
  const emit: ActorContext['emit'] = (event) => unless(signal, () => run.emit(event))
  const own = {
    input: { value: input },
    step: { value: step },
    progress: { value: (progress: Progress) => emit({ type: 'progress', ...progress, step: step.id }) },
    checkpoint: { value: () => {} },
    restored: { value: undefined },
  }
  if (!signal) return Object.create(run, own) as StepContext
  const either = (other: AbortSignal | undefined): AbortSignal => (other ? AbortSignal.any([signal, other]) : signal)
  const within = (asked: ModelCall | string): ModelCall => {
    const call = modelCall(asked)
    return { ...call, signal: either(call.signal) }
  }
  return Object.create(run, {
    ...own,
    signal: { value: signal },
    emit: { value: emit },
    sleepUntil: { value: ((time) => unless(signal, () => run.sleepUntil(time))) satisfies ActorContext['sleepUntil'] },
    resumed: { value: (() => unless(signal, () => run.resumed())) satisfies ActorContext['resumed'] },
    spawn: {
      value: ((actor, ...[given, options]) => {
        if (!options?.detached) return run.spawn(actor, given, { ...options, signal: either(options?.signal) })
        signal.throwIfAborted()
        return run.spawn(actor, given, options)
      }) satisfies ActorContext['spawn'],
    },
    govern: {
      value: ((order) => {
        signal.throwIfAborted()
        run.govern(order)
      }) satisfies ActorContext['govern'],
    },
    tools: {
      value: ((tools, ...context): RunTools => {
        const bound = run.tools(tools, ...context)
        const call: RunTools['call'] = (asked, options) => bound.call(asked, { signal: either(options?.signal) })
        return Object.create(bound, { call: { value: call } }) as RunTools
      }) satisfies ActorContext['tools'],
    },
    model: {
      value: ((which): RunModel => {
        const model = run.model(which)
        return { ...model, stream: (call) => model.stream(within(call)), text: (call) => model.text(within(call)) }
      }) satisfies ActorContext['model'],
    },
    ai: {
      value: {
        complete: (prompt, options) => run.ai.complete(within(prompt), options),
        streamCompletion: (prompt, options) => run.ai.streamCompletion(within(prompt), options),
      } satisfies ActorContext['ai'],
    },
    request: {
      value: ((question) =>
        run.request({ ...question, signal: either(question.signal) })) satisfies ActorContext['request'],
    },
  }) as StepContext
}

/** Does `work` unless the step is stopped. Code that ignores its signal must not speak for the attempt behind it. */
function unless<T>(signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
  if (!signal) return work()
  const done = signal.aborted ? Promise.reject(signal.reason as Error) : untilAborted(work(), signal)
  // As in the context of a run: who does not wait for it need not catch it.
  done.catch(() => {})
  return done
}
