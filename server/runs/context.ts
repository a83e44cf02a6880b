import type { WireMap } from '../../protocol/frames.ts'
import type { Receipt } from '../../protocol/receipt.ts'
import type { ActorContext } from '../actors/actor.ts'
import type { Model } from '../models/model.ts'
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
  /** What the run and its children have cost so far. */
  spent(): Receipt['usage']
}

/** Makes the context that an actor receives with its input. */
export function createContext(run: ContextCallbacks): ActorContext {
  const { inputs } = run
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
    model: (which) => runModel(run, run.findModel(which)),
    reportError: (error) => run.failed(error),
    get fence() {
      return { run: run.id, gen: run.gen() }
    },
  }
}
