import type { Runtime } from '../../protocol/runtime.ts'
import { endData } from '../log/logged-end.ts'
import { wallClockAt } from '../runtime.ts'
import type { Run } from './run.ts'

/** Fields of a record of the server's log. */
type Fields = { readonly [name: string]: unknown }

/** The run, its actor and its owner, as the server's log has them. */
export function runFields({ id, actorName, principal, parent, isChild, registeredName }: Run): Fields {
  // One that was let go has no parent any more, and its name may come of data all the same.
  const asChild = { ...(parent && { parent: parent.id }), ...(isChild && { registered: registeredName }) }
  return { run: id, actor: actorName, principal: principal.id, ...asChild }
}

/** How a run ended. Only the code of an error: its message may quote the input. */
export function endFields({ end, log, logged, spent, costAtParent, startedAt }: Run, runtime: Runtime): Fields {
  const data = end && end.outcome !== 'done' ? endData(end) : {}
  const startedWall = wallClockAt(runtime, startedAt)
  return {
    outcome: end?.outcome,
    ...(end?.outcome === 'error' && { code: data['code'] }),
    ms: Math.round(runtime.now() - startedAt),
    ...logged,
    ...(log.firstAt !== undefined && { firstMs: Math.max(0, Math.round(log.firstAt - startedWall)) }),
    ...(end?.outcome === 'cancelled' && { cancelMs: data['ms'], settled: data['settled'] }),
    ...(spent && { usage: spent }),
    ...(costAtParent && { usageOfParent: costAtParent }),
  }
}
