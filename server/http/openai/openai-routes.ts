import { z } from 'zod'
import { ChatAnswer, type ChatChunk, ChatChunks } from '../../../formats/openai-chat.ts'
import { type OpenAiError, openAiError } from '../../../formats/openai-error.ts'
import { type ResponseEvent, ResponseEvents, type ResponseObject } from '../../../formats/openai-responses.ts'
import { MillraceError } from '../../../protocol/errors.ts'
import type { WireMap } from '../../../protocol/frames.ts'
import type { Runtime } from '../../../protocol/runtime.ts'
import type { Actor } from '../../actors/actor.ts'
import { runEndOf } from '../../log/logged-end.ts'
import type { ReadableRun } from '../../runs/readable-run.ts'
import type { Permissions } from '../../sessions/permissions.ts'
import type { FoundRun } from '../../sessions/registry.ts'
import type { Call } from '../call.ts'
import type { Step } from '../event-reader.ts'
import { FormatStream, type FormatStreamSettings } from '../format-stream.ts'
import type { Route } from '../route.ts'
import type { RunAccess } from '../run-access.ts'
import { json } from '../run-routes.ts'
import { openAiErrors } from './openai-errors.ts'
import { chatBody, type ResponseBody, readChat, readResponse, responseBody } from './openai-input.ts'
import { type AnsweringRun, OPENAI_CLIENT, OpenAiRuns } from './openai-runs.ts'

/** The header with which a client says that its leaving is no stop. */
const DISCONNECT_HEADER = 'millrace-disconnect'
/** The most text of an answer that is no stream, in characters. */
const MAX_CHARACTERS = 4 * 1_048_576
const RESPONSE_ID = /^(r_[\w-]+?)(?:\.(\d{1,15}))?$/

type OpenAiParts = {
  readonly runtime: Runtime
  readonly actors: ReadonlyMap<string, Actor>
  readonly permissions: Permissions
  readonly access: RunAccess
}

const CHAT: FormatStreamSettings<ChatChunk | OpenAiError> = {
  last: 'data: [DONE]\n\n',
  failed: ({ code, message }) => openAiError(code, message),
}

const RESPONSES: FormatStreamSettings<ResponseEvent> = {
  name: ({ type }) => type,
  failed: ({ code, message }) => ({ type: 'error', code, message, param: null, sequence_number: 0 }),
}

const responseQuery = z.looseObject({
  stream: z.enum(['true', 'false']).optional(),
  starting_after: z.coerce.number().pipe(z.int().min(0)).optional(),
})

/**
 * OpenAI's chat completions and Responses: an actor is a model. A client that leaves cancels its run, because it has no
 * other way to stop, unless it sends `Millrace-Disconnect: detach` or asks for a response in the background.
 */
export function openAiRoutes({ runtime, actors, permissions, access }: OpenAiParts): Route[] {
  const runs = new OpenAiRuns(actors, access)
  const seconds = (): number => Math.floor(runtime.wallClock() / 1_000)
  const since = seconds()

  function cancels(call: Call, answering: AnsweringRun): boolean {
    return call.header(DISCONNECT_HEADER)?.toLowerCase() !== 'detach' && access.mayCancel(call.caller, answering)
  }

  // --- models

  function models(call: Call): Response {
    const { principal } = call.caller
    const data = [...actors.keys()].filter((actor) => permissions.allows(principal, 'start', { type: 'actor', actor }))
    return json({ object: 'list', data: data.map((id) => modelOf(id)) })
  }

  function model(call: Call): Response {
    const id = call.param('model')
    if (!actors.has(id) || !permissions.allows(call.caller.principal, 'start', { type: 'actor', actor: id }))
      throw new MillraceError('not_found', 'there is no such model: GET /v1/models lists them')
    return json(modelOf(id))
  }

  function modelOf(id: string): object {
    return { id, object: 'model', created: since, owned_by: 'millrace' }
  }

  // --- chat completions

  async function chat(call: Call): Promise<Response> {
    const { value: body } = await call.body(chatBody)
    const request = readChat(body)
    const answering = await runs.begin(call.caller, body.model, request, { onDetach: 'pause', ...metaOf(body) })
    const includeUsage = !body.stream || body.stream_options?.include_usage === true
    const { run } = answering
    const format = new ChatChunks({
      run: run.id,
      model: body.model,
      created: seconds(),
      client: OPENAI_CLIENT,
      includeUsage,
    })
    if (body.stream) return follow(call, answering, new FormatStream(format, CHAT), cancels(call, answering))
    const answer = new ChatAnswer()
    const take = (pieces: readonly (ChatChunk | OpenAiError)[]): void => {
      for (const piece of pieces) {
        if ('error' in piece) throw new MillraceError(codeOf(piece.error.code), piece.error.message)
        answer.add(piece)
      }
    }
    take(format.begin())
    await complete(call, answering, (step) => {
      take(step.kind === 'event' ? format.take(step.event) : step.kind === 'end' ? format.end(runEndOf(step.end)) : [])
      if (answer.length > MAX_CHARACTERS) throw new MillraceError('truncated', 'the answer is too long: stream it')
      return format.isOver
    })
    return json(answer.completion())
  }

  // --- responses

  async function respond(call: Call): Promise<Response> {
    const { value: body } = await call.body(responseBody)
    const { model, stream, background, metadata, previous_response_id: previous } = body
    const request = readResponse(body)
    if (previous && request.outputs.length === 0)
      throw new MillraceError(
        'bad_request',
        'previous_response_id goes with the outputs of its function calls only: send the whole conversation as input',
      )
    const onDetach = background ? 'continue' : 'pause'
    const answering = await runs.begin(call.caller, model, request, { onDetach, ...metaOf(body) })
    const id = responseId(answering)
    const facts = { id, model, background: background ?? false, metadata: metadata ?? {}, previous: previous ?? null }
    const format = responseFormat(answering.run, facts)
    if (stream)
      return follow(call, answering, new FormatStream(format, RESPONSES), !background && cancels(call, answering))
    format.begin()
    if (background) return json(format.response)
    await complete(call, answering, (step) => {
      takeStep(format, step)
      if (format.response.output_text.length > MAX_CHARACTERS)
        throw new MillraceError('truncated', 'the answer is too long: stream it')
      return format.isOver
    })
    return json(format.response)
  }

  async function retrieve(call: Call): Promise<Response> {
    const { stream, starting_after: seen } = call.query(responseQuery)
    const { id, after, found } = await responseOf(call)
    call.caller.quota.takeStart()
    const format = responseFormat(found.run, known(id, found))
    if (stream !== 'true') return json(await replayed(call, found, after, format))
    const isWanted = ({ sequence_number: n }: ResponseEvent): boolean => seen === undefined || n > seen
    const from = { after, gen: undefined }
    return access.stream(call.caller, found, {
      from,
      policy: 'log',
      format: new FormatStream(format, { ...RESPONSES, isWanted }),
    })
  }

  async function cancel(call: Call): Promise<Response> {
    const asked = await responseOf(call)
    await access.cancel(call.caller, asked.found, 'user')
    // It may have been stopped on another server than the one that was asked first.
    const { id, after, found } = await responseOf(call)
    return json(await replayed(call, found, after, responseFormat(found.run, known(id, found))))
  }

  async function responseOf(call: Call): Promise<{ id: string; after: number; found: FoundRun }> {
    const id = call.param('response')
    const [, run = '', after = '0'] = RESPONSE_ID.exec(id) ?? []
    return {
      id,
      after: Number(after),
      found: await access.find(call.caller, run, { after: Number(after), gen: undefined }),
    }
  }

  /** What is known of a response that was made before. */
  function known(id: string, found: FoundRun): Parameters<typeof responseFormat>[1] {
    const { actor, meta } = access.facts(found)
    return { id, model: actor, background: true, metadata: (meta ?? {}) as { [name: string]: string }, previous: null }
  }

  function responseFormat(
    run: ReadableRun,
    facts: {
      id: string
      model: string
      background: boolean
      metadata: { [name: string]: string }
      previous: string | null
    },
  ): ResponseEvents {
    return new ResponseEvents({ ...facts, run: run.id, created: seconds(), client: OPENAI_CLIENT })
  }

  /** A response as it is now: from the log, as far as it goes. */
  async function replayed(call: Call, found: FoundRun, after: number, format: ResponseEvents): Promise<ResponseObject> {
    format.begin()
    const look = {
      found(step: Step): true | undefined {
        takeStep(format, step)
        return format.isOver || undefined
      },
      drained: (): true => true,
    }
    await access.read(call.caller, found, { from: { after, gen: undefined } }, look, call.request.signal)
    return format.response
  }

  // --- both

  function follow<Piece>(call: Call, answering: AnsweringRun, format: FormatStream<Piece>, cancels: boolean): Response {
    const { after, client } = answering
    const from = { after, gen: undefined }
    const headers = { 'millrace-run': answering.run.id }
    return access.stream(call.caller, answering, { from, policy: 'pace', cancels, client, format, headers })
  }

  /** Reads a run until `take` returns true. A client that leaves before cancels it. */
  async function complete(call: Call, answering: AnsweringRun, take: (step: Step) => boolean): Promise<void> {
    const { caller, request } = call
    const { after, client, own } = answering
    const watch = { from: { after, gen: undefined }, policy: 'pace', own, client } as const
    const found = (step: Step): true | undefined => {
      if (step.kind === 'dismissed') throw step.error
      return take(step) || undefined
    }
    const isWhole = await access.read(caller, answering, watch, { found }, request.signal)
    if (!isWhole && cancels(call, answering)) await access.cancel(caller, answering, 'navigation', 'its client left')
  }

  const route = (method: Route['method'], path: string, handle: Route['handle']): Route => ({
    method,
    path,
    errors: openAiErrors,
    handle,
  })
  return [
    route('GET', '/v1/models', models),
    route('GET', '/v1/models/:model', model),
    route('POST', '/v1/chat/completions', chat),
    route('POST', '/v1/responses', respond),
    { ...route('GET', '/v1/responses/:response', retrieve), head: false },
    route('POST', '/v1/responses/:response/cancel', cancel),
  ]
}

/** What a client attaches to its request is what lists say about the run. */
function metaOf({ metadata }: Pick<ResponseBody, 'metadata'>): { meta?: WireMap } {
  return metadata && Object.keys(metadata).length > 0 ? { meta: metadata } : {}
}

function responseId({ run, after }: AnsweringRun): string {
  return after === 0 ? run.id : `${run.id}.${after}`
}

function takeStep(format: ResponseEvents, step: Step): void {
  if (step.kind === 'dismissed') throw step.error
  if (step.kind === 'event') format.take(step.event)
  else format.end(runEndOf(step.end))
}

/** The code of an error that a run ended with. */
function codeOf(code: string): MillraceError['code'] {
  return code as MillraceError['code']
}
