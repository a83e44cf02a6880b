import type { Route } from './route.ts'
import type { RunAccess } from './run-access.ts'
import { json } from './run-routes.ts'
import { TICKET, TICKET_BODY } from './schemas.ts'
import type { Tickets } from './tickets.ts'

/** The route with which a client gets a ticket, for a request that cannot carry its credentials. */
export function ticketRoutes(access: RunAccess, tickets: Tickets): Route[] {
  return [
    {
      method: 'POST',
      path: '/tickets',
      operation: {
        summary: 'Makes a ticket for an EventSource: good for one run or one start, once, for 60 s at most.',
        body: TICKET_BODY,
        answers: { 201: TICKET },
      },
      async handle(call) {
        const { value } = await call.body(TICKET_BODY)
        const { run, actor, ms } = value
        const { caller } = call
        if (run !== undefined) await access.find(caller, run)
        const holder = { identity: caller.identity, instance: caller.instance ?? caller.given }
        const target = run === undefined ? { actor: actor ?? '' } : { run }
        return json(tickets.issue(holder, target, ms), 201)
      },
    },
  ]
}
