import type { OnDetach } from '../../protocol/frames.ts'
import type { Limits } from '../../protocol/limits.ts'
import type { Actor } from '../../server/index.ts'
import { Run, type RunCallbacks } from '../../server/runs/run.ts'
import { Scheduler } from '../../server/runs/scheduler.ts'
import { nodeRuntime } from '../../server/runtime.ts'

/** A run that no registry knows. Its actor has no model and no children, and does not fail. */
export function loneRun(actor: Actor, limits: Limits, onDetach: OnDetach): Run {
  const never = (): never => {
    throw new Error('nobody asks for it')
  }
  const host: RunCallbacks = {
    runtime: nodeRuntime,
    limits,
    scheduler: new Scheduler(nodeRuntime),
    findModel: never,
    spawn: never,
    nameOf: never,
    earlierRun: never,
    changed: () => {},
    letGo: never,
    ended: () => {},
    settled: () => {},
    failed: never,
  }
  const options = { onDetach, detachMs: undefined, timeoutMs: undefined, meta: undefined, ask: false }
  return new Run(host, 'r_1', 'alone', actor, { id: 'alice' }, options)
}
