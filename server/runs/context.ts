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

const RUN = Symbol('run')

/**
 * What is worked out when it is asked for. All contexts have the same functions for it: V8 would look up all properties of
 * an object that has functions of its own here in a hash table of 1.6 kB.
 */
const ASKED = {
  get signal() {
    return of(this).signal()
  },
  get inputs() {
    return of(this).inputs.queue
  },
  get approved() {
    return approvedIn(of(this))
  },
  get usage() {
    return of(this).spent()
  },
  get paused() {
    return of(this).orders().isPaused
  },
  get fence() {
    const run = of(this)
    return { run: run.id, gen: run.gen() }
  },
}
const DESCRIPTORS = Object.getOwnPropertyDescriptors(ASKED)

/** The run of a context, or of an object that inherits from one. */
function of(context: object): ContextCallbacks {
  return (context as { [RUN]: ContextCallbacks })[RUN]
}

/** Makes the context that an actor receives with its input. */
export function createContext(run: ContextCallbacks): ActorContext {
  const { inputs } = run
  const model = (which?: string | Model): RunModel => runModel(run, run.findModel(which))
  const context: Omit<ActorContext, keyof typeof ASKED> = {
    run: { id: run.id, actor: run.actorName, meta: run.meta },
    principal: run.principal,
    takeInputs: () => inputs.takeAll(),
    onInput: (callback) => (inputs.onAccepted = callback),
    refuseInputs: () => inputs.refuse(),
    tools: (tools, ...[context]) => bindTools(run, tools, context),
    async resumed() {
      const orders = run.orders()
      const signal = run.signal()
      for (let wait = orders.hold(signal); wait; wait = orders.hold(signal)) await run.wait(wait)
    },
    emit: (event) => run.emit(event),
    request: (question) => run.wait(run.request(question)),
    checkpoint: (state) => run.checkpoint(state),
    restored: run.restored,
    spawn: run.spawnFor(undefined),
    model,
    ai: contextAi(model),
    runtime: run.runtime,
    canEmit: (event) => run.canSay(event),
    sleepUntil: (time) => run.wait(sleep(run, time)),
    govern: (order) => run.orders().command(order),
    earlierRun: (id) => run.earlierRun(id),
    reportError: (error) => run.failed(error),
  }
  Object.defineProperty(context, RUN, { value: run })
  return Object.defineProperties(context as ActorContext, DESCRIPTORS)
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
async function sleep(run: ContextCallbacks, time: number): Promise<void> {
  const { runtime } = run
  const signal = run.signal()
  signal.throwIfAborted()
  for (let left = time - runtime.wallClock(); left > 0; left = time - runtime.wallClock())
    await wait(left, signal, runtime)
}
