import type { Action } from '../actors/authorize.ts'
import { keepsConversations } from '../conversations/conversation.ts'
import type { Call } from '../http/call.ts'
import type { ExtensionParts } from '../http/extension.ts'
import type { Route } from '../http/route.ts'
import { json } from '../http/run-routes.ts'
import { targetOf } from '../sessions/permissions.ts'
import { type Box, boxesOf } from '../workflows/graph.ts'

/** An actor, as the page shows it. */
type ActorFacts = {
  readonly name: string
  readonly description?: string
  /** Whether it keeps conversations. */
  readonly conversations: boolean
  /** Its steps, as boxes. */
  readonly boxes: readonly Box[]
}

/** What clients may do with a run besides reading it. */
const ACTIONS = ['cancel', 'approve', 'input', 'govern'] as const satisfies readonly Action[]

/** The routes of what the page cannot know from the protocol: the actors that one may start, and what one may do with a run. */
export function factRoutes({ actors, permissions, access }: ExtensionParts): Route[] {
  const known = [...actors].map(([name, actor]): ActorFacts => {
    const { description } = actor
    return {
      name,
      ...(description !== undefined && { description }),
      conversations: keepsConversations(actor),
      boxes: boxesOf(name, actor),
    }
  })

  function list({ caller }: Call): Response {
    const mayStart = ({ name }: ActorFacts): boolean =>
      permissions.allows(caller.principal, 'start', { type: 'actor', actor: name })
    return json({ actors: known.filter(mayStart) })
  }

  async function show(call: Call): Promise<Response> {
    const { caller } = call
    const found = await access.find(caller, call.param('run'))
    const { run } = found
    const target = targetOf(run)
    const may = Object.fromEntries(
      ACTIONS.map((action) => [action, permissions.allows(caller.principal, action, target)]),
    )
    return json({ run: run.id, own: found.own, may, pending: run.end ? [] : run.pendingAt(run.log.next) })
  }

  return [
    { method: 'GET', path: '/dashboard/actors', handle: list },
    { method: 'GET', path: '/dashboard/runs/:run', handle: show },
  ]
}
