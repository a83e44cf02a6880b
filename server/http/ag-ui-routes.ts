import { z } from 'zod'
import type { AgUiEvent } from '../../formats/ag-ui-event.ts'
import { AgUiEvents, noRunEvents } from '../../formats/ag-ui-events.ts'
import {
  type AgUiInput,
  answeredIds,
  answersOfAgUi,
  checkedAgUiInput,
  conversationOfAgUi,
} from '../../formats/ag-ui-messages.ts'
import { jsonOf } from '../../formats/plain-text.ts'
import { MillraceError } from '../../protocol/errors.ts'
import { BEGINNING } from '../log/cursor.ts'
import type { FoundRun } from '../sessions/registry.ts'
import type { Call } from './call.ts'
import type { ChatRuns } from './chat-runs.ts'
import { FormatStream } from './format-stream.ts'
import type { Route } from './route.ts'
import type { RunAccess } from './run-access.ts'
import { EVENT_STREAM, sseEvent } from './sse.ts'

const QUERY = z.strictObject({
  disconnect: z.enum(['detach', 'cancel']).exactOptional(),
  version: z.coerce
    .number()
    .pipe(z.literal([0, 1]))
    .exactOptional(),
})

type Query = z.output<typeof QUERY>

/** The routes of AG-UI's own HTTP client: `new HttpAgent({ url: '/ag-ui/chat' })`. */
export function agUiRoutes(access: RunAccess, chats: ChatRuns): Route[] {
  const read = async (call: Call): Promise<{ query: Query; input: AgUiInput; version: 0 | 1 }> => {
    const query = call.query(QUERY)
    const { value } = await call.json()
    const { protocolVersion } = Object(value) as { protocolVersion?: unknown }
    // 1.0 says which version it speaks. Before that, nothing did.
    const version = query.version ?? (protocolVersion === undefined ? 0 : 1)
    return { query, input: checkedAgUiInput(value), version }
  }

  const stream = (
    call: Call,
    found: FoundRun,
    { query, input, version }: Awaited<ReturnType<typeof read>>,
    more: { answered?: ReadonlySet<string>; past?: number },
  ): Response => {
    const { threadId: thread, runId } = input
    const format = new AgUiEvents({ thread, run: runId, source: found.run.id, version, ...more })
    return access.stream(call.caller, found, {
      from: BEGINNING,
      policy: 'pace',
      cancels: query.disconnect === 'cancel',
      format: new FormatStream<AgUiEvent>(format, {
        failed: ({ code, message }) => ({ type: 'RUN_ERROR', message, code }),
      }),
      headers: { 'millrace-run': found.run.id },
    })
  }

  async function run(call: Call): Promise<Response> {
    const { caller } = call
    const actor = call.param('actor')
    const asked = await read(call)
    const { input } = asked
    const { threadId, tools, messages } = input
    const answers = answersOfAgUi(input)
    const active = answers.length > 0 ? chats.active(caller, actor, threadId) : undefined
    const specs = tools.map(({ name, description, parameters }) => ({
      name,
      description,
      parameters: parameters ?? { type: 'object', properties: {} },
    }))
    if (active) {
      const found = await chats.find(caller, actor, active.run, BEGINNING)
      await chats.declare(caller, found, threadId, specs)
      await chats.answer(caller, found, answers)
      return stream(call, found, asked, { answered: answeredIds(answers), past: active.seq })
    }
    if (input.resume !== undefined && input.resume.length > 0)
      throw new MillraceError('not_found', 'no run of this thread waits for an answer: it has ended')
    const found = await chats.start(caller, actor, threadId, { messages: conversationOfAgUi(messages) })
    await chats.declare(caller, found, threadId, specs)
    return stream(call, found, asked, {})
  }

  async function connect(call: Call): Promise<Response> {
    const { caller } = call
    const actor = call.param('actor')
    const asked = await read(call)
    const { threadId, runId } = asked.input
    caller.quota.takeStart()
    const active = chats.active(caller, actor, threadId)
    if (active) return stream(call, await chats.find(caller, actor, active.run, BEGINNING), asked, { past: active.seq })
    const text = noRunEvents(threadId, runId).map((event) => sseEvent({ data: jsonOf(event) }))
    return new Response(text.join(''), { headers: { 'content-type': `${EVENT_STREAM}; charset=utf-8` } })
  }

  return [
    {
      method: 'POST',
      path: '/ag-ui/:actor',
      operation: {
        summary: 'Runs an actor as an agent of AG-UI. The body is a RunAgentInput.',
        query: QUERY,
        answers: { 200: 'A stream of AG-UI events.' },
        streams: true,
      },
      handle: run,
    },
    {
      method: 'POST',
      path: '/ag-ui/:actor/connect',
      operation: {
        summary: 'Streams the active run of a thread of AG-UI, from its beginning. The body is a RunAgentInput.',
        query: QUERY,
        answers: { 200: 'A stream of AG-UI events.' },
        streams: true,
      },
      handle: connect,
    },
  ]
}
