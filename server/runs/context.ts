import type { WireMap } from '../../protocol/frames.ts'
import type { Receipt } from '../../protocol/receipt.ts'
import type { Runtime } from '../../protocol/runtime.ts'
import type { ActorContext, ContextAi, EarlierRun, RunModel } from '../actors/actor.ts'
import type { Model } from '../models/model.ts'
import { wait } from '../streams/wait.ts'
import { approvedIn, bindTools, type ToolCallbacks } from '../tools/tool-runner.ts'
import type { Inputs } from './inputs.ts'
import type { Checkpoint } from './parking.ts'
import { type RunModelCallbacks, runModel } from './run-model.ts'

/** What a run offers to the context of its actor. */
export interface ContextCallbacks extends ToolCallbacks, RunModelCallbacks {
  readonly signal: AbortSignal
  readonly actorName: string
  readonly meta: WireMap | undefined
  readonly inputs: Inputs
  checkpoint(state: Checkpoint): void
  /** What its actor goes on from. */
  readonly restored: unknown
  emit: ToolCallbacks['emit']
  failed: ToolCallbacks['failed']
  findModel(which: string | Model | undefined): Model
  readonly runtime: Runtime
  /** Finds a run that has ended, for the principal of this one. */
  earlierRun(run: string): Promise<EarlierRun>
  /** What the run and its children have cost so far. */
  spent(): Receipt['usage']
}

/** Makes the context that an actor receives with its input. */
export function createContext(run: ContextCallbacks): ActorContext {
  const { inputs } = run
  const model = (which?: string | Model): RunModel => runModel(run, run.findModel(which))
  return {
    get signal() {
      return run.signal
    },
    run: { id: run.id, actor: run.actorName, meta: run.meta },
    principal: run.principal,
    get inputs() {
      return inputs.queue
    },
    takeInputs: () => inputs.takeAll(),
    onInput: (callback) => (inputs.onAccepted = callback),
    refuseInputs: () => inputs.refuse(),
    tools: (tools, ...[context]) => bindTools(run, tools, context),
    get approved() {
      return approvedIn(run)
    },
    get usage() {
      return run.spent()
    },
    get paused() {
      return run.orders().isPaused
    },
    async resumed() {
      const orders = run.orders()
      for (let wait = orders.hold(run.signal); wait; wait = orders.hold(run.signal)) await run.wait(wait)
    },
    emit: (event) => run.emit(event),
    request: (question) => run.wait(run.request(question)),
    checkpoint: (state) => run.checkpoint(state),
    restored: run.restored,
    spawn: run.spawnFor(undefined),
    model,
    get ai() {
      return contextAi(model)
    },
    runtime: run.runtime,
    canEmit: (event) => run.canSay(event),
    sleepUntil: (time) => run.wait(sleep(run, time)),
    govern: (order) => run.orders().command(order),
    earlierRun: (id) => run.earlierRun(id),
    reportError: (error) => run.failed(error),
    get fence() {
      return { run: run.id, gen: run.gen() }
    },
  }
}

function contextAi(model: (which?: string | Model) => RunModel): ContextAi {
  return {
    async complete(prompt, options) {
      let text = ''
      for await (const piece of model(options?.model).text(prompt)) text += piece
      return text
    },
    streamCompletion: (prompt, options) => model(options?.model).text(prompt),
  }
}

/** A timer may be cut short, and a clock may be set. */
async function sleep({ runtime, signal }: ContextCallbacks, time: number): Promise<void> {
  signal.throwIfAborted()
  for (let left = time - runtime.wallClock(); left > 0; left = time - runtime.wallClock())
    await wait(left, signal, runtime)
}
