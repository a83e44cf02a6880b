import { MillraceError } from '../../protocol/errors.ts'
import { BEGINNING } from '../log/cursor.ts'
import { excerpt } from '../text.ts'
import type { Call } from './call.ts'
import { isOfPage } from './caller.ts'
import type { Route } from './route.ts'
import type { RunAccess } from './run-access.ts'
import { hasAll } from './run-routes.ts'
import { ACTOR_QUERY } from './schemas.ts'
import { RunEventFormat } from './sse.ts'
import { positionOf } from './stream-position.ts'

const QUOTED_CHARACTERS = 64

/**
 * The route with which an `EventSource` starts an actor. Its request is a GET, which any page can make a browser send. So
 * only the actors that the application names have it, and only a client with a ticket or a token, or a page of the same
 * origin.
 */
export function actorRoutes(access: RunAccess, eventSource: ReadonlySet<string>): Route[] {
  async function stream(call: Call): Promise<Response> {
    const { caller } = call
    const actor = call.param('actor')
    if (!eventSource.has(actor))
      throw new MillraceError(
        'not_found',
        `the actor ${excerpt(actor, QUOTED_CHARACTERS)} cannot be started with GET: POST /runs, or name it in the server's option http.eventSource`,
      )
    if (!caller.ticket && call.header('authorization') === undefined && !isOfPage(call.facts))
      throw new MillraceError(
        'forbidden',
        'starting an actor with GET needs a ticket (POST /tickets), a token in Authorization, or a page of this origin',
      )
    const { input = 'null', key, policy = 'pace', disconnect, ...reading } = call.query(ACTOR_QUERY)
    const seen = positionOf(call.header('last-event-id') ?? '')
    const cancels = disconnect === 'cancel'
    const format = new RunEventFormat()
    if (caller.ticket ? caller.ticket.run !== undefined : seen?.tail !== undefined) {
      // It comes back: it never starts a second run.
      caller.quota.takeStart()
      const from = { after: seen?.seq ?? 0, gen: seen?.gen }
      const found = await access.find(caller, caller.ticket?.run ?? seen?.tail ?? '', from)
      if (hasAll(call, found.run.end, from.after)) return new Response(null, { status: 204 })
      const tail = caller.ticket ? undefined : found.run.id
      return access.stream(caller, found, { ...reading, from, policy, cancels, format, tail })
    }
    if (call.header('last-event-id'))
      throw new MillraceError('bad_request', 'this Last-Event-ID is not of this stream; open a new one without it')
    const options = { onDetach: 'pause', ...(key === undefined ? {} : { key }) } as const
    const found = await access.start(caller, { actor, input: inputOf(input), options })
    if (caller.ticket) caller.ticket.run = found.run.id
    const tail = caller.ticket ? undefined : found.run.id
    return access.stream(caller, found, { ...reading, from: BEGINNING, policy, cancels, format, tail })
  }

  return [
    {
      method: 'GET',
      path: '/actors/:actor/stream',
      access: 'ticket',
      head: false,
      operation: {
        summary: 'Starts an actor for an EventSource. A reconnect with Last-Event-ID goes on with the same run.',
        query: ACTOR_QUERY,
        answers: { 204: 'The run has ended, and the client has seen its end.' },
        streams: true,
      },
      handle: stream,
    },
  ]
}

/** The input in a query: JSON, or else the text itself. */
function inputOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
