import { z } from 'zod'
import type { UiChunk } from '../../formats/ai-sdk-chunk.ts'
import type { AiSdkChats, ChatAnswer } from './ai-sdk-chats.ts'
import type { Call } from './call.ts'
import { FormatStream } from './format-stream.ts'
import type { Route } from './route.ts'
import type { RunAccess } from './run-access.ts'

const MAX_ID_CHARACTERS = 256

const disconnect = z.enum(['detach', 'cancel']).exactOptional()
/** The major version of `ai`. By default, the stream has only what 6 knows, too. */
const version = z.literal([6, 7])
const QUERY = z.strictObject({ disconnect, version: z.coerce.number().pipe(version).exactOptional() })

/** What `DefaultChatTransport` sends, with whatever the page adds to its body. */
const BODY = z.looseObject({
  id: z.string().min(1).max(MAX_ID_CHARACTERS),
  messages: z.array(z.unknown()),
  trigger: z.enum(['submit-message', 'regenerate-message']).exactOptional(),
  disconnect,
  version: version.exactOptional(),
})

/** The routes of the AI SDK's own HTTP transport: `new DefaultChatTransport({ api: '/ai-sdk/chat' })`. */
export function aiSdkRoutes(access: RunAccess, chats: AiSdkChats): Route[] {
  const stream = (call: Call, { found, from, format }: ChatAnswer, cancels: boolean): Response =>
    access.stream(call.caller, found, {
      from,
      policy: 'pace',
      cancels,
      format: new FormatStream<UiChunk>(format, {
        headers: { 'x-vercel-ai-ui-message-stream': 'v1' },
        last: 'data: [DONE]\n\n',
        failed: ({ message }) => ({ type: 'error', errorText: message }),
      }),
      headers: { 'millrace-run': found.run.id },
    })

  async function send(call: Call): Promise<Response> {
    const query = call.query(QUERY)
    const { value } = await call.body(BODY)
    const { disconnect = query.disconnect, version = query.version ?? 6, ...request } = value
    const answer = await chats.send(call.caller, call.param('actor'), request, version)
    return stream(call, answer, disconnect === 'cancel')
  }

  async function resume(call: Call): Promise<Response> {
    const { disconnect, version = 6 } = call.query(QUERY)
    call.caller.quota.takeStart()
    const answer = await chats.resume(call.caller, call.param('actor'), call.param('chat'), version)
    return answer ? stream(call, answer, disconnect === 'cancel') : new Response(null, { status: 204 })
  }

  return [
    {
      method: 'POST',
      path: '/ai-sdk/:actor',
      operation: {
        summary: 'Answers the messages of a chat of the AI SDK as a UI message stream.',
        query: QUERY,
        body: BODY,
        answers: { 200: 'A UI message stream.' },
        streams: true,
      },
      handle: send,
    },
    {
      method: 'GET',
      path: '/ai-sdk/:actor/:chat/stream',
      head: false,
      operation: {
        summary: 'Streams the answer of a chat of the AI SDK that goes on, from its beginning.',
        query: QUERY,
        answers: { 200: 'A UI message stream.', 204: 'No run of the chat goes on.' },
        streams: true,
      },
      handle: resume,
    },
  ]
}
