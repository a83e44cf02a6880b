import { jsonOf } from '../../formats/plain-text.ts'
import type { OnDetach } from '../../protocol/frames.ts'
import type { Runtime } from '../../protocol/runtime.ts'
import { BEGINNING } from '../log/cursor.ts'
import { runEndOf } from '../log/logged-end.ts'
import type { Call } from './call.ts'
import type { OpenStreams } from './open-streams.ts'
import { HttpError } from './problem.ts'
import type { Route } from './route.ts'
import type { RunAccess } from './run-access.ts'
import {
  CANCEL_BODY,
  CANCELLED,
  EVENTS,
  EVENTS_QUERY,
  INPUT_ANSWER,
  INPUT_BODY,
  LIST_QUERY,
  RATE_ANSWER,
  RATE_BODY,
  RUN,
  RUN_LIST,
  START_BODY,
  STARTED,
  STREAM_QUERY,
} from './schemas.ts'
import { EVENT_STREAM, RunEventFormat } from './sse.ts'
import { startPositionOf } from './stream-position.ts'

const JSON_TYPE = 'application/json'
const INPUT_ID_BYTES = 16

type RouteParts = { readonly runtime: Runtime; readonly access: RunAccess; readonly streams: OpenStreams }

/** The routes of runs: start, list, read, cancel, send input, set the rate. */
export function runRoutes({ runtime, access, streams }: RouteParts): Route[] {
  async function start(call: Call): Promise<Response> {
    const { caller } = call
    const { policy = 'pace', disconnect, ...reading } = call.query(STREAM_QUERY)
    const { value } = await call.body(START_BODY)
    const { actor, input = null, ...options } = value
    const isStream = call.prefers(EVENT_STREAM, JSON_TYPE)
    const onDetach: OnDetach = isStream ? 'pause' : 'continue'
    const found = await access.start(caller, { actor, input, options: { onDetach, ...options } })
    const { run, reused } = found
    const headers = { location: `runs/${run.id}`, 'millrace-run': run.id }
    if (isStream) {
      const format = new RunEventFormat()
      return access.stream(caller, found, {
        ...reading,
        from: BEGINNING,
        policy,
        cancels: disconnect === 'cancel',
        format,
        headers,
      })
    }
    return json({ run: run.id, actor: run.actorName, gen: run.log.gen, reused }, reused ? 200 : 201, headers)
  }

  async function list(call: Call): Promise<Response> {
    const { limit, before } = call.query(LIST_QUERY)
    const page = await access.listPage(call.caller, before, limit)
    if (!page) throw new HttpError(404, 'not_found', 'the list has no run of the id in `before`')
    return json(page)
  }

  async function show(call: Call): Promise<Response> {
    const found = await access.find(call.caller, call.param('run'))
    const { id, end, log } = found.run
    const pending = found.run.pendingAt(log.next)
    return json({ run: id, ...access.facts(found), pending, ...(end && { end: runEndOf(end) }) })
  }

  async function events(call: Call): Promise<Response> {
    const { caller } = call
    const { after = 'start', wait = 0, policy = 'log', disconnect, ...reading } = call.query(EVENTS_QUERY)
    caller.quota.takeStart()
    const from = startPositionOf(call.header('last-event-id') || after)
    const found = await access.find(caller, call.param('run'), from, policy === 'log' || policy === 'merge')
    const { run } = found
    if (call.prefers(JSON_TYPE, EVENT_STREAM)) {
      const page = await access.page(found, from, wait, call.request.signal)
      return json({ run: run.id, ...page })
    }
    if (hasAll(call, run.end, from.after)) return new Response(null, { status: 204 })
    const cancels = disconnect === 'cancel'
    return access.stream(caller, found, { ...reading, from, policy, cancels, format: new RunEventFormat() })
  }

  async function cancel(call: Call): Promise<Response> {
    const { value } = await call.body(CANCEL_BODY)
    const { reason, note, call: toolCall, agent, cascade } = value
    if (toolCall !== undefined && agent !== undefined)
      throw new HttpError(400, 'bad_request', 'name either a `call` or an `agent`')
    if (toolCall !== undefined && cascade !== undefined)
      throw new HttpError(400, 'bad_request', '`cascade` is for a run or an `agent`, not for a `call`')
    const found = await access.find(call.caller, call.param('run'))
    const target =
      toolCall === undefined ? agent && { type: 'agent' as const, id: agent } : { type: 'call' as const, id: toolCall }
    const cancelled = target
      ? await access.cancelTarget(call.caller, found, target, reason, note, cascade)
      : await access.cancel(call.caller, found, reason, note, cascade)
    return json({ run: found.run.id, ...cancelled }, cancelled.confirmed ? 200 : 202)
  }

  async function input(call: Call): Promise<Response> {
    const { value } = await call.body(INPUT_BODY)
    const { type, data = null, id = Buffer.from(runtime.randomBytes(INPUT_ID_BYTES)).toString('base64url') } = value
    const found = await access.find(call.caller, call.param('run'))
    const answer = await access.input(call.caller, found, { id, type, data })
    return json({ run: found.run.id, id, ...answer })
  }

  async function rate(call: Call): Promise<Response> {
    const { value } = await call.body(RATE_BODY)
    const { run } = await access.find(call.caller, call.param('run'))
    const count = streams.setRate(call.caller, run.id, value.stream, value.perSec)
    if (count === 0)
      throw new HttpError(
        404,
        'not_found',
        'you have no event stream of this run; to hold the run itself back, send an input of type `govern`',
      )
    return json({ run: run.id, streams: count })
  }

  return [
    {
      method: 'POST',
      path: '/runs',
      operation: {
        summary: 'Starts a run. With Accept: text/event-stream, the answer is its event stream.',
        query: STREAM_QUERY,
        body: START_BODY,
        answers: { 201: STARTED, 200: STARTED },
        streams: true,
      },
      handle: start,
    },
    {
      method: 'GET',
      path: '/runs',
      operation: { summary: 'Lists your runs.', query: LIST_QUERY, answers: { 200: RUN_LIST } },
      handle: list,
    },
    {
      method: 'GET',
      path: '/runs/:run',
      operation: { summary: 'Shows a run, and its end once it has one.', answers: { 200: RUN } },
      handle: show,
    },
    {
      method: 'GET',
      path: '/runs/:run/events',
      access: 'ticket',
      head: false,
      operation: {
        summary: 'Reads the events of a run, as server-sent events or as JSON.',
        query: EVENTS_QUERY,
        answers: { 200: EVENTS, 204: 'The run has ended, and the client has seen its end.' },
        streams: true,
      },
      handle: events,
    },
    {
      method: 'POST',
      path: '/runs/:run/cancel',
      operation: {
        summary: 'Cancels a run, or one tool call or sub-agent of it. The answer has the receipt.',
        body: CANCEL_BODY,
        answers: { 200: CANCELLED, 202: CANCELLED },
      },
      handle: cancel,
    },
    {
      method: 'POST',
      path: '/runs/:run/input',
      operation: { summary: 'Sends a run an input.', body: INPUT_BODY, answers: { 200: INPUT_ANSWER } },
      handle: input,
    },
    {
      method: 'POST',
      path: '/runs/:run/rate',
      operation: {
        summary: 'Sets the rate of your event streams of a run.',
        body: RATE_BODY,
        answers: { 200: RATE_ANSWER },
      },
      handle: rate,
    },
  ]
}

/** Whether a client that connects again has seen the end of the run. An `EventSource` then stops. */
export function hasAll(call: Call, end: { readonly seq: number } | undefined, after: number | null): boolean {
  return call.header('last-event-id') !== undefined && end !== undefined && after !== null && after >= end.seq
}

/** An answer in JSON. */
export function json(value: unknown, status = 200, headers: { readonly [name: string]: string } = {}): Response {
  return new Response(jsonOf(value), {
    status,
    headers: { 'content-type': JSON_TYPE, 'cache-control': 'no-store', ...headers },
  })
}
